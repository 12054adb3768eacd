"""What a net wrote, compared with the text it learned from: what is copied, and what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from unrolled.data import Vocab
from unrolled.data.vocab import code_points
from unrolled.errors import UsageError
from unrolled.inspection.spans import BLOCK, Block, Hashes, Ids, Places, Wanted, blocks
from unrolled.inspection.training_text import TrainingText

NGRAM = 20
"""Symbols in a row that, standing in the training text too, count as copied."""

Flags = npt.NDArray[np.bool_]
_NOTHING = np.empty(0, np.int64)


@dataclass(frozen=True)
class Written:
    """What a net wrote, and the prime that it went on from."""

    text: str
    prime: str = ""


@dataclass(frozen=True)
class Copy:
    """A span of a sample that stands in the training text word for word.

    ``begin`` is where in the sample, in characters; ``length`` and ``offset``, where in the training text,
    are in its symbols. ``line`` counts from 1, in the file ``path`` if that is known.
    """

    text: str
    begin: int
    length: int
    offset: int
    path: Path | None
    line: int


@dataclass(frozen=True)
class Parts:
    """The lines or words of a sample: how many, which are not in the training text, and their share.

    Parts that the sample's end may have cut are left out, as are empty ones. ``novel`` has each once, in the
    order in which they came; ``novel_count`` and ``share`` count every time. None where there are no parts.
    """

    count: int
    novel: tuple[str, ...]
    novel_count: int

    @property
    def share(self) -> float | None:
        """The share of the parts that are new."""
        return self.novel_count / self.count if self.count else None


@dataclass(frozen=True)
class Novelty:
    """How new a sample is: its longest copy, the share of its n-grams that are copied, its lines and words.

    ``copied`` is None where the sample is shorter than ``ngram`` symbols. Words are runs of letters and
    digits, compared as they are written.
    """

    longest: Copy | None
    ngram: int
    copied: float | None
    lines: Parts
    words: Parts


def novelty(sample: str, training: TrainingText, *, prime: str = "", ngram: int = NGRAM) -> Novelty:
    """Compare one sample with the training text."""
    return novelties([Written(sample, prime)], training, ngram=ngram)[0]


def novelties(
    samples: Sequence[Written], training: TrainingText, *, ngram: int = NGRAM, block: int = BLOCK
) -> list[Novelty]:
    """Compare samples with the training text, which is read once, ``block`` symbols at a time.

    It replaces these loops, for each sample and each of its n-grams, spans, lines and words::

        ngram in training_text

    Time is that of a few dozen numpy operations a symbol of the training text, and a few more for each
    sample; memory that of a few blocks, or samples where they are longer. What is found by hash is compared
    symbol by symbol, so that nothing is called a copy that is none.
    """
    if ngram < 1:
        raise UsageError(f"ngram: wanted 1 or more, came {ngram}")
    found = [_Sample(written, training) for written in samples]
    longest = max([ngram, *(len(sample.ids) + 1 for sample in found)])
    copies = [_Longest(sample.own, len(training)) for sample in found]
    marked = _Everywhere(
        _Marked([(sample.own, *sample.ngrams(ngram)) for sample in found]),
        _Marked([(sample.ids, *sample.parts(sample.in_line)) for sample in found]),
        _Marked([(sample.ids, *sample.parts(sample.in_word)) for sample in found]),
    )
    for places in blocks(training.ids, longest, block):
        here = Block(training.ids, places.start, len(places), longest)
        marked.look(here, training, ngram)
        for copy in copies:
            copy.look(here)
    return [
        Novelty(_copy(sample, copy), ngram, _share(grams), _parts(sample, lines), _parts(sample, words))
        for sample, copy, grams, lines, words in zip(
            found, copies, marked.ngrams.each(), marked.lines.each(), marked.words.each(), strict=True
        )
    ]


class _Sample:
    """A sample as ids, its prime before it, and where in it lines and words are."""

    def __init__(self, written: Written, training: TrainingText) -> None:
        self.training, self.whole = training, written.prime + written.text
        self.ids = training.encode(self.whole)
        self.start = len(training.encode(written.prime))
        self.own, self.text = self.ids[self.start :], written.text
        self.bytes = training.vocab.units == "byte"
        points = self.ids if self.bytes else code_points(self.whole)
        self.in_line: Flags = points != ord("\n")
        self.in_word = (
            _alphanumeric(points) if self.bytes else np.array([c.isalnum() for c in self.whole], bool)
        )

    def text_of(self, begin: int, length: int) -> str:
        """Return a span as text."""
        if self.bytes:
            return bytes(self.ids[begin : begin + length].tolist()).decode("utf-8", "replace")
        return self.whole[begin : begin + length]

    def ngrams(self, length: int) -> tuple[Places, Places]:
        """Return where the n-grams begin, without the prime, and their lengths."""
        begins = np.arange(max(0, len(self.own) - length + 1))
        return begins, np.full(len(begins), length)

    def parts(self, inside: Flags) -> tuple[Places, Places]:
        """Return where the runs begin, and their lengths, that end in the sample and not with it."""
        begins, ends = _runs(inside, False)
        kept = (ends > self.start) & (ends < len(self.ids))
        return begins[kept], (ends - begins)[kept]

    def characters(self, begin: int, length: int) -> tuple[int, int]:
        """Return the whole characters that symbols of the sample are: where they begin and end in it."""
        if not self.bytes:
            return begin, begin + length
        heads = (self.own & 0xC0) != 0x80
        end = begin + length
        cut = end < len(heads) and not heads[end]
        return int(heads[:begin].sum()), max(0, int(heads[:end].sum()) - cut)


class _Spans(NamedTuple):
    """Spans of one sample, and of each whether the training text has it."""

    begins: Places
    lengths: Places
    present: Flags


class _Marked:
    """Spans of samples, ids and where they begin and how long they are, that are looked for at once."""

    def __init__(self, samples: Sequence[tuple[Ids, Places, Places]]) -> None:
        self.samples = samples
        self.ids = np.concatenate([_NOTHING, *(ids for ids, _, _ in samples)])
        before = np.cumsum([0, *(len(ids) for ids, _, _ in samples)])
        shifted = [begins + at for (_, begins, _), at in zip(samples, before, strict=False)]
        self.begins = np.concatenate([_NOTHING, *shifted])
        self.lengths = np.concatenate([_NOTHING, *(lengths for _, _, lengths in samples)])
        whole = Block(self.ids, 0, len(self.ids), int(self.lengths.max(initial=1)))
        self.wanted = Wanted(whole.each(self.begins, self.lengths))
        self.seen = np.zeros(len(self.wanted), np.bool_)

    def each(self) -> list[_Spans]:
        """Return the spans of each sample."""
        cuts = np.cumsum([len(begins) for _, begins, _ in self.samples])[:-1]
        present = np.split(self.seen[self.wanted.numbers], cuts) if self.samples else []
        return [_Spans(*spans[1:], flags) for spans, flags in zip(self.samples, present, strict=True)]

    def look(self, block: Block, begins: Places, lengths: Places, hashes: Hashes) -> None:
        """Mark those that are among these spans of the block."""
        places, numbers = self.wanted.among(hashes)
        new = ~self.seen[numbers]
        for place, number in zip(places[new].tolist(), numbers[new].tolist(), strict=True):
            if not self.seen[number]:
                own = self.wanted.first[number]
                mine = self.ids[self.begins[own] : self.begins[own] + self.lengths[own]]
                its = block.reach[begins[place] : begins[place] + lengths[place]]
                self.seen[number] = np.array_equal(mine, its)


class _Everywhere(NamedTuple):
    """What is looked for at every place of the training text, of all samples."""

    ngrams: _Marked
    lines: _Marked
    words: _Marked

    def look(self, block: Block, training: TrainingText, ngram: int) -> None:
        """Mark what begins in the block."""
        in_word, newline = _in_words(training.vocab), training.encode("\n")[0]
        before = training.ids[max(0, block.begin - 1) : block.begin]
        self.lines.look(block, *_spans(block, before != newline, block.reach != newline))
        self.words.look(block, *_spans(block, in_word[before], in_word[block.reach]))
        self.ngrams.look(block, np.arange(block.count), np.full(block.count, ngram), block.of(ngram))


def _share(ngrams: _Spans) -> float | None:
    return float(ngrams.present.mean()) if len(ngrams.present) else None


def _parts(sample: _Sample, spans: _Spans) -> Parts:
    novel = np.flatnonzero(~spans.present)
    texts = [sample.text_of(int(spans.begins[n]), int(spans.lengths[n])) for n in novel]
    return Parts(len(spans.begins), tuple(dict.fromkeys(texts)), len(texts))


def _copy(sample: _Sample, found: _Longest) -> Copy | None:
    if not found.length:
        return None
    begin, end = sample.characters(found.begin, found.length)
    path, line = sample.training.place(found.offset)
    return Copy(sample.text[begin:end], begin, found.length, found.offset, path, line)


class _Longest:
    """The longest span of a sample that the training text has: the first such of it, and of the sample."""

    def __init__(self, ids: Ids, most: int) -> None:
        self.ids, self.most = ids, min(most, len(ids))
        self.length, self.begin, self.offset = 0, 0, 0
        self._longer = self._wanted(1)

    def look(self, block: Block) -> None:
        """Take a span that begins in the block, if it is longer than the longest so far."""
        found = self._first(block, self.length + 1, self._longer)
        if found is None:
            return
        while found is not None:
            self.length = self._grown(block, *found)
            self._longer = self._wanted(self.length + 1)
            found = self._first(block, self.length + 1, self._longer)
        first = self._first(block, self.length, self._wanted(self.length))
        assert first is not None
        self.begin, self.offset = first[0], block.begin + first[1]

    def _wanted(self, length: int) -> Wanted | None:
        if length > self.most:
            return None
        return Wanted(Block(self.ids, 0, len(self.ids), length).of(length))

    def _first(self, block: Block, length: int, wanted: Wanted | None) -> tuple[int, int] | None:
        """Return where a span of this length stands in the sample, and first in the block."""
        if wanted is None:
            return None
        places, numbers = wanted.among(block.of(length))
        for place, begin in zip(places.tolist(), wanted.first[numbers].tolist(), strict=True):
            if np.array_equal(self.ids[begin : begin + length], block.reach[place : place + length]):
                return begin, place
        return None

    def _grown(self, block: Block, begin: int, place: int) -> int:
        """Return how long the span is that begins here in both."""
        most = min(len(self.ids) - begin, len(block.reach) - place)
        differ = self.ids[begin : begin + most] != block.reach[place : place + most]
        return int(differ.argmax()) if differ.any() else most


def _runs(inside: Flags, before: bool) -> tuple[Places, Places]:
    """Return where runs of true begin and end; one that goes on from ``before`` is none, its end is."""
    edges = np.flatnonzero(np.diff(inside, prepend=before, append=False))
    if before and len(inside):
        edges = edges[1:]
    return edges[::2], edges[1::2]


def _spans(block: Block, before: Flags, inside: Flags) -> tuple[Places, Places, Hashes]:
    """Return the runs of true that begin in the block: where, how long and their hashes.

    Those longer than any that is looked for are left out.
    """
    begins, ends = _runs(inside, bool(before.any()))
    lengths = ends - begins
    kept = (begins < block.count) & (lengths < block.longest)
    begins, lengths = begins[kept], lengths[kept]
    return begins, lengths, block.each(begins, lengths)


@lru_cache(2)
def _in_words(vocab: Vocab) -> Flags:
    """Return of each id whether it is a letter or a digit."""
    if vocab.units == "byte":
        return _alphanumeric(np.arange(256))
    return np.array([symbol.isalnum() for symbol in vocab.symbols], np.bool_)


def _alphanumeric(values: Ids) -> Flags:
    """Return of each byte whether it is a letter, a digit, or part of a character that isn't ASCII."""
    ascii_ones = np.array([chr(value).isalnum() or value >= 128 for value in range(256)])
    return ascii_ones[values]
