"""Works timed in turns, A B A B, and the rounds that others disturbed dropped."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from unrolled.measuring.noise import Clocks, clocks, foreign_share


@dataclass(frozen=True)
class Round:
    """A work that was called several times without a pause."""

    seconds: float
    """Of one call."""
    foreign: float | None
    """Which share of the processors others took meanwhile; None if unknown."""


Run = Callable[[int], Round]
"""Calls a work so many times."""


@dataclass(frozen=True)
class Manner:
    """How carefully works are timed."""

    rounds: int = 7
    """Clean rounds that are wanted of each work."""
    seconds: float = 0.2
    """How long a round lasts at least; works that are shorter are called several times."""
    allowed: float = 0.08
    """A round is clean if others took no larger share of the processors."""
    patience: int = 2
    """Where rounds are dropped, turns go on until there are this many times ``rounds`` of them."""


@dataclass(frozen=True)
class Timing:
    """What the rounds of one work came to."""

    seconds: tuple[float, ...]
    """Of one call, in each round that counts."""
    foreign: float | None
    """The median share that others took in these rounds; None if unknown."""
    dropped: int
    """Rounds that do not count."""
    noisy: bool
    """Whether too few rounds were clean, so that disturbed ones count: those with the least share."""

    @property
    def median(self) -> float:
        """Seconds of one call."""
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Seconds that a quarter of the rounds stayed below, and a quarter above."""
        if len(self.seconds) == 1:
            return self.seconds[0], self.seconds[0]
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return {
            "seconds": self.median,
            "quartiles": list(self.quartiles),
            "rounds": len(self.seconds),
            "dropped": self.dropped,
            "foreign": self.foreign,
            "noisy": self.noisy,
        }


def timed(work: Callable[[], object], read: Callable[[], Clocks] = clocks, *, own_time: bool = False) -> Run:
    """Return what times ``work`` in this process.

    ``own_time`` takes the processor's time for this process: on a busy machine that is nearer to what one
    thread would take alone, though not for several threads.
    """

    def run(repeats: int) -> Round:
        before = read()
        for _ in range(repeats):
            work()
        after = read()
        seconds = after.own - before.own if own_time else after.wall - before.wall
        return Round(seconds / repeats, foreign_share(before, after))

    return run


def in_turns(runs: Mapping[str, Run], manner: Manner) -> dict[str, Timing]:
    """Run each work once a turn until all have enough clean rounds, or patience ends.

    ::

        for turn in range(rounds):
            for run in runs:
                rounds_of[run].append(run(repeats))

    Each is called twice before that, which also tells how often it is to be called in a round.
    """
    repeats = {name: _repeats(run, manner) for name, run in runs.items()}
    rounds: dict[str, list[Round]] = {name: [] for name in runs}
    for turn in range(manner.rounds * manner.patience):
        if turn >= manner.rounds and all(_clean(done, manner) >= manner.rounds for done in rounds.values()):
            break
        for name, run in runs.items():
            rounds[name].append(run(repeats[name]))
    return {name: timing(done, manner) for name, done in rounds.items()}


def _repeats(run: Run, manner: Manner) -> int:
    """Call a work twice: the first time may compile, the second tells how many calls make a round."""
    run(1)
    return max(1, math.ceil(manner.seconds / max(run(1).seconds, 1e-7)))


def _clean(rounds: list[Round], manner: Manner) -> int:
    return sum(_is_clean(done, manner) for done in rounds)


def _is_clean(done: Round, manner: Manner) -> bool:
    return done.foreign is None or done.foreign <= manner.allowed


def timing(rounds: list[Round], manner: Manner) -> Timing:
    """Keep the clean rounds; where they are fewer than half of what is wanted, the least disturbed."""
    enough = (manner.rounds + 1) // 2
    clean = [done for done in rounds if _is_clean(done, manner)]
    noisy = len(clean) < enough
    kept = sorted(rounds, key=lambda done: done.foreign or 0.0)[:enough] if noisy else clean
    shares = [done.foreign for done in kept if done.foreign is not None]
    return Timing(
        tuple(done.seconds for done in kept),
        statistics.median(shares) if shares else None,
        len(rounds) - len(kept),
        noisy,
    )
