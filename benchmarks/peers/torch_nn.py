"""torch.nn.LSTM, GRU and RNN as its users train them and sample from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from peers import CHARS, LAYERS, SYMBOLS

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
TEMPERATURE = 0.8


class Model(nn.Module):
    """Embedding, recurrent layers, linear."""

    def __init__(self, cell: str, hidden: int, one_hot: bool = False) -> None:
        super().__init__()
        self.one_hot = one_hot
        self.embedding = None if one_hot else nn.Embedding(SYMBOLS, hidden)
        self.recurrent = KINDS[cell](SYMBOLS if one_hot else hidden, hidden, LAYERS)
        self.linear = nn.Linear(hidden, SYMBOLS)

    def forward(self, ids: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return logits [T, B, V] for ids [T, B], and the last state."""
        x = functional.one_hot(ids, SYMBOLS).float() if self.embedding is None else self.embedding(ids)
        y, state = self.recurrent(x, state)
        return self.linear(y), state


def build(work: dict[str, Any]) -> Callable[[], object]:
    """Return an update or draws."""
    torch.set_num_threads(work["threads"])
    torch.manual_seed(0)
    if work["do"] == "train":
        return _update(work)
    return _draw_by_cells(work) if work.get("by") == "cells" else _draw(work)


def _update(work: dict[str, Any]) -> Callable[[], object]:
    model = Model(work["cell"], work["hidden"], work.get("reads") == "one-hot")
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, 1e-3, fused=True)
    ids = torch.randint(SYMBOLS, (work["window"] + 1, work["lanes"]))
    inputs, targets = ids[:-1].contiguous(), ids[1:].flatten()
    state: Any = None

    def update() -> float:
        nonlocal state
        with _precision(work), _library(work):
            logits, after = model(inputs, state)
            loss = functional.cross_entropy(logits.float().flatten(0, 1), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        state = tuple(part.detach() for part in after) if isinstance(after, tuple) else after.detach()
        return float(loss.detach())

    return update


def _precision(work: dict[str, Any]) -> AbstractContextManager[Any]:
    if work.get("precision") != "bf16":
        return nullcontext()
    return torch.autocast("cpu", dtype=torch.bfloat16)


@contextmanager
def _library(work: dict[str, Any]) -> Iterator[None]:
    """Do without oneDNN where that is asked for; matrix products are then the BLAS library's."""
    onednn: Any = torch.backends.mkldnn
    onednn.enabled = not work.get("without_onednn")
    try:
        yield
    finally:
        onednn.enabled = True


def _draw(work: dict[str, Any]) -> Callable[[], object]:
    """Draw by nn.LSTM, one step at a time."""
    model = Model(work["cell"], work["hidden"]).eval()
    ids, state = torch.zeros(1, 1, dtype=torch.long), None

    @torch.inference_mode()
    def draw() -> None:
        nonlocal ids, state
        for _ in range(CHARS):
            logits, state = model(ids, state)
            ids = torch.multinomial(torch.softmax(logits[-1] / TEMPERATURE, -1), 1)

    return draw


def _draw_by_cells(work: dict[str, Any]) -> Callable[[], object]:
    """Draw by nn.LSTMCell, which prepares no weights anew."""
    kind = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}[work["cell"]]
    hidden = work["hidden"]
    cells = nn.ModuleList([kind(hidden, hidden) for _ in range(LAYERS)])
    embedding, linear = nn.Embedding(SYMBOLS, hidden), nn.Linear(hidden, SYMBOLS)
    ids, states = torch.zeros(1, dtype=torch.long), [None] * LAYERS

    @torch.inference_mode()
    def draw() -> None:
        nonlocal ids
        for _ in range(CHARS):
            x = embedding(ids)
            for number, cell in enumerate(cells):
                states[number] = cell(x, states[number])
                x = states[number][0] if work["cell"] == "lstm" else states[number]
            ids = torch.multinomial(torch.softmax(linear(x) / TEMPERATURE, -1), 1)[0]

    return draw
