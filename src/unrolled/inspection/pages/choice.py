"""Which units a page holds whole, where there is no room for all, and which passages it shows of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from unrolled.inspection.recording import Recording
from unrolled.inspection.units import Finding, Findings

Unit = tuple[str, int]
"""A series' name and a unit's place in it."""

PANES = 12
"""Discoveries that are shown with a passage."""
PASSAGE = 300
"""Symbols of a passage."""
LEAST_CHANGES = 3
"""How often what a unit knows must begin or end in a passage."""


def best_of_each(findings: Findings | None) -> list[Finding]:
    """Return the best finding of each predicate, the best first."""
    best: dict[str, Finding] = {}
    for finding in findings.found if findings is not None else ():
        best.setdefault(finding.predicate.name, finding)
    return list(best.values())


def ranked(recording: Recording, findings: Findings | None) -> list[Unit]:
    """Return all units, those that are to be on the page rather than others first.

    The panes' units and the other series of the same units, further discoveries, then states before gates,
    each by the largest correlation with what the last symbols don't tell of any predicate.
    """
    panes = best_of_each(findings)[:PANES]
    first = [(finding.series, finding.unit) for finding in panes]
    for finding in panes:
        layer = recording.layer_of[finding.series]
        own = [name for name, owner in recording.layer_of.items() if owner == layer]
        first += [(name, finding.unit) for name in own if finding.unit < recording.series[name].shape[1]]
    if findings is not None:
        first += [(finding.series, finding.unit) for finding in findings.found]
    states = [name for name in recording.series if not recording.is_gate(name)]
    gates = [name for name in recording.series if recording.is_gate(name)]
    for names in (states, gates):
        first += _by_score(recording.series, findings, names)
    return list(dict.fromkeys(first))


def _by_score(
    series: Mapping[str, NDArray[np.float32]], findings: Findings | None, names: Sequence[str]
) -> list[Unit]:
    units = [(name, unit) for name in names for unit in range(series[name].shape[1])]
    if not units:
        return []
    if findings is not None:
        scores = np.concatenate([np.abs(findings.beyond[name]).max(axis=1, initial=0) for name in names])
    else:
        scores = np.concatenate([series[name].std(axis=0) for name in names])
    return [units[at] for at in np.argsort(-scores, kind="stable").tolist()]


def typical_passage(
    values: NDArray[np.float32], truth: NDArray[np.float32], r: float, begins: NDArray[np.int64]
) -> tuple[int, int]:
    """Return where a passage begins and ends in which a unit [T] and a predicate [T] correlate about by r.

    Only the second half is looked at, on which r was measured, from ``begins`` (of lines, say), and of it
    passages in which the predicate changes; where it changes in none, the first passage is taken.
    """
    T = len(values)
    size = min(PASSAGE, T - T // 2)
    best, nearest = T // 2, np.inf
    for begin in begins[(begins >= T // 2) & (begins <= T - size)].tolist():
        here = slice(begin, begin + size)
        own, told = values[here], truth[here]
        if np.count_nonzero(np.diff(told)) < LEAST_CHANGES or not own.std() or not told.std():
            continue
        away = abs(float(np.corrcoef(own, told)[0, 1]) - r)
        if away < nearest:
            best, nearest = begin, away
    return best, best + size


def passage_begins(symbols: Sequence[str]) -> NDArray[np.int64]:
    """Return where passages may begin: at lines' first symbols, or anywhere if there are few lines."""
    lines = 1 + np.flatnonzero([symbol == "\n" for symbol in symbols])
    every = np.arange(0, len(symbols), PASSAGE // 3)
    if len(lines) < len(every) / 4:
        return every
    return lines[:: max(1, len(lines) // (3 * len(every)))]
