"""Every error that Unrolled raises on purpose, as one tree.

::

    UnrolledError                exit 1  the base of all of them
    ├── UsageError               exit 2  what was asked for cannot be done as asked
    │   ├── SettingsError        a setting, or a file of settings; holds every problem found
    │   ├── TextError            a text that cannot be read, or is too small to learn from
    │   │   └── UnseenError      a symbol that the vocabulary lacks
    │   ├── NetError             a net that makes no sense; names the layer
    │   └── CellError            a cell that breaks the contract of a cell
    │       └── OwnCellError     a cell of the user's that was not handed over
    ├── LoadError                exit 3  nothing loadable at this place
    │   ├── DamagedError         files whose bytes are not the bytes that were written
    │   └── NewerFormatError     written by a later version of Unrolled
    ├── TrainingError            exit 1  training cannot go on
    │   ├── NonFiniteError       a loss, gradient or weight that is NaN or infinite
    │   └── SaveError            checkpoints could not be written, several times in a row
    └── Interrupted              exit 130 or 143  a signal asked for the end; everything was saved

A message is one line and says what was wanted, what came, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_NAME = 60


class UnrolledError(Exception):
    """Base of every error raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 1


class UsageError(UnrolledError):
    """What was asked for cannot be done as asked."""

    exit_code = 2


class SettingsError(UsageError):
    """One or more settings are wrong; ``problems`` holds a line for each."""

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class TextError(UsageError):
    """A text that cannot be read, or is too small to learn from."""


class UnseenError(TextError):
    """A symbol that the vocabulary lacks; ``symbol`` and its ``position`` in the text, from 0."""

    def __init__(self, message: str, symbol: str, position: int) -> None:
        super().__init__(message)
        self.symbol = symbol
        self.position = position


class NetError(UsageError):
    """A net that makes no sense; ``layer`` names the layer at fault, ``field`` its setting, if any."""

    def __init__(self, message: str, layer: str = "", field: str = "") -> None:
        super().__init__(message)
        self.layer = layer
        self.field = field


class CellError(UsageError):
    """A cell that breaks the contract of a cell."""


class OwnCellError(CellError):
    """A cell of the user's that was not handed over; code is never imported unasked. ``layer`` uses it."""

    def __init__(self, message: str, layer: str = "") -> None:
        super().__init__(message)
        self.layer = layer


class LoadError(UnrolledError):
    """Nothing loadable at this place."""

    exit_code = 3


class DamagedError(LoadError):
    """Files whose bytes are not the bytes that were written."""


class NewerFormatError(LoadError):
    """Written by a later version of Unrolled."""


class TrainingError(UnrolledError):
    """Training cannot go on."""


class NonFiniteError(TrainingError):
    """A loss, gradient or weight that is NaN or infinite; ``tensor`` names the first one found."""

    def __init__(self, message: str, tensor: str) -> None:
        super().__init__(message)
        self.tensor = tensor


class SaveError(TrainingError):
    """Checkpoints could not be written, several times in a row."""


class Interrupted(UnrolledError):
    """A signal asked for the end; everything was saved. ``signal`` is its number."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
        self.exit_code = 128 + signal


def printable(text: str) -> str:
    """Return a text as one line: signs that could break it or move a cursor are written as escapes."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def one_line(what: object, most: int) -> str:
    """Return what something says as one line of at most so many signs, whatever a file put into it."""
    return printable(" ".join(str(what).split())[:most])[:most]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, or an empty string.

    Names of more than 60 signs resemble nothing: comparing long ones takes long.
    """
    if len(name) > LONGEST_NAME:
        return ""
    close = difflib.get_close_matches(name, [other for other in known if len(other) <= LONGEST_NAME], n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
