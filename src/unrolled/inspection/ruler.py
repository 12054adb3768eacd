"""The memory ruler: how much of the past a net's predictions need, and how far back gradients reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unrolled.errors import UsageError
from unrolled.inspection.gradients import gradient_norms
from unrolled.inspection.reading import check_reads_text, checked_ids, document_starts
from unrolled.net import Net
from unrolled.net.quiet import device_of, undisturbed

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

TOLERANCE = 0.01
"""Bits by which a prediction may be worse with less context before it counts."""
ERRORS = 2.0
"""Standard errors by which a mean difference may be off."""
_EVERY = 10  # contexts up to this are tried one by one
_A_DECADE = 6  # how many are tried between n and 10 n after that
_STEPS = 64  # read in one call, whose logits are then dropped
_GRADIENTS = 32  # positions whose gradients are followed


@dataclass(frozen=True)
class Memory:
    """How a net's predictions depend on the past; contexts count the symbols kept before the one foretold."""

    context: Counts
    """How many symbols were kept, [K], ascending."""
    bits: Floats
    """The mean loss in bits with so many, [K]: that of the whole context and the excess."""
    excess: Floats
    """By how many bits the loss is higher than with the whole context, a mean of differences, [K]."""
    error: Floats
    """The standard error of ``excess``, [K]."""
    whole: float
    """The mean loss in bits with the whole context: the longest tried, or more, up to twice that."""
    reach: Counts
    """Steps back, k, [R], ascending."""
    gradient: Floats
    """The norm of d loss_t / d state_{t−k} in nats, all recurrent layers together, [R]: the geometric mean
    over the positions at which it isn't zero. A state of whole numbers has none."""
    window: int | None = None
    """Steps of the windows it was trained with, where gradients were cut."""
    units: str = "symbol"
    """What a symbol is, a ``char`` or ``byte`` say."""

    @property
    def used(self) -> int:
        """The context that predictions use at least: the next one tried below it is certainly too short.

        Certainly: the loss is higher by more than 0.01 bits and by more than two standard errors.
        """
        return self._after(self.excess > np.maximum(TOLERANCE, ERRORS * self.error))

    @property
    def enough(self) -> int:
        """The context that predictions use at most: with it the loss is higher by less than 0.01 bits.

        So it is with every longer one, two standard errors on top included. The longest tried, where that
        isn't enough either.
        """
        return self._after(self.excess + ERRORS * self.error > TOLERANCE)

    def _after(self, matters: NDArray[np.bool_]) -> int:
        """Return the context after the last that matters, or the longest."""
        first = np.flatnonzero(matters)[-1] + 1 if matters.any() else 0
        return int(self.context[min(first, len(self.context) - 1)])

    @property
    def is_open(self) -> bool:
        """Whether even the longest context is certainly too short."""
        return bool(self.excess[-1] > max(TOLERANCE, ERRORS * self.error[-1]))

    @property
    def fades(self) -> int | None:
        """The first step back where the gradient is below a hundredth of that one step back, and stays so."""
        large = np.flatnonzero(self.gradient >= self.gradient[:1] / 100)
        if not len(self.gradient) or not self.gradient[0] or large[-1] + 1 == len(self.reach):
            return None
        return int(self.reach[large[-1] + 1])

    @property
    def sentence(self) -> str:
        """What it comes to, in plain words."""
        return " ".join(part for part in (self._uses(), self._gradients(), self._verdict()) if part)

    def _uses(self) -> str:
        last, unit = int(self.context[-1]), {"char": "character"}.get(self.units, self.units)
        low, high = f"{self.used:,}", f"{self.enough:,}"
        if self.is_open:
            return f"Predictions use more than {last:,} {unit}s of context: {self._lost(last, unit)}."
        told = f"{low} {unit}{'' if self.enough == 1 else 's'} of context"
        if low != high:
            told = f"between {low} and {high} {unit}s of context"
        at = int(np.searchsorted(self.context, self.used))
        before = [self._lost(int(self.context[at - 1]), unit)] if at else []
        after = f"with {high} by less than {TOLERANCE:g}" if at else f"with {last:,} they are no better"
        return f"Predictions use {told}: {', '.join([*before, after])}."

    def _lost(self, context: int, unit: str) -> str:
        at = int(np.searchsorted(self.context, context))
        return (
            f"with {context:,} the loss is {self.excess[at]:.3f} ± {self.error[at]:.3f} bits above the "
            f"{self.whole:.3f} bits a {unit} with the whole context"
        )

    def _gradients(self) -> str:
        if not len(self.gradient) or not self.gradient[0]:
            return ""
        if self.fades is None:
            return f"Gradients reach back {int(self.reach[-1]):,} steps and more."
        return f"Gradients fall below a hundredth {self.fades:,} steps back."

    def _verdict(self) -> str:
        if self.window is None or (self.is_open and self.window >= self.used):
            return ""
        start = f"The training window of {self.window:,} was"
        if self.used > self.window:
            return f"{start} too short: what lies further back still changes predictions."
        if 4 * self.enough > self.window:
            return f"{start} about right."
        return f"{start} longer than needed."


