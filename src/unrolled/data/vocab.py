"""The symbols a model knows, and the only two places where text becomes ids and ids become text."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from unrolled.errors import LoadError, TextError, UnseenError

Units = Literal["char", "byte"]
Ids = npt.NDArray[np.int64]
Text = str | bytes

UNITS: tuple[Units, ...] = ("char", "byte")


@dataclass(frozen=True)
class Vocab:
    """The symbols of a model, by id: single characters, or all 256 byte values.

    ``symbols`` is empty for bytes, where id and byte value are the same number.
    """

    units: Units
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.units not in UNITS:
            raise TextError(f"Units are 'char' or 'byte', not {self.units!r}.")
        if self.units == "byte" and self.symbols:
            raise TextError("A vocabulary of bytes is always all 256 of them; give it no symbols.")
        for symbol in self.symbols:
            if not isinstance(symbol, str) or len(symbol) != 1:
                raise TextError(f"A symbol is a single character, not {symbol!r}.")
        if len(set(self.symbols)) != len(self.symbols):
            twice = next(s for s, count in Counter(self.symbols).items() if count > 1)
            raise TextError(f"The symbols of a vocabulary are distinct, but {twice!r} is there twice.")

    @classmethod
    def of(cls, symbols: Iterable[str]) -> Vocab:
        """Build a vocabulary from a text (sorted by code point) or from symbols (in their order)."""
        return cls("char", tuple(sorted(set(symbols)) if isinstance(symbols, str) else symbols))

    @classmethod
    def bytes(cls) -> Vocab:
        """Return the vocabulary of all 256 byte values."""
        return cls("byte")

    @classmethod
    def from_dict(cls, record: Any) -> Vocab:
        """Read what ``to_dict`` wrote; anything else is a LoadError."""
        if not isinstance(record, dict) or not isinstance(record.get("symbols", []), list):
            raise LoadError('A stored vocabulary is {"units": …, "symbols": [ … ]}; this one is damaged.')
        try:
            return cls(record.get("units"), tuple(record.get("symbols", [])))  # type: ignore[arg-type]
        except TextError as error:
            raise LoadError(f"The stored vocabulary cannot be used: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the vocabulary as plain values for JSON."""
        return {"units": self.units, "symbols": list(self.symbols)}

    def __len__(self) -> int:
        return 256 if self.units == "byte" else len(self.symbols)

    def encode(self, text: Text, *, skip_unseen: bool = False) -> Ids:
        """Return the ids [N] of ``text``.

        For chars, bytes are read as UTF-8; for bytes, a str is written as UTF-8 (with the bytes that
        Python hides in lone surrogates, as in ``sys.argv``, put back). A character outside the
        vocabulary is an UnseenError, or is left out with ``skip_unseen``.
        """
        if self.units == "byte":
            return np.frombuffer(as_bytes(text), np.uint8).astype(np.int64)
        points = code_points(as_text(text))
        ids = self.lookup(points)
        unseen = ids < 0
        if skip_unseen:
            return ids[~unseen]
        if unseen.any():
            position = int(unseen.argmax())
            line = 1 + int((points[:position] == ord("\n")).sum())
            raise self.unseen(chr(points[position]), position, line)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ``ids``; bytes that are not UTF-8 become U+FFFD."""
        values = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        outside = next((i for i in values if not 0 <= i < len(self)), None)
        if outside is not None:
            raise TextError(f"Ids of this vocabulary run from 0 to {len(self) - 1}, but {outside} came.")
        if self.units == "byte":
            return bytes(values).decode("utf-8", "replace")
        return "".join([self.symbols[i] for i in values])

    def decoder(self) -> Decoder:
        """Return a Decoder: ids in, whole characters out."""
        return Decoder(self)

    @property
    def byte_lengths(self) -> Ids:
        """The UTF-8 bytes of each symbol [V]; 1 for each byte."""
        if self.units == "byte":
            return np.ones(256, np.int64)
        return np.array([len(s.encode("utf-8", "surrogatepass")) for s in self.symbols], np.int64)

    def lookup(self, points: npt.NDArray[Any]) -> Ids:
        """Return the ids of code points (or byte values) [N], -1 where there is none."""
        table = self._table
        found = table.take(points, mode="clip")
        return np.where(points < len(table), found, -1)

    def unseen(self, symbol: str, position: int, line: int, where: str = "") -> UnseenError:
        """Return the error for a character of a text that the vocabulary lacks."""
        return UnseenError(
            f"The character {symbol!r} (U+{ord(symbol):04X}) at position {position}, line {line}{where} is"
            f" not in the vocabulary of {len(self)} characters. Remove it, or leave out such characters with"
            " --skip-unseen.",
            symbol,
            position,
        )

    @cached_property
    def _table(self) -> Ids:
        if self.units == "byte":
            return np.arange(256, dtype=np.int64)
        points = [ord(s) for s in self.symbols]
        table = np.full(max(points, default=0) + 1, -1, np.int64)
        table[points] = np.arange(len(points))
        return table


class Decoder:
    """Turns a stream of ids into text without ever giving out half a character.

    What ``feed`` and ``flush`` return, joined, is what ``Vocab.decode`` returns for the same ids.
    """

    def __init__(self, vocab: Vocab) -> None:
        self.vocab = vocab
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, id: int) -> str:
        """Return the characters that this id completes; an empty string while one is incomplete."""
        if self.vocab.units == "byte" and 0 <= id < 256:
            return self._utf8.decode(bytes((int(id),)))
        return self.vocab.decode((id,))

    def flush(self) -> str:
        """Return U+FFFD for bytes that will never become a character, and start anew."""
        rest = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return rest


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """Return the code points [N] of ``text``."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def as_bytes(text: Text) -> bytes:
    """Return ``text`` as UTF-8, with the bytes that Python hides in lone surrogates put back."""
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise TextError(
            f"Text must be made of characters, but position {error.start} holds a lone surrogate"
            f" (U+{ord(text[error.start]):04X}). Remove it."
        ) from None


def as_text(text: Text) -> str:
    """Return ``text`` as str; bytes must be UTF-8."""
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = 1 + text.count(b"\n", 0, error.start)
        raise not_utf8(text[error.start], error.start, line, "The text") from None


def not_utf8(byte: int, offset: int, line: int, what: str, hint: str = "") -> TextError:
    """Return the error for a byte that cannot be part of UTF-8 where it stands."""
    return TextError(
        f"{what} must be UTF-8, but byte {offset} (0x{byte:02X}, line {line}) is not.{hint}"
        " Convert it to UTF-8, or read it as bytes with --units byte."
    )
