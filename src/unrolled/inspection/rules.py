"""The rules by which text predicates read: each function takes a text, gives a bool or a number a char.

Nothing unbalanced poisons the rest of the text: a bracket without its partner within ``LIMIT`` chars (braces:
``BRACE_LIMIT``, since they hold whole blocks of code) is no bracket, and an unclosed quote ends at a blank
line or after ``LIMIT`` chars.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

LIMIT = 1_000
"""Chars after which quotes, brackets, tags and links that are still open are given up."""
BRACE_LIMIT = 10_000
"""The same of { }."""
NEARLY_OVER = 5
"""A line is nearly over in its last chars, so many, before the newline."""
TAB = 8
"""Columns of a tab in an indentation."""
PAIRS = ("()", "[]", "{}", "<>")

_URL = re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.)[^\s<>\"'\[\](){}|]+")
_WIKI_LINK = re.compile(rf"(?<=\[)\[(?:[^\[\]]|\[(?!\[)|\](?!\])){{0,{LIMIT}}}\](?=\])")
_TAG = re.compile(rf"<[/!?]?[A-Za-z][^<>]{{0,{LIMIT}}}(?=>)")
_ATTRIBUTE = re.compile(r"=\s*(\"[^\"]*(?=\")|'[^']*(?='))")
_BLOCK_COMMENT = re.compile(r"/\*.{0,5000}?\*(?=/)|<!--.{0,5000}?--(?=>)", re.DOTALL)
_SLASH_COMMENT = re.compile(r"(?:^|(?<=\s))//[^\n]*", re.MULTILINE)
_HASH_COMMENT = re.compile(r"^[ \t]*(#(?=[\s!#]|$)[^\n]*)", re.MULTILINE)
_CODE_LINE = re.compile(r"^.*(?:[{}]|\)[;:])[ \t]*$|^(?:#include|import|from|def|class) ", re.MULTILINE)
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_CAPITAL_WORD = re.compile(r"\b[^\W\d_a-z]{2,}\b")
_SPEAKER = re.compile(r"^[A-Z][A-Za-z'’. -]{0,40}(?=:$)", re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.])(?:0[xX][0-9a-fA-F]+|\d+(?:[.,]\d+)*)")
_INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)
_SENTENCE_END = re.compile(r"[.!?](?=[\"'”’)\]]?(?:\s|$))|\n(?=\n)")


def inside(text: str, pattern: re.Pattern[str], group: int = 0) -> Bools:
    """Return where the chars of ``text`` lie inside matches of ``pattern``, or of its ``group``."""
    values = np.zeros(len(text), np.bool_)
    for match in pattern.finditer(text):
        begin, end = match.span(group)
        values[max(begin, 0) : max(end, 0)] = True
    return values


def _each(text: str, rule: Callable[[str], bool]) -> Bools:
    """Ask ``rule`` about every char; once for each distinct one."""
    answers = {char: rule(char) for char in set(text)}
    return np.fromiter((answers[char] for char in text), np.bool_, len(text))


def _count_since(marks: Bools) -> NDArray[np.int64]:
    """Return how many chars ago the last mark was; from the text's begin it counts from 1."""
    places = np.arange(len(marks))
    return places - np.maximum.accumulate(np.where(marks, places, -1))


def _next(values: Bools) -> Bools:
    """Return at each char the value of the next one; False at the last."""
    return np.concatenate([values[1:], np.zeros(min(len(values), 1), np.bool_)])


def in_double_quotes(text: str) -> Bools:
    """Tell " " and “ ”: causal; a blank line or ``LIMIT`` chars end an unclosed one, a newline doesn't."""
    values, opened = np.zeros(len(text), np.bool_), -1
    for place, char in enumerate(text):
        if char == "“" or (char == '"' and opened < 0):
            opened = place
        elif (
            char in '"”' or place - opened > LIMIT or (char == "\n" and place > 0 and text[place - 1] == "\n")
        ):
            opened = -1
        values[place] = opened >= 0
    return values


def in_single_quotes(text: str) -> Bools:
    """Tell ' ' and ‘ ’: looks ahead, since only one that is closed in its paragraph and ``LIMIT`` opens.

    An opening one has no letter or digit before it and no space after it, a closing one none of them after
    it and no space before it; so an apostrophe inside a word is neither.
    """
    opening = re.compile(r"(?<![\w'])['‘](?=[^\s'’])")
    closing = re.compile(r"(?<=[^\s'‘])['’](?![\w'])")
    values, place = np.zeros(len(text), np.bool_), 0
    while match := opening.search(text, place):
        blank = text.find("\n\n", match.start(), match.start() + LIMIT)
        last = match.start() + LIMIT if blank < 0 else blank
        partner = closing.search(text, match.end(), min(last, len(text)))
        place = match.end()
        if partner:
            values[match.start() : partner.start()] = True
            place = partner.end()
    return values


def depth(text: str, pairs: Sequence[str] = PAIRS) -> Floats:
    """Count the brackets that are open: looks ahead, since one without a partner does not count.

    A closing bracket is the partner of the last open one of its own kind. < opens before a letter, /, ! or ?
    only, and > does not close after - or =, so that comparisons and arrows are none.
    """
    steps = np.zeros(len(text) + 1, np.int64)
    for pair in pairs:
        opener, closer = pair[0], pair[1]
        limit, stack = BRACE_LIMIT if opener == "{" else LIMIT, list[int]()
        for match in re.finditer(_brackets(opener, closer), text):
            if match.group() == opener:
                stack.append(match.start())
            elif stack and match.start() - stack[-1] <= limit:
                steps[stack.pop()] += 1
                steps[match.start()] -= 1
            else:
                stack.clear()
    return np.cumsum(steps[:-1]).astype(np.float32)


