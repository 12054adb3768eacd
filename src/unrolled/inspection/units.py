"""Which units know something: every unit against every predicate of the text, with controls against noise.

A unit is announced for a predicate where, on the first part of the text and again on the held-out part, with
one sign,

1. the two correlate by at least ``LEAST_R``, and the unit with what the last two symbols do not tell of the
   predicate (a digit is seen, not known; see ``controls.contexts``) by at least ``LEAST_BEYOND``,
2. the latter is more than chance gives over all units and predicates together when the predicates are turned
   against the text (``controls.turned_maxima``), and more than the best of 512 random units with fading
   memories (``controls.random_units``),
3. the predicate becomes true, or a number falls, ``LEAST_SPANS`` times or more in each part,

and the order of the text's symbols tells something at all. Numbers are those of the held-out part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import UsageError
from unrolled.inspection import controls
from unrolled.inspection.controls import Floats, Ids
from unrolled.inspection.predicates import PREDICATES, Predicate

LEAST_R = 0.3
"""The least correlation that is announced."""
LEAST_BEYOND = 0.45
"""The least correlation with what the last symbols leave open: a fifth of its variance. Untrained nets, which
count the symbols since a space a little, reach 0.39."""
LEAST_SPANS = 5
"""A bool must become true so often in each part of the text, a number fall so often."""
LEAST_LEFT = 0.01
"""The least share of a predicate's variance that the last symbols must leave untold."""
LEAST_SYMBOLS = 200
"""A part of the text must have so many symbols."""


@dataclass(frozen=True)
class Finding:
    """A unit that knows something of the text beyond its last symbols."""

    series: str
    """The series' name, ``<layer>.<part>``."""
    layer: int
    """The layer's place in the net, from 1."""
    unit: int
    """The unit's place in the series, from 0."""
    predicate: Predicate
    """What it knows."""
    r: float
    """Pearson's correlation on the held-out text; it is negative where the unit is off inside."""
    beyond: float
    """The correlation with what the last symbols do not tell of the predicate, on the held-out text."""
    threshold: float
    """What ``beyond`` had to exceed on the held-out text."""

    @property
    def score(self) -> float:
        """The smaller of \\|r\\| and \\|beyond\\|, by which findings are ranked."""
        return min(abs(self.r), abs(self.beyond))

    @property
    def words(self) -> str:
        """Say it for people: ``unit 2/317: on inside double quotes, r = 0.81``."""
        name = f"unit {self.layer}/{self.unit}"
        part = self.series.rpartition(".")[2]
        if self.predicate.numeric:
            verb = "rises with" if self.r > 0 else "falls with"
        else:
            verb = "on" if self.r > 0 else "off"
        number = f"{self.r:.2f}".replace("-", "−")
        whose = "" if part in ("h", self.series) else f" ({part})"
        return f"{name}{whose}: {verb} {self.predicate.words}, r = {number}"


@dataclass(frozen=True)
class Findings:
    """What was announced, and every number behind it."""

    found: tuple[Finding, ...]
    """The announced ones, best first."""
    r: dict[str, Floats]
    """Of each series the held-out correlations [H, K] with all predicates, announced or not."""
    beyond: dict[str, Floats]
    """The same with what the last symbols do not tell of the predicates."""
    thresholds: Floats
    """What ``beyond`` had to exceed on the held-out text, [K]: chance among the units that passed the first
    part, random units, ``LEAST_BEYOND``; infinite for those left out."""
    predicates: tuple[Predicate, ...]
    """The K predicates, in order."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Why a predicate could not be tried, by name."""
    note: str = ""
    """Why nothing could be tried at all, if so."""

    @property
    def tries(self) -> int:
        """Pairs of a unit and a predicate that were tried."""
        return sum(len(array) for array in self.r.values()) * (len(self.predicates) - len(self.left_out))


