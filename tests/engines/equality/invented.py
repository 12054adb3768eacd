"""Cells drawn by chance: 1 to 6 gates, 0 to 2 of them split, 0 to 2 vectors, 1 to 3 fields of the state."""

from __future__ import annotations

import inspect
import random
from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import sigmoid, tanh
from torch.nn import functional

import unrolled

from .cases import Case, Verdict, seed_of
from .grid import KINDS, drawn
from .twins import draw, judged, threads

CELLS, ASKS = 32, 12
SIZES = (1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 65, 100, 130)

# What keeps a number small, and what is defined and smooth enough wherever it may be asked.
ONE: tuple[Callable[[Any], Any], ...] = (
    tanh,
    sigmoid,
    torch.relu,
    functional.silu,
    functional.gelu,
    lambda a: functional.gelu(a, approximate="tanh"),
    functional.softplus,
    torch.abs,
    lambda a: -a,
    lambda a: tanh(a) ** 2,
    lambda a: torch.square(tanh(a)),
    lambda a: torch.exp(tanh(a)),
    lambda a: torch.exp(-a.abs()),
    lambda a: torch.log(functional.softplus(a) + 0.25),
    lambda a: torch.sqrt(a * a + 0.5),
    lambda a: a.clamp(-0.7, 1.3),
    lambda a: torch.clamp(a, min=-0.4),
    lambda a: 0.7 * a + 0.1,
    lambda a: 1 - sigmoid(a),
    lambda a: a / 3,
)
TWO: tuple[Callable[[Any, Any], Any], ...] = (
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: tanh(a) * b,
    lambda a, b: sigmoid(a) * tanh(b),
    lambda a, b: a / (1 + b * b),
    lambda a, b: 1 / (1.5 + tanh(a)) - b,
    torch.maximum,
    torch.minimum,
    lambda a, b: torch.where(a > b, tanh(a), 0.5 * b),
    lambda a, b: torch.where(a <= 0.2, b, a),
    lambda a, b: torch.add(a, b, alpha=0.5),
)
Expression = Callable[[Sequence[Any]], Any]


def invented() -> Iterator[Case]:
    """Cells drawn by chance, each with several unrolls."""
    for number in range(CELLS):
        yield Case(f"cell {number}", partial(_try, number))


def _try(number: int) -> Verdict:
    kind, verdict = invent(draw(0, 1 << 30)), Verdict()
    for _ in range(ASKS):
        D, H = SIZES[draw(0, len(SIZES) - 1)], SIZES[draw(0, len(SIZES) - 1)]
        ask = drawn(kind(D, H), draw(1, 13), draw(1, 9), KINDS[draw(0, 2)])
        with threads(draw(1, 3)):
            verdict.add(judged(ask, ("native",)))
    return verdict


def invent(seed: int) -> Any:
    """Return a gated cell drawn from ``seed``."""
    chance = random.Random(seed_of(seed, "invented"))
    gates = tuple(f"g{n}" for n in range(chance.randint(1, 6)))
    split = tuple(chance.sample(gates, min(len(gates), chance.randint(0, 2))))
    vectors = tuple(f"p{n}" for n in range(chance.randint(0, 2)))
    fields = chance.randint(1, 3)
    named: Any = namedtuple("Drawn", [f"s{n}" for n in range(fields)])
    State = None if fields == 1 and chance.random() < 0.7 else named
    body: dict[str, Any] = {"gates": gates, "split": split, "vectors": vectors, "State": State}
    slices = [part for g in gates for part in ((f"{g}_x", f"{g}_h") if g in split else (g,))]
    body["next_state"] = staticmethod(_next_state([*slices, *vectors], len(slices), fields, State, chance))
    return type(f"Invented{seed}", (unrolled.GatedCell,), body)


def _next_state(
    names: list[str], slices: int, fields: int, State: Any, chance: random.Random
) -> Callable[..., Any]:
    """Return a function of arguments with these ``names`` and the state; it mixes old fields and new ones."""
    leaves = len(names) + fields
    new = [_expression(chance, leaves, 4) for _ in range(fields)]
    # A slice each, so that no field is without one; through √a², whose slope is no number in the padding.
    of = [(chance.randrange(slices), chance.random() < 0.3) for _ in range(fields)]
    mix = [chance.choice((0.0, 0.3, 0.6)) for _ in range(fields)]

    def next_state(*given: Any) -> Any:
        before = [given[-1]] if State is None else list(given[-1])
        values = [*given[:-1], *before]
        after = [
            keep * old + tanh(make(values) + (torch.sqrt(values[at] * values[at]) if root else values[at]))
            for keep, old, make, (at, root) in zip(mix, before, new, of, strict=True)
        ]
        return after[0] if State is None else State(*after)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(name, kind) for name in (*names, "state")]
    next_state.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return next_state


def _expression(chance: random.Random, leaves: int, depth: int) -> Expression:
    """Return an expression over ``leaves`` values."""
    if depth == 0 or chance.random() < 0.1:
        place = chance.randrange(leaves)
        return lambda values: values[place]
    if chance.random() < 0.45:
        one, inner = chance.choice(ONE), _expression(chance, leaves, depth - 1)
        return lambda values: one(inner(values))
    two = chance.choice(TWO)
    a, b = (_expression(chance, leaves, depth - 1) for _ in range(2))
    return lambda values: two(a(values), b(values))
