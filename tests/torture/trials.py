"""Trials, what comes of them, and the table."""

from __future__ import annotations

import random
import shutil
import time
import traceback
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


class Wrong(Exception):
    """What a trial found, in words."""


@dataclass(frozen=True)
class Trial:
    """Something that must be survived, under a name; ``run`` raises Wrong, or anything else, where it is not.

    It gets an empty folder of its own and a random generator that hangs on the seed and the name alone.
    """

    name: str
    run: Callable[[Path, random.Random], None]


@dataclass
class Row:
    """A family's line of the table."""

    family: str
    cases: int = 0
    tried: int = 0
    passed: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def add(self, failure: str | None) -> None:
        """Count one that was tried, and what failed."""
        self.tried += 1
        if failure is None:
            self.passed += 1
        else:
            self.failures.append(failure)


def in_order(trials: Sequence[Trial], seed: int) -> list[Trial]:
    """Return trials in the order that hangs on ``seed``."""
    order = list(trials)
    random.Random(seed).shuffle(order)
    return order


def attempt(trial: Trial, own: Path, seed: int) -> str | None:
    """Run a trial in the folder ``own``, which is made; return what failed, or None."""
    own.mkdir(parents=True)
    try:
        trial.run(own, random.Random(zlib.crc32(f"{seed} {trial.name}".encode())))
    except Wrong as wrong:
        return f"{trial.name}: {wrong}"
    except Exception:  # noqa: BLE001 - whatever a trial raises is its own failure, not the others'
        return f"{trial.name}: {' '.join(traceback.format_exc().split())[-400:]}"
    shutil.rmtree(own, ignore_errors=True)  # of one that failed it is kept, to be looked at
    return None


def try_all(
    family: str, trials: Sequence[Trial], seed: int, folder: Path, *, limit: int | None = None
) -> Row:
    """Run at most ``limit`` of ``trials`` one after the other in this process, in the order of ``seed``."""
    row, began = Row(family, cases=len(trials)), time.monotonic()
    for number, trial in enumerate(in_order(trials, seed)[:limit]):
        row.add(attempt(trial, folder / f"{family}-{number}", seed))
    row.seconds = time.monotonic() - began
    return row


def table(rows: Iterable[Row], seed: int) -> str:
    """Return the table, with the name of every failure, which with the seed makes it again."""
    lines = [f"{'family':<28}{'tried':>8}{'passed':>8}{'of':>8}{'seconds':>9}"]
    failures: list[str] = []
    for row in rows:
        lines.append(f"{row.family:<28}{row.tried:>8,}{row.passed:>8,}{row.cases:>8,}{row.seconds:>9.0f}")
        failures += [f"  {row.family}, seed {seed}: {failure}" for failure in row.failures]
    return "\n".join([*lines, *failures])
