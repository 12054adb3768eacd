"""From the values of one field, as JSON has them, to one array of ids or floats."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from unrolled.data.fields import Field
from unrolled.data.symbols import Symbols
from unrolled.data.vocab import Vocab, code_points
from unrolled.errors import TextError, UnseenError, UsageError

LARGEST_ID = 1_000_000
"""Ids stay below this where neither a size nor a vocabulary bounds them: nets make rows of that many."""

LARGEST_FLOAT = float(np.finfo(np.float32).max)

_STOP = -2
_FORMS = {
    "text": "a string of characters",
    "words": "words",
    "ids": "whole numbers",
}


class Column(NamedTuple):
    """One field of N examples: example n is ``values[offsets[n] : offsets[n + 1]]``.

    ``values`` are ids [ΣT] int64 or floats [ΣT, D] float32.
    """

    values: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]


class SymbolTable:
    """The ids of one field, or of those that share: a given vocabulary, or one that grows as it reads.

    While it grows, ids are in the order of first sight; ``sorted_ids`` says what they become.
    """

    def __init__(self, vocab: Vocab | Symbols | None, size: int | None) -> None:
        self.given, self.size = vocab, size
        self.form: str | None = None
        self._first = ("", "")
        self._ids: dict[str, int] = {}
        self._largest = -1

    def encode(self, value: str | list[Any], form: str, field: str, where: str) -> npt.NDArray[np.int64]:
        """Return the ids [N] of a text, of words, or of whole numbers."""
        if self.form is None:
            self.form, self._first = form, (field, where)
        if form != self.form:
            raise TextError(
                f"{where}: field {field!r}: wanted {_FORMS[self.form]}, as in {self._first[0]!r} at"
                f" {self._first[1]}, came {_FORMS[form]}. Write all of them alike."
            )
        if form == "ids":
            return self._numbers(value, field, where)
        if self.given is not None:
            return _known(self.given, value, f"{where}: field {field!r}")
        seen = self._ids
        ids = np.array([seen.setdefault(symbol, len(seen)) for symbol in value], np.int64)
        if self.size is not None and len(seen) > self.size:
            raise TextError(
                f"{where}: field {field!r}: wanted {self.size} different"
                f" {'characters' if form == 'text' else 'words'} at most, came {list(seen)[self.size]!r} as"
                " one more. Raise the field's size, or leave it out."
            )
        return ids

    def finish(self) -> tuple[Vocab | Symbols | None, int]:
        """Return the vocabulary, if there is one, and the number of its ids."""
        vocab = self.given
        if vocab is None and self.form in ("text", "words"):
            symbols = tuple(sorted(self._ids))
            vocab = Vocab("char", symbols) if self.form == "text" else Symbols(symbols)
        size = self.size or (len(vocab) if vocab is not None else self._largest + 1)
        return vocab, max(size, 1)

    def sorted_ids(self) -> npt.NDArray[np.int64] | None:
        """Return the final id of each id that ``encode`` gave; None where they are final."""
        if self.given is not None or not self._ids:
            return None
        rank = np.empty(len(self._ids), np.int64)
        rank[[self._ids[symbol] for symbol in sorted(self._ids)]] = np.arange(len(self._ids))
        return rank

    def _numbers(self, values: Any, field: str, where: str) -> npt.NDArray[np.int64]:
        bound = self.size or (len(self.given) if self.given is not None else LARGEST_ID)
        for value in values:
            if not -1 <= value < bound:
                raise TextError(
                    f"{where}: field {field!r}: wanted ids from 0 to {bound - 1} (or -1 for none), came"
                    f" {shown(value)}. Mend it, or raise the field's size."
                )
        self._largest = max(self._largest, max(values, default=-1))
        return np.array(values, np.int64)


class Ids:
    """Gathers the ids of one field."""

    def __init__(self, field: Field, table: SymbolTable) -> None:
        self._field, self._table = field, table
        self._parts: list[npt.NDArray[np.int64]] = []

    def add(self, value: Any, where: str) -> int:
        """Take one example's value; return its number of steps."""
        field = self._field
        ids = self._one(value, where) if field.length == 1 else self._sequence(value, where)
        if field.stop:
            ids = np.append(ids, _STOP)
        if not len(ids):
            raise TextError(f"{where}: field {field.name!r}: wanted at least 1 step, came none. Remove it.")
        self._parts.append(ids)
        return len(ids)

    def column(self, field: Field) -> Column:
        """Return everything as one array; ``field`` has its size by now."""
        values = np.concatenate(self._parts)
        if (rank := self._table.sorted_ids()) is not None:
            values = np.where(values < 0, values, rank[values.clip(min=0)])
        if field.size is not None:
            values[values == _STOP] = field.size
        return Column(values, _offsets(self._parts))

    def _one(self, value: Any, where: str) -> npt.NDArray[np.int64]:
        name = self._field.name
        if isinstance(value, str):
            form = "text" if isinstance(self._table.given, Vocab) else "words"
            word = _whole(value, name, where)
            ids = self._table.encode(word if form == "text" else [word], form, name, where)
            if len(ids) == 1:
                return ids
            raise TextError(
                f"{where}: field {name!r}: wanted 1 symbol of its vocabulary, came"
                f" {shown(value)}, which is {len(ids)}. Write one."
            )
        if isinstance(value, int) and not isinstance(value, bool):
            return self._table.encode([value], "ids", name, where)
        raise TextError(
            f"{where}: field {name!r}: wanted a class (a name or a whole number), came"
            f" {shown(value)}. Write one."
        )

    def _sequence(self, value: Any, where: str) -> npt.NDArray[np.int64]:
        name, given = self._field.name, self._table.given
        if isinstance(value, str) and not isinstance(given, Symbols):
            return self._table.encode(_whole(value, name, where), "text", name, where)
        if isinstance(value, list):
            if not value:
                return np.zeros(0, np.int64)
            if all(isinstance(v, str) for v in value) and not isinstance(given, Vocab):
                words = [_whole(v, name, where) for v in value]
                return self._table.encode(words, "words", name, where)
            if all(isinstance(v, int) and not isinstance(v, bool) for v in value):
                return self._table.encode(value, "ids", name, where)
        wanted = {Symbols: "a list of words", Vocab: "a string"}.get(type(given), "a string, a list of words")
        raise TextError(
            f"{where}: field {name!r}: wanted {wanted} or a list of whole numbers, came"
            f" {shown(value)}. Write one of these."
        )