def _brackets(opener: str, closer: str) -> str:
    return r"<(?=[A-Za-z/!?])|(?<![-=])>" if opener == "<" else f"[{re.escape(opener + closer)}]"


def in_url(text: str) -> Bools:
    """Tell http://, https://, ftp:// or www. and what follows up to a space, quote or bracket.

    It looks ahead within the scheme alone.
    """
    return inside(text, _URL)


def in_wiki_link(text: str) -> Bools:
    """Tell [[ ]]: from the second [ to the first ]; looks ahead for the end, within ``LIMIT``."""
    return inside(text, _WIKI_LINK)


def in_tag(text: str) -> Bools:
    """Tell <name …>, </name>, <!name …> and <?name …> from < on until >; looks ahead, within ``LIMIT``."""
    return inside(text, _TAG)


def in_attribute(text: str) -> Bools:
    """Tell the value of an attribute in a tag, from its opening quote until its closing one; looks ahead."""
    values = np.zeros(len(text), np.bool_)
    for tag in _TAG.finditer(text):
        for match in _ATTRIBUTE.finditer(text, *tag.span()):
            values[slice(*match.span(1))] = True
    return values


def in_comment(text: str) -> Bools:
    """Tell /* */ and <!-- --> of at most 5,000 chars in any text; // and # up to the newline in code alone.

    // stands at a line's begin or after a space; # stands first in its line, before a space, ! or #. A text
    looks like code where a twentieth of its lines ends in {, }, ); or ): or begins as an import or a def.
    """
    values = inside(text, _BLOCK_COMMENT)
    lines = sum(1 for line in text.splitlines() if line.strip())
    if lines and 20 * sum(1 for _ in _CODE_LINE.finditer(text)) >= lines:
        values |= inside(text, _SLASH_COMMENT) | inside(text, _HASH_COMMENT, group=1)
    return values


def _newline(text: str) -> Bools:
    return _each(text, lambda char: char == "\n")


def line_position(text: str) -> Floats:
    """Count the chars of the line so far, this one too; the newline is 0. Causal."""
    return _count_since(_newline(text)).astype(np.float32)


def first_of_line(text: str) -> Bools:
    """Tell the first char after a newline, and the text's first. Causal."""
    return np.concatenate([np.ones(1, np.bool_), _newline(text)])[: len(text)]


def last_of_line(text: str) -> Bools:
    """Tell the char before a newline; looks ahead."""
    return _next(_newline(text))


def near_line_end(text: str) -> Bools:
    """Tell the last ``NEARLY_OVER`` chars of a line before its newline; looks ahead."""
    newline = _newline(text)
    left = _count_since(newline[::-1])[::-1]
    left[np.flatnonzero(newline)[-1] + 1 if newline.any() else 0 :] = 0
    return (left > 0) & (left <= NEARLY_OVER)


def indentation(text: str) -> Floats:
    """Count the columns of blanks before the line's first other char, so far; the newline is 0. Causal."""
    values, columns, blank = np.zeros(len(text), np.float32), 0, True
    for place, char in enumerate(text):
        if char == "\n":
            columns, blank = 0, True
        elif blank and char in " \t":
            columns += TAB - columns % TAB if char == "\t" else 1
        else:
            blank = False
        values[place] = columns
    return values


def in_indentation(text: str) -> Bools:
    """Tell the blanks before a line's first other char. Causal."""
    return inside(text, _INDENTATION)


def _in_word(text: str) -> Bools:
    return inside(text, _WORD)


def word_position(text: str) -> Floats:
    """Count the chars of the word so far, this one too; 0 outside words. It looks ahead at an apostrophe."""
    return _count_since(~_in_word(text)).astype(np.float32)


def word_boundary(text: str) -> Bools:
    """Tell where a word ends with this char or begins with the next; looks ahead."""
    word = _in_word(text)
    return np.not_equal(word, _next(word))


def in_capital_word(text: str) -> Bools:
    """Tell a word of two letters or more, all capitals, from its first one on; looks ahead."""
    return inside(text, _CAPITAL_WORD) & _each(text, lambda char: char.isupper())


def in_speaker(text: str) -> Bools:
    """Tell a name that is alone in its line before a colon, as in a play, until the colon; looks ahead."""
    return inside(text, _SPEAKER)


def sentence_length(text: str) -> Floats:
    """Count the chars since . ! ? before a space, or since a blank line; looks ahead two chars at most."""
    ends = np.zeros(len(text), np.bool_)
    ends[[match.start() for match in _SENTENCE_END.finditer(text)]] = True
    return _count_since(ends).astype(np.float32)


def in_number(text: str) -> Bools:
    """Tell 12, 3.14, 1,000 and 0xff; a digit inside a word is no number. It looks ahead by one char."""
    return inside(text, _NUMBER)


def next_is_capital(text: str) -> Bools:
    """Tell the char before a capital; looks ahead."""
    return _next(is_capital(text))


def is_capital(text: str) -> Bools:
    """Tell capitals of any script."""
    return _each(text, lambda char: char.isupper())


def is_digit(text: str) -> Bools:
    """Tell decimal digits of any script."""
    return _each(text, lambda char: char.isdecimal())


def is_vowel(text: str) -> Bools:
    """Tell a, e, i, o, u and their accented forms; y is none."""
    return _each(text, lambda char: unicodedata.normalize("NFD", char)[0].lower() in "aeiou")


def is_punctuation(text: str) -> Bools:
    """Tell what Unicode calls punctuation."""
    return _each(text, lambda char: unicodedata.category(char).startswith("P"))


def is_space(text: str) -> Bools:
    """Tell spaces, tabs and newlines."""
    return _each(text, lambda char: char.isspace())
