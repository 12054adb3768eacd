"""Trials, what comes of them, and the table."""

from __future__ import annotations

import random
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


def try_all(
    family: str,
    trials: Sequence[Trial],
    seed: int,
    folder: Path,
    *,
    limit: int | None = None,
    until: float | None = None,
) -> Row:
    """Run ``trials`` in an order drawn from ``seed``: at most ``limit``, until the clock ``until``."""
    row, began = Row(family, cases=len(trials)), time.monotonic()
    order = list(trials)
    random.Random(seed).shuffle(order)
    for number, trial in enumerate(order[:limit]):
        if until is not None and row.tried and time.monotonic() > until:
            break
        own = folder / f"{family}-{number}"
        own.mkdir(parents=True)
        row.tried += 1
        try:
            trial.run(own, random.Random(zlib.crc32(f"{seed} {trial.name}".encode())))
        except Wrong as wrong:
            row.failures.append(f"{trial.name}: {wrong}")
        except Exception:  # noqa: BLE001 - whatever a trial raises is its own failure, not the others'
            row.failures.append(f"{trial.name}: {' '.join(traceback.format_exc().split())[-400:]}")
        else:
            row.passed += 1
            _forget(own)
    row.seconds = time.monotonic() - began
    return row


def _forget(folder: Path) -> None:
    """Remove what a trial that passed left behind; one that failed keeps it, to be looked at."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def table(rows: Iterable[Row], seed: int) -> str:
    """Return the table, with the name of every failure, which with the seed makes it again."""
    lines = [f"{'family':<28}{'tried':>8}{'passed':>8}{'of':>8}{'seconds':>9}"]
    failures: list[str] = []
    for row in rows:
        lines.append(f"{row.family:<28}{row.tried:>8,}{row.passed:>8,}{row.cases:>8,}{row.seconds:>9.0f}")
        failures += [f"  {row.family}, seed {seed}: {failure}" for failure in row.failures]
    return "\n".join([*lines, *failures])