class Floats:
    """Gathers the floats of one field."""

    def __init__(self, field: Field) -> None:
        self._field, self._width = field, field.size
        self._first = "the field's size"
        self._parts: list[npt.NDArray[np.float32]] = []

    def add(self, value: Any, where: str) -> int:
        """Take one example's value; return its number of steps."""
        if self._field.length == 1:
            steps = [value]
        elif isinstance(value, list):
            steps = value
        else:
            raise self._wrong(value, where, "a list, one entry a step")
        if not steps:
            raise self._wrong(value, where, "at least 1 step")
        rows = [step if isinstance(step, list) else [step] for step in steps]
        if self._width is None:
            self._width, self._first = len(rows[0]) or 1, where
        for t, row in enumerate(rows):
            if len(row) != self._width:
                raise TextError(
                    f"{where}: field {self._field.name!r}: wanted {self._width} numbers (as in"
                    f" {self._first}), came {len(row)} at step {t}. Write all of them alike."
                )
            for number in row:
                self._check(number, where)
        self._parts.append(np.array(rows, np.float32))
        return len(rows)

    def column(self, field: Field) -> Column:
        """Return everything as one array."""
        return Column(np.concatenate(self._parts), _offsets(self._parts))

    def size(self) -> int:
        """Return the width D."""
        return self._width or 1

    def _check(self, number: Any, where: str) -> None:
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise self._wrong(number, where, "numbers")
        if not -LARGEST_FLOAT <= number <= LARGEST_FLOAT:  # NaN fails this, too
            raise self._wrong(number, where, "finite numbers that float32 holds")

    def _wrong(self, value: Any, where: str, wanted: str) -> TextError:
        name = self._field.name
        return TextError(
            f"{where}: field {name!r}: wanted {wanted}, came {shown(value)}. Write"
            f" {'a number or a list of them' if self._field.length == 1 else 'lists of numbers'}."
        )


