"""The command: which families, how long, and what is printed."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from unittest.mock import patch

from unrolled.engines.native import layers

from .cases import Case, Row, table, try_all
from .company import company
from .forms import compiling, forms, run_form
from .grid import ends, grid, made_up
from .invented import invented
from .scratch import filled, scratch

CACHE = "UNROLLED_CACHE"
WEIGHTS = {"invented": 12, "compile": 60}
"""How many other cases one of these is worth."""
FAMILIES: dict[str, Callable[[], Iterable[Case]]] = {
    "grid": grid,
    "cells": made_up,
    "invented": invented,
    "ends": ends,
    "company": company,
    "scratch": scratch,
    "compile": compiling,
}


def main(words: Sequence[str] | None = None) -> int:
    """Run; return 1 where anything failed."""
    asked = _parser().parse_args(words)
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ):
        os.environ.setdefault(CACHE, folder)  # hundreds of cells that nobody will want again
        return _run(asked)


def _run(asked: argparse.Namespace) -> int:
    rows: list[Row] = []
    ends_at = time.monotonic() + 60 * asked.minutes if asked.minutes else None
    names = asked.family or [*FAMILIES, "forms"]
    for place, name in enumerate(names):
        if name != "forms":
            rows.append(_family(name, asked, _share(ends_at, len(names) - place)))
            _say(rows[-1], asked)
    for form in forms() if "forms" in names else ():
        for row in run_form(form, asked.seed):
            rows.append(row)
            _say(row, asked)
    if asked.json:
        library = layers._library()
        lanes = 0 if isinstance(library, str) else library.lanes()
        print(json.dumps({"lanes": lanes, "rows": [asdict(row) for row in rows]}))
    else:
        print(table(rows, asked.seed))
    return int(any(row.failures for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("scripts/equality", description=__doc__)
    parser.add_argument("--minutes", type=float, help="stop each family when its share of this is over")
    parser.add_argument(
        "--family", action="append", choices=[*FAMILIES, "forms"], help="only this; repeatable"
    )
    parser.add_argument("--case", default="", help="only cases whose name holds this")
    parser.add_argument("--limit", type=int, help="at most so many cases of a family")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    return parser


def _share(ends_at: float | None, families: int) -> float | None:
    now = time.monotonic()
    return None if ends_at is None else now + max(0.0, ends_at - now) / families


def _family(name: str, asked: argparse.Namespace, until: float | None) -> Row:
    cases = [case for case in FAMILIES[name]() if asked.case in case.name]
    with filled(float("nan")):
        limit = asked.limit and max(1, asked.limit // WEIGHTS.get(name, 1))
        return try_all(name, cases, asked.seed, limit=limit, until=until)


def _say(row: Row, asked: argparse.Namespace) -> None:
    if not asked.json:
        told = [f"{row.family}: {row.passed} of {row.tried}, {row.seconds:.0f} s", *row.failures]
        print("\n  failed: ".join(told), file=sys.stderr, flush=True)
