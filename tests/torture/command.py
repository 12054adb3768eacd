"""The command: which families, how long, and what is printed."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .pool import Asked, pool
from .trials import Row, table

FAMILIES: tuple[str, ...] = (
    "supply",
    "two_at_once",
    "numbers",
    "hostile_settings",
    "hostile_models",
    "damage",
    "kills",
    "saves",
)
"""The modules of this package that have ``trials()``: short ones first, the long ones get what is left."""


def main(words: Sequence[str] | None = None) -> int:
    """Run; return 1 where anything failed."""
    asked = _parser().parse_args(words)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    ends_at = time.monotonic() + 60 * asked.minutes if asked.minutes else None
    names, rows = [name for name in FAMILIES if name in (asked.family or FAMILIES)], []
    with pool(asked.jobs, folder) as processes:
        for place, name in enumerate(names):
            until = None if ends_at is None else _share(ends_at, len(names) - place)
            these = Asked(name, asked.trial, asked.seed)
            rows.append(processes.try_all(these, asked.limit, until))
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


def _processors() -> int:
    return len(os.sched_getaffinity(0))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("scripts/torture", description=__doc__)
    parser.add_argument("--minutes", type=float, help="stop each family when its share of this is over")
    parser.add_argument("--family", action="append", choices=FAMILIES, help="only this; repeatable")
    parser.add_argument("--trial", default="", help="only trials whose name holds this")
    parser.add_argument("--limit", type=int, help="at most so many trials of a family")
    parser.add_argument("--jobs", type=int, default=_processors(), help="how many at once; one a processor")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    return parser


def _say(row: Row, asked: argparse.Namespace) -> None:
    if not asked.json:
        told = [f"{row.family}: {row.passed} of {row.tried}, {row.seconds:.0f} s", *row.failures]
        print("\n  failed: ".join(told), file=sys.stderr, flush=True)