def collectors(fields: Sequence[Field]) -> tuple[dict[str, Ids | Floats], dict[str, SymbolTable]]:
    """Return what gathers each field, and the table of each field of ids; those that share have one."""
    groups: dict[str, list[Field]] = {}
    for field in fields:
        if field.kind == "ids":
            groups.setdefault(_group(field), []).append(field)
    tables: dict[str, SymbolTable] = {}
    for group in groups.values():
        table = SymbolTable(_agreed("vocab", group), _agreed("size", group))
        tables |= {field.name: table for field in group}
    makers: dict[str, Ids | Floats] = {
        f.name: Ids(f, tables[f.name]) if f.kind == "ids" else Floats(f) for f in fields
    }
    return makers, tables


def finished(
    fields: Sequence[Field], makers: Mapping[str, Ids | Floats], tables: Mapping[str, SymbolTable]
) -> tuple[tuple[Field, ...], dict[str, Column]]:
    """Return the fields with what the data have filled in, and their columns."""
    filled = []
    for field in fields:
        maker = makers[field.name]
        if isinstance(maker, Floats):
            filled.append(replace(field, size=maker.size()))
        else:
            vocab, size = tables[field.name].finish()
            filled.append(replace(field, vocab=vocab, size=size))
    return tuple(filled), {field.name: makers[field.name].column(field) for field in filled}


def _group(field: Field) -> str:
    return f"share {field.share}" if field.share is not None else f"field {field.name}"


def _agreed(what: str, group: Sequence[Field]) -> Any:
    """Return the one ``vocab`` or ``size`` that fields that share give, or None."""
    given = [(field.name, value) for field in group if (value := getattr(field, what)) is not None]
    for name, value in given[1:]:
        if value != given[0][1]:
            raise UsageError(
                f"Fields {given[0][0]!r} and {name!r} share {group[0].share!r}, but give each a {what} of"
                " its own. Give it once."
            )
    return given[0][1] if given else None


def _known(vocab: Vocab | Symbols, value: Any, where: str) -> npt.NDArray[np.int64]:
    """Encode with a vocabulary that was given."""
    try:
        if isinstance(vocab, Symbols) or vocab.units == "byte":
            return vocab.encode(value)
    except UnseenError as error:
        raise UnseenError(f"{where}: {error}", error.symbol, error.position) from None
    ids = vocab.lookup(code_points(value))
    if (ids < 0).any():
        position = int((ids < 0).argmax())
        symbol = value[position]
        raise UnseenError(
            f"{where}: wanted the vocabulary's {len(vocab)} characters, came {symbol!r}"
            f" (U+{ord(symbol):04X}). Remove it, or read these data together with those of the vocabulary.",
            symbol,
            position,
        )
    return ids


def _whole(text: str, field: str, where: str) -> str:
    """Return ``text`` if it can be written as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise TextError(
            f"{where}: field {field!r}: wanted characters, came a lone surrogate in {shown(text)}. Remove it."
        ) from None
    return text


def shown(value: Any) -> str:
    """Return a value as a message shows it: short, and on one line."""
    try:
        return ascii(value)[:40] if isinstance(value, str) else reprlib.repr(value)
    except ValueError:  # Python doesn't print numbers of more than 4,300 digits
        return "a number too long to print"


def _offsets(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    return np.cumsum([0, *map(len, parts)], dtype=np.int64)
