"""The command: which families, how long, and what is printed."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from .trials import Row, Trial, table, try_all

FAMILIES: tuple[str, ...] = (
    "saves",
    "kills",
    "damage",
    "hostile_models",
    "hostile_settings",
    "numbers",
    "two_at_once",
    "supply",
)
"""The modules of this package that have ``trials()``, in the order in which they run."""


def trials_of(family: str) -> list[Trial]:
    """Return every trial of a family."""
    found: Callable[[], Iterable[Trial]] = importlib.import_module(f"{__package__}.{family}").trials
    return list(found())


def main(words: Sequence[str] | None = None) -> int:
    """Run; return 1 where anything failed."""
    asked = _parser().parse_args(words)
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    ends_at = time.monotonic() + 60 * asked.minutes if asked.minutes else None
    names, rows = asked.family or list(FAMILIES), []
    for place, name in enumerate(names):
        trials = [trial for trial in trials_of(name) if asked.trial in trial.name]
        until = None if ends_at is None else _share(ends_at, len(names) - place)
        rows.append(try_all(name, trials, asked.seed, folder, limit=asked.limit, until=until))
        _say(rows[-1], asked)
    print(json.dumps([asdict(row) for row in rows]) if asked.json else table(rows, asked.seed))
    if any(row.failures for row in rows):
        print(f"what failed is in {folder}", file=sys.stderr)
        return 1
    folder.rmdir()
    return 0


def _share(ends_at: float, families: int) -> float:
    now = time.monotonic()
    return now + max(0.0, ends_at - now) / families


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("scripts/torture", description=__doc__)
    parser.add_argument("--minutes", type=float, help="stop each family when its share of this is over")
    parser.add_argument("--family", action="append", choices=FAMILIES, help="only this; repeatable")
    parser.add_argument("--trial", default="", help="only trials whose name holds this")
    parser.add_argument("--limit", type=int, help="at most so many trials of a family")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    return parser


def _say(row: Row, asked: argparse.Namespace) -> None:
    if not asked.json:
        told = [f"{row.family}: {row.passed} of {row.tried}, {row.seconds:.0f} s", *row.failures]
        print("\n  failed: ".join(told), file=sys.stderr, flush=True)
