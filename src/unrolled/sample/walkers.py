"""How a stream takes its steps: one at a time by the net itself, or many in a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle
from operator import attrgetter
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.cells import map_state
from unrolled.errors import UnseenError
from unrolled.net import Net, State
from unrolled.sample.choice import NO_ID, Choice, Floats, draw, log_softmax

Numbers = NDArray[np.float32] | Floats

SHARES = 64
"""Blocks of ids in which each number of the weights is compared once."""


@dataclass(frozen=True)
class Spot:
    """Where a lane stands: all that its future depends on, but for weights and random numbers."""

    state: Any
    """In the walker's own form."""
    logits: Floats | None = None
    """[V] of the next id; None before anything was read."""
    tail: tuple[int, ...] = ()
    """The last ids since a boundary, which may be the beginning of one."""


@dataclass(frozen=True)
class Block:
    """Some ids that were drawn in a row."""

    ids: list[int]
    logits: Numbers
    """[n + 1, V]: what each id was drawn from, and what comes after them."""
    after: Spot
    """Where the lane stands after the last of them."""

    @cached_property
    def logprobs(self) -> Floats:
        """The log-probability [n] of each id at temperature 1, in nats."""
        each = log_softmax(self.logits[:-1].astype(np.float64))
        return np.asarray(each[np.arange(len(self.ids)), self.ids])


class Walker(Protocol):
    """A way to take steps."""

    longest: int
    """How many ids one call may draw."""

    def is_current(self) -> bool:
        """Tell whether it still has the net's own weights."""

    def looks_same(self) -> bool:
        """Tell whether the net's weights are still where they were, and the next share of them as it was."""

    def own(self, state: State) -> Any:
        """Return a net's state of one lane in this walker's form, a copy."""

    def shared(self, state: Any) -> State:
        """Return a state in the net's form, a copy."""

    def feed(self, spots: Sequence[Spot], ids: Sequence[Sequence[int]], *, apart: bool = False) -> list[Spot]:
        """Return where each lane stands after its ids; ``apart`` from the text, boundaries don't count."""

    def draw(
        self, spots: Sequence[Spot], uniforms: Sequence[Floats], choices: Sequence[Choice]
    ) -> list[Block]:
        """Draw ids with as many uniform numbers a lane; every spot has logits."""


Pairs = Sequence[tuple[torch.Tensor, torch.Tensor]]
Compare = Callable[[Pairs], Callable[[], bool]]
"""Returns what tells whether the two of each pair are the same to the bit."""


class Watch:
    """Sees whether a net's weights change.

    Versions tell it at once, but not of everything: ``weight.data`` and torch's fused optimizers change a
    weight and leave its version as it was. So the numbers are compared too, less often; a share of each
    weight at a time, since to read them all may take longer than the steps between.
    """

    def __init__(self, net: Net, compare: Compare | None = None) -> None:
        self._parameters = list(net.parameters())
        self._versions, self._places = self._version(), self._place()
        self._pairs = [(bits, bits.clone()) for bits in map(_bits, self._parameters)]
        if compare is None or not all(bits.is_contiguous() for bits, _ in self._pairs):
            compare = _compare
        shares = ([(_share(a, n), _share(b, n)) for a, b in self._pairs] for n in range(SHARES))
        self._looks = cycle([compare(share) for share in shares])

    def _version(self) -> int:
        return sum(map(_VERSION, self._parameters))

    def _place(self) -> list[int]:
        return [parameter.data_ptr() for parameter in self._parameters]

    def is_current(self) -> bool:
        """Tell whether no weight was changed in place since, as far as versions tell."""
        return self._version() == self._versions

    def has_same_numbers(self) -> bool:
        """Tell whether the weights are still where they were, and the same to the bit."""
        return self._place() == self._places and all(torch.equal(*pair) for pair in self._pairs)

    def looks_same(self) -> bool:
        """Tell whether the weights are still where they were, and a share of each, the next, as it was."""
        return self._place() == self._places and next(self._looks)()


