"""A process that holds works of one or more peers and calls them when it is told to.

    python benchmarks/worker.py --threads 1 [--large-malloc] [--own-time]

It reads a JSON line for each order and answers with one: {"peer", "work"} builds a work and answers {} or
{"missing": why}; {"run": number, "repeats": n} calls work ``number`` and answers {"seconds", "foreign"};
{"forget": true} lets go of all works.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from peers import Missing
from unrolled.measuring.noise import clocks, foreign_share
from unrolled.measuring.rounds import Round, Run, timed

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def main() -> None:
    """Answer orders until there are no more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--large-malloc", action="store_true")
    parser.add_argument("--own-time", action="store_true")
    args = parser.parse_args()
    if args.large_malloc:
        _raise_thresholds()
    runs: list[Run] = []
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers, contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            print(json.dumps(_answer(json.loads(line), runs, args)), file=answers, flush=True)


def _answer(order: dict[str, Any], runs: list[Run], args: argparse.Namespace) -> dict[str, Any]:
    if "peer" in order:
        peer: Any = importlib.import_module(f"peers.{order['peer']}")
        try:
            work = peer.build({**order["work"], "threads": args.threads})
        except Missing as missing:
            return {"missing": str(missing)}
        runs.append(_by_itself(work) if hasattr(work, "seconds") else timed(work, own_time=args.own_time))
        return {}
    if "forget" in order:
        runs.clear()
        return {}
    done = runs[order["run"]](order["repeats"])
    return {"seconds": done.seconds, "foreign": done.foreign}


def _by_itself(work: Any) -> Run:
    """Return the run of a work that tells what one call of it took, however often it is to be called."""

    def run(_: int) -> Round:
        before = clocks()
        seconds = work.seconds()
        return Round(seconds, foreign_share(before, clocks()))

    return run


def _raise_thresholds() -> None:
    """Keep large blocks in the process, where glibc would give them back and fetch them anew."""
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


if __name__ == "__main__":
    main()
