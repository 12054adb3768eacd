"""The reference: one step at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from unrolled.cells import Cell, GatedCell
from unrolled.cells.contract import checked_step
from unrolled.engines.base import Request, blank, choose, lift


class NaiveEngine:
    """Run any cell, one step after the other.

    ::

        for t in range(T):
            y[t], state = cell.step(x[t], state)

    The torch calls of a step are the same whatever T is, so step by step, window by window and all at
    once give the same bits for one number of lanes.
    """

    name = "naive"
    reads_rows = False

    def why_not(self, request: Request) -> str | None:
        """Serve everything."""
        return None

    def why_slow(self, request: Request) -> str | None:
        """Serve at the end of the list."""
        return None

    def run(self, request: Request) -> tuple[Tensor, Any]:
        """Return y [T, B, H] and the last state."""
        cell, x, state, T = request.cell, request.x, request.state, request.x.shape[0]
        full, longest = (min(request.lengths), max(request.lengths)) if request.lengths else (T, T)
        fresh = request.fresh
        active = request.active() if full < T else None
        if request.bf16:
            cell = _in_bf16(cell, rounds_x=x.is_floating_point())
        step: Callable[[Tensor, Any], tuple[Tensor, Any]] = partial(checked_step, cell)
        y, order = {}, range(max(longest, 1))
        for t in reversed(order) if request.reverse else order:
            if t in fresh and not request.reverse:
                state = choose(fresh[t], request.initial, state)
            if active is None or t < full:
                y[t], state = step(x[t], state)
            else:
                y[t], after = step(blank(x[t], active[t]), state)
                y[t] = torch.where(lift(active[t], y[t]), y[t], 0.0)
                state = choose(active[t], after, state)
            if t in fresh and request.reverse:
                state = choose(fresh[t], request.initial, state)
            step = cell.step
        padding = [torch.zeros_like(y[0])] * (T - len(y))
        return torch.stack([y[t] for t in order] + padding), state


def _in_bf16(cell: Cell, rounds_x: bool) -> Cell:
    """Return a gated cell like ``cell`` that rounds the factors of its products; ids make none with W."""
    assert isinstance(cell, GatedCell)
    twin = copy.copy(cell)
    names = [cell._h_to_gates, *([cell._x_to_gates] if rounds_x else [])]
    rounds = {name: rounded(getattr(cell, name)) for name in names}
    twin._parameters = cast(Any, {**cell._parameters, **rounds})

    def preactivations(x: Tensor, state: Any) -> tuple[Tensor, ...]:
        h = rounded(state if cell.State is None else state[0])
        rest = h if cell.State is None else state._replace(**{state._fields[0]: h})
        return GatedCell.preactivations(twin, rounded(x) if rounds_x else x, rest)

    twin.preactivations = preactivations  # type: ignore[method-assign]
    return twin


def rounded(x: Tensor) -> Tensor:
    """Return x [...] rounded to bfloat16, as float32; the gradient passes as if nothing had happened."""
    return x + (x.detach().bfloat16().float() - x.detach())


NAIVE = NaiveEngine()
