"""From ids to text, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator

from unrolled.data import Vocab
from unrolled.net import Net
from unrolled.sample.stream import Stream


def text_pieces(stream: Stream, length: int | None, stop: str | None = None) -> Iterator[str]:
    """Yield the stream's text as it comes, whole characters only, up to ``length`` ids.

    ``stop`` ends the text before its first occurrence; what might be its beginning is held back until
    it is clear that it isn't.
    """
    assert stream.net.vocab is not None
    if length is not None:
        stream.expect(length)
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
