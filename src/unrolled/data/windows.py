"""Lanes and windows: B readers walk a text side by side, T steps at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unrolled.data.corpus import Corpus
from unrolled.errors import TextError, UsageError

Array = npt.NDArray[Any]


class Window(NamedTuple):
    """T successive steps of B lanes.

    ``inputs`` are ids [T, B] int64 or floats [T, B, D]; ``targets`` ids [T, B] int64, -1 at padded steps,
    or floats [T, B, K]. ``fresh`` [T, B] bool marks the inputs that start a document or an epoch; None
    when nothing starts here. ``lengths`` [B] int64 says how many steps each lane has; None when all have
    T. In the last window of an epoch it may be 0.
    """

    inputs: Tensor
    targets: Tensor
    fresh: Tensor | None
    lengths: Tensor | None
    context: int = 0
    """How many of its first steps were read before, and are here for gradients to reach back through."""
    overlap: int = 0
    """How many of its last steps the next window begins with."""

    def part(self, begin: int, end: int) -> Window:
        """Return steps ``begin`` up to ``end``, with their marks and lengths."""
        fresh = _marks(self)
        lengths = None if self.lengths is None else (self.lengths - begin).clamp(0, end - begin)
        return Window(
            self.inputs[begin:end],
            self.targets[begin:end],
            None if fresh is None else fresh[begin:end],
            lengths,
        )


class Windows:
    """The windows of one epoch: ``windows[k]`` depends on k alone, so a cursor is (epoch, k).

    The loop it stands for, for N ids and a target after each input::

        for b, (begin, end) in enumerate(lane_bounds(N - 1, lanes)):
            inputs[:, b], targets[:, b] = ids[begin:end], ids[begin + 1 : end + 1]
        windows = [inputs[k : k + length] for k in range(0, len(inputs), length)]

    Lane b of window k + 1 continues lane b of window k. Every target comes once an epoch, none wraps
    around, and every lane is fresh at window 0. The last window is shorter, with ``lengths`` where the
    lanes differ.

    ``source`` is a Corpus, ids [N], or floats [N, D]. Step n's target is ``source[n + 1]``, or
    ``targets[n]`` where ``targets`` [N] or [N, K] are given. ``starts`` are the positions at which
    documents start; a Corpus brings its own. Too short a source is a TextError, a wrong size a UsageError.
    """

    def __init__(
        self,
        source: Corpus | Tensor | Array | Sequence[Any],
        lanes: int,
        length: int,
        *,
        targets: Tensor | Array | Sequence[Any] | None = None,
        starts: Sequence[int] | Array | None = None,
    ) -> None:
        if length < 1:
            raise UsageError(f"A window needs at least 1 step, not {length}. Raise --window.")
        inputs = _array(source.ids if isinstance(source, Corpus) else source)
        if starts is None:
            starts = source.starts if isinstance(source, Corpus) else np.zeros(1, np.int64)
        self._inputs = inputs
        self._targets = inputs[1:] if targets is None else _array(targets)
        self._starts = np.asarray(starts, np.int64)
        self.num_targets = self._checked_targets(lanes, targets is not None)
        self.bounds = lane_bounds(self.num_targets, lanes)
        self.lanes, self.length = lanes, length
        self._begins, self._ends = np.array(self.bounds, np.int64).T
        self._steps = int(self._ends[0] - self._begins[0])

    def __len__(self) -> int:
        return -(-self._steps // self.length)

    def __iter__(self) -> Iterator[Window]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, k: int) -> Window:
        """Build window ``k``, from 0; this touches T × B symbols and nothing else."""
        if not 0 <= k < len(self):
            raise IndexError(f"An epoch has windows 0 to {len(self) - 1}, not {k}.")
        first = self._begins + k * self.length
        num_steps = min(self.length, self._steps - k * self.length)
        lengths = np.clip(self._ends - first, 0, num_steps)
        index = first + np.arange(num_steps)[:, None]
        padded = None
        if lengths[-1] < num_steps:
            padded = np.arange(num_steps)[:, None] >= lengths
            index[padded] = 0
        return Window(
            _take(self._inputs, index, padded, 0),
            _take(self._targets, index, padded, -1),
            self._fresh(first, lengths, num_steps, k),
            None if padded is None else torch.from_numpy(lengths),
        )

    def _fresh(self, first: Array, lengths: Array, num_steps: int, k: int) -> Tensor | None:
        """Mark the documents that start at ``first[b] <= position < first[b] + lengths[b]``."""
        low = np.searchsorted(self._starts, first)
        counts = np.searchsorted(self._starts, first + lengths) - low
        total = int(counts.sum())
        if k > 0 and total == 0:
            return None
        fresh = np.zeros((num_steps, self.lanes), bool)
        fresh[0] = k == 0
        lane = np.repeat(np.arange(self.lanes), counts)
        nth = np.arange(total) + np.repeat(low - (np.cumsum(counts) - counts), counts)
        fresh[self._starts[nth] - first[lane], lane] = True
        return torch.from_numpy(fresh)

    def _checked_targets(self, lanes: int, own_targets: bool) -> int:
        size = len(self._inputs)
        if own_targets and len(self._targets) != size:
            raise UsageError(
                f"Every step needs a target, but {size} inputs came with {len(self._targets)} targets."
                " Give as many of both."
            )
        if lanes < 1:
            raise UsageError(f"Reading needs at least 1 lane, not {lanes}. Raise --lanes.")
        each, what = (1, "step") if own_targets else (2, "id")
        if size < each * lanes:
            lower = f"Lower --lanes to {size // each} or give" if size >= each and lanes > 1 else "Give"
            raise TextError(
                f"{lanes} lane{'s need' if lanes > 1 else ' needs'} at least {each * lanes}"
                f" {what}{'s' if each * lanes > 1 else ''}, the corpus has {size}. {lower} more text."
            )
        if self._starts.ndim != 1 or (
            len(self._starts) and not 0 <= self._starts[0] <= self._starts[-1] < size
        ):
            raise UsageError(f"Starts are sorted positions from 0 to {size - 1}. Give them so.")
        return size if own_targets else size - 1


def lane_bounds(num_targets: int, lanes: int) -> list[tuple[int, int]]:
    """Split targets 0 … ``num_targets`` - 1 into contiguous runs, one a lane, as (begin, end).

    Their lengths differ by at most 1, longer ones first.
    """
    if lanes < 1:
        raise UsageError(f"Reading needs at least 1 lane, not {lanes}. Raise --lanes.")
    if num_targets < lanes:
        raise TextError(
            f"{lanes} lanes need at least {lanes} targets, there are {num_targets}. Give more text."
        )
    size, longer = divmod(num_targets, lanes)
    cuts = [b * size + min(b, longer) for b in range(lanes + 1)]
    return list(itertools.pairwise(cuts))


def reaching(windows: Windows | Sequence[Window], number: int, before: int) -> Window:
    """Return a window of an epoch with up to ``before`` steps that come before it as its ``context``.

    ``number`` counts from 0, as in ``windows[number]``; nothing comes before an epoch's first step.
    UsageError where those steps are padded.
    """
    found, missing, at = [windows[number]], before, number
    while missing > 0 and at > 0:
        at -= 1
        earlier = windows[at]
        if earlier.lengths is not None:
            raise UsageError(
                f"Window {at} of the epoch has lengths, and window {number} is to reach back over its padded"
                " steps. Pad the last window of an epoch alone, or reach back no farther than a window."
            )
        T = len(earlier.inputs)
        found.insert(0, earlier.part(max(0, T - missing), T))
        missing -= len(found[0].inputs)
    T = sum(len(window.inputs) for window in found)
    last = number == len(windows) - 1
    return _joined(found)._replace(context=before - missing, overlap=0 if last else min(before, T))


def _joined(windows: Sequence[Window]) -> Window:
    """Return windows that go on from one another as one; only the last may have lengths."""
    inputs = torch.cat([window.inputs for window in windows])
    targets = torch.cat([window.targets for window in windows])
    marks = [_marks(window) for window in windows]
    fresh = None
    if any(mark is not None for mark in marks):
        unmarked = [torch.zeros(window.inputs.shape[:2], dtype=torch.bool) for window in windows]
        fresh = torch.cat([no if m is None else m.cpu() for m, no in zip(marks, unmarked, strict=True)])
    lengths = windows[-1].lengths
    if lengths is not None:
        lengths = lengths + (len(inputs) - len(windows[-1].inputs))
    return Window(inputs, targets, fresh, lengths)


def _marks(window: Window) -> Tensor | None:
    """Return a window's marks [T, B]; those of step 0 alone may have come as [B]."""
    fresh = window.fresh
    if fresh is None or fresh.dim() != 1:
        return fresh
    marks = torch.zeros(window.inputs.shape[:2], dtype=torch.bool, device=fresh.device)
    marks[:1] = fresh
    return marks


