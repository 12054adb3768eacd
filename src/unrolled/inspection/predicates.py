"""What can be said of a text at each of its symbols: inside quotes, depth of brackets, position in the line.

A predicate reads the text as one string and gives a bool or a number for each char. Its value at position t
belongs to the state after symbol t was read: ``inside quotes`` is true from the opening quote on and false
from the closing quote on. A symbol of several chars has the value of its last char; an empty one keeps the
value before it. Predicates say of themselves whether they look ahead, which a label may and a net can't.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.cells.user import run_file
from unrolled.errors import UsageError, nearest
from unrolled.inspection import rules

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Values = NDArray[Any]


@dataclass(frozen=True)
class Predicate:
    """Something that is so or not, or is so much, at every symbol of a text."""

    name: str
    """One word, for tables and addresses."""
    words: str
    """For people, after "on" or "off"; of a number, after "rises with" or "falls with"."""
    read: Callable[[str], Values]
    """Gives a value for each char of a text."""
    numeric: bool = False
    """Whether the values are numbers; else they are bools."""
    looks_ahead: bool = False
    """Whether the value at t needs symbols after t."""

    def __call__(self, symbols: Sequence[str]) -> Values:
        """Return the values at ``symbols``, float32 [T] or bool [T]."""
        values = self.read("".join(symbols))
        return _at_symbols(values, symbols).astype(np.float32 if self.numeric else np.bool_)


def _at_symbols(values: Values, symbols: Sequence[str]) -> Values:
    """Pick of values [chars] the one of each symbol's last char; before the first char it is 0."""
    ends = np.cumsum([len(symbol) for symbol in symbols], dtype=np.int64)
    return np.concatenate([np.zeros(1, values.dtype), values])[ends]


def from_regex(name: str, pattern: str) -> Predicate:
    """Return what is true inside the matches of ``pattern``, from their first char to their last.

    The pattern reads the whole text, newlines too, with ``^`` and ``$`` at every line. UsageError where it is
    no regular expression.
    """
    wanted = f"predicate {name!r} takes a regular expression, came {pattern!r}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # [[ is a set that begins with [, today
            compiled = re.compile(pattern, re.MULTILINE)
    except re.error as error:
        place = "" if error.pos is None else f" at position {error.pos}"
        raise UsageError(f"{wanted}: {error.msg}{place}") from error
    except (OverflowError, RecursionError) as error:
        raise UsageError(f"{wanted}: {error}; make it smaller") from error
    return Predicate(name, f"inside {pattern}", lambda text: rules.inside(text, compiled), looks_ahead=True)


