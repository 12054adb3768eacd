"""A stream: one lane of a net that draws its own next id, one step at a time, without end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.cells import map_state
from unrolled.data import Vocab
from unrolled.errors import UnseenError, UsageError
from unrolled.net import Net, State

NO_ID = -1
"""The id that shows a net nothing: its one-hot row or embedding is zero."""


@dataclass(frozen=True)
class Choice:
    """How the next id is drawn from the logits: first temperature, then top-k, top-p and min-p."""

    temperature: float = 1.0
    """Logits are divided by it; 0 takes the likeliest id, ties going to the lowest."""
    top_k: int = 0
    """Keep the k likeliest ids; 0 keeps all."""
    top_p: float = 1.0
    """Keep the fewest likeliest ids whose probabilities sum to at least p (Holtzman et al. 2020)."""
    min_p: float = 0.0
    """Keep ids at least min_p times as likely as the likeliest (Nguyen et al. 2024)."""

    def __post_init__(self) -> None:
        rules = (
            ("temperature", 0 <= self.temperature < float("inf"), "a finite number, 0 or more"),
            ("top_k", self.top_k >= 0, "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "more than 0 and at most 1"),
            ("min_p", 0 <= self.min_p <= 1, "between 0 and 1"),
        )
        for name, holds, wanted in rules:
            if not holds:
                raise UsageError(f"{name}: wanted {wanted}, came {getattr(self, name)}")


Floats = NDArray[np.float64]


def draw(logits: Floats, uniform: float, choice: Choice) -> int:
    """Draw an id from logits [V] with one uniform number in [0, 1).

    The uniform number is inverted over the cumulative sum of float64 probabilities in the order of ids,
    so equal logits and an equal number give an equal id, whoever draws beside.
    """
    if choice.temperature == 0:
        return int(np.argmax(logits))
    with np.errstate(over="ignore"):
        weights = np.exp((logits - logits.max()) / choice.temperature)
    if choice.top_k or choice.top_p < 1 or choice.min_p:
        weights = _truncated(weights, choice)
    total = np.cumsum(weights)
    place = int(np.searchsorted(total, uniform * total[-1], side="right"))
    return min(place, int(np.flatnonzero(weights)[-1]))


def _truncated(weights: Floats, choice: Choice) -> Floats:
    """Zero the weights [V] that top-k, top-p or min-p leave out; the likeliest always stays."""
    likeliest_first = np.argsort(-weights, kind="stable")
    keep = len(weights)
    if choice.top_k:
        keep = min(keep, choice.top_k)
    if choice.top_p < 1:
        shares = np.cumsum(weights[likeliest_first]) / weights.sum()
        keep = min(keep, int(np.searchsorted(shares, choice.top_p, side="left")) + 1)
    kept = np.zeros_like(weights)
    chosen = likeliest_first[:keep]
    kept[chosen] = weights[chosen]
    if choice.min_p:
        kept[kept < choice.min_p * weights[likeliest_first[0]]] = 0.0
    return kept


def log_softmax(logits: Floats) -> Floats:
    """Return log-probabilities [V] in nats, at temperature 1."""
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


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
    """

    def __init__(self, net: Net, choice: Choice | None = None, *, seed: int | None = None) -> None:
        self.net, self.choice = net, choice or Choice()
        self._device = next(net.parameters()).device
        if seed is not None and not 0 <= seed < 2**64:
            raise UsageError(f"seed: wanted 0 or more and less than 2^64, came {seed}")
        self._generator = torch.Generator()
        self.seed = self._generator.seed() if seed is None else seed
        self._generator.manual_seed(self.seed)
        self._boundary = _boundary_ids(net)
        self._tail: tuple[int, ...] = ()
        self._state = net.initial_state(1)
        self._logits: Floats | None = None
        self.on_draw: Callable[[int, float], None] | None = None
        """Hears of each id drawn and of its log-probability: nats, temperature 1, before truncation."""

    def prime(self, ids: Iterable[int]) -> Stream:
        """Feed ids without drawing; return the stream."""
        for id_ in ids:
            self._feed(int(id_))
        return self

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        logits = self.logits
        uniform = float(torch.rand((), dtype=torch.float64, generator=self._generator))
        id_ = draw(logits, uniform, self.choice)
        if self.on_draw is not None:
            self.on_draw(id_, float(log_softmax(logits)[id_]))
        self._feed(id_)
        return id_

    @property
    def logits(self) -> Floats:
        """Logits [V] of the next id; to look at them changes nothing."""
        if self._logits is None:
            self._logits, _ = self._step(NO_ID, fresh=False)
        return self._logits

    def _feed(self, id_: int) -> None:
        boundary = self._boundary
        fresh = bool(boundary) and self._tail == boundary
        self._logits, self._state = self._step(id_, fresh)
        if boundary:
            self._tail = (*(() if fresh else self._tail), id_)[-len(boundary) :]

    def _step(self, id_: int, fresh: bool) -> tuple[Floats, State]:
        before = self.net.initial_state(1) if fresh else self._state
        with torch.inference_mode(), _without_dropout(self.net):
            logits, state = self.net.step(torch.tensor([id_], device=self._device), before)
            return logits[0].double().cpu().numpy(), state

    def save(self) -> Snapshot:
        """Return where the stream stands."""
        logits = self.logits
        return Snapshot(map_state(torch.clone, self._state), logits, self._generator.get_state(), self._tail)

    def rewind(self, snapshot: Snapshot) -> None:
        """Go back to where a stream of the same net stood."""
        self._state = map_state(torch.clone, snapshot.state)
        self._logits, self._tail = snapshot.logits, snapshot.tail
        self._generator.set_state(snapshot.generator)

    def fork(self, seed: int | None = None) -> Stream:
        """Return a second stream that stands here; with a seed it draws other numbers from here on."""
        other = Stream(self.net, self.choice, seed=self.seed if seed is None else seed)
        snapshot = self.save()
        generator = other._generator.get_state() if seed is not None else snapshot.generator
        other.rewind(replace(snapshot, generator=generator))
        return other


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


