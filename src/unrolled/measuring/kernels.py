"""What the library's own kernels take on a GPU: nn.LSTM and nn.GRU in each number format.

cuDNN uses its persistent kernels through PyTorch only for float16, one layer a call, up to H = 1024 in steps
of 128 and up to 128 lanes in steps of 8; so the layers are measured one by one in float16 too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from unrolled.measuring.rounds import Manner, in_turns, timed
from unrolled.measuring.works import SYMBOLS, Size

KINDS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU}
SIZE = Size(512, 100, 100)


@dataclass(frozen=True)
class Kernel:
    """One way of calling the library."""

    cell: str
    """A name in ``KINDS``."""
    numbers: str = "float32"
    """float32, tf32, bfloat16 or float16; the last two by autocast, weights are float32."""
    apart: bool = False
    """One call a layer, and not one for all."""
    size: Size = SIZE

    @property
    def label(self) -> str:
        """As the table shows it."""
        layers = "layer by layer" if self.apart else f"{self.size.layers} layers in one call"
        return f"nn.{self.cell.upper()}, {self.numbers}, {layers}, {self.size.lanes} lanes"


def listed() -> list[Kernel]:
    """Return the kernels that are measured: every format, and float16 layer by layer in even lanes."""
    formats = ("float32", "tf32", "bfloat16", "float16")
    whole = [Kernel(cell, numbers) for cell, numbers in product(KINDS, formats)]
    apart = [
        Kernel(cell, "float16", True, Size(512, lanes, 100)) for cell, lanes in product(KINDS, (104, 128))
    ]
    return whole + apart


def measure(device: str, manner: Manner) -> list[dict[str, Any]]:
    """Time a whole update of a model on each kernel, in turns by cell."""
    found = []
    for cell in KINDS:
        mine = {kernel.label: kernel for kernel in listed() if kernel.cell == cell}
        timings = in_turns({label: timed(update_of(k, device)) for label, k in mine.items()}, manner)
        for label, kernel in mine.items():
            rate = kernel.size.lanes * kernel.size.window / timings[label].median
            found.append({"kernel": label, **timings[label].to_dict(), "chars_per_second": rate})
    return found


def update_of(kernel: Kernel, device: str) -> Callable[[], object]:
    """Return one whole update: embedding, layers, linear, loss, backward, clip, Adam."""
    size, kind = kernel.size, torch.device(device).type
    calls = size.layers if kernel.apart else 1
    layers = nn.ModuleList(
        [KINDS[kernel.cell](size.hidden, size.hidden, size.layers // calls) for _ in range(calls)]
    )
    embedding, linear = nn.Embedding(SYMBOLS, size.hidden), nn.Linear(size.hidden, SYMBOLS)
    model = nn.ModuleList([embedding, layers, linear]).to(device)
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, 1e-3, fused=True)
    scaler = torch.amp.GradScaler(kind, enabled=kernel.numbers == "float16")
    ids = torch.randint(SYMBOLS, (size.window + 1, size.lanes), device=device)
    low = getattr(torch, kernel.numbers, torch.float32)

    def update() -> float:
        with _float32_as(kernel.numbers):
            with torch.autocast(kind, low, enabled=low != torch.float32):
                x: Tensor = embedding(ids[:-1])
                for layer in layers:
                    x, _ = layer(x)
                loss = functional.cross_entropy(linear(x).flatten(0, 1).float(), ids[1:].flatten())
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(parameters, 5.0)
            scaler.step(optimizer)
            scaler.update()
        return float(loss.detach())

    return update


@contextmanager
def _float32_as(numbers: str) -> Iterator[None]:
    """Let the GPU compute float32 products in TF32 for a while, or keep it from that."""
    wanted = "tf32" if numbers == "tf32" else "ieee"
    places: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn.rnn]
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = wanted
        yield
    finally:
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision
