"""A run's metrics as curves of few points, and the record of ``--debug`` as a small table."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.inspection.pages.numbers import plain

Entry = Mapping[str, Any]
Curve = dict[str, NDArray[np.float64]]

POINTS = 2000
"""How many points a curve has at most."""
UPDATES = 20
"""How many updates the table of sizes has at most."""
STEPS = 25
"""How many steps of a window it has at most."""

_PLACES = ("update", "epoch", "seconds")
_VALUES = ("nats", "accuracy", "exact", "lr", "grad_norm", "chars_per_second")
_SPREAD = ("nats", "grad_norm")


def columns(lines: Iterable[Entry]) -> dict[str, Curve]:
    """Read metrics: for each kind of line its numbers by name, not a number where a line has none.

    KeyError where a line lacks its place, which every line has: an update, an epoch and seconds.
    """
    read: dict[str, dict[str, array[float]]] = {}
    for line in lines:
        kind = read.setdefault(str(line.get("kind")), {key: array("d") for key in (*_PLACES, *_VALUES)})
        for key, numbers in kind.items():
            number = _number(line.get(key))
            if key in _PLACES and not math.isfinite(number):
                raise KeyError(key)
            numbers.append(number)
    return {
        kind: {key: np.frombuffer(numbers, np.float64) for key, numbers in found.items()}
        for kind, found in read.items()
    }


def thinned(curve: Curve, points: int = POINTS) -> Curve:
    """Return a curve of at most ``points`` points, the first and the last among them as they are.

    A point in between stands for several lines: it has their means, at the place of the middle one, and as
    ``<name>_low`` and ``<name>_high`` the smallest and the largest loss and gradient. What no line has is
    left out.
    """
    count = len(curve["update"])
    firsts = np.arange(count)
    if count > points:
        inner = np.linspace(1, count - 1, points - 1).astype(np.int64)
        firsts = np.concatenate([[0], inner])
    sizes = np.diff(np.append(firsts, count))
    found = {key: curve[key][firsts + sizes // 2] for key in _PLACES}
    for key in _VALUES:
        values = curve[key]
        there = np.isfinite(values)
        if not there.any():
            continue
        counts = np.add.reduceat(there, firsts, dtype=np.float64)
        sums = np.add.reduceat(np.where(there, values, 0), firsts)
        with np.errstate(invalid="ignore"):
            found[key] = sums / counts
        if key in _SPREAD and count > points:
            found[f"{key}_low"] = np.fmin.reduceat(values, firsts)
            found[f"{key}_high"] = np.fmax.reduceat(values, firsts)
    return found


def rounded(curve: Curve, digits: int = 6) -> dict[str, list[float | None]]:
    """Return a curve as JSON says it: None for what is no number, times and losses to ``digits`` digits."""
    exact = ("update", "epoch", "seconds")
    return {key: plain(values.tolist(), 12 if key in exact else digits) for key, values in curve.items()}


def layer_sizes(lines: Iterable[Entry]) -> dict[str, Any] | None:
    """Read the record of ``--debug``: mean sizes of layers' values and gradients; None if it is empty.

    ``value`` and ``gradient`` have a row for each of ``layers`` and a column for each of ``updates``, the
    mean over the steps; ``value_by_step`` and ``gradient_by_step`` have a column for each of ``steps`` of
    the last update. None where a layer has no gradient.
    """
    sums: dict[tuple[int, str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    updates: dict[int, None] = {}
    layers: dict[str, None] = {}
    last: dict[tuple[str, int, str], float] = {}
    for line in lines:
        update, layer, step = int(line["update"]), str(line["layer"]), int(line["step"])
        if update not in updates:
            last.clear()
        updates[update] = layers[layer] = None
        for key in ("value", "gradient"):
            size = _number(line.get(key))
            last[layer, step, key] = size
            if math.isfinite(size):
                total = sums[update, layer, key]
                total[0], total[1] = total[0] + size, total[1] + 1
    if not updates:
        return None
    shown = _evenly(list(updates), UPDATES)
    steps = _evenly(sorted({step for _, step, _ in last}), STEPS)
    table: dict[str, Any] = {"layers": list(layers), "updates": shown, "steps": steps}
    for key in ("value", "gradient"):
        table[key] = [[_mean(sums.get((update, layer, key))) for update in shown] for layer in layers]
        table[f"{key}_by_step"] = [
            [_known(last.get((layer, step, key))) for step in steps] for layer in layers
        ]
    return table


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _mean(total: list[float] | None) -> float | None:
    return total[0] / total[1] if total else None


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _evenly(values: list[int], most: int) -> list[int]:
    """Return at most ``most`` of these, the first and the last among them."""
    if len(values) <= most:
        return values
    return [values[at] for at in np.linspace(0, len(values) - 1, most).round().astype(int).tolist()]
