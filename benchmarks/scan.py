"""What a character of a window costs by the window's length: time and memory of a linear cell's unroll.

    python benchmarks/scan.py [--cell min-gru] [--windows 100 1000 10000] [--lanes 16] [--hidden 128]
        [--engine scan] [--rounds 5]

A round is one forward and backward pass over random items as wide as the layer, which have gradients too, of
about 200,000 characters. Each window length runs in a process of its own, in turns; a row gives the medians
over the rounds. Time is the processor's, not the wall's; memory is the process's peak above its size after a
pass over 9 steps.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

import torch

from unrolled import unroll
from unrolled.cells import NAMED

CHARACTERS = 200_000


def work(cell: str, window: int, lanes: int, hidden: int, engine: str) -> tuple[float, float]:
    """Return microseconds and bytes a character."""
    torch.manual_seed(0)
    made = NAMED[cell](hidden, hidden)
    x = torch.randn(window, lanes, hidden, requires_grad=True)
    weigh, state = torch.randn(window, lanes, hidden), made.initial_state(lanes)
    unroll(made, x[:9], state, engine=engine)[0].sum().backward()  # type: ignore[no-untyped-call]
    before, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0.0
    passes = max(2, CHARACTERS // (window * lanes))
    for turn in range(passes + 1):
        x.grad = None
        made.zero_grad(set_to_none=True)
        began = time.process_time()
        unroll(made, x, state, engine=engine)[0].backward(weigh)  # type: ignore[no-untyped-call]
        seconds += (time.process_time() - began) if turn else 0.0
    size = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return seconds / (passes * window * lanes) * 1e6, size / (window * lanes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cell", default="min-gru")
    parser.add_argument("--windows", nargs="*", type=int, default=[100, 1000, 10_000])
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--engine", default="scan")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", type=int, help="do one round of this window and print JSON")
    args = parser.parse_args()
    if args.only:
        print(json.dumps(work(args.cell, args.only, args.lanes, args.hidden, args.engine)))
        return
    found: dict[int, list[list[float]]] = {window: [] for window in args.windows}
    for _ in range(args.rounds):
        for window in args.windows:
            again = [sys.executable, *sys.argv, "--only", str(window)]
            found[window].append(json.loads(subprocess.check_output(again, text=True)))
    print(f"{args.cell}, {args.lanes} lanes of {args.hidden} units, {args.engine}, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}")  # fmt: skip
    print("window  µs/char  (least, most)  bytes/char")
    for window, rounds in found.items():
        micros, sizes = zip(*rounds, strict=True)
        spread = f"({min(micros):.2f}, {max(micros):.2f})"
        print(f"{window:>6} {statistics.median(micros):>8.2f} {spread:>14} {statistics.median(sizes):>11.0f}")


if __name__ == "__main__":
    main()