def find_units(
    series: Mapping[str, Floats],
    symbols: Sequence[str],
    predicates: Sequence[Predicate] = PREDICATES,
    *,
    held_out: float = 0.5,
    confidence: float = 0.99,
    turns: int = 200,
) -> Findings:
    """Rank every unit of ``series``, arrays [T, H] by name, against ``predicates`` of ``symbols`` [T].

    ``held_out`` is the share of the text, at its end, that confirms; ``confidence`` is the share of ``turns``
    of chance that a unit must beat, over all tries together. The same arguments give the same findings.
    """
    _check_controls(predicates, confidence, turns)
    ids = _checked(series, symbols, held_out)
    middle = round((1 - held_out) * len(ids))
    values = np.stack([np.asarray(p(symbols), np.float32) for p in predicates], axis=1)
    first, last = (_Part(series, values, ids, span) for span in (slice(middle), slice(middle, None)))
    left_out = {p.name: why for k, p in enumerate(predicates) if (why := _why_not((first, last), k, p))}
    tried = np.array([p.name not in left_out for p in predicates], np.bool_)
    note = "" if controls.order_tells(ids) else "the order of the symbols tells nothing in this text"
    limits = [np.full(len(predicates), np.inf, np.float32) for _ in range(2)]
    if tried.any() and not note:
        everything = {name: np.arange(array.shape[1]) for name, array in series.items()}
        limits[0][tried] = first.limits(everything, tried, confidence, turns)
        chosen = {name: np.flatnonzero(over.any(axis=1)) for name, over in first.over(limits[0]).items()}
        limits[1][tried] = last.limits(chosen, tried, confidence, turns)
    found = _found(first, last, limits, predicates)
    return Findings(found, last.r, last.beyond, limits[1], tuple(predicates), left_out, note)


class _Part:
    """One part of the text: its correlations, and what they must exceed."""

    def __init__(self, series: Mapping[str, Floats], values: Floats, ids: Ids, span: slice) -> None:
        self.series, self.values, self.ids, self.span = series, values[span], ids[span], span
        self.told = controls.contexts(self.ids)
        whole = controls.scaled(self.values)
        left = controls.beyond(whole, self.told)
        self.left = np.square(left).sum(axis=0)
        self.untold = controls.scaled(left) * (self.left >= LEAST_LEFT)
        self.r: dict[str, Floats] = {}
        self.beyond: dict[str, Floats] = {}
        for name in series:
            units = self._units(name)
            self.r[name], self.beyond[name] = units.T @ whole, units.T @ self.untold

    def _units(self, name: str) -> Floats:
        return controls.scaled(np.asarray(self.series[name][self.span], np.float32))

    def limits(
        self, units: Mapping[str, NDArray[np.intp]], tried: NDArray[np.bool_], confidence: float, turns: int
    ) -> Floats:
        """Return what ``beyond`` must exceed for the tried predicates: the least, chance and random units."""
        untold = self.untold[:, tried]
        arrays = (controls.beyond(self._units(name)[:, which], self.told) for name, which in units.items())
        chance = controls.chance_thresholds(controls.turned_maxima(arrays, untold, turns), confidence)
        unlearned = np.abs(controls.scaled(controls.random_units(self.ids)).T @ untold).max(axis=0)
        limits: Floats = np.maximum(np.maximum(chance, unlearned), LEAST_BEYOND)
        return limits

    def over(self, limits: Floats) -> dict[str, NDArray[np.bool_]]:
        """Return for each series which units [H, K] exceed the limits [K]."""
        return {
            name: (np.abs(self.r[name]) >= LEAST_R) & (np.abs(self.beyond[name]) > limits) for name in self.r
        }


def _found(
    first: _Part, last: _Part, limits: Sequence[Floats], predicates: Sequence[Predicate]
) -> tuple[Finding, ...]:
    found, layers = [], _layers(first.series)
    before, after = first.over(limits[0]), last.over(limits[1])
    for name, r in last.r.items():
        signs = np.sign([r, last.beyond[name], first.r[name], first.beyond[name]])
        both = before[name] & after[name] & (np.abs(signs.sum(axis=0)) == len(signs))
        for unit, k in np.argwhere(both).tolist():
            numbers = (float(r[unit, k]), float(last.beyond[name][unit, k]), float(limits[1][k]))
            found.append(Finding(name, layers[name], unit, predicates[k], *numbers))
    return tuple(sorted(found, key=lambda finding: -finding.score))


