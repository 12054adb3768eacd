r"""TOML texts and where things stand in them; ``tomllib`` tells what they are, but not where.

::

    found = read_toml(b"[net]\nhidden = 0\n", "mine.toml")
    found.data                              # {"net": {"hidden": 0}}
    found.where("net", "hidden")            # "mine.toml:2:1"

What is no TOML, or is too deep or too large to be settings or a net, is a UsageError of the form
``mine.toml:2:1: what``.
"""

from __future__ import annotations

import functools
import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from unrolled.errors import UsageError

Path = tuple[str | int, ...]
"""From the top to a value, such as ``("layer", 3, "sources", 0, "shift")``."""

BLANKS = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*+")
BARE = re.compile(r"[A-Za-z0-9_-]+")
QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*+"|' r"'[^'\n]*+'")
LONG = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*+"{3,5}|' r"'''(?:[^']|'(?!''))*+'{3,5}", re.S)
PLAIN = re.compile(r"[^,\]}#\n]*+")

MAX_KEY = 64
"""How many parts a dotted key may have."""
MAX_DEPTH = 64
"""How deep lists and tables may lie in each other."""
MAX_MARKS = 60_000
"""How many commas, brackets and signs of equality a text may have, which is how many values."""
TOO_DEEP = f"lists and tables are at most {MAX_DEPTH} deep in each other"
OPEN = re.compile(r'"(?:[^"\\\n]|\\.)*+"?+|' r"'[^'\n]*+'?+")
"""A quoted text that may lack its end, so that no other is looked for from each sign in it."""
NO_DEPTH = re.compile(rf"#[^\n]*|{LONG.pattern}|{OPEN.pattern}", re.S)
MARK = re.compile(rf"(?:{NO_DEPTH.pattern})|([\[{{])|([\]}}])|[=,]", re.S)
LONG_NUMBER = re.compile(r"(?<![\w.])[+-]?[0-9][0-9_]{4000,}")
HEADER = re.compile(r"^[ \t]*\[", re.M)
SYNTAX = re.compile(r"(?s)(.*?) \((?:at line (\d+), column (\d+)|at end of document)\)$")


@dataclass(frozen=True)
class Bounds:
    """How much a text may hold: ``tomllib`` takes time and memory by the square of a key's parts."""

    parts: int = MAX_KEY
    """Of a dotted key."""
    marks: int = MAX_MARKS
    """Commas, brackets and signs of equality."""
    tables: int = MAX_MARKS
    """Lines that begin with a bracket."""


SETTINGS = Bounds()


@dataclass(frozen=True)
class TomlText:
    """What a TOML text says, and where each table, key and item stands in it."""

    label: str
    """What errors call the text."""
    data: dict[str, Any]
    text: str

    @functools.cached_property
    def places(self) -> Mapping[Path, tuple[int, int]]:
        """The places, found when they are first asked for."""
        return places_of(self.text)

    def where(self, *path: str | int) -> str:
        """Return ``label:line:column`` of something, or of what holds it; the whole text is at 1:1."""
        while path and path not in self.places:
            path = path[:-1]
        line, column = self.places.get(path, (1, 1))
        return f"{self.label}:{line}:{column}"


def read_toml(text: str | bytes, label: str, bounds: Bounds = SETTINGS) -> TomlText:
    """Read a text, or the bytes of one in UTF-8; UsageError for what is none, is no TOML or is too much."""
    text = (_decoded(text, label) if isinstance(text, bytes) else text).replace("\r\n", "\n")
    check_bounds(text, label, bounds)
    found = TomlText(label, _loads(text, label), text)
    fault = _fault(found.data)
    if fault is not None:
        raise UsageError(f"{found.where(*fault[0])}: {fault[1]}")
    return found


def _decoded(raw: bytes, label: str) -> str:
    """Return UTF-8 as text, without the byte order mark that it may begin with."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _end_of(raw[: error.start].decode(errors="replace"))
        raise UsageError(
            f"{label}:{line}:{column}: this is no UTF-8 text (byte {error.start} is 0x{raw[error.start]:02x})"
        ) from error


def check_bounds(text: str, label: str, bounds: Bounds = SETTINGS) -> None:
    """Raise UsageError for a text that holds more than ``bounds``, before ``tomllib`` sees it."""
    bare = NO_DEPTH.sub(_blanked, text)
    long = _long_key(bounds.parts).search(bare)
    if long:
        line = bare.count("\n", 0, long.start() + 1) + 1
        raise UsageError(f"{label}:{line}:1: a key has at most {bounds.parts} parts")
    too_much = _too_much(text, bounds.marks)
    if too_much is not None:
        line, column = _end_of(text[: too_much[0]])
        raise UsageError(f"{label}:{line}:{column}: {too_much[1]}")
    tables = sum(1 for _ in HEADER.finditer(bare))
    if tables > bounds.tables:
        raise UsageError(f"{label}:1:1: wanted at most {bounds.tables:,} tables, came {tables:,}")


def _blanked(found: re.Match[str]) -> str:
    """Return a quoted text without what it quotes, or nothing for a comment; its lines stay."""
    return ("" if found[0][0] == "#" else '""') + "\n" * found[0].count("\n")


@functools.cache
def _long_key(parts: int) -> re.Pattern[str]:
    """Return what finds a key of more parts."""
    return re.compile(rf"""(?:^|[{{,\[])[ \t]*(?:(?:[\w-]+|"")[ \t]*\.[ \t]*){{{parts},}}""", re.M)


def _loads(text: str, label: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:
        match, number = SYNTAX.match(str(error)), LONG_NUMBER.search(text)
        if match is not None:
            line, column = (int(match[2]), int(match[3])) if match[2] else _end_of(text)
            message = match[1]
        else:
            line, column = _end_of(text[: number.start()]) if number else (1, 1)
            message = "a whole number has at most 64 bits" if number else str(error)
        message = " ".join(message.split())[:200]
        raise UsageError(f"{label}:{line}:{column}: this is not TOML: {message}") from error


def _end_of(text: str) -> tuple[int, int]:
    """Return line and column, from 1, of the first sign after a text."""
    return text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1


def _too_much(text: str, most: int) -> tuple[int, str] | None:
    """Return where, and why, a text has too many values or nests too deeply."""
    depth = marks = 0
    for found in MARK.finditer(text):
        if found[0][0] in "#\"'":
            continue
        marks += 1
        if found[1]:
            depth += 1
        elif found[2]:
            depth = max(0, depth - 1)
        if depth > MAX_DEPTH:
            return found.start(), TOO_DEEP
        if marks > most:
            return found.start(), f"wanted at most {most:,} values, brackets and commas, came more"
    return None


def _fault(data: dict[str, Any]) -> tuple[Path, str] | None:
    """Return the path of a value that is no setting or part of a net, and what is wrong with it.

    Dotted keys nest too, and Python could neither show nor copy what is nested thousands deep, nor show
    whole numbers of thousands of digits.
    """
    waiting: list[tuple[Path, Any]] = [((), data)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return path, "wanted a whole number of at most 64 bits, came a larger one"
        if len(path) > MAX_DEPTH:
            return path, TOO_DEEP
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        waiting += [((*path, key), item) for key, item in items if isinstance(item, int | dict | list)]
    return None


def places_of(text: str) -> dict[Path, tuple[int, int]]:
    """Return line and column, from 1, of every table, key and item of a text that ``tomllib`` takes.

    Tables of an array are numbered from 0. What is nested too deeply to be followed is left out.
    """
    walk = _Walk(text)
    with suppress(RecursionError):
        walk.document()
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    return _lines(walk.found, starts)


def _lines(found: dict[Path, int], starts: list[int]) -> dict[Path, tuple[int, int]]:
    places = {}
    for path, at in found.items():
        line = bisect_right(starts, at)
        places[path] = (line, at - starts[line - 1] + 1)
    return places


class _Walk:
    """One walk through a text from its beginning to its end."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.found: dict[Path, int] = {}
        self._counts: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        self._skip()
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip()

    def _header(self) -> Path:
        start = self.at
        many = self.text.startswith("[[", self.at)
        self.at += 2 if many else 1
        *above, last = self._key()
        self.at += 2 if many else 1
        path: Path = ()
        for part in above:
            path = self._entered((*path, part))
        path = (*path, last)
        if many:
            self._counts[path] = self._counts.get(path, -1) + 1
        path = self._entered(path)
        self.found.setdefault(path, start)
        return path

    def _entered(self, path: Path) -> Path:
        """Return the path of a table, or of the last one of an array of tables."""
        return (*path, self._counts[path]) if path in self._counts else path

    def _pair(self, table: Path) -> None:
        start = self.at
        path = table
        for part in self._key():
            path = (*path, part)
            self.found.setdefault(path, start)
        self._skip()
        self.at += 1
        self._skip()
        self._value(path)

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._skip()
            quoted = QUOTED.match(self.text, self.at)
            match = quoted or BARE.match(self.text, self.at)
            assert match is not None
            self.at = match.end()
            parts.append(_unquoted(match[0]) if quoted else match[0])
            self._skip()
            if not self.text.startswith(".", self.at):
                return parts
            self.at += 1

    def _value(self, path: Path) -> None:
        sign = self.text[self.at : self.at + 1]
        if sign in ("[", "{"):
            self._items(path, "]" if sign == "[" else "}")
            return
        found = LONG.match(self.text, self.at) or QUOTED.match(self.text, self.at)
        self.at = (found or PLAIN.match(self.text, self.at)).end()  # type: ignore[union-attr]

    def _items(self, path: Path, end: str) -> None:
        """Walk over an array, or an inline table."""
        self.at += 1
        number = 0
        self._skip()
        while not self.text.startswith(end, self.at):
            if end == "]":
                self.found[(*path, number)] = self.at
                self._value((*path, number))
                number += 1
            else:
                self._pair(path)
            self._skip()
            if self.text.startswith(",", self.at):
                self.at += 1
                self._skip()
        self.at += 1

    def _skip(self) -> None:
        self.at = BLANKS.match(self.text, self.at).end()  # type: ignore[union-attr]


def _unquoted(key: str) -> str:
    return next(iter(tomllib.loads(f"{key} = 0")))
