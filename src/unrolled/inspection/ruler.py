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
from unrolled.inspection.quiet import undisturbed
from unrolled.inspection.reading import check_reads_text, checked_ids, document_starts
from unrolled.net import Net

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

TOLERANCE = 0.01
"""Bits by which a prediction may be worse with less context before it counts."""
ERRORS = 2.0
"""Standard errors of the mean difference below which it is taken for noise."""
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
    """The mean loss in bits with so many, [K], over the same positions."""
    excess: Floats
    """By how many bits it is higher than with the longest context, [K]."""
    error: Floats
    """The standard error of ``excess``, from the differences at each position, [K]."""
    reach: Counts
    """Steps back, k, [R], ascending."""
    gradient: Floats
    """The norm of d loss_t / d state_{t−k} in nats, all recurrent layers together, [R]: the geometric mean
    over the positions at which it isn't zero. A state of whole numbers has none."""
    positions: int
    """Over how many positions of the text the loss is a mean."""
    window: int | None = None
    """Steps of the windows it was trained with, where gradients were cut."""
    units: str = "symbol"
    """What a symbol is, a ``char`` or ``byte`` say."""

    @property
    def used(self) -> int:
        """The smallest context tried from which on more of it doesn't matter.

        That is: from there on the excess is below 0.01 bits, or within two standard errors of nothing.
        """
        matters = self.excess > np.maximum(TOLERANCE, ERRORS * self.error)
        return int(self.context[np.flatnonzero(matters)[-1] + 1 if matters.any() else 0])

    @property
    def is_open(self) -> bool:
        """Whether even the longest context but one was too short, so that more might be used."""
        return len(self.context) > 1 and self.used == self.context[-1]

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
        last, at = int(self.context[-1]), int(np.searchsorted(self.context, self.used))
        unit = {"char": "character"}.get(self.units, self.units)
        told = f"{self.used:,} {unit}{'' if self.used == 1 else 's'} of context"
        if not at:
            return f"Predictions use at most {told}: up to {last:,} make them no better."
        before = f"with {int(self.context[at - 1]):,} the loss is {self.excess[at - 1]:.3f} ± "
        before += f"{self.error[at - 1]:.3f} bits above the {self.bits[-1]:.3f} bits a {unit} of {last:,}"
        if self.is_open:
            return f"Predictions still change at {told}, the most that was tried: {before}."
        noise = f"{TOLERANCE:g} bits or {ERRORS:g} standard errors"
        return f"Predictions use {told}: {before}; from {self.used:,} on it is within {noise} of them."

    def _gradients(self) -> str:
        if not len(self.gradient) or not self.gradient[0]:
            return ""
        if self.fades is None:
            return f"Gradients reach back {int(self.reach[-1]):,} steps and more."
        return f"Gradients fall below a hundredth {self.fades:,} steps back."

    def _verdict(self) -> str:
        if self.window is None:
            return ""
        start = f"The training window of {self.window:,} was"
        if self.used > self.window:
            return f"{start} too short: what lies further back still changes predictions."
        if self.is_open or 4 * self.used > self.window:
            return f"{start} about right."
        return f"{start} longer than needed."


