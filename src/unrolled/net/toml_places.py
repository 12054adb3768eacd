"""Where things stand in a TOML text; ``tomllib`` tells what they are, but not where."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from contextlib import suppress

Path = tuple[str | int, ...]
"""From the top to a value, such as ``("layer", 3, "sources", 0, "shift")``."""

BLANKS = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*+")
BARE = re.compile(r"[A-Za-z0-9_-]+")
QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*+"|' r"'[^'\n]*+'")
LONG = re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*+"{3,5}|' r"'''(?:[^']|'(?!''))*+'{3,5}", re.S)
PLAIN = re.compile(r"[^,\]}#\n]*+")


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