def _layers(series: Mapping[str, Floats]) -> dict[str, int]:
    """Number the layers of series called ``<layer>.<part>`` from 1, in their order."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in series))
    return {name: layers.index(name.rpartition(".")[0]) + 1 for name in series}


def _why_not(parts: Sequence[_Part], k: int, predicate: Predicate) -> str:
    """Say why predicate ``k`` can't be tried on this text, or nothing."""
    for part in parts:
        steps = np.diff(part.values[:, k])
        spans = int((steps < 0).sum() if predicate.numeric else (steps > 0).sum())
        if spans < LEAST_SPANS:
            return f"it happens {spans} times in a part of the text; {LEAST_SPANS} are needed"
    if min(float(part.left[k]) for part in parts) < LEAST_LEFT:
        return f"the last {controls.SYMBOLS} symbols tell it"
    return ""


def _checked(series: Mapping[str, Floats], symbols: Sequence[str], held_out: float) -> Ids:
    """Check what was asked; return the symbols as ids [T] from 0 without a gap."""
    T = len(symbols)
    if not 0 < held_out < 1:
        raise UsageError(f"held_out must lie between 0 and 1, came {held_out}; 0.5 holds out a half")
    if min(held_out, 1 - held_out) * T < LEAST_SYMBOLS:
        raise UsageError(
            f"units are found in two parts of a text with {LEAST_SYMBOLS} symbols or more each (held_out "
            f"{held_out}), came a text of {T}; give a longer one, 20,000 are good"
        )
    _check_series(series, T)
    number = {symbol: i for i, symbol in enumerate(dict.fromkeys(symbols))}
    return np.fromiter((number[symbol] for symbol in symbols), np.int64, T)


def _check_controls(predicates: Sequence[Predicate], confidence: float, turns: int) -> None:
    names = [predicate.name for predicate in predicates]
    twice = [name for name in names if names.count(name) > 1]
    if not names or twice:
        came = f"{twice[0]!r} twice" if twice else "none"
        raise UsageError(f"predicates must be one or more, each with a name of its own; came {came}")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must lie between 0 and 1, came {confidence}; 0.99 is good")
    least = math.ceil(round(1 / (1 - confidence), 6))
    if turns < least:
        raise UsageError(f"confidence {confidence} needs {least} turns or more, came {turns}")


def _check_series(series: Mapping[str, Floats], T: int) -> None:
    if not series:
        raise UsageError("units are found in one series or more, came none; record the text first")
    for name, array in series.items():
        if array.ndim != 2 or len(array) != T:
            raise UsageError(f"series {name!r} must be [{T}, H], one row a symbol; came {list(array.shape)}")
        if not np.isfinite(array).all():
            t, unit = np.argwhere(~np.isfinite(array))[0].tolist()
            raise UsageError(
                f"series {name!r} must be finite, came {array[t, unit]} in unit {unit} at position {t}; "
                "look for the step where the net ran away"
            )


@dataclass(frozen=True)
class SpanUnit:
    """How a unit differs between a span of the text and the rest."""

    series: str
    """The series' name."""
    layer: int
    """The layer's place in the net, from 1."""
    unit: int
    """The unit's place in the series, from 0."""
    inside: float
    """Its mean in the span."""
    outside: float
    """Its mean elsewhere."""
    difference: float
    """Inside less outside, in standard deviations of the unit over the whole text."""


def units_of_span(
    series: Mapping[str, Floats], begin: int, end: int, *, top: int = 20
) -> tuple[SpanUnit, ...]:
    """Return the units that are on at positions ``begin`` to ``end`` − 1 and off elsewhere, best first.

    It describes one span and tests nothing: among many units some differ by chance.
    """
    T = len(next(iter(series.values()), ()))
    _check_series(series, T)
    if not 0 <= begin < end <= T or end - begin == T:
        raise UsageError(
            f"a span must lie within 0 to {T} and leave some of the text out, came {begin} to {end}"
        )
    ranked, layers = [], _layers(series)
    for name, array in series.items():
        inside = array[begin:end].mean(axis=0, dtype=np.float64)
        total = array.sum(axis=0, dtype=np.float64)
        outside = (total - inside * (end - begin)) / (T - end + begin)
        spread = array.std(axis=0, dtype=np.float64)
        moves = spread > 1e-6
        difference = np.where(moves, inside - outside, 0) / np.where(moves, spread, 1)
        for unit in np.argsort(-difference, kind="stable")[:top].tolist():
            numbers = (float(inside[unit]), float(outside[unit]), float(difference[unit]))
            ranked.append(SpanUnit(name, layers[name], unit, *numbers))
    ranked = [unit for unit in ranked if unit.difference > 0]
    return tuple(sorted(ranked, key=lambda unit: -unit.difference)[:top])
