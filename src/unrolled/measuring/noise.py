"""Who else had the processor: the share of it that other processes took over a stretch of time.

Another process on one of two cores makes a timing 2 to 6 times worse, whatever it was that was timed.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

STAT = Path("/proc/stat")


@dataclass(frozen=True)
class Clocks:
    """Where the clocks stand, in seconds."""

    wall: float
    busy: float | None
    """Of all processors together, whoever they worked for; None where the system doesn't tell."""
    own: float
    """Of this process and of its children that have ended."""


def clocks() -> Clocks:
    """Read the clocks."""
    children = os.times()
    own = time.process_time() + children.children_user + children.children_system
    return Clocks(time.perf_counter(), _busy(), own)


def _busy() -> float | None:
    """Return user, nice, system, irq, softirq and steal time of all processors; Linux only."""
    try:
        name, *ticks = STAT.read_text("ascii").splitlines()[0].split()
        user, nice, system, _, _, irq, softirq, steal = map(int, ticks[:8])
        busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        return busy if name == "cpu" else None
    except (OSError, ValueError, IndexError):
        return None


def foreign_share(before: Clocks, after: Clocks, processors: int | None = None) -> float | None:
    """Return which share of all processors others took from ``before`` to ``after``; None if unknown."""
    seconds = (after.wall - before.wall) * (processors or os.cpu_count() or 1)
    if before.busy is None or after.busy is None or seconds <= 0:
        return None
    return max(0.0, (after.busy - before.busy) - (after.own - before.own)) / seconds
