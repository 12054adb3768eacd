"""Data that are not one long text but a set of examples: JSON lines, or rows made in Python."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unrolled.data.columns import Column, collectors, finished, shown
from unrolled.data.fields import Field, Length
from unrolled.data.reading import regular, unreadable
from unrolled.errors import TextError, UsageError, nearest

Row = Mapping[str, Any]

MAX_BYTES = 1 << 30
"""The largest file that is read: examples are kept in memory, in about eight bytes a step."""

__all__ = ["MAX_BYTES", "Column", "Examples", "Field", "Length", "Row", "write_jsonl"]


@dataclass(frozen=True, eq=False)
class Examples:
    """N examples, each with a value for every field.

    ``fields`` are those that were asked for, with the sizes and vocabularies that the data have: reading
    other data with ``examples.fields`` gives the same ids. ``columns`` hold the values by field.

    A value is, by its field::

        ids, length 1      a class: its name, or a whole number
        ids                a string (its characters), a list of words, or a list of whole numbers; -1 is none
        floats, length 1   a number, or a list of numbers [D]
        floats             a list of numbers [T], or of lists of numbers [T][D]

    A vocabulary that isn't given is built from all the examples, sorted. Every mistake is a TextError
    that begins with file and line.
    """

    fields: tuple[Field, ...]
    columns: Mapping[str, Column]

    @classmethod
    def read(cls, path: str | Path, fields: Sequence[Field]) -> Examples:
        """Read JSON lines: on each line an object whose keys are the fields' names.

        Other keys are left alone, and so are empty lines. At most ``MAX_BYTES`` (1 GiB).
        """
        return cls._gather(_lines(Path(path)), fields, str(path))

    @classmethod
    def from_rows(cls, rows: Iterable[Row], fields: Sequence[Field]) -> Examples:
        """Take rows of plain values, as a line of a file has them; a mistake is told as ``rows[n]``."""
        return cls._gather(((f"rows[{n}]", row) for n, row in enumerate(rows)), fields, "rows")

    @classmethod
    def _gather(cls, rows: Iterable[tuple[str, Any]], fields: Sequence[Field], name: str) -> Examples:
        _check_names(fields)
        makers, tables = collectors(fields)
        where = None
        for where, row in rows:
            lengths: dict[Length, tuple[str, int]] = {}
            for field in fields:
                steps = makers[field.name].add(_value(row, field, where), where)
                _check_length(field, steps, lengths, where)
        if where is None:
            raise TextError(f"{name}: wanted at least 1 example, came none. Write one a line.")
        return cls(*finished(fields, makers, tables))

    def __len__(self) -> int:
        return len(self.columns[self.fields[0].name].offsets) - 1

    def __getitem__(self, n: int) -> dict[str, Tensor]:
        """Return example ``n``: ids [T] int64 or floats [T, D] by field."""
        if not 0 <= n < len(self):
            raise IndexError(f"There are examples 0 to {len(self) - 1}, not {n}.")
        return {
            name: torch.from_numpy(values[offsets[n] : offsets[n + 1]].copy())
            for name, (values, offsets) in self.columns.items()
        }

    def field(self, name: str) -> Field:
        """Return a field by name, with its size and vocabulary."""
        found = next((field for field in self.fields if field.name == name), None)
        if found is None:
            names = [field.name for field in self.fields]
            raise UsageError(f"These examples have no field {name!r}{nearest(name, names) or f': {names}.'}")
        return found

    def split(self, fractions: Sequence[float]) -> list[Examples]:
        """Cut by position into parts of these fractions; the parts share fields and memory.

        Cuts are at ``round(N · sum of the fractions so far)``; fractions that sum to less than 1 leave
        the rest unused.
        """
        said = ",".join(map(str, fractions))
        if not fractions or not all(0 < f < math.inf for f in fractions) or sum(fractions) > 1 + 1e-9:
            raise UsageError(
                f"The fractions of a split must be above 0 and sum to at most 1, not {said or 'none'}."
                " For example 0.95,0.05."
            )
        cuts = [0, *(min(len(self), round(len(self) * f)) for f in itertools.accumulate(fractions))]
        if len(set(cuts)) < len(cuts):
            raise TextError(
                f"A split {said} needs an example for each part, there are {len(self)}. Give more examples"
                " or fewer parts."
            )
        return [self._part(begin, end) for begin, end in itertools.pairwise(cuts)]

    def _part(self, begin: int, end: int) -> Examples:
        columns = {}
        for name, (values, offsets) in self.columns.items():
            low, high = offsets[begin], offsets[end]
            columns[name] = Column(values[low:high], offsets[begin : end + 1] - low)
        return Examples(self.fields, columns)


def write_jsonl(rows: Iterable[Row], path: str | Path) -> None:
    """Write rows of plain values as JSON lines, which ``Examples.read`` reads; never over a file."""
    lines = []
    for n, row in enumerate(rows):
        try:
            lines.append(json.dumps(row, ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n")
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"rows[{n}]: wanted plain values for JSON, but {error}. Mend it.") from None
    try:
        with Path(path).open("xb") as file:
            file.writelines(lines)
    except FileExistsError:
        raise UsageError(f"{str(path)!r} is there already. Remove it, or name another file.") from None
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be written: {error.strerror}. Name another file.") from None


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield ``file:line`` and the value of each line that isn't empty."""
    size = regular(path).st_size
    if size > MAX_BYTES:
        raise TextError(
            f"{path}: examples are kept in memory: wanted at most {MAX_BYTES:,} bytes, came {size:,}."
            " Cut the file in parts."
        )
    try:
        with path.open("rb") as file:
            for n, line in enumerate(file, 1):
                where = f"{path}:{n}"
                text = _decoded(line, where).removeprefix("\ufeff" if n == 1 else "").strip()
                if text:
                    yield where, _parsed(text, where)
    except OSError as error:
        raise unreadable(path, error) from None