def _boundary_ids(net: Net) -> tuple[int, ...]:
    """Return the ids after which a document of this net starts anew; none where it can't write them."""
    if net.vocab is None or net.boundary in (None, "file"):
        return ()
    text = "\n" if net.boundary == "line" else net.boundary or ""
    try:
        return tuple(int(i) for i in net.vocab.encode(text))
    except UnseenError:
        return ()


def text_pieces(stream: Stream, length: int | None, stop: str | None = None) -> Iterator[str]:
    """Yield the stream's text as it comes, whole characters only, up to ``length`` ids.

    ``stop`` ends the text before its first occurrence; what might be its beginning is held back until
    it is clear that it isn't.
    """
    assert stream.net.vocab is not None
    yield from pieces_of(stream, stream.net.vocab, length, stop)


def pieces_of(ids: Iterator[int], vocab: Vocab, length: int | None, stop: str | None = None) -> Iterator[str]:
    """Yield the text of ``ids`` as it comes, as ``text_pieces`` does."""
    decoder = vocab.decoder()
    held = ""
    count = 0
    while length is None or count < length:
        count += 1
        held += decoder.feed(next(ids))
        if stop and stop in held:
            yield held[: held.index(stop)]
            return
        keep = _overlap(held, stop) if stop else 0
        if len(held) > keep:
            yield held[: len(held) - keep]
            held = held[len(held) - keep :]
    yield held + decoder.flush()


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of ``text`` that begins ``stop``."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if stop.startswith(text[-n:])), 0)


def default_prime(net: Net) -> str:
    """Return what a stream is primed with where nobody says: a newline, if the vocabulary has one."""
    vocab = net.vocab
    return "\n" if vocab is not None and (vocab.units == "byte" or "\n" in vocab.symbols) else ""
