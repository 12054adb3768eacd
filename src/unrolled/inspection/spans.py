"""Spans of a text by hash: any span of a block in constant time, looked up among those that are wanted."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[Any]
Places = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

BLOCK = 1 << 15
"""Symbols hashed at a time: few enough for the processor's cache."""

_ODD = np.uint64(0x9E3779B97F4A7C15)
_ODDER = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)
_FILTER_BITS = 14


class Block:
    """The spans of ``text`` [N] that begin in ``begin`` … ``begin + count``, and reach on past its end.

    A span of length n has the hash of its first and of its last p symbols, p the largest power of 2 in n, so
    that all spans of a length, or any span, are hashed from a few tables. Equal spans have equal hashes; two
    different ones have with a chance of 2^-64. ``reach`` are the symbols of the block and those after it that
    its spans reach.
    """

    def __init__(self, text: Ids, begin: int, count: int, longest: int) -> None:
        self.text, self.begin, self.longest = text, begin, longest
        self.count = min(count, len(text) - begin)
        self.reach = np.asarray(text[begin : begin + self.count + longest - 1])
        self._tables: dict[int, Hashes] = {}
        self._lengths: dict[int, Hashes] = {}

    def of(self, length: int) -> Hashes:
        """Return the hashes of the spans of this length, by where they begin in the block."""
        if length not in self._lengths:
            last = min(self.count, len(self.reach) - length + 1)
            power = _power_in(length)
            table = self._table(power)
            shift = length - power
            firsts, lasts = table[: max(0, last)], table[shift : max(0, last) + shift]
            self._lengths[length] = _joined(firsts, lasts[: len(firsts)], np.uint64(length))
        return self._lengths[length]

    def each(self, begins: Places, lengths: Places) -> Hashes:
        """Return the hash of each span: where it begins in the block, and its length, at least 1."""
        hashes = np.zeros(len(begins), np.uint64)
        power = 1
        while power <= lengths.max(initial=0):
            these = np.flatnonzero((lengths >= power) & (lengths < 2 * power))
            if len(these):
                table, first = self._table(power), begins[these]
                its = lengths[these]
                hashes[these] = _joined(table[first], table[first + its - power], its.astype(np.uint64))
            power *= 2
        return hashes

    def _table(self, power: int) -> Hashes:
        """Return the hashes of all spans of a power of 2, those past the block's end too."""
        if power not in self._tables:
            if power == 1:
                self._tables[1] = _mixed(self.reach.astype(np.uint64) + np.uint64(1))
            else:
                half = self._table(power // 2)
                self._tables[power] = _joined(half[: -(power // 2)], half[power // 2 :], np.uint64(power))
        return self._tables[power]


class Wanted:
    """Spans that are looked for: ``numbers`` tells of each which distinct one it is."""

    def __init__(self, hashes: Hashes) -> None:
        self.hashes, self.first, self.numbers = np.unique(hashes, return_index=True, return_inverse=True)
        bits = max(_FILTER_BITS, len(self.hashes).bit_length() + 5)
        self._shift = np.uint64(64 - bits)
        self._filter = np.zeros(1 << bits, np.bool_)
        self._filter[self._slots(self.hashes)] = True

    def __len__(self) -> int:
        return len(self.hashes)

    def among(self, hashes: Hashes) -> tuple[Places, Places]:
        """Return where in ``hashes`` a wanted one stands, and which."""
        places = np.flatnonzero(self._filter.take(self._slots(hashes), mode="clip"))
        if not len(places):
            return places, places
        numbers = np.searchsorted(self.hashes, hashes[places])
        same = self.hashes.take(numbers, mode="clip") == hashes[places]
        return places[same], numbers[same]

    def _slots(self, hashes: Hashes) -> Places:
        return (hashes >> self._shift).view(np.int64)


def blocks(text: Ids, longest: int, count: int = BLOCK) -> list[range]:
    """Return where blocks begin whose spans are up to ``longest`` symbols long."""
    step = max(count, longest)
    return [range(begin, min(begin + step, len(text))) for begin in range(0, len(text), step)]


def _power_in(length: int) -> int:
    return 1 << (length.bit_length() - 1)


def _joined(firsts: Hashes, lasts: Hashes, length: Hashes | np.uint64) -> Hashes:
    """Hash spans by their ends and their length: aa and aaa have the same ends."""
    joined = firsts * _ODD
    joined += lasts
    joined += length
    return _mixed(joined)


def _mixed(hashes: Hashes) -> Hashes:
    """Spread every bit over the higher ones, which are what the filter looks at, in place."""
    hashes ^= hashes >> _HALF
    hashes *= _ODDER
    return hashes
