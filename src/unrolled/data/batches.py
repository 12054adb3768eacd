"""Batches of examples: B examples side by side, filled up to the longest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unrolled.data.examples import Column, Examples, Length
from unrolled.errors import UsageError


@dataclass(frozen=True, eq=False)
class Batch:
    """B examples, time first.

    ``inputs`` by field: ids [T, B] int64, -1 where an example has ended, or floats [T, B, D], 0 there.
    Each length has a T of its own; fields of length 1 have T = 1. ``lengths`` by length but 1: the steps
    of each example [B] int64. ``rows`` [B] int64 says which examples these are, from 0.
    """

    inputs: Mapping[str, Tensor]
    lengths: Mapping[Length, Tensor]
    rows: Tensor
    carries: bool = False
    """Whether it goes on where the batch before it ended."""


class Batches:
    """Batch ``k`` of ``batches[k]`` depends on k alone; epoch e holds e · len … (e + 1) · len - 1.

    Every example comes once an epoch, ``lanes`` at a time; an epoch's last batch holds what is left. With
    ``shuffle`` each epoch has an order of its own, drawn from ``seed`` and the epoch; otherwise examples
    keep their order. Iterating gives epoch 0.

    ``num_targets`` is what an epoch predicts: the ids of the field ``target`` but -1, or its steps where
    it holds floats; without a ``target``, the number of examples.
    """

    def __init__(
        self, examples: Examples, lanes: int, seed: int = 0, shuffle: bool = True, target: str | None = None
    ) -> None:
        if lanes < 1:
            raise UsageError(f"A batch needs at least 1 lane, not {lanes}. Raise --lanes.")
        if seed < 0:
            raise UsageError(f"A seed is at least 0, not {seed}. Raise --seed.")
        self.examples, self.lanes, self.seed, self.shuffle = examples, lanes, seed, shuffle
        self.num_targets = len(examples) if target is None else _targets(examples, target)
        self._latest: tuple[int, npt.NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return -(-len(self.examples) // self.lanes)

    def __iter__(self) -> Iterator[Batch]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, k: int) -> Batch:
        """Build batch ``k``, from 0 and without an end."""
        if k < 0:
            raise IndexError(f"Batches count from 0, not from {k}.")
        epoch, nth = divmod(k, len(self))
        rows = self._order(epoch)[nth * self.lanes : (nth + 1) * self.lanes]
        inputs: dict[str, Tensor] = {}
        lengths: dict[Length, Tensor] = {}
        for field in self.examples.fields:
            inputs[field.name], steps = _side_by_side(self.examples.columns[field.name], rows)
            if field.length != 1:
                lengths[field.length] = steps
        return Batch(inputs, lengths, torch.from_numpy(rows.copy()))

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the examples [N] in this epoch's order; the latest one is kept, for speed alone."""
        if self._latest is None or self._latest[0] != epoch:
            count = len(self.examples)
            self._latest = epoch, shuffled(count, self.seed, epoch) if self.shuffle else np.arange(count)
        return self._latest[1]


def shuffled(count: int, *seeds: int) -> npt.NDArray[np.int64]:
    """Return 0 … ``count`` - 1 [N] in an order drawn from all of ``seeds``."""
    # SeedSequence mixes them, so that seed 1 in epoch 2 is not seed 2 in epoch 1.
    state = np.random.SeedSequence(seeds).generate_state(1, np.uint64)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(int(state[0]) >> 1))
    return np.asarray(order.numpy(), np.int64)


def _side_by_side(column: Column, rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    begins = column.offsets[rows]
    steps = column.offsets[rows + 1] - begins
    time = np.arange(steps.max())[:, None]
    ended = time >= steps
    index = np.where(ended, 0, begins + time)
    taken = column.values[index]
    taken[ended] = 0 if taken.ndim == 3 else -1
    return torch.from_numpy(taken), torch.from_numpy(steps)


def _targets(examples: Examples, target: str) -> int:
    values = examples.columns[examples.field(target).name].values
    return len(values) if values.ndim == 2 else int((values >= 0).sum())
