"""Cases, what comes of them, and the table."""

from __future__ import annotations

import time
import traceback
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch


@dataclass
class Verdict:
    """What came of a case."""

    worst: float = 0.0
    """The largest error of a tensor, relative to its norm."""
    where: str = ""
    """Which tensor that was."""
    cancelled: int = 0
    """Tensors above the bound, but small beside their terms, which cancel; a float32 loop is as far off."""
    kinks: int = 0
    """Tensors above the bound where a float32 loop is as far off, or a rounding of inputs moves as far."""
    wrong: str | None = None
    """What is wrong, in words; None where nothing is."""

    def add(self, other: Verdict) -> None:
        """Take in what came of another part of the case."""
        if other.worst > self.worst:
            self.worst, self.where = other.worst, other.where
        self.cancelled, self.kinks = self.cancelled + other.cancelled, self.kinks + other.kinks
        self.wrong = self.wrong or other.wrong


@dataclass(frozen=True)
class Case:
    """Something to try under a name."""

    name: str
    run: Callable[[], Verdict]


@dataclass
class Row:
    """A family's line of the table."""

    family: str
    cases: int = 0
    tried: int = 0
    passed: int = 0
    total: Verdict = field(default_factory=Verdict)
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    def take(self, name: str, verdict: Verdict) -> None:
        """Count one case."""
        self.tried += 1
        verdict.where = f"{name}: {verdict.where}"
        self.total.add(verdict)
        if verdict.wrong is None:
            self.passed += 1
        else:
            self.failures.append(f"{name}: {verdict.wrong}")


def seed_of(seed: int, name: str) -> int:
    """Return the seed of one case."""
    return zlib.crc32(f"{seed} {name}".encode())


def try_all(
    family: str, cases: Sequence[Case], seed: int, *, limit: int | None = None, until: float | None = None
) -> Row:
    """Run ``cases`` in an order drawn from ``seed``: at most ``limit``, until the clock ``until``."""
    row, began = Row(family, cases=len(cases)), time.monotonic()
    order = torch.randperm(len(cases), generator=torch.Generator().manual_seed(seed))
    for case in (cases[place] for place in order[:limit].tolist()):
        if until is not None and row.tried and time.monotonic() > until:
            break
        torch.manual_seed(seed_of(seed, case.name))
        row.take(case.name, _tried(case))
    row.seconds = time.monotonic() - began
    return row


def _tried(case: Case) -> Verdict:
    try:
        return case.run()
    except Exception:  # noqa: BLE001 - whatever a case raises is a failure of that case, not of the others
        return Verdict(wrong=" / ".join(traceback.format_exc().splitlines()[-3:]))


def table(rows: Iterable[Row], seed: int) -> str:
    """Return the rows as text, then each failure with how to bring it back."""
    lines = [
        f"{'family':<22}{'tried':>7}{'of':>7}{'passed':>8}{'worst':>10}{'cancel':>8}{'kinks':>7}{'s':>7}"
    ]
    told = []
    for row in rows:
        total = row.total
        lines.append(
            f"{row.family:<22}{row.tried:>7}{row.cases:>7}{row.passed:>8}{total.worst:>10.1e}"
            f"{total.cancelled:>8}{total.kinks:>7}{row.seconds:>7.0f}"
        )
        if total.worst:
            told.append(f"worst of {row.family}: {total.where}")
        told += [f"failed: {row.family}, seed {seed}, case {failure}" for failure in row.failures]
    return "\n".join([*lines, *told])
