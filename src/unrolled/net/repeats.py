"""Which layers of a net that was unrolled by hand are one layer, step after step, by their names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from unrolled.errors import NetError
from unrolled.net.spec import Layer

ENDS = re.compile(r"(?P<stem>.*?)(?P<step>[0-9]{1,9})")
STARTS = re.compile(r"(?P<step>[0-9]{1,9})(?P<stem>.*)")
T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class Repeats:
    """The layers of each stem in the order of steps, ``stems["zX"]`` = ``("zX1", "zX2", ...)``."""

    steps: int
    stems: Mapping[str, tuple[str, ...]]
    places: Mapping[str, tuple[str, int]]
    """Of a repeated layer: its stem, and which step it is, from 0."""
    broken: Mapping[str, str]
    """Of a layer that looks repeated and is not in every step: what is missing."""


def repeats(layers: Mapping[str, Layer]) -> Repeats:
    """Group a net's layers by names that end, or else start, with a step's number; NetError where none do.

    The number of steps is the one that most layers agree on. A constant one step before the first, as h0
    before h1, is no step.
    """
    found = [_grouped(layers, style) for style in (ENDS, STARTS)]
    best = max(found, key=lambda each: (len(each.places), each.steps))
    if best.steps < 2:
        raise NetError(
            "nothing in this net is repeated: wanted layers whose names end or start with a step's number, "
            "such as z1, z2, z3"
        )
    return best


def _grouped(layers: Mapping[str, Layer], style: re.Pattern[str]) -> Repeats:
    numbered: dict[str, dict[int, str]] = defaultdict(dict)
    for name in layers:
        if match := style.fullmatch(name):
            numbered[match["stem"]].setdefault(int(match["step"]), name)
    for by_step in numbered.values():
        first, *rest = sorted(by_step)
        if rest and layers[by_step[first]].type == "constant" != layers[by_step[rest[0]]].type:
            del by_step[first]
    votes = Counter[int]()
    for by_step in numbered.values():
        if len(by_step) > 1:
            votes[len(by_step)] += len(by_step)
    steps = max(votes, key=lambda count: (votes[count], count), default=0)
    whole = {
        stem: tuple(by_step[number] for number in sorted(by_step))
        for stem, by_step in numbered.items()
        if len(by_step) == steps and max(by_step) - min(by_step) == steps - 1
    }
    places = {name: (stem, step) for stem, names in whole.items() for step, name in enumerate(names)}
    usual = common([tuple(sorted(numbered[stem])) for stem in whole]) if whole else ()
    broken = {
        name: _missing(by_step, usual, name)
        for stem, by_step in numbered.items()
        if stem not in whole
        for number, name in by_step.items()
        if len(by_step) > 1 or number in usual
    }
    return Repeats(steps if whole else 0, whole, places, broken)


def _missing(by_step: Mapping[int, str], usual: Sequence[int], name: str) -> str:
    """Say which step lacks a layer, as it would be called there."""
    number, here = next((number, here) for number, here in by_step.items() if here == name)
    lacks = [step for step in usual if step not in by_step]
    if lacks:
        digits = str(number)
        wanted = (
            here[: -len(digits)] + str(lacks[0])
            if here.endswith(digits)
            else f"{lacks[0]}{here[len(digits) :]}"
        )
        return f"step {lacks[0]} has no '{wanted}'"
    return f"there are {len(by_step)} such layers for {len(usual)} steps"


def common(values: Sequence[T]) -> T:
    """Return the value that most of them are; of several such, the first."""
    return Counter(values).most_common(1)[0][0]
