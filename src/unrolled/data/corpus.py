"""A text as ids: files of any size, encoded once, mapped into memory ever after."""

from __future__ import annotations

import io
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.data import cache
from unrolled.data.encoding import Encoded, Scan, encode, first_unseen, id_type, scan
from unrolled.data.reading import Source, unreadable
from unrolled.data.vocab import UNITS, Text, Units, Vocab, as_bytes
from unrolled.errors import TextError, UsageError, nearest

FORMAT = 1
"""Part of every key in the cache: raise it when the same text is to be encoded differently."""

_RACY_SECONDS = 2.0


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text as ids [N], with the vocabulary that reads them and the positions where documents start.

    ``ids`` are read only, of the smallest unsigned type that holds them, and mapped from a file.
    ``starts`` are sorted and begin with 0. ``sha256`` and ``num_bytes`` are of all the files' bytes,
    in a part of a split too. ``notices`` are lines worth showing to whoever gave the text.
    """

    ids: npt.NDArray[Any]
    vocab: Vocab
    starts: npt.NDArray[np.int64]
    sha256: str
    num_bytes: int
    paths: tuple[Path, ...] = ()
    notices: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def open(
        cls,
        *paths: str | Path,
        units: Units = "char",
        vocab: Vocab | None = None,
        boundary: str | None = None,
        skip_unseen: bool = False,
        cache_dir: str | Path | None = None,
    ) -> Corpus:
        """Open one text or several, one after the other; each file starts a document.

        Without ``vocab`` the vocabulary is built from the text, which must have two distinct symbols
        for that; with one, ``units`` are the vocabulary's, any length from one symbol will do, and a
        character it lacks is an UnseenError unless ``skip_unseen``. A document also starts after each
        ``boundary``: ``"line"``, or any other string (``"file"`` and None add none). Chars are read as
        strict UTF-8; CRLF is kept and one byte order mark is removed, each with a notice.

        The ids are kept in the cache (see ``cache_folder``), by the text's SHA-256 and what else they
        depend on. Whatever cannot be read is a TextError.
        """
        if not paths:
            raise TextError("A corpus needs at least one text, none was given. Name a file.")
        units = _checked(units, vocab, boundary)
        sources = [Source(Path(path)) for path in paths]
        folder = cache.cache_folder(cache_dir)
        found = _scan_of_files(sources, units, folder)
        vocab = _vocab_for(found, units, vocab, sources, skip_unseen)
        made, ids, starts = _entry(sources, found, vocab, boundary, folder)
        notices = _notices(sources, found, made, boundary)
        kept = tuple(source.path for source in sources if source.path)
        return cls(ids, vocab, starts, found.sha256, sum(found.sizes), kept, notices)

    @classmethod
    def from_text(
        cls,
        text: Text,
        *,
        units: Units = "char",
        vocab: Vocab | None = None,
        boundary: str | None = None,
        skip_unseen: bool = False,
    ) -> Corpus:
        """Encode a text that is in memory, as ``open`` does with a file of it; no cache is involved."""
        units = _checked(units, vocab, boundary)
        sources = [Source(None, as_bytes(text))]
        found = scan(sources, units)
        vocab = _vocab_for(found, units, vocab, sources, skip_unseen)
        to_ids, to_starts = io.BytesIO(), io.BytesIO()
        made = encode(sources, vocab, boundary, to_ids, to_starts)
        ids = np.frombuffer(to_ids.getvalue(), id_type(vocab))
        starts = np.frombuffer(to_starts.getvalue(), "<i8")
        notices = _notices(sources, found, made, boundary)
        return cls(ids, vocab, starts, found.sha256, sum(found.sizes), (), notices)

    def split(self, fractions: Sequence[float]) -> list[Corpus]:
        """Cut the text by position into parts of these fractions, each fresh at its first symbol.

        Cuts are at ``round(N · sum of the fractions so far)``; fractions that sum to less than 1 leave
        the rest unused. The parts share the ids' memory.
        """
        if not fractions or not all(0 < f < math.inf for f in fractions) or sum(fractions) > 1 + 1e-9:
            raise UsageError(
                "The fractions of a split must be above 0 and sum to at most 1,"
                f" not {', '.join(map(str, fractions)) or 'none'}. For example 0.95,0.05."
            )
        cuts = [0, *(min(len(self), round(len(self) * f)) for f in itertools.accumulate(fractions))]
        if len(set(cuts)) < len(cuts):
            raise TextError(
                f"A split {','.join(map(str, fractions))} needs a symbol for each part, the corpus has"
                f" {len(self)}. Give more text or fewer parts."
            )
        return [self._part(begin, end) for begin, end in itertools.pairwise(cuts)]

    def _part(self, begin: int, end: int) -> Corpus:
        low, high = np.searchsorted(self.starts, [begin, end])
        starts = self.starts[low:high]
        if begin > 0:
            starts = np.concatenate([[0], starts[starts > begin] - begin])
        return replace(self, ids=self.ids[begin:end], starts=starts)


def _checked(units: Units, vocab: Vocab | None, boundary: str | None) -> Units:
    if boundary == "":
        raise UsageError("A boundary is 'line', 'file' or a string that ends a document, not empty.")
    if vocab is not None:
        return vocab.units
    if units not in UNITS:
        raise UsageError(f"Units are 'char' or 'byte', not {units!r}{nearest(str(units), UNITS)}.")
    return units


def _scan_of_files(sources: Sequence[Source], units: Units, folder: Path) -> Scan:
    """Return the scan of the files: from the cache if they are the ones scanned then, else by reading."""
    for source in sources:
        if source.identity["size"] == 0:
            raise TextError(f"A text needs at least 2 symbols, but {source.name} is empty. Give another.")
    key = cache.key_of(FORMAT, units, *(source.identity for source in sources))
    record_path = cache.writable(folder, "files") / f"{key}.json"
    record = cache.read_record(record_path)
    samples = [_sample(source) for source in sources]
    if record and record["samples"] == samples:
        return Scan.from_dict(record["scan"])
    found = scan(sources, units)
    for source in sources:
        source.check_unchanged()
    if all(time.time() - source.modified > _RACY_SECONDS for source in sources):
        try:
            cache.write_record(record_path, {"samples": samples, "scan": asdict(found)})
        except OSError as error:
            raise cache.unwritable(folder, error) from None
    return found


def _sample(source: Source) -> str:
    try:
        return cache.sample(source.path) if source.path else ""
    except OSError as error:
        raise unreadable(source.path or Path(), error) from None


def _vocab_for(
    found: Scan, units: Units, vocab: Vocab | None, sources: Sequence[Source], skip_unseen: bool
) -> Vocab:
    """Return the vocabulary to encode with; check that the text has enough symbols and no unseen ones."""
    what = sources[0].name if len(sources) == 1 else f"the {len(sources)} texts together"
    word = "character" if units == "char" else "byte"
    if not found.symbols:
        raise TextError(f"A text needs at least 2 {word}s, but {what} is empty. Give another.")
    if vocab is None:
        if len(found.symbols) < 2:
            came = f"1 {word}" if found.num_symbols == 1 else f"{found.num_symbols} {word}s, all the same"
            raise TextError(
                f"A text needs at least 2 distinct {word}s, but {what} holds {came}:"
                " nothing can be learned from it. Give more text."
            )
        return Vocab.bytes() if units == "byte" else Vocab("char", tuple(map(chr, found.symbols)))
    seen = vocab.lookup(np.array(found.symbols)) >= 0
    if not seen.all() and not skip_unseen:
        first_unseen(sources, vocab)
    if not seen.any():
        raise TextError(f"No character of {what} is in the vocabulary of {len(vocab)}. Give another text.")
    return vocab


def _entry(
    sources: Sequence[Source], found: Scan, vocab: Vocab, boundary: str | None, folder: Path
) -> tuple[Encoded, npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Return the encoded text from the cache; build it first where it's missing or damaged."""
    at = None if boundary == "file" else boundary
    key = cache.key_of(FORMAT, found.sha256, found.sizes, vocab.to_dict(), at)
    path = cache.writable(folder, "texts") / key

    def build(work: Path) -> None:
        with (work / "ids.bin").open("wb") as ids, (work / "starts.bin").open("wb") as starts:
            made = encode(sources, vocab, at, ids, starts)
        for source in sources:
            source.check_unchanged()
        samples = {name: cache.sample(work / name) for name in ("ids.bin", "starts.bin")}
        cache.write_record(work / "entry.json", {"made": asdict(made), "samples": samples})

    for attempt in range(3):
        mapped = _mapped(path, vocab)
        if mapped:
            return mapped
        if attempt < 2:
            try:
                cache.build_folder(path, build)
            except OSError as error:
                raise cache.unwritable(folder, error) from None
    raise cache.unwritable(folder, OSError(f"what was written to {path} did not read back"))


