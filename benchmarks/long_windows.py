"""What a long window costs, plain and with recompute: memory and time of an update, a process for each row.

    python benchmarks/long_windows.py [--steps 1000 2000 4000 8000 16000] [--lanes 16] [--cell lstm]
        [--layers 2] [--hidden 512] [--symbols 65] [--dropout 0] [--engine auto] [--threads 1] [--most 6]
        [--rounds 1] [--json FILE]

Memory is the peak of the process less what it had before the net was made, weights, gradients and Adam's
averages included (Linux). Time is of the last update: of the second, or of the only one where a window has
4,000 steps or more. Rounds take turns, and their medians are told; "times plain" is of the CPU's time. Plain
windows that would need more than --most GB are left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MB, GB = 1e6, 1e9
NUMBERS = ("peak", "seconds", "cpu", "count")


def resident(line: str) -> int:
    """Return bytes of this process: VmRSS now, VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(found.split()[1]) * 1024 for found in lines if found.startswith(line))


def settings_of(args: argparse.Namespace, steps: int, recompute: bool) -> Any:
    """Return what ``unrolled train`` would be given."""
    from unrolled.settings import resolve

    names = ("lanes", "cell", "layers", "hidden", "dropout", "engine", "threads")
    flags = {name: getattr(args, name) for name in names}
    return resolve(flags={**flags, "window": steps, "recompute": recompute}).settings


def estimate(args: argparse.Namespace, steps: int) -> int:
    """Return the bytes that a plain window is expected to need."""
    from unrolled.errors import SettingsError
    from unrolled.training.lesson import chain_of
    from unrolled.training.memory import estimate_memory

    settings = settings_of(args, steps, False)
    try:
        return estimate_memory(chain_of(settings, args.symbols), settings, {})[0]
    except SettingsError:
        return sys.maxsize


def work(args: argparse.Namespace, steps: int, recompute: bool) -> dict[str, float]:
    """Do one or two updates in this process; return bytes and seconds of the last."""
    import torch

    from unrolled.data import Windows
    from unrolled.net import Net
    from unrolled.training.learner import Learner
    from unrolled.training.lesson import chain_of

    settings = settings_of(args, steps, recompute)
    torch.set_num_threads(args.threads)
    torch.randn(64, 64, requires_grad=True).square().sum().backward()
    idle = resident("VmRSS")
    torch.manual_seed(1)
    net = Net(chain_of(settings, args.symbols))
    net.engine = args.engine
    learner = Learner(net, settings.training)
    updates = 2 if steps < 4000 else 1
    ids = torch.randint(args.symbols, (args.lanes * (steps * updates + 1),))
    for window in list(Windows(ids, args.lanes, steps))[:updates]:
        began, cpu = time.perf_counter(), time.process_time()
        learned = learner.learn(window, 0.001)
        seconds, busy = time.perf_counter() - began, time.process_time() - cpu
    return {"peak": resident("VmHWM") - idle, "seconds": seconds, "cpu": busy, "count": learned.count}


def row(steps: int, kind: str) -> dict[str, float]:
    """Measure one row in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--row", str(steps), kind]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def measure(args: argparse.Namespace, steps: int) -> list[dict[str, Any]]:
    """Return the rows of one length, plain where that fits."""
    kinds = ("plain", "recompute") if estimate(args, steps) < args.most * GB else ("recompute",)
    rounds = [{kind: row(steps, kind) for kind in kinds} for _ in range(args.rounds)]
    rows = []
    for kind in kinds:
        middle = {name: statistics.median(turn[kind][name] for turn in rounds) for name in NUMBERS}
        ratios = [turn[kind]["cpu"] / turn["plain"]["cpu"] for turn in rounds if "plain" in turn]
        rows.append({"steps": steps, "kind": kind, **middle, "ratio": ratios and statistics.median(ratios)})
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", nargs="*", type=int, default=[1000, 2000, 4000, 8000, 16000])
    parser.add_argument("--cell", default="lstm")
    parser.add_argument("--engine", default="auto")
    for name, default in {"lanes": 16, "layers": 2, "hidden": 512, "symbols": 65, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--most", type=float, default=6.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        print(json.dumps(work(args, int(args.row[0]), args.row[1] == "recompute")))
        return
    print(f"{args.layers}×{args.hidden} {args.cell}, {args.lanes} lanes, engine {args.engine}", end=", ")
    print(
        f"{args.threads} threads\n steps       kind   peak, MB   µs a char   CPU µs a char   times plain",
        flush=True,
    )
    rows = []
    for steps in args.steps:
        for found in measure(args, steps):
            rows.append(found)
            wall, cpu = (found[name] / found["count"] * 1e6 for name in ("seconds", "cpu"))
            ratio = f"{found['ratio']:14.2f}" if found["ratio"] else ""
            cost = f"{found['peak'] / MB:11.0f}{wall:12.1f}{cpu:16.1f}{ratio}"
            print(f"{steps:6,} {found['kind']:>10}{cost}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