def from_file(reference: str) -> Predicate:
    """Return the predicate that function ``name`` of ``path.py:name`` is; its file is run, since it is named.

    The function gets the text and returns a bool for each char, or a number for each. Its name with spaces
    for ``_`` is its words. UsageError where there is no such function, or where it fails at a text.
    """
    place, colon, name = reference.rpartition(":")
    if not colon or not place or not name:
        raise UsageError(f"a predicate from a file is written path.py:function, came {reference!r}")
    module, _ = run_file(place, "a predicate")
    own = [
        key
        for key, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    function = getattr(module, name, None)
    if not hasattr(module, name):
        has = f"its functions are {', '.join(own)}" if own else "it has no function"
        raise UsageError(f"{place} has no {name}; {has}{nearest(name, own)}")
    if not callable(function):
        raise UsageError(
            f"{place}: {name} must be a function, came {type(function).__name__}; write def {name}(text)"
        )
    return from_function(name, function)


def from_function(name: str, function: Callable[[str], Any], *, numeric: bool | None = None) -> Predicate:
    """Return the predicate of a user's function: text [chars] -> one bool or number for each char.

    Without ``numeric`` the function is asked once, about a short text, which of the two it gives.
    """
    if numeric is None:
        numeric = _checked(name, function, "a b\n").dtype != np.bool_
    kind: Any = np.float32 if numeric else np.bool_

    def read(text: str) -> Values:
        return _checked(name, function, text).astype(kind)

    return Predicate(name, name.replace("_", " "), read, numeric, looks_ahead=True)


def _checked(name: str, function: Callable[[str], Any], text: str) -> Values:
    """Call a user's function; return its values [chars] or say in one line what is wrong with them."""
    wanted = f"predicate {name!r} must return {len(text)} bools or numbers, one a char"
    try:
        came = function(text)
    except (Exception, SystemExit) as error:
        message = (str(error).splitlines() or [""])[0]
        raise UsageError(f"predicate {name!r} failed: {type(error).__name__}: {message}; mend it") from error
    try:
        values = np.asarray(came if isinstance(came, np.ndarray) else list(came))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{wanted}; came {type(came).__name__}; return a list or an array") from error
    if values.shape != (len(text),):
        raise UsageError(f"{wanted}; came shape {list(values.shape)}; give each char of the text a value")
    if values.dtype.kind not in "biuf" and len(text):
        raise UsageError(f"{wanted}; came {values.dtype}; return bools, whole numbers or floats")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        raise UsageError(f"{wanted}; came {values[place]} at char {place}; return finite numbers")
    return values


def _flag(name: str, words: str, read: Callable[[str], Bools], *, ahead: bool = False) -> Predicate:
    return Predicate(name, words, read, looks_ahead=ahead)


def _number(name: str, words: str, read: Callable[[str], Floats], *, ahead: bool = False) -> Predicate:
    return Predicate(name, words, read, numeric=True, looks_ahead=ahead)


def _bracket(name: str, pair: str) -> Predicate:
    return _flag(name, f"inside {pair[0]} {pair[1]}", lambda text: rules.depth(text, [pair]) > 0, ahead=True)


PREDICATES: tuple[Predicate, ...] = (
    _flag("double-quotes", "inside double quotes", rules.in_double_quotes),
    _flag("single-quotes", "inside single quotes", rules.in_single_quotes, ahead=True),
    _bracket("round-brackets", "()"),
    _bracket("square-brackets", "[]"),
    _bracket("braces", "{}"),
    _bracket("angle-brackets", "<>"),
    _number("depth", "depth of brackets", rules.depth, ahead=True),
    _flag("wiki-link", "inside [[ ]]", rules.in_wiki_link, ahead=True),
    _flag("tag", "inside a tag", rules.in_tag, ahead=True),
    _flag("attribute", "in the value of an attribute", rules.in_attribute, ahead=True),
    _flag("comment", "in a comment", rules.in_comment, ahead=True),
    _flag("url", "in a URL", rules.in_url, ahead=True),
    _number("line-position", "position in the line", rules.line_position),
    _flag("line-start", "at the first symbol of a line", rules.first_of_line),
    _flag("line-end", "at the line's end", rules.last_of_line, ahead=True),
    _flag("line-ending", "where the line is nearly over", rules.near_line_end, ahead=True),
    _number("indentation", "indentation of the line", rules.indentation),
    _flag("in-indentation", "in the indentation", rules.in_indentation),
    _number("word-position", "position in the word", rules.word_position, ahead=True),
    _flag("word-boundary", "at a word boundary", rules.word_boundary, ahead=True),
    _flag("capital-word", "in a word all in capitals", rules.in_capital_word, ahead=True),
    _flag("speaker", "in a speaker's name", rules.in_speaker, ahead=True),
    _number("sentence-length", "length of the sentence so far", rules.sentence_length, ahead=True),
    _flag("number", "in a number", rules.in_number, ahead=True),
    _flag("next-capital", "before a capital", rules.next_is_capital, ahead=True),
    _flag("capital", "at a capital", rules.is_capital),
    _flag("digit", "at a digit", rules.is_digit),
    _flag("vowel", "at a vowel", rules.is_vowel),
    _flag("punctuation", "at punctuation", rules.is_punctuation),
    _flag("space", "at a space", rules.is_space),
)
"""Every predicate that comes with the toolkit; the rules of each are in ``rules``."""
