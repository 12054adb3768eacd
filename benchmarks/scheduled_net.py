"""What a net made from a spec costs beside the same cells called by hand.

    python benchmarks/scheduled_net.py [--lanes 50] [--window 50] [--hidden 128] [--rounds 30]

Both train a char-RNN, 2 LSTM layers, on the same random ids, in turns within one process: median time of an
update, its spread, the ratio, and how often an engine was called in a window.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from unrolled import LSTM, Chain, Net, chain, detach, unroll
from unrolled import engines as engine_room

SYMBOLS = 65


class ByHand:
    """The same two cells and one matrix, with the loop over layers written out."""

    def __init__(self, hidden: int) -> None:
        self.cells = [LSTM(SYMBOLS, hidden), LSTM(hidden, hidden)]
        self.weight = torch.nn.Parameter(torch.empty(hidden, SYMBOLS).uniform_(-0.1, 0.1))
        self.bias = torch.nn.Parameter(torch.zeros(SYMBOLS))
        cells = [p for cell in self.cells for p in cell.parameters()]
        self.optimizer = torch.optim.Adam([*cells, self.weight, self.bias], 2e-3, fused=True)
        self.states: list[object] = [None, None]

    def update(self, inputs: Tensor, targets: Tensor) -> None:
        """Do one update."""
        x = inputs
        for number, cell in enumerate(self.cells):
            x, self.states[number] = unroll(cell, x, self.states[number])
        logits = torch.addmm(self.bias, x.flatten(0, 1), self.weight)
        loss = functional.cross_entropy(logits, targets.flatten())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.states = [detach(state) for state in self.states]


class FromSpec:
    """The net of the same layers."""

    def __init__(self, hidden: int) -> None:
        self.net = Net(chain(Chain(SYMBOLS, cell="lstm", layers=2, hidden=hidden)))
        self.optimizer = torch.optim.Adam(self.net.parameters(), 2e-3, fused=True)
        self.state: object = None

    def update(self, inputs: Tensor, targets: Tensor) -> None:
        """Do one update."""
        score, state = self.net.judge(inputs, targets, self.state)
        self.optimizer.zero_grad(set_to_none=True)
        (score.total / score.count).backward()
        self.optimizer.step()
        self.state = detach(state)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name, default in (("lanes", 50), ("window", 50), ("hidden", 128), ("rounds", 30)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.manual_seed(0)
    ids = torch.randint(SYMBOLS, (args.window + 1, args.lanes))
    ways: dict[str, Callable[[Tensor, Tensor], None]] = {
        "by hand": ByHand(args.hidden).update,
        "from the spec": FromSpec(args.hidden).update,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(args.rounds + 3):
        for name, update in ways.items():
            began = time.perf_counter()
            update(ids[:-1], ids[1:])
            if turn >= 3:
                times[name].append(time.perf_counter() - began)
    print(
        f"{args.lanes} lanes, windows of {args.window}, 2 x {args.hidden}, {torch.get_num_threads()} threads"
    )
    for name, update in ways.items():
        median, spread = statistics.median(times[name]), statistics.quantiles(times[name], n=4)
        calls = _engine_calls(lambda update=update: update(ids[:-1], ids[1:]))
        print(
            f"{name:<14} median {median * 1e3:7.2f} ms an update (quartiles {spread[0] * 1e3:.2f} to "
            f"{spread[2] * 1e3:.2f}), {calls} engine calls a window"
        )
    ratios = [b / a for a, b in zip(times["by hand"], times["from the spec"], strict=True)]
    print(f"ratio          {statistics.median(ratios):.3f} (spec / by hand, median over turns)")


def _engine_calls(work: Callable[[], None]) -> int:
    """Return how many times an engine ran."""
    calls = 0
    found = {type(engine) for engine in engine_room.ENGINES.values()}
    originals = {cls: cls.run for cls in found}

    def counted(cls: type) -> Callable[..., object]:
        def run(self: object, *args: object) -> object:
            nonlocal calls
            calls += 1
            return originals[cls](self, *args)

        return run

    for cls in found:
        cls.run = counted(cls)  # type: ignore[method-assign, assignment]
    try:
        work()
    finally:
        for cls, original in originals.items():
            cls.run = original  # type: ignore[method-assign]
    return calls


if __name__ == "__main__":
    main()