def _mapped(path: Path, vocab: Vocab) -> tuple[Encoded, npt.NDArray[Any], npt.NDArray[np.int64]] | None:
    """Map an entry of the cache; None if it's missing or its files are not those that were written."""
    record = cache.read_record(path / "entry.json")
    if record is None:
        return None
    made = Encoded(**record["made"])
    kind = id_type(vocab)
    try:
        sizes = [(path / name).stat().st_size for name in ("ids.bin", "starts.bin")]
        if sizes != [made.num_ids * kind.itemsize, made.num_starts * 8]:
            return None
        if any(cache.sample(path / name) != seen for name, seen in record["samples"].items()):
            return None
        ids = np.memmap(path / "ids.bin", kind, "r")
        starts = np.memmap(path / "starts.bin", "<i8", "r")
    except (OSError, ValueError):
        return None
    return made, ids, starts


def _notices(sources: Sequence[Source], found: Scan, made: Encoded, boundary: str | None) -> list[str]:
    def which(indices: tuple[int, ...]) -> str:
        return sources[indices[0]].name if len(indices) == 1 else f"{len(indices)} of {len(sources)} files"

    lines = []
    if found.boms:
        lines.append(f"{which(found.boms)}: the byte order mark at the start is removed.")
    if found.crlfs:
        lines.append(f"{which(found.crlfs)}: line ends are CRLF and are kept as they are.")
    if made.num_skipped:
        skipped = f"{made.num_skipped:,} of {found.num_symbols:,}"
        lines.append(f"{skipped} characters are not in the vocabulary and are skipped.")
    if boundary not in (None, "file") and made.num_starts <= len(sources):
        lines.append(f"The boundary {boundary!r} starts no document inside the text.")
    return lines