def _decoded(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextError(
            f"{where}: wanted UTF-8, came byte 0x{line[error.start]:02X} at byte {error.start} of the line."
            " Convert the file to UTF-8."
        ) from None


def _parsed(text: str, where: str) -> Any:
    try:
        row = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at column {error.colno}"
    except RecursionError:
        reason = "too deep a nesting"
    except ValueError as error:
        reason = str(error).partition(";")[0]
    else:
        if isinstance(row, dict):
            return row
        reason = shown(row)
    raise TextError(
        f"{where}: wanted an object {{…}} of JSON on one line, came {' '.join(reason.split())}."
        " Write one example a line."
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(k for k in keys if keys.count(k) > 1)!r} twice")
    return row


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name}, which JSON has not")


def _value(row: Any, field: Field, where: str) -> Any:
    if not isinstance(row, Mapping):
        raise TextError(f"{where}: wanted an object with the fields' names, came {shown(row)}. Give a dict.")
    if field.name not in row:
        names = [str(name) for name in row]
        hint = nearest(field.name, names) or f"; it has {shown(names)}."
        raise TextError(f"{where}: wanted a field {field.name!r}, came none{hint} Give it a value.")
    return row[field.name]


def _check_names(fields: Sequence[Field]) -> None:
    names = [field.name for field in fields]
    if not names:
        raise UsageError("Examples need at least 1 field, none came. Name what each example holds.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"Fields have names of their own, but {twice!r} is there twice. Rename one.")


def _check_length(field: Field, steps: int, lengths: dict[Length, tuple[str, int]], where: str) -> None:
    """Compare with the number of steps wanted, or with the first field of the same length."""
    if isinstance(field.length, int):
        if steps != field.length:
            raise TextError(
                f"{where}: field {field.name!r}: wanted {field.length} steps, came {steps}. Mend it, or give"
                " the field another length."
            )
        return
    other, wanted = lengths.setdefault(field.length, (field.name, steps))
    if steps != wanted:
        length = "the net's length" if field.length is None else f"length {field.length!r}"
        raise TextError(
            f"{where}: wanted fields {other!r} and {field.name!r} of {length} to have as many steps, came"
            f" {wanted} and {steps}{' with its stop' if field.stop else ''}."
            " Mend them, or give one another length."
        )
