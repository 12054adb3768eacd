"""Vocabularies whose symbols are whole words: class names, tags, tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from unrolled.data.vocab import Ids, Vocab
from unrolled.errors import LoadError, TextError, UnseenError, nearest


@dataclass(frozen=True)
class Symbols:
    """Words by id, in the order of ``symbols``. As a ``Vocab``, but a text is a list of words."""

    symbols: tuple[str, ...]
    units: ClassVar[str] = "word"

    def __post_init__(self) -> None:
        for symbol in self.symbols:
            if not isinstance(symbol, str) or not _writable(symbol):
                raise TextError(f"A word is a string without lone surrogates, not {symbol!r}. Rename it.")
        if len(set(self.symbols)) != len(self.symbols):
            twice = next(s for s, count in Counter(self.symbols).items() if count > 1)
            raise TextError(f"The words of a vocabulary are distinct, but {twice!r} is there twice.")

    @classmethod
    def of(cls, words: Iterable[str]) -> Symbols:
        """Build a vocabulary of the distinct ``words``, sorted."""
        return cls(tuple(sorted(set(words))))

    @classmethod
    def from_dict(cls, record: Any) -> Symbols:
        """Read what ``to_dict`` wrote; anything else is a LoadError."""
        if (
            not isinstance(record, dict)
            or record.get("units") != cls.units
            or not isinstance(record.get("symbols"), list)
        ):
            raise LoadError('Stored words are {"units": "word", "symbols": [ … ]}; these are damaged.')
        try:
            return cls(tuple(record["symbols"]))
        except (TextError, TypeError) as error:
            raise LoadError(f"The stored words cannot be used: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the vocabulary as plain values for JSON."""
        return {"units": self.units, "symbols": list(self.symbols)}

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, words: Iterable[str]) -> Ids:
        """Return the ids [N] of ``words``; a lone string is one word. An unknown one is an UnseenError."""
        words = [words] if isinstance(words, str) else list(words)
        for position, word in enumerate(words):
            if word not in self._ids:
                hint = nearest(str(word), self.symbols) or ". Use one of these."
                raise UnseenError(
                    f"wanted one of the vocabulary's {len(self)} words, came {word!r}{hint}", word, position
                )
        return np.array([self._ids[word] for word in words], np.int64)

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Return the words of ``ids``."""
        values = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        outside = next((i for i in values if not 0 <= i < len(self)), None)
        if outside is not None:
            raise TextError(f"Ids of this vocabulary run from 0 to {len(self) - 1}, but {outside} came.")
        return [self.symbols[i] for i in values]

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.symbols)}


def stored_vocab(record: Any) -> Vocab | Symbols:
    """Read what the ``to_dict`` of a Vocab or of Symbols wrote; anything else is a LoadError."""
    if isinstance(record, dict) and record.get("units") == Symbols.units:
        return Symbols.from_dict(record)
    return Vocab.from_dict(record)


def _writable(word: str) -> bool:
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
