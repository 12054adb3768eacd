"""How far gates are open: each unit's habits, as in Karpathy, Johnson, Li, 2015."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unrolled.inspection.recording import Recording

OPEN, CLOSED = 0.9, 0.1
"""Above the one a gate is open, below the other it is closed: the paper's right- and left-saturated."""
ALWAYS = 0.9
"""A unit's gate is always open, or closed, that is so in more than this share of the steps."""
BINS = 20


@dataclass(frozen=True)
class Saturation:
    """One sigmoid gate of one layer over a text of T symbols.

    Karpathy, Johnson, Li, Visualizing and understanding recurrent networks, 2015: each unit is a point at
    (share of steps left-saturated, share right-saturated).
    """

    layer: str
    gate: str
    counts: NDArray[np.int64]
    """How many of the T · H values lie in each of 20 bins of equal width from 0 to 1; 1 is in the last."""
    open: NDArray[np.float64]
    """The share of steps in which each unit's gate is above 0.9, [H]."""
    closed: NDArray[np.float64]
    """The share of steps in which it is below 0.1, [H]."""

    @property
    def edges(self) -> NDArray[np.float64]:
        """The bins' edges, [21]."""
        return np.linspace(0, 1, BINS + 1)

    @property
    def always_open(self) -> float:
        """The share of units whose gate is above 0.9 in more than 90 % of the steps."""
        return float((self.open > ALWAYS).mean())

    @property
    def always_closed(self) -> float:
        """The share of units whose gate is below 0.1 in more than 90 % of the steps."""
        return float((self.closed > ALWAYS).mean())

    @property
    def sentence(self) -> str:
        """What it comes to, with the thresholds."""
        units = len(self.open)
        return (
            f"{self.layer}, gate {self.gate}: of {units} {'unit' if units == 1 else 'units'}, "
            f"{round(self.always_open * units)} always open (above {OPEN:g} in more than {ALWAYS:.0%} of "
            f"steps), {round(self.always_closed * units)} always closed (below {CLOSED:g})"
        )


def saturation(recording: Recording) -> list[Saturation]:
    """Return how saturated each sigmoid gate is, layer by layer; others know no open and closed."""
    found = []
    for name, activation in recording.activations.items():
        if activation == "sigmoid":
            values, layer = recording.series[name], recording.layer_of[name]
            bins = np.minimum((values * BINS).astype(np.int64), BINS - 1)
            counts = np.bincount(bins.ravel(), minlength=BINS)
            opened, closed = (values > OPEN).mean(0), (values < CLOSED).mean(0)
            found.append(Saturation(layer, name[len(layer) + 1 :], counts, opened, closed))
    return found
