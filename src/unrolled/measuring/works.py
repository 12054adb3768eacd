"""What is timed: a whole update, and sampling, of a net of two equal recurrent layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import torch

from unrolled.cells import Cell
from unrolled.data import Window
from unrolled.errors import UsageError
from unrolled.net import Chain, Net, chain
from unrolled.sample import Choice, Stream, Streams
from unrolled.settings import TrainingSettings
from unrolled.training.learner import Learner

SYMBOLS = 96
"""How many different ids there are, V: about what English prose has."""
CHARS = 100
"""Ids that one call of a sampling work draws from each stream."""


@dataclass(frozen=True)
class Size:
    """The sizes of a net of two layers and of its windows."""

    hidden: int
    """Units of each layer, H."""
    lanes: int
    """B."""
    window: int
    """T."""
    layers: int = 2
    """L."""

    @property
    def label(self) -> str:
        """As ``--sizes`` takes it."""
        known = {size: name for name, size in SIZES.items()}
        return known.get(self, f"{self.hidden}x{self.lanes}x{self.window}")

    def __str__(self) -> str:
        return f"{self.layers}×{self.hidden}, {self.lanes} lanes × {self.window} steps"


SIZES = {"128": Size(128, 50, 50), "512": Size(512, 100, 100)}
"""The sizes that have a name."""


def size_of(words: str) -> Size:
    """Read a size: a name, or HIDDENxLANESxWINDOW."""
    if words in SIZES:
        return SIZES[words]
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})x(\d{1,6})", words)
    numbers = [int(number) for number in found.groups()] if found else [0]
    if min(numbers) < 1:
        known = ", ".join(SIZES)
        raise UsageError(f"sizes: wanted {known} or HIDDENxLANESxWINDOW such as 256x32x64, came {words!r}")
    return Size(*numbers)


@dataclass(frozen=True)
class Case:
    """One net in one way of running it."""

    cell: str
    """What the spec calls the cell."""
    size: Size
    engine: str = "auto"
    precision: str = "float32"
    device: str = "cpu"
    embedding: bool = True
    """Whether ids are read through an embedding as wide as the layers; else one-hot."""


def net_of(case: Case, cells: Mapping[str, type[Cell]] | None = None) -> Net:
    """Return the net of a case with random weights; ``cells`` holds the user's own, by the spec's names."""
    size = case.size
    sizes = Chain(
        SYMBOLS,
        cell=case.cell,
        layers=size.layers,
        hidden=size.hidden,
        embedding=size.hidden if case.embedding else 0,
    )
    net = Net(chain(sizes), cells=cells)
    net.engine, net.bf16 = case.engine, case.precision == "bf16"
    return net.to(device=case.device, dtype=torch.float32 if net.bf16 else getattr(torch, case.precision))


def precisions() -> tuple[str, ...]:
    """Return the precisions in which nets can be trained."""
    return get_args(get_type_hints(TrainingSettings)["precision"])


def update_of(net: Net, case: Case) -> Callable[[], object]:
    """Return one whole update: forward, loss, backward, clip, Adam, state carried on."""
    options: dict[str, Any] = {"precision": case.precision, "engine": case.engine, "device": case.device}
    learner = Learner(net, TrainingSettings(**options))
    ids = torch.randint(SYMBOLS, (case.size.window + 1, case.size.lanes))
    window = Window(ids[:-1].contiguous(), ids[1:].contiguous(), None, None)
    return lambda: learner.learn(window, 1e-3)


def draws_of(net: Net, weights: str = "float32") -> Callable[[], object]:
    """Return the drawing of ``CHARS`` ids by one stream that goes on."""
    stream = Stream(net, Choice(temperature=0.8), seed=1, weights=weights)
    return lambda: stream.take(CHARS)


def draws_of_several(net: Net, streams: int) -> Callable[[], object]:
    """Return the drawing of ``CHARS`` ids by each of several streams that go on together."""
    several = Streams([Stream(net, Choice(temperature=0.8), seed=seed) for seed in range(streams)])
    return lambda: several.take(CHARS)
