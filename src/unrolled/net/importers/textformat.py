"""Protocol-buffer text, as SINGA's job.conf and Caffe's prototxt are written, read into a tree of fields.

::

    layer {                         # a field that holds a message; "layer: {" is the same
      name: "gru1"                  // a quoted text, in ' or "; texts side by side are joined
      type: kGRU                    # a bare word
      gru_conf { dim_hidden: 512 }
      srclayers: ["onehot", "h0"]   # the same as two fields; "," and ";" may end any field
      [my_conf] { scale: 1e-3 }     # an extension
    }

What the fields mean is ``schema``'s business. Nothing here recurses, and the time is linear in the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from unrolled.errors import UsageError

MAX_BYTES = 1_000_000
"""How long a file may be that is read."""
MAX_DEPTH = 64
"""How deep messages may lie in each other."""
MAX_FIELDS = 50_000
"""How many fields a file may have."""


@dataclass(frozen=True, slots=True)
class Word:
    """A bare word: a name of an enum, true or false."""

    text: str


@dataclass(slots=True)
class Message:
    """The fields between two braces, or of a whole file, in order; the place is that of its opening."""

    file: str
    line: int
    column: int
    fields: list[Field] = field(default_factory=list)


Value = int | float | str | Word | Message


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name (an extension's in its brackets), its value, and where it stands, from 1."""

    name: str
    value: Value
    line: int
    column: int


def read(path: str | Path, limit: int = MAX_BYTES) -> Message:
    """Read a file of at most ``limit`` bytes; UsageError for any that is longer or unreadable."""
    path = Path(path)
    try:
        size = path.stat().st_size
        data = b""
        if size <= limit:
            with path.open("rb") as file:
                data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{shown(str(path))}: the file can't be read: {reason}") from error
    if max(size, len(data)) > limit:
        came = f"{size:,}" if size > limit else "more"
        raise UsageError(
            f"{path}: wanted a file of at most {limit:,} bytes, came {came}; a net's file holds no weights"
        )
    return parse(_decoded(data, str(path)), str(path))


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", errors="replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        wrong = data[error.start]
        raise error_at(name, line, column, f"wanted UTF-8 text, came the byte 0x{wrong:02x}") from error


def parse(text: str, name: str) -> Message:
    """Parse a text; ``name`` is what errors call it. Raises UsageError as ``name:line:column: what``."""
    tokens = _Tokens(text, name)
    num_fields = 0
    root = Message(name, 1, 1)
    frames = [_Frame(root)]
    while frames:
        frame = frames[-1]
        num_fields += 1
        if num_fields > 2 * MAX_FIELDS:  # each field is one turn, and so is the end of each message or list
            raise tokens.error(f"wanted a file of at most {MAX_FIELDS:,} fields, came more")
        if frame.listed is not None:
            _list_step(tokens, frames, frame)
        elif tokens.ahead.kind == "end":
            if len(frames) > 1:
                raise tokens.error(f"the file ends, but '{{' of line {frame.message.line} is not closed")
            frames.pop()
        elif tokens.ahead.text == "}" and tokens.ahead.kind == "mark":
            if len(frames) == 1:
                raise tokens.error("'}' closes nothing")
            tokens.take()
            _close(tokens, frames)
        else:
            _field_step(tokens, frames, frame)
    return root


class _Token(NamedTuple):
    kind: str
    text: str
    line: int
    column: int


@dataclass(slots=True)
class _Frame:
    """A message that is being read, or a list of one field's values in it."""

    message: Message
    listed: str | None = None
    needs_comma: bool = False


_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\f\v]+|(?:\#|//)[^\n]*)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>(?:[0-9]|\.[0-9])(?:[eE][+-]|[0-9A-Za-z_.])*)
    |(?P<string>"(?:[^"\\\n]|\\[^\n])*+"|'(?:[^'\\\n]|\\[^\n])*+')
    |(?P<mark>[{}\[\]:;,./-])""",
    re.VERBOSE,
)
_LONGEST_NUMBER = 400
_INTEGER = re.compile(r"0[xX][0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,19}")
_FLOAT = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?")
_ESCAPE = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|[xX](?P<hex>[0-9a-fA-F]{1,2})"
    r"|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|(?P<letter>.))"
)
_LETTERS = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11} | {c: ord(c) for c in "\\'\"?"}


class _Tokens:
    """The tokens of a text, one of them ahead."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self._rest = _tokens(text, name)
        self.ahead = next(self._rest)

    def take(self) -> _Token:
        """Return the token ahead and go on; the end stays ahead."""
        token = self.ahead
        self.ahead = next(self._rest, token)
        return token

    def skip(self, marks: str) -> bool:
        """Go past the token ahead where it is one of these marks."""
        here = self.ahead.kind == "mark" and self.ahead.text in marks
        if here:
            self.take()
        return here

    def error(self, what: str, token: _Token | None = None) -> UsageError:
        """Return an error at a token, or at the one ahead."""
        at = token or self.ahead
        return error_at(self.name, at.line, at.column, what)

    def unexpected(self, wanted: str) -> UsageError:
        """Return the error that something else is ahead."""
        came = "the end of the file" if self.ahead.kind == "end" else f"'{shown(self.ahead.text)}'"
        return self.error(f"wanted {wanted}, came {came}")


def _tokens(text: str, name: str) -> Iterator[_Token]:
    position, line, line_start = 0, 1, 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        column = position - line_start + 1
        if found is None:
            wrong = text[position]
            what = "a quoted text ends on its line" if wrong in "\"'" else f"{wrong!r} can't stand here"
            raise error_at(name, line, column, what)
        if found.lastgroup == "space":
            line += text.count("\n", position, found.end())
            line_start = max(line_start, text.rfind("\n", position, found.end()) + 1)
        else:
            yield _Token(str(found.lastgroup), found[0], line, column)
        position = found.end()
    yield _Token("end", "", line, position - line_start + 1)


