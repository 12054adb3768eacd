"""The table of bars: Unrolled beside its peers on this machine, in turns within one run.

    python benchmarks/bars.py [--only train/lstm sample] [--threads 1 2] [--quick] [--rounds 7] [--patience 2]
        [--peers .venv-bench/bin/python] [--without jax keras] [--reads one-hot] [--own-time]

Each row wants so many undisturbed rounds of each contender, in --patience times as many turns at most. Rows
whose name contains one of --only are measured; they replace what benchmarks/results/ holds for this kind of
machine, and benchmarks/RESULTS.md is made anew. Some things are only shown: --quick measures fewer rounds,
--without fewer peers, --reads one-hot another net, and --own-time goes by the processor's time of a process
instead of the clock's, for one thread on a busy machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

import torch

import gpu
import page
import results
import rows as table
from peers import Missing
from peers.matrix_product import OPERATIONS
from unrolled.cells import BUILT_IN
from unrolled.measuring import works
from unrolled.measuring.comparison import Plan, compare
from unrolled.measuring.machine import described, machine
from unrolled.measuring.rounds import Manner, Run, in_turns
from workers import Place, Workers, workers

PEERS = Path(__file__).parents[1] / ".venv-bench" / "bin" / "python"
OWN_PYTHON = ("jax", "keras", "onnxruntime", "numpy")


def main() -> None:
    """Measure and print; write the results down."""
    args = _arguments()
    found = [row for row in table.rows(args.reads) if _is_wanted(row.name, args.only)]
    if not found and not _wants_gpu(args.only):
        raise SystemExit(f"no row is named like {' or '.join(args.only)}; there are {_names()}")
    saved = not (args.quick or args.own_time or args.without) and args.reads == "embedding"
    manner, facts = _manner(args), machine()
    print(described(facts))
    for threads in args.threads if found else ():
        with workers(threads, args.own_time) as processes:
            peak = measure_peak(processes, manner) if saved else {}
            for row in found:
                entry = measure(row, processes, manner, args)
                print("\n".join(results.lines(entry)), flush=True)
                if saved:
                    results.save(entry, facts, peak)
    measure_gpu(manner, args, saved)
    if saved:
        print(f"written to {page.make()}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--patience", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peers", default=str(PEERS if PEERS.exists() else sys.executable))
    parser.add_argument("--without", nargs="*", default=[])
    parser.add_argument("--reads", choices=("embedding", "one-hot"), default="embedding")
    parser.add_argument("--own-time", action="store_true")
    return parser.parse_args()


def _manner(args: argparse.Namespace) -> Manner:
    manner = Manner(rounds=args.rounds, seconds=args.seconds, patience=args.patience)
    if args.quick:
        manner = replace(manner, rounds=min(3, args.rounds), seconds=min(0.1, args.seconds))
    return replace(manner, allowed=1.0) if args.own_time else manner


def _is_wanted(name: str, only: list[str]) -> bool:
    return not only or any(part in name for part in only)


def _wants_gpu(only: list[str]) -> bool:
    return _is_wanted("gpu", only)


def _names() -> str:
    return ", ".join([*(row.name for row in table.rows()), "gpu"])


def measure(row: table.Row, processes: Workers, manner: Manner, args: argparse.Namespace) -> dict[str, Any]:
    """Run the contenders of a row in turns; return what results.py writes down."""
    runs: dict[str, Run] = {}
    missing: dict[str, str] = {}
    for one in row.contenders:
        if any(word in one.label.lower() or word in one.peer for word in args.without):
            continue
        try:
            runs[one.label] = processes.build(_place(one, args.peers), one.peer, one.work)
        except Missing as why:
            missing[one.label] = str(why)
    timings = in_turns(runs, replace(manner, **_options(row, args.quick)))
    processes.end()  # an allocator adapts to what ran before; each row begins as a script does
    return results.entry(row, timings, missing, processes.threads)


def measure_peak(processes: Workers, manner: Manner) -> dict[str, float]:
    """Return how many GFLOP/s a large matrix product gets, by the format of its numbers."""
    runs = {
        numbers: processes.build(Place(name="torch"), "matrix_product", {"numbers": numbers})
        for numbers in ("float32", "bfloat16")
    }
    timings = in_turns(runs, manner)
    processes.forget()
    return {numbers: OPERATIONS / found.median / 1e9 for numbers, found in timings.items()}


def measure_gpu(manner: Manner, args: argparse.Namespace, saved: bool) -> None:
    """Measure the kernels of the GPU's library and Unrolled on it; one line where there is no GPU."""
    if not _wants_gpu(args.only):
        return
    if not torch.cuda.is_available():
        print("\ngpu: left out, this PyTorch sees no CUDA device")
        return
    cells = {name: BUILT_IN[name] for name in ("lstm", "gru", "rnn")}
    sizes = [works.size_of(name) for name in table.SIZES]
    found = compare(Plan(cells, sizes, device="cuda", manner=manner), print).to_dict()
    for entry in gpu.entries(found):
        print("\n".join(results.lines(entry)), flush=True)
        if saved:
            results.save(entry, found["machine"], {})


def _options(row: table.Row, quick: bool) -> Mapping[str, Any]:
    return {} if quick else row.options


def _place(one: table.Contender, peers: str) -> Place:
    """Return the process of a contender; without the peers' own Python, ours will say what is missing."""
    python = peers if one.place in OWN_PYTHON and Path(peers).exists() else sys.executable
    return Place(python, one.place == "large malloc", one.place)


if __name__ == "__main__":
    main()
