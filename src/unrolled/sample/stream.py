"""A stream: one lane of a net that draws its own next id, one step at a time, without end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from unrolled.errors import UsageError
from unrolled.net import Net, State
from unrolled.sample.choice import Choice, Floats
from unrolled.sample.native import walker_of
from unrolled.sample.walkers import Block, Spot, Walker, with_logits

WEIGHTS = ("float32", "bf16", "int8")
"""What the weights may be while sampling: as they are, or rounded to fewer bits."""

_FED = 4096  # ids of a prime that are fed in one call


@dataclass(frozen=True)
class Snapshot:
    """Where a stream stands: everything that its future depends on, by value."""

    state: State
    logits: Floats
    generator: torch.Tensor
    tail: tuple[int, ...]


class Stream:
    """Draw ids from a net without end, at constant memory.

    It replaces this loop, where ``u`` comes from a generator of the stream's own::

        logits, state = net.step(torch.tensor([id]), state)
        id = draw(logits[0], u, choice)

    A stream that was primed with nothing starts from what the net expects before it has seen an id.
    Where the net was trained on documents, the state starts anew after each boundary, as in training.
    ``weights`` bf16 or int8 keeps the weights in fewer bits, see docs/sampling.md; UsageError where the
    net or the machine can't do that.

    Ids may be drawn ahead, but nothing shows of it: a weight that is changed in place, or another
    ``choice``, is heeded by the next id. What torch doesn't count as a change (a fused optimizer's step,
    ``weight.data``) and the weights of a net that moves (``net.to``) are heeded a block later, single
    numbers that are set so within 64.
    """

    def __init__(
        self, net: Net, choice: Choice | None = None, *, seed: int | None = None, weights: str = "float32"
    ) -> None:
        self.net, self.choice, self.weights = net, choice or Choice(), weights
        if weights not in WEIGHTS:
            raise UsageError(f"weights: wanted one of {', '.join(WEIGHTS)}, came {weights!r}")
        if seed is not None and not 0 <= seed < 2**64:
            raise UsageError(f"seed: wanted 0 or more and less than 2^64, came {seed}")
        self._generator = torch.Generator()
        self.seed = self._generator.seed() if seed is None else seed
        self._generator.manual_seed(self.seed)
        self._walker = walker_of(net, weights)
        self._spot = Spot(self._walker.own(net.initial_state(1)))
        self._ahead: _Ahead | None = None
        self._used, self._run, self._expected = 0, 0, 0
        self.on_draw: Callable[[int, float], None] | None = None
        """Hears of each id drawn and of its log-probability: nats, temperature 1, before truncation."""

    def prime(self, ids: Iterable[int]) -> Stream:
        """Feed ids without drawing; return the stream."""
        waiting = iter(ids)
        while given := [int(id_) for id_ in islice(waiting, _FED)]:
            self._settle()
            [self._spot] = self._walker.feed([self._spot], [given])
        return self

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        ahead = self._ahead
        if (
            ahead is None
            or self._used == len(ahead.block.ids)
            or ahead.choice is not self.choice
            or not self._walker.is_current()
        ):
            [ahead] = _draw_ahead([self], self._how_many())
        id_ = ahead.block.ids[self._used]
        if self.on_draw is not None:
            self.on_draw(id_, float(ahead.block.logprobs[self._used]))
        self._used += 1
        return id_

    def take(self, count: int) -> list[int]:
        """Return the next ``count`` ids."""
        self.expect(count)
        found: list[int] = []
        while len(found) < count:
            found.append(next(self))
            found += self._rest(count - len(found))
        return found

    def _rest(self, most: int) -> list[int]:
        """Return what is drawn ahead already, if nobody wants to hear of each id."""
        if self.on_draw is not None or self._ahead is None:
            return []
        ids = self._ahead.block.ids[self._used : self._used + most]
        self._used += len(ids)
        return ids

    def expect(self, count: int) -> None:
        """Say that ``count`` more ids will be wanted, so that no more are drawn ahead. It changes no id."""
        self._expected = count - (len(self._ahead.block.ids) - self._used if self._ahead else 0)

    @property
    def logits(self) -> Floats:
        """Logits [V] of the next id; to look at them changes nothing."""
        if self._ahead is not None:
            return np.array(self._ahead.block.logits[self._used], np.float64)
        self._spot = with_logits(self._walker, self._spot)
        assert self._spot.logits is not None
        return self._spot.logits

    def _how_many(self) -> int:
        """Return how many ids to draw: with nobody saying, a quarter of those that came in a row before."""
        wanted = self._expected if self._expected > 0 else self._run // 4
        return max(1, min(wanted, self._walker.longest))

    def _settle(self, seen: Walker | None = None) -> Walker:
        """Stand where the reader does, on the net's present weights; what was drawn ahead is undone.

        A walker ``seen`` a moment ago is not asked again. Returns the stream's.
        """
        if self._ahead is not None:
            block, used = self._ahead.block, self._used
            self._spot = block.after
            if used < len(block.ids):
                [self._spot] = self._walker.feed([self._ahead.before], [block.ids[:used]])
                self._generator.set_state(self._ahead.generator)
                self._uniforms(used)
                self._expected += len(block.ids) - used
                self._run = 0
            self._ahead, self._used = None, 0
        same = self._walker is seen or (self._walker.is_current() and self._walker.looks_same())
        if not same:
            state = self._walker.shared(self._spot.state)
            self._walker = walker_of(self.net, self.weights)
            self._spot = replace(self._spot, state=self._walker.own(state))
        return self._walker

    def _uniforms(self, count: int) -> Floats:
        drawn: Floats = torch.rand(count, dtype=torch.float64, generator=self._generator).numpy()
        return drawn

    def save(self) -> Snapshot:
        """Return where the stream stands."""
        self._settle()
        logits = self.logits
        state = self._walker.shared(self._spot.state)
        return Snapshot(state, logits, self._generator.get_state(), self._spot.tail)

    def rewind(self, snapshot: Snapshot) -> None:
        """Go back to where a stream of the same net stood."""
        self._ahead, self._used, self._run, self._expected = None, 0, 0, 0
        self._spot = Spot(self._walker.own(snapshot.state), snapshot.logits, snapshot.tail)
        self._generator.set_state(snapshot.generator)

    def fork(self, seed: int | None = None) -> Stream:
        """Return a second stream that stands here; with a seed it draws other numbers from here on."""
        other = Stream(self.net, self.choice, seed=self.seed if seed is None else seed, weights=self.weights)
        snapshot = self.save()
        generator = other._generator.get_state() if seed is not None else snapshot.generator
        other.rewind(replace(snapshot, generator=generator))
        return other


@dataclass(frozen=True)
class _Ahead:
    """A block that was drawn, and how to undo it."""

    before: Spot
    generator: torch.Tensor
    choice: Choice
    block: Block


def _draw_ahead(streams: Sequence[Stream], count: int) -> list[_Ahead]:
    """Draw a block for streams of one walker, that starts where their readers are."""
    walker = None
    for stream in streams:
        walker = stream._settle(walker)
        stream._spot = with_logits(walker, stream._spot)
    assert walker is not None
    count = min(count, walker.longest)
    states = [stream._generator.get_state() for stream in streams]
    uniforms = [stream._uniforms(count) for stream in streams]
    blocks = walker.draw([s._spot for s in streams], uniforms, [s.choice for s in streams])
    for stream, state, block in zip(streams, states, blocks, strict=True):
        stream._ahead = _Ahead(stream._spot, state, stream.choice, block)
        stream._used = 0
        stream._run += count
        stream._expected -= count
    return [stream._ahead for stream in streams if stream._ahead is not None]


class Streams:
    """Streams of one net that go on together: the weights are read once a step for all of them.

    It replaces this loop, and gives each stream the ids that it would draw alone::

        ids = [stream.take(count) for stream in streams]
    """

    def __init__(self, streams: Iterable[Stream]) -> None:
        self.streams = tuple(streams)
        kinds = {(id(stream.net), stream.weights) for stream in self.streams}
        if len(kinds) > 1 or len({id(stream) for stream in self.streams}) < len(self.streams):
            raise UsageError("streams that go on together must be different ones of one net and its weights")

    def prime(self, primes: Iterable[Sequence[int]]) -> Streams:
        """Feed each stream ids of its own, of any lengths; return the streams."""
        waiting = [[int(id_) for id_ in prime] for prime in primes]
        if len(waiting) != len(self.streams):
            raise UsageError(f"wanted {len(self.streams)} primes, one a stream, came {len(waiting)}")
        walker = None
        for stream in self.streams:
            walker = stream._settle(walker)
        for at in range(0, max(map(len, waiting), default=0), _FED):
            parts = [prime[at : at + _FED] for prime in waiting]
            spots = self.streams[0]._walker.feed([stream._spot for stream in self.streams], parts)
            for stream, spot in zip(self.streams, spots, strict=True):
                stream._spot = spot
        return self

    def take(self, count: int) -> list[list[int]]:
        """Return the next ``count`` ids of each stream."""
        found: list[list[int]] = [[] for _ in self.streams]
        while found and len(found[0]) < count:
            [ahead, *_] = _draw_ahead(self.streams, count - len(found[0]))
            size = len(ahead.block.ids)
            for ids, stream in zip(found, self.streams, strict=True):
                drawn = stream._rest(size)
                ids += drawn or [next(stream) for _ in range(size)]
        return found