def _field_step(tokens: _Tokens, frames: list[_Frame], frame: _Frame) -> None:
    """Read a field's name, and its value or what opens it."""
    place = tokens.ahead
    name = _name(tokens)
    colon = tokens.skip(":")
    if tokens.skip("["):
        frames.append(_Frame(frame.message, name))
    elif not _open_message(tokens, frames, name, place):
        if not colon:
            raise tokens.unexpected(f"':' or '{{' after {shown(name)}")
        frame.message.fields.append(Field(name, _scalar(tokens), place.line, place.column))
        tokens.skip(",;")


def _list_step(tokens: _Tokens, frames: list[_Frame], frame: _Frame) -> None:
    """Read one value of a list, or its end."""
    assert frame.listed is not None
    if tokens.skip("]"):
        _close(tokens, frames)
        return
    if frame.needs_comma and not tokens.skip(","):
        raise tokens.unexpected("',' or ']' in a list")
    frame.needs_comma = True
    place = tokens.ahead
    if not _open_message(tokens, frames, frame.listed, place):
        value = _scalar(tokens)
        frame.message.fields.append(Field(frame.listed, value, place.line, place.column))


def _close(tokens: _Tokens, frames: list[_Frame]) -> None:
    frames.pop()
    if frames[-1].listed is None:
        tokens.skip(",;")


def _open_message(tokens: _Tokens, frames: list[_Frame], name: str, place: _Token) -> bool:
    opening = tokens.ahead
    if not tokens.skip("{"):
        return False
    if len(frames) > MAX_DEPTH:
        raise tokens.error(f"wanted messages at most {MAX_DEPTH} deep in each other, came more", opening)
    inner = Message(tokens.name, opening.line, opening.column)
    frames[-1].message.fields.append(Field(name, inner, place.line, place.column))
    frames.append(_Frame(inner))
    return True


def _name(tokens: _Tokens) -> str:
    if tokens.ahead.kind == "word":
        return tokens.take().text
    if not tokens.skip("["):
        raise tokens.unexpected("a field's name")
    parts: list[str] = []
    while not (parts and tokens.skip("]")):
        if tokens.ahead.kind != "word" and tokens.ahead.text not in (".", "/"):
            raise tokens.unexpected("an extension's name and ']'")
        parts.append(tokens.take().text)
    return f"[{''.join(parts)}]"


def _scalar(tokens: _Tokens) -> int | float | str | Word:
    kind = tokens.ahead.kind
    if kind == "string":
        return _string(tokens)
    if kind == "word":
        return Word(tokens.take().text)
    negative = tokens.skip("-")
    if tokens.ahead.kind != "number":
        raise tokens.unexpected("a number" if negative else "a value")
    value = _number(tokens)
    return -value if negative else value


def _number(tokens: _Tokens) -> int | float:
    token = tokens.take()
    if _INTEGER.fullmatch(token.text) and (value := int(token.text, 0)) < 2**64:
        return value
    leading_zero = token.text.isdigit() and token.text[0] == "0"
    if len(token.text) <= _LONGEST_NUMBER and not leading_zero and _FLOAT.fullmatch(token.text):
        number = float(token.text.rstrip("fF"))
        if math.isfinite(number) and not token.text.isdigit():
            return number
    raise tokens.error(f"wanted a number such as 12, -0.5 or 1e-3, came '{shown(token.text)}'", token)


def _string(tokens: _Tokens) -> str:
    first, parts = tokens.ahead, []
    while tokens.ahead.kind == "string":
        token = tokens.take()
        parts.append(_unescaped(tokens, token))
    try:
        return b"".join(parts).decode("utf-8")
    except UnicodeDecodeError as error:
        raise tokens.error("the bytes of a quoted text must be UTF-8, these are not", first) from error


def _unescaped(tokens: _Tokens, token: _Token) -> bytes:
    """Return the bytes that a quoted text stands for; octal and hexadecimal escapes are bytes."""
    inside, end, parts = token.text[1:-1], 0, []
    for found in _ESCAPE.finditer(inside):
        parts.append(inside[end : found.start()].encode("utf-8", "surrogatepass"))
        parts.append(_escape(found))
        if not parts[-1]:
            at = token._replace(column=token.column + 1 + found.start())
            raise tokens.error(f"'{found[0]}' is no escape that texts know", at)
        end = found.end()
    parts.append(inside[end:].encode("utf-8", "surrogatepass"))
    return b"".join(parts)


def _escape(found: re.Match[str]) -> bytes:
    """Return what an escape stands for, or nothing where it is unknown."""
    kind = found.lastgroup or ""
    digits = found[kind]
    if kind == "letter":
        return bytes([_LETTERS[digits]]) if digits in _LETTERS else b""
    code = int(digits, 8 if kind == "octal" else 16)
    if kind in ("octal", "hex"):
        return bytes([code]) if code < 256 else b""
    return chr(code).encode() if code < 0x110000 and not 0xD800 <= code < 0xE000 else b""


def error_at(name: str, line: int, column: int, what: str) -> UsageError:
    """Return the error that something is wrong at a place of a file."""
    return UsageError(f"{name}:{line}:{column}: {what}")


def shown(text: str) -> str:
    """Return a text that came, cut where it is long."""
    return text if len(text) <= 60 else text[:57] + "..."
