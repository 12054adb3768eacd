"""Streams by the compiled loop: for nets that are one line of gated cells in float32 on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch

from unrolled.cells import GatedCell, named_tensors
from unrolled.engines.native.sampler import Lane, Packed, Singles, Straight, misfit, why_not
from unrolled.errors import UsageError
from unrolled.net import Net, State
from unrolled.net.layers import Embedding, Linear
from unrolled.sample.choice import Choice, Floats
from unrolled.sample.folded import Folded
from unrolled.sample.walkers import Block, Plain, Spot, Walker, Watch, boundary_ids

_LONGEST = 128
_ROOM = 1 << 14  # logits of a block


def walker_of(net: Net, weights: str = "float32") -> Walker:
    """Return the fastest walker of a net; UsageError where ``weights`` can't be had."""
    if weights != "float32" or why_no_loop(net, weights) is None:
        return loop_of(net, weights)
    straight = straight_of(net)
    if net.engine in ("auto", "native") and not isinstance(straight, str) and misfit(straight) is None:
        return Folded(net, straight)
    return Plain(net)


def loop_of(net: Net, weights: str) -> Native:
    """Return the compiled loop with a net's present weights; UsageError where it can't be had."""
    made = _MADE.setdefault(net, {})
    if weights in made and made[weights].is_current() and made[weights].has_same_numbers():
        return made[weights]
    made.pop(weights, None)
    reason = why_no_loop(net, weights)
    if reason is not None:
        raise UsageError(f"the loop with {weights} weights can't be had: {reason}; leave --weights out")
    made[weights] = Native(net, weights)
    return made[weights]


def why_no_loop(net: Net, weights: str = "float32") -> str | None:
    """Return why the compiled loop doesn't run a net, in words, or None."""
    if weights == "float32" and net.engine not in ("auto", "native"):
        return f"the net's engine is {net.engine}"
    straight = straight_of(net)
    return straight if isinstance(straight, str) else why_not(straight, weights)


def straight_of(net: Net) -> Straight | str:
    """Return the parts of a net that is one line from ids to logits, or why it isn't one."""
    walk = net.straight or []
    modules = [module for _, module, _ in walk]
    embedding = modules.pop(0) if modules and isinstance(modules[0], Embedding) else None
    if len(modules) < 2 or not all(isinstance(module, GatedCell) for module in modules[:-1]):
        return "it runs an embedding or one-hot ids, gated cells one on the other, and a linear layer"
    cells, output = tuple(modules[:-1]), modules[-1]
    if not isinstance(output, Linear) or output.axes != 1:
        return "it ends in a linear layer"
    V = output.shape.width
    source = net.wiring.layers[walk[0][0]].sources[0].source
    if embedding is not None:
        shown = embedding.size
    else:
        shown = cells[0].input_size if source in net.wiring.gathered else 0
    if shown != V:
        return f"it reads as many ids as there are logits, {V}, the net reads {shown or 'numbers'}"
    return Straight(
        cells,
        output.x_to_y.t() if output.transpose else output.x_to_y,
        output.bias,
        None if embedding is None else embedding.id_to_x,
        None if embedding is None else embedding.bias,
    )


class Native:
    """Many steps in one call."""

    def __init__(self, net: Net, weights: str) -> None:
        straight = straight_of(net)
        assert isinstance(straight, Straight)
        self._packed = Packed(straight, weights)
        cells = {name: module for name, module, recurrent in net.straight or () if recurrent}
        self._states = {name: cell.State for name, cell in cells.items()}
        self._widths = {name: cell.hidden_size for name, cell in cells.items()}
        self._watch = Watch(net, self._packed.compare)
        boundary = boundary_ids(net)
        self._boundary = np.array(boundary, np.int64) if boundary else None
        self.longest = max(1, min(_LONGEST, _ROOM // self._packed.num_ids))

    def is_current(self) -> bool:
        """Tell whether no weight was changed in place since."""
        return self._watch.is_current()

    def has_same_numbers(self) -> bool:
        """Tell whether the weights are still where they were, and the same to the bit."""
        return self._watch.has_same_numbers()

    def looks_same(self) -> bool:
        """Tell whether the weights are still where they were, and the next share of them as it was."""
        return self._watch.looks_same()

    def own(self, state: State) -> Singles:
        """Return all numbers in a row."""
        parts = [part.reshape(-1) for name in self._states for part in named_tensors(state[name]).values()]
        found: Singles = torch.cat(parts).detach().numpy()
        return found

    def shared(self, state: Singles) -> State:
        """Cut the row of numbers."""
        found: State = {}
        at, whole = 0, torch.from_numpy(state.copy())
        for name, kind in self._states.items():
            H, count = self._widths[name], 1 if kind is None else len(kind._fields)
            parts = [part.clone() for part in whole[at : at + count * H].view(count, 1, H)]
            found[name] = parts[0] if kind is None else kind(*parts)
            at += count * H
        return found

    def feed(self, spots: Sequence[Spot], ids: Sequence[Sequence[int]], *, apart: bool = False) -> list[Spot]:
        """Feed all lanes together."""
        lanes = []
        for spot, given in zip(spots, ids, strict=True):
            fed = np.array(given, np.int64)
            self._check(fed)
            logits = np.empty(self._packed.num_ids, np.float32)
            lanes.append(Lane(spot.state.copy(), fed, logits, tail=list(spot.tail)))
        self._packed.run(lanes, None if apart else self._boundary)
        return [
            _spot(lane, lane.logits) if len(lane.ids) else spot
            for lane, spot in zip(lanes, spots, strict=True)
        ]

    def draw(
        self, spots: Sequence[Spot], uniforms: Sequence[Floats], choices: Sequence[Choice]
    ) -> list[Block]:
        """Draw a block for all lanes together."""
        lanes = []
        for spot, numbers, choice in zip(spots, uniforms, choices, strict=True):
            how = (choice.temperature, choice.top_k, choice.top_p, choice.min_p)
            logits = np.empty((len(numbers) + 1, self._packed.num_ids), np.float32)
            logits[0] = spot.logits
            ids = np.empty(len(numbers), np.int64)
            lanes.append(Lane(spot.state.copy(), ids, logits, numbers, how, tail=list(spot.tail)))
        self._packed.run(lanes, self._boundary)
        return [Block(lane.ids.tolist(), lane.logits, _spot(lane, lane.logits[-1])) for lane in lanes]

    def read(self, states: Sequence[Singles], ids: Any, fresh: Any) -> list[Lane]:
        """Feed each lane ids, keeping all logits; ``fresh`` marks where its state starts anew."""
        lanes = []
        for state, given, marks in zip(states, ids, fresh, strict=True):
            fed = np.ascontiguousarray(given, np.int64)
            self._check(fed)
            logits = np.empty((len(fed) + 1, self._packed.num_ids), np.float32)
            marked = None if marks is None else np.ascontiguousarray(marks, np.bool_)
            lanes.append(Lane(state, fed, logits, fresh=marked))
        self._packed.run(lanes)
        return lanes

    def _check(self, ids: Any) -> None:
        if len(ids) and not -1 <= ids.min() <= ids.max() < self._packed.num_ids:
            raise UsageError(
                f"this net reads ids from 0 to {self._packed.num_ids - 1}, or -1 for none; "
                f"came {ids.min()} to {ids.max()}"
            )


def _spot(lane: Lane, logits: Singles) -> Spot:
    return Spot(lane.state, logits.astype(np.float64), tuple(lane.tail))


_MADE: WeakKeyDictionary[Net, dict[str, Native]] = WeakKeyDictionary()