def measure_memory(
    model: Net,
    ids: Iterable[int],
    *,
    window: int | None = None,
    longest: int = 1000,
    positions: int = 256,
    seed: int = 0,
) -> Memory:
    """Cut the context of predictions at places of ``ids`` [N] drawn by ``seed``, and see what is lost.

    ::

        for k in (1, 2, 3, …, longest):
            logits, _ = model(ids[p - k : p], model.initial_state(1))       # for each position p
            bits[k] = mean(−log2 softmax(logits[-1])[ids[p]])

    Every context is read from the initial state, in evaluation mode, documents anew as in training. All
    contexts are tried at the same positions, so their differences are compared in pairs. The cost is about
    3 · ``longest`` steps of ``positions`` lanes. ``window`` is what the net was trained with. The model is
    not changed.

    UsageError for a net that can't read symbol by symbol, and for a text too short for ``longest``.
    """
    check_reads_text(model)
    text = checked_ids(model, ids)
    for name, value, least in (("longest", longest, 2), ("positions", positions, 2)):
        if not isinstance(value, int) or value < least:
            raise UsageError(f"{name}: wanted a whole number of at least {least}, came {value!r}")
    if len(text) < longest + positions:
        raise UsageError(
            f"{positions} positions with {longest} symbols before them need {longest + positions} ids, came "
            f"{len(text)}; give more text, or lower longest or positions"
        )
    draw = np.random.default_rng(seed)
    places = longest + draw.choice(len(text) - longest, positions, replace=False)
    context = contexts(longest)
    with undisturbed(model):
        lanes = _Lanes(model, text, places)
        nats = np.stack([lanes.nats(int(k)) for k in context])
        steps, starts = _columns(text, document_starts(model, text), places[:_GRADIENTS], longest)
        norms = gradient_norms(model, steps, torch.from_numpy(text[places[:_GRADIENTS]]), starts, context)
    return _memory(context, nats / np.log(2), norms, window, model)


def contexts(longest: int) -> Counts:
    """Return 1 to 10, then six lengths a decade about evenly apart in their logarithm, up to ``longest``."""
    count = int(np.ceil(_A_DECADE * np.log10(max(longest / _EVERY, 1))))
    spaced = _EVERY * 10 ** (np.arange(count) / _A_DECADE)
    tried = {*range(1, _EVERY + 1), *np.rint(spaced).astype(int).tolist(), longest}
    return np.array(sorted(k for k in tried if k <= longest), np.int64)


def _memory(context: Counts, bits: Floats, norms: Floats, window: int | None, net: Net) -> Memory:
    """Summarise bits [K, P] and gradient norms [R, lanes] as logarithms, of which none is −inf."""
    paired = bits - bits[-1]
    error = paired.std(1, ddof=1) / np.sqrt(bits.shape[1])
    return Memory(
        context,
        bits.mean(1),
        paired.mean(1),
        error,
        context if len(norms) else context[:0],
        np.array([_geometric_mean(row) for row in norms]),
        bits.shape[1],
        window,
        net.vocab.units if net.vocab is not None else "symbol",
    )


def _geometric_mean(logs: Floats) -> float:
    """Return the geometric mean of numbers given as logarithms, of those that aren't zero; 0 if all are."""
    there = logs[logs > -np.inf]
    return float(np.exp(there.mean())) if len(there) else 0.0


def _columns(text: Counts, starts: NDArray[np.bool_], places: Counts, k: int) -> tuple[Tensor, Tensor | None]:
    """Return the ``k`` ids before each place, [k, P], and where documents start among them, if any does."""
    index = places[None] - k + np.arange(k)[:, None]
    fresh = starts[index]
    return torch.from_numpy(text[index]), torch.from_numpy(fresh) if fresh.any() else None


class _Lanes:
    """One lane a position, read from any distance before it."""

    def __init__(self, net: Net, text: Counts, places: Counts) -> None:
        self.net, self.text, self.places = net, text, places
        self.starts = document_starts(net, text)

    @torch.no_grad()
    def nats(self, k: int) -> Floats:
        """Return the loss [P] at each position, of ``k`` symbols read before it."""
        device = self.net.wiring.device
        steps, fresh = _columns(self.text, self.starts, self.places, k)
        state = self.net.initial_state(len(self.places))
        for begin in range(0, k, _STEPS):
            at = slice(begin, begin + _STEPS)
            marks = None if fresh is None else fresh[at].to(device)
            logits, state = self.net(steps[at].to(device), state, fresh=marks)
        target = torch.from_numpy(self.text[self.places]).to(device)
        nats: Floats = functional.cross_entropy(logits[-1].double(), target, reduction="none").cpu().numpy()
        return nats
