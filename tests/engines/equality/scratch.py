"""Scratch memory: what is in it before never shows."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor

from unrolled.cells import BUILT_IN
from unrolled.engines.native import layers, memory

from .cases import Case, Verdict
from .cells import MADE_UP
from .grid import KINDS, drawn
from .twins import draw, threads

CELLS = {**BUILT_IN, **MADE_UP}
FILLS = (math.nan, 0.0, 1e30, -math.inf)


@contextmanager
def filled(number: float) -> Iterator[None]:
    """Fill every piece of memory that the compiled code is given with ``number``."""

    def room(*shape: int) -> Tensor:
        with torch.inference_mode(False):
            return torch.full(shape, number, dtype=torch.float32)

    inside = "unrolled.engines.native."
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(inside)]
    with ExitStack() as stack:
        for module in modules:
            if hasattr(module, "room"):
                stack.enter_context(patch.object(module, "room", room))
        stack.enter_context(patch.object(memory.Pool, "take", lambda _, *shape: room(*shape)))
        yield


def scratch() -> Iterator[Case]:
    """Results and gradients, to the bit, over NaN, zeros and large numbers."""
    for name, kind, turn in itertools.product(CELLS, KINDS, range(8)):
        yield Case(f"{name} {kind} turn {turn}", partial(_try, name, kind))
    for turn in range(24):
        yield Case(f"ends turn {turn}", _try_ends)


def _try(name: str, kind: str) -> Verdict:
    D, H = draw(1, 70), draw(1, 140)
    ask, found = drawn(CELLS[name](D, H), draw(1, 40), draw(1, 9), kind), []
    with threads(draw(1, 3)):
        for number in FILLS:
            with filled(number):
                found.append(list(ask.results("native").values()))
    return _same(found)


def _try_ends() -> Verdict:
    N, D, K = draw(1, 200), draw(1, 140), draw(1, 140)
    parts = [torch.randn(shape, requires_grad=True) for shape in ((N, D), (D, K), (K,))]
    targets, found, bf16 = torch.randint(-1, K, (N,)), [], bool(draw(0, 1))
    with threads(draw(1, 3)):
        for number in FILLS:
            with filled(number):
                y = layers.linear(parts[0], parts[1], parts[2], bf16)
                nats, right = layers.softmax_loss(y, targets)
                found.append([y, nats, right, *torch.autograd.grad(nats.sum(), parts)])
    return _same(found)


def _same(found: list[list[Tensor]]) -> Verdict:
    for number, parts in zip(FILLS, found, strict=True):
        if not all(map(torch.equal, parts, found[0])):
            return Verdict(wrong=f"scratch full of {number} gives other bits than NaN")
    return Verdict()
