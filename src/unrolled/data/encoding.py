"""Two passes over the bytes of a text, block by block: what is in it, then its ids and document starts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from unrolled.data.reading import Block, Source
from unrolled.data.vocab import Units, Vocab, code_points


@dataclass(frozen=True)
class Scan:
    """What the first pass found: everything about a text but its ids.

    ``symbols`` are the code points (or byte values) that occur, sorted; ``sizes`` the bytes of each
    file; ``boms`` and ``crlfs`` the indices of the files with a byte order mark or CRLF line ends.
    """

    sha256: str
    sizes: tuple[int, ...]
    num_symbols: int
    symbols: tuple[int, ...]
    boms: tuple[int, ...]
    crlfs: tuple[int, ...]

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Scan:
        """Read what ``dataclasses.asdict`` gave and JSON kept."""
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
        return cls(**values)


@dataclass(frozen=True)
class Encoded:
    """How much the second pass wrote, and how many symbols it left out."""

    num_ids: int
    num_starts: int
    num_skipped: int


def scan(sources: Sequence[Source], units: Units) -> Scan:
    """Read every source once; a TextError for bytes that are not UTF-8 when ``units`` is char."""
    digest, seen, sizes, boms, crlfs, total = hashlib.sha256(), _Seen(), [], [], [], 0
    for index, source in enumerate(sources):
        size, crlf, last = 0, False, b""
        for block in source.blocks(units):
            digest.update(block.raw)
            points = points_of(block, units, source)
            seen.add(block.data, points)
            total += len(points)
            if units == "char":
                crlf = crlf or b"\r\n" in block.data or (last == b"\r" and block.data[:1] == b"\n")
                last = block.raw[-1:]
                if block.offset > size:
                    boms.append(index)
            size += len(block.raw)
        sizes.append(size)
        if crlf:
            crlfs.append(index)
    return Scan(digest.hexdigest(), tuple(sizes), total, seen.sorted(), tuple(boms), tuple(crlfs))


def encode(
    sources: Sequence[Source], vocab: Vocab, boundary: str | None, ids_to: BinaryIO, starts_to: BinaryIO
) -> Encoded:
    """Write the ids (as ``id_type(vocab)``) and the starts (as int64) of all sources.

    Symbols that the vocabulary lacks are left out, and counted: call ``first_unseen`` before if that
    is not meant. A document starts at each source and after each ``boundary``.
    """
    starts, to_ids, num_ids, skipped = _Starts(starts_to), _ToIds(vocab), 0, 0
    for source in sources:
        finder = _Boundaries(boundary)
        starts.add(np.array([num_ids]), num_ids)
        for block in source.blocks(vocab.units):
            points = points_of(block, vocab.units, source)
            ends = _as_points(finder.ends(block.data), block.data, len(points))
            ids, known = to_ids(block.data, points)
            if known is not None:
                ends = np.concatenate([[0], np.cumsum(known)])[ends]
                skipped += len(points) - len(ids)
            ids_to.write(ids.data)
            starts.add(ends + num_ids, num_ids + len(ids))
            num_ids += len(ids)
    return Encoded(num_ids, starts.count, skipped)


def first_unseen(sources: Sequence[Source], vocab: Vocab) -> None:
    """Raise the UnseenError for the first character that ``vocab`` lacks, if there is one."""
    for source in sources:
        position, line = 0, 1
        for block in source.blocks(vocab.units):
            points = points_of(block, vocab.units, source)
            unseen = vocab.lookup(points) < 0
            if unseen.any():
                at = int(unseen.argmax())
                line += int((points[:at] == ord("\n")).sum())
                where = f" of {source.name}" if source.path else ""
                raise vocab.unseen(chr(points[at]), position + at, line, where)
            position, line = position + len(points), line + block.data.count(b"\n")


def id_type(vocab: Vocab) -> np.dtype[Any]:
    """Return the smallest unsigned type that holds every id."""
    return np.dtype("u1" if len(vocab) <= 1 << 8 else "<u2" if len(vocab) <= 1 << 16 else "<u4")


def points_of(block: Block, units: Units, source: Source) -> npt.NDArray[Any]:
    """Return the byte values [N] of a block, or its code points [N] if it has characters beyond ASCII."""
    if units == "byte" or block.data.isascii():
        return np.frombuffer(block.data, np.uint8)
    try:
        return code_points(block.data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise source.not_utf8(block.offset + error.start) from None


class _Seen:
    """The set of symbols that have occurred."""

    def __init__(self) -> None:
        self._low = b""
        self._high = np.zeros(0x110000, bool)

    def add(self, data: bytes, points: npt.NDArray[Any]) -> None:
        if points.dtype == np.uint8:
            self._low += bytes(set(data.translate(None, delete=self._low)))
        else:
            self._high[points] = True

    def sorted(self) -> tuple[int, ...]:
        return tuple(sorted({*self._low, *np.flatnonzero(self._high).tolist()}))


class _ToIds:
    """Maps symbols to ids of the smallest type; bytes.translate is the fastest table there is."""

    def __init__(self, vocab: Vocab) -> None:
        self._type = id_type(vocab)
        self._vocab = vocab
        low = vocab.lookup(np.arange(256, dtype=np.uint8))
        self._unknown = bytes(np.flatnonzero(low < 0).tolist())
        self._low = np.maximum(low, 0).astype(self._type)

    def __call__(self, data: bytes, points: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Any]:
        """Return the ids, and which symbols they are of (None: of all)."""
        if points.dtype == np.uint8 and not self._has_unknown(data):
            if self._type == np.uint8:
                return np.frombuffer(data.translate(self._low.tobytes()), np.uint8), None
            return self._low.take(points), None
        ids = self._vocab.lookup(points)
        known = ids >= 0
        if known.all():
            return ids.astype(self._type), None
        return ids[known].astype(self._type), known

    def _has_unknown(self, data: bytes) -> bool:
        return len(data.translate(None, delete=self._unknown)) < len(data)


class _Boundaries:
    """Finds the ends of a boundary string in successive blocks of one source, also across blocks."""

    def __init__(self, boundary: str | None) -> None:
        text = {None: "", "file": "", "line": "\n"}.get(boundary, boundary) or ""
        self._needle = text.encode("utf-8")
        self._pattern = re.compile(re.escape(self._needle))
        self._tail = b""

    def ends(self, data: bytes) -> npt.NDArray[np.int64]:
        """Return the positions in ``data`` that follow a boundary, at most ``len(data)``."""
        if not self._needle:
            return np.zeros(0, np.int64)
        if len(self._needle) == 1:
            return np.flatnonzero(np.frombuffer(data, np.uint8) == self._needle[0]) + 1
        joined = self._tail + data
        ends = np.array([m.end() for m in self._pattern.finditer(joined)], np.int64)
        keep = max(int(ends[-1]) if len(ends) else 0, len(joined) - len(self._needle) + 1)
        before, self._tail = len(self._tail), joined[keep:]
        return ends - before


class _Starts:
    """Writes sorted positions once each; a start that no symbol follows is never written."""

    def __init__(self, file: BinaryIO) -> None:
        self.count = 0
        self._file = file
        self._waiting = np.zeros(0, np.int64)

    def add(self, positions: npt.NDArray[np.int64], num_ids: int) -> None:
        positions = np.concatenate([self._waiting, positions])
        positions = positions[np.diff(positions, prepend=-1) > 0]
        ready = int(np.searchsorted(positions, num_ids))
        self._file.write(positions[:ready].astype("<i8").data)
        self._waiting = positions[ready:]
        self.count += ready


def _as_points(ends: npt.NDArray[np.int64], data: bytes, num_points: int) -> npt.NDArray[np.int64]:
    """Turn positions among bytes into positions among characters."""
    if num_points == len(data) or not len(ends):
        return ends
    leads = np.flatnonzero((np.frombuffer(data, np.uint8) & 0xC0) != 0x80)
    return np.searchsorted(leads, ends)
