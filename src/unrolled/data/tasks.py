"""Generated examples with known answers: a task for each shape of sequence problem.

::

    points             one to one             a point [2] → which of two arcs it lies on
    digit-names        one to many            a digit → its English name, letter by letter
    first-letters      many to one            a string → the letter that it began with
    reversed-strings   many to many           a string → the same, backwards
    binary-sums        many to many in step   two bits a step → a bit of their sum
    tagged             many to many in step   a character a step → inside or outside of quotes
    digit-rows         a picture in steps     eight pixels a step, eight steps → the digit drawn

Each returns rows of plain values, as ``Examples.from_rows`` takes and ``write_jsonl`` writes them, drawn
from a generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator

from unrolled.data.digits import drawn_digit
from unrolled.data.generated import check_size
from unrolled.errors import UsageError, nearest

Rows = list[dict[str, Any]]

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

LETTERS = "abcdefgh"
"""What strings are made of."""

INSIDE, OUTSIDE = "i", "o"
"""The tags of ``tagged``."""


def points(n: int, generator: Generator | None = None) -> Rows:
    """Draw points on two half circles that reach into each other: ``point`` [2], ``arc`` 0 or 1.

    Arc 0 is the upper half of the unit circle, arc 1 the lower half of that around (1, 0.5), each 0.4
    wide. The arcs don't touch, but no line parts them: a net needs a hidden layer.
    """
    check_size("n", n)
    rows = []
    for turn, off, side in torch.rand(n, 3, generator=generator).tolist():
        radius, angle, arc = 0.8 + 0.4 * off, math.pi * turn, int(side < 0.5)
        x, y = radius * math.cos(angle), radius * math.sin(angle)
        point = [1 - x, 0.5 - y] if arc else [x, y]
        rows.append({"point": [round(v, 4) for v in point], "arc": arc})
    return rows


def digit_names(n: int, generator: Generator | None = None) -> Rows:
    """Draw digits: ``digit`` 0 … 9 and its English ``name``."""
    check_size("n", n)
    digits = torch.randint(10, (n,), generator=generator).tolist()
    return [{"digit": digit, "name": DIGIT_NAMES[digit]} for digit in digits]


def first_letters(n: int, longest: int = 12, generator: Generator | None = None) -> Rows:
    """Draw strings of a, b, c and d: ``text`` of 1 to ``longest`` letters, and its ``first``.

    Letters are drawn independently, so the later ones say nothing of the first: without memory over the
    whole string nothing beats a guess among four, but for strings of one letter.
    """
    check_size("n", n)
    return [{"text": text, "first": text[0]} for text in _strings(n, longest, LETTERS[:4], generator)]


def reversed_strings(n: int, longest: int = 8, generator: Generator | None = None) -> Rows:
    """Draw strings of ``LETTERS``: ``source`` of 1 to ``longest`` letters, and ``target``, its reverse."""
    check_size("n", n)
    return [{"source": s, "target": s[::-1]} for s in _strings(n, longest, LETTERS, generator)]


def binary_sums(n: int, longest: int = 8, generator: Generator | None = None) -> Rows:
    """Draw pairs of numbers of 1 to ``longest`` bits: ``bits`` [T][2], and the bits [T] of their ``sum``.

    The least significant bit comes first, and T is one more than their bits, for the carry.
    """
    check_size("n", n)
    check_size("longest", longest)
    rows = []
    for _ in range(n):
        length = _up_to(longest, generator)
        bits = [*torch.randint(2, (length, 2), generator=generator).tolist(), [0, 0]]
        total, carry = [], 0
        for a, b in bits:
            carry, bit = divmod(a + b + carry, 2)
            total.append(bit)
        rows.append({"bits": bits, "sum": total})
    return rows


def tagged(n: int, longest: int = 20, generator: Generator | None = None) -> Rows:
    """Draw strings of letters and quotes: ``text``, and ``tags``, "i" inside of quotes and "o" outside.

    Both quotes are inside. They look alike, so a net must remember whether one is open; the last may stay
    so. One character of four is a quote.
    """
    check_size("n", n)
    rows = []
    for text in _strings(n, longest, 'abc"', generator):
        tags, is_open = "", False
        for character in text:
            quote = character == '"'
            tags += INSIDE if quote or is_open else OUTSIDE
            is_open ^= quote
        rows.append({"text": text, "tags": tags})
    return rows


def digit_rows(n: int, generator: Generator | None = None) -> Rows:
    """Draw digits as pictures to be read row by row: ``rows`` [8][8] from 0 to 1, and ``digit`` 0 … 9."""
    check_size("n", n)
    digits = torch.randint(10, (n,), generator=generator).tolist()
    return [{"rows": drawn_digit(digit, generator), "digit": digit} for digit in digits]


TASKS: dict[str, Callable[[int, int], Rows]] = {
    "points": lambda n, seed: points(n, _seeded(seed)),
    "digit-names": lambda n, seed: digit_names(n, _seeded(seed)),
    "first-letters": lambda n, seed: first_letters(n, generator=_seeded(seed)),
    "reversed-strings": lambda n, seed: reversed_strings(n, generator=_seeded(seed)),
    "binary-sums": lambda n, seed: binary_sums(n, generator=_seeded(seed)),
    "tagged": lambda n, seed: tagged(n, generator=_seeded(seed)),
    "digit-rows": lambda n, seed: digit_rows(n, _seeded(seed)),
}
"""Every task by name: a function of the number of rows and a seed."""


def task(name: str) -> Callable[[int, int], Rows]:
    """Return a task by name; an unknown name is a UsageError."""
    if name not in TASKS:
        hint = nearest(name, TASKS) or f". There are {', '.join(TASKS)}."
        raise UsageError(f"There is no task {name!r}{hint}")
    return TASKS[name]


def _seeded(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def _up_to(longest: int, generator: Generator | None) -> int:
    return int(torch.randint(1, longest + 1, (), generator=generator))


def _strings(n: int, longest: int, letters: str, generator: Generator | None) -> list[str]:
    check_size("longest", longest)
    strings = []
    for _ in range(n):
        drawn = torch.randint(len(letters), (_up_to(longest, generator),), generator=generator)
        strings.append("".join(letters[i] for i in drawn.tolist()))
    return strings