def padded(sequences: Sequence[Tensor | Array | Sequence[Any]], fill: float = 0) -> tuple[Tensor, Tensor]:
    """Lay sequences [T_b, …] side by side, filled up to the longest; return x [T, B, …] and lengths [B].

    ``unroll`` with these lengths neither reads nor counts the padded steps; ``fill=-1`` makes targets
    that no loss counts.
    """
    if not len(sequences):
        raise UsageError("Padding needs at least 1 sequence, none came.")
    tensors = [torch.as_tensor(sequence) for sequence in sequences]
    shapes = sorted({tuple(t.shape[1:]) for t in tensors})
    if len(shapes) > 1 or any(t.ndim == 0 for t in tensors):
        raise UsageError(f"Sequences to pad must be [T, …] and differ in T only, not in {shapes}.")
    lengths = torch.tensor([len(t) for t in tensors], dtype=torch.int64)
    return torch.nn.utils.rnn.pad_sequence(tensors, padding_value=float(fill)), lengths


def _array(values: Any) -> Array:
    """Return ``values`` as a plain array, without a copy where they are one already."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.ndim == 0 or array.dtype.kind not in "iubf":
        raise UsageError(
            f"Windows are cut from ids [N] or floats [N, D], not from {array.dtype} {array.shape}."
        )
    return array


def _take(array: Array, index: Array, padded: Array | None, fill: int) -> Tensor:
    """Return ``array[index]`` [T, B, …] as int64 or floats; padded steps hold ``fill``, or 0.0 if floats."""
    taken = array[index]
    floats = taken.dtype.kind == "f"
    taken = taken if floats else taken.astype(np.int64)
    if padded is not None:
        taken[padded] = 0 if floats else fill
    return torch.from_numpy(taken)