_VERSION = attrgetter("_version")


def _compare(pairs: Pairs) -> Callable[[], bool]:
    return lambda: all(torch.equal(*pair) for pair in pairs)


def _bits(x: torch.Tensor) -> torch.Tensor:
    """Return the memory of float32 numbers as whole ones, of which NaN too equals itself."""
    x = x.detach()
    return x.view(torch.int32) if x.dtype == torch.float32 else x


def _share(x: torch.Tensor, number: int) -> torch.Tensor:
    """Return some rows of x: those of all numbers are all rows, those of one at least one."""
    first, end = (len(x) * n // SHARES for n in (number, number + 1))
    return x[first : max(end, first + 1)]


class Plain:
    """Step by step, as the net does it: for every net."""

    longest = 1

    def __init__(self, net: Net) -> None:
        self._net, self._boundary = net, boundary_ids(net)

    def is_current(self) -> bool:
        """Say yes: it reads the net's weights at every step."""
        return True

    def looks_same(self) -> bool:
        """Say yes."""
        return True

    def own(self, state: State) -> State:
        """Return a copy."""
        copy: State = map_state(torch.clone, state)
        return copy

    shared = own

    def feed(self, spots: Sequence[Spot], ids: Sequence[Sequence[int]], *, apart: bool = False) -> list[Spot]:
        """Feed one lane after the other."""
        found = list(spots)
        for lane, given in enumerate(ids):
            for id_ in given:
                found[lane] = self._step(found[lane], id_, () if apart else self._boundary)
        return found

    def draw(
        self, spots: Sequence[Spot], uniforms: Sequence[Floats], choices: Sequence[Choice]
    ) -> list[Block]:
        """Draw one id a lane."""
        blocks = []
        for spot, uniform, choice in zip(spots, uniforms, choices, strict=True):
            assert spot.logits is not None
            id_ = draw(spot.logits, float(uniform[0]), choice)
            after = self._step(spot, id_, self._boundary)
            assert after.logits is not None
            blocks.append(Block([id_], np.stack([spot.logits, after.logits]), after))
        return blocks

    def _step(self, spot: Spot, id_: int, boundary: tuple[int, ...]) -> Spot:
        fresh = bool(boundary) and spot.tail == boundary
        before = self._net.initial_state(1) if fresh else spot.state
        with torch.inference_mode(), _without_dropout(self._net):
            logits, state = self._one_step(id_, before)
        tail = (*(() if fresh else spot.tail), id_)[-len(boundary) :] if boundary else spot.tail
        return Spot(state, logits, tail)

    def _one_step(self, id_: int, before: State) -> tuple[Floats, State]:
        """Return logits [V] and the next state."""
        device = next(self._net.parameters()).device
        logits, state = self._net.step(torch.tensor([id_], device=device), before)
        return logits[0].double().cpu().numpy(), state


@contextmanager
def _without_dropout(net: Net) -> Iterator[None]:
    """Put a net that is being trained in evaluation mode for a while."""
    training = net.training
    if training:
        net.eval()
    try:
        yield
    finally:
        if training:
            net.train()


def boundary_ids(net: Net) -> tuple[int, ...]:
    """Return the ids after which a document of this net starts anew; none where it can't write them."""
    if net.vocab is None or net.boundary in (None, "file"):
        return ()
    text = "\n" if net.boundary == "line" else net.boundary or ""
    try:
        return tuple(int(i) for i in net.vocab.encode(text))
    except UnseenError:
        return ()


def with_logits(walker: Walker, spot: Spot) -> Spot:
    """Return the spot with logits: of a lane that has read nothing, what the net expects when shown no id."""
    if spot.logits is not None:
        return spot
    [shown] = walker.feed([spot], [[NO_ID]], apart=True)
    return Spot(spot.state, shown.logits, spot.tail)