def measure_memory(
    model: Net,
    ids: Iterable[int],
    *,
    window: int | None = None,
    longest: int = 1000,
    positions: int = 128,
    seed: int = 0,
) -> Memory:
    """Cut the context of predictions at places of ``ids`` [N] drawn by ``seed``, and see what is lost.

    ::

        for k in (1, 2, 3, …, longest):
            for p in places[:P[k]]:
                logits, _ = model(ids[p - k : p], model.initial_state(1))
                lost[k, p] = −log2 softmax(logits[-1])[ids[p]] − whole[p]

    Every context is read from the initial state, in evaluation mode, documents anew as in training; so is
    the whole one, of ``longest`` symbols or more. The longest context is tried at ``positions`` places, k of
    them at √(longest / k) times as many, so that the cost is about 5,700 · ``positions`` steps of one lane
    for 1,000 and 2 · N more. ``window`` is what the net was trained with. The model is not changed.

    UsageError for a net that can't read symbol by symbol, and for a text too short for ``longest``.
    """
    check_reads_text(model)
    text = checked_ids(model, ids)
    for name, value, least in (("longest", longest, 1), ("positions", positions, 2)):
        if not isinstance(value, int) or value < least:
            raise UsageError(f"{name}: wanted a whole number of at least {least}, came {value!r}")
    if len(text) < longest + positions:
        raise UsageError(
            f"{positions} positions with {longest} symbols before them need {longest + positions} ids, came "
            f"{len(text)}; give more text, or lower longest or positions"
        )
    places = longest + np.random.default_rng(seed).permutation(len(text) - longest)
    context, reading = contexts(longest), _Reading(model, text)
    with undisturbed(model):
        whole = reading.whole(longest)
        lost = []
        for k in context.tolist():
            some = places[: int(positions * (longest / k) ** 0.5)]
            lost.append((reading.cut(some, k) - whole[some - longest]) / np.log(2))
        some = places[:_GRADIENTS]
        norms = gradient_norms(model, *reading.before(some, longest), reading.at(some), context)
    excess = np.array([of_one.mean() for of_one in lost])
    return Memory(
        context,
        whole.mean() / np.log(2) + excess,
        excess,
        np.array([of_one.std(ddof=1) / len(of_one) ** 0.5 for of_one in lost]),
        float(whole.mean() / np.log(2)),
        context[: len(norms)],
        np.array([_geometric_mean(row) for row in norms]),
        window,
        model.vocab.units if model.vocab is not None else "symbol",
    )


def contexts(longest: int) -> Counts:
    """Return 1 to 10, then six lengths a decade about evenly apart in their logarithm, up to ``longest``."""
    count = int(np.ceil(_A_DECADE * np.log10(max(longest / _EVERY, 1))))
    spaced = _EVERY * 10 ** (np.arange(count) / _A_DECADE)
    tried = {*range(1, _EVERY + 1), *np.rint(spaced).astype(int).tolist(), longest}
    return np.array(sorted(k for k in tried if k <= longest), np.int64)


def _geometric_mean(logs: Floats) -> float:
    """Return the geometric mean of numbers given as logarithms, of those that aren't zero; 0 if all are."""
    there = logs[logs > -np.inf]
    return float(np.exp(there.mean())) if len(there) else 0.0


class _Reading:
    """A text, read from wherever one likes, in as many lanes at once."""

    def __init__(self, net: Net, text: Counts) -> None:
        self.net, self.text, self.starts = net, text, document_starts(net, text)

    def before(self, places: Counts, k: int) -> tuple[Tensor, Tensor | None]:
        """Return the ``k`` ids before each place, [k, P], and where documents start among them, if any."""
        return self._columns(places[None] - k + np.arange(k)[:, None])

    def at(self, places: Counts) -> Tensor:
        """Return the ids at ``places`` [P]."""
        return torch.from_numpy(self.text[places])

    def cut(self, places: Counts, k: int) -> Floats:
        """Return the loss in nats [P] at each place, of ``k`` symbols read before it."""
        steps, fresh = self.before(places, k)
        [nats] = self._nats(steps, fresh, self.at(places)[None])
        found: Floats = nats
        return found

    def whole(self, longest: int) -> Floats:
        """Return the loss in nats [N − longest] at each place, of at least ``longest`` symbols before it."""
        places = np.arange(longest, len(self.text), longest)
        index = places[None] - longest + np.arange(2 * longest)[:, None]
        steps, fresh = self._columns(np.minimum(index, len(self.text) - 1))
        nats = self._nats(steps[:-1], None if fresh is None else fresh[:-1], steps[longest:])
        in_order: Floats = nats.T.ravel()[: len(self.text) - longest]
        return in_order

    def _columns(self, index: Counts) -> tuple[Tensor, Tensor | None]:
        fresh = self.starts[index]
        return torch.from_numpy(self.text[index]), torch.from_numpy(fresh) if fresh.any() else None

    @torch.no_grad()
    def _nats(self, steps: Tensor, fresh: Tensor | None, target: Tensor) -> Floats:
        """Read ``steps`` [k, P]; return the loss [n, P] of the last n predictions of ``target`` [n, P]."""
        device, (k, P) = device_of(self.net), steps.shape
        state, first = self.net.initial_state(P), k - len(target)
        found: list[Floats] = []
        for begin in range(0, k, _STEPS):
            at = slice(begin, begin + _STEPS)
            marks = None if fresh is None else fresh[at].to(device)
            logits, state = self.net(steps[at].to(device), state, fresh=marks)
            judged = logits[max(first - begin, 0) :].double()
            wanted = target[max(begin - first, 0) :][: len(judged)].to(device)
            nats = functional.cross_entropy(judged.flatten(0, 1), wanted.flatten(), reduction="none")
            found.append(nats.view(wanted.shape).cpu().numpy())
        return np.concatenate(found)
