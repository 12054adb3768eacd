"""What an unroll with its gradients costs, engine by engine, in turns within one process.

    python benchmarks/engines.py [--cells lstm gru rnn] [--hidden 128 512] [--lanes 1 16 50] [--window 50]
        [--rounds 7] [--engines native torch naive] [--gated PATH.py:NAME] [--only-forward]
        [--clock wall]

A round is one forward and backward pass of one layer over random items as wide as the layer; the items and
the first state have gradients too. Each row gives medians over the rounds of the best of three, and
what native wins over the others. --clock cpu leaves out the time in which other processes had the processor.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor

from unrolled import unroll
from unrolled.cells import BUILT_IN, Cell, load_cell, map_state, named_tensors
from unrolled.engines import ENGINES, Request

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def work(cell: Cell, engine: str, x: Tensor, weigh: Tensor, args: argparse.Namespace) -> float:
    """Do one round; return its seconds."""
    backward, clock = not args.only_forward, CLOCKS[args.clock]
    state = map_state(lambda part: part.requires_grad_(backward), cell.initial_state(x.shape[1]))
    cell.zero_grad(set_to_none=True)
    x.grad = None
    began = clock()
    with torch.set_grad_enabled(backward):
        y, _ = unroll(cell, x, state, engine=engine)
        if backward:
            y.backward(weigh)
    seconds = clock() - began
    assert not backward or all(part.grad is not None for part in named_tensors(state).values())
    return seconds


def measure(cell: Cell, args: argparse.Namespace, lanes: int) -> dict[str, float]:
    """Return the median seconds of each engine that can run ``cell``."""
    backward = not args.only_forward
    x = torch.randn(args.window, lanes, cell.input_size, requires_grad=backward)
    weigh = torch.randn(args.window, lanes, cell.hidden_size)
    request = Request(cell, x, cell.initial_state(lanes))
    able = [name for name in args.engines if ENGINES[name].why_not(request) is None]
    times: dict[str, list[float]] = {name: [] for name in able}
    for turn in range(args.rounds + 2):
        for name in able:
            seconds = [work(cell, name, x, weigh, args) for _ in range(3)]
            if turn >= 2:
                times[name].append(min(seconds))
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cells", nargs="*", default=["lstm", "gru", "rnn"])
    parser.add_argument("--gated", nargs="*", default=[])
    parser.add_argument("--hidden", nargs="*", type=int, default=[128, 512])
    parser.add_argument("--lanes", nargs="*", type=int, default=[1, 16, 50])
    parser.add_argument("--window", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engines", nargs="*", default=["native", "torch", "naive"])
    parser.add_argument("--only-forward", action="store_true")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    args = parser.parse_args()
    torch.manual_seed(0)
    kinds: dict[str, type[Cell]] = {name: BUILT_IN[name] for name in args.cells}
    kinds |= {reference.rpartition(":")[2]: load_cell(reference).cls for reference in args.gated}
    where = f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    print(f"window {args.window}, {where}; milliseconds, {args.clock} clock")
    print("cell      H    B  " + "".join(f"{name:>10}" for name in args.engines) + "   native wins")
    for name, kind in kinds.items():
        for hidden in args.hidden:
            for lanes in args.lanes:
                found = measure(kind(hidden, hidden), args, lanes)
                cost = "".join(
                    f"{found[e] * 1e3:10.2f}" if e in found else f"{'-':>10}" for e in args.engines
                )
                wins = [f"{found[e] / found['native']:.2f} × {e}" for e in found if e != "native"]
                print(f"{name:<8} {hidden:>4} {lanes:>4} {cost}   {', '.join(wins)}", flush=True)


if __name__ == "__main__":
    main()
