"""The parallel scan: linear cells over many steps at a time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolled.cells import LinearCell
from unrolled.cells.contract import checked_coefficients
from unrolled.cells.state import describe
from unrolled.engines.base import Request, blank, choose, lift
from unrolled.engines.native.layers import is_transformed

_ENOUGH = 1 << 15  # numbers in one torch call from which its own cost no longer counts, on a CPU
_ENOUGH_ON_A_GPU = 1 << 20
_IN_CACHE = 1 << 20  # numbers of one tensor of a block of steps, on a CPU
_SHORTEST = 4  # steps of a piece; with fewer, most of the work would be in joining the pieces


class ScanEngine:
    """Run a linear cell's h' = a h + b, whose a and b are made for all steps at once.

    The window is cut into pieces, as many as make a torch call worth its cost. All pieces advance together,
    step by step, first only to find what each makes of the state that enters it, then, with that state
    known, to give their outputs. Nothing is divided, so no a is too small. Marked steps take a = 0, and the
    first state comes in with their b; padded steps take a = 1 and b = 0.
    """

    name = "scan"
    reads_rows = False

    def why_not(self, request: Request) -> str | None:
        """Refuse what is no linear cell, odd dtypes and autocast."""
        cell, name = request.cell, type(request.cell).__name__
        if not isinstance(cell, LinearCell):
            return f"it runs linear cells, {name} is none"
        if type(cell).step is not LinearCell.step:
            return f"{name} has a step of its own"
        if not isinstance(request.state, Tensor):
            return f"it wants one tensor as state, came {describe(request.state)}"
        if request.state.dtype not in (torch.float32, torch.float64):
            return f"it runs float32 and float64, {name} is {request.state.dtype}"
        if torch.is_autocast_enabled(request.x.device.type):
            return "autocast is on"
        if is_transformed(request.x, request.state, *cell.parameters()):
            return "a transform of torch.func is at work"
        return None

    def why_slow(self, request: Request) -> str | None:
        """Leave single steps to the cell."""
        return "there is one step only" if len(request.x) == 1 else None

    def run(self, request: Request) -> tuple[Tensor, Any]:
        """Return y [T, B, H] and the last state."""
        state, T, reverse = request.state, len(request.x), request.reverse
        active = None if request.lengths is None else request.active()
        x = request.x if active is None else blank(request.x, active)
        # Backwards a mark resets after its step, which is before the one that is walked next.
        marks = {t - 1 if reverse else t: lanes for t, lanes in request.fresh.items()}
        # One split, since slices would each have a gradient as long as x.
        blocks = list(enumerate(torch.split(x, _block_length(T, state))))
        ys = []
        for number, items in reversed(blocks) if reverse else blocks:
            start = number * len(blocks[0][1])
            steps = range(start, start + len(items))
            inside = {t - start: lanes for t, lanes in marks.items() if t in steps}
            given = None if active is None else active[start : steps.stop]
            y, state = _run_block(request, items, state, given, inside)
            ys.append(y)
        if -1 in marks:
            state = choose(marks[-1], request.initial, state)
        if len(ys) == 1:
            return ys[0], state
        return torch.cat(ys[::-1] if reverse else ys), state


def _block_length(T: int, state: Tensor) -> int:
    """Return how many of T steps make a block whose numbers stay in a cache; a GPU has no need of blocks."""
    most = max(1, _IN_CACHE // max(1, state.numel())) if state.device.type == "cpu" else T
    return -(-T // -(-T // most))


def _run_block(
    request: Request, x: Tensor, state: Tensor, active: Tensor | None, marks: dict[int, Tensor]
) -> tuple[Tensor, Tensor]:
    """Return y and the last state for ``x`` [n, B, ...], some steps of the window; marks reset before one."""
    cell, reverse = request.cell, request.reverse
    assert isinstance(cell, LinearCell)
    a, b = checked_coefficients(cell, x, state)
    if active is not None:
        a, b = torch.where(lift(active, a), a, 1.0), torch.where(lift(active, b), b, 0.0)
    first = marks.pop(len(x) - 1 if reverse else 0, None)
    if first is not None:
        state = choose(first, request.initial, state)
    if marks:
        a, b = _start_anew(a, b, request.initial, marks)
    y, last = scan(a, b, state, reverse=reverse)
    return (y if active is None else torch.where(lift(active, y), y, 0.0)), last


def _start_anew(a: Tensor, b: Tensor, initial: Tensor, marks: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
    """Return a and b such that the lanes marked at some steps go on from ``initial`` there."""
    mark, lane = torch.stack(list(marks.values())).nonzero(as_tuple=True)
    at = (torch.tensor(list(marks), device=mark.device)[mark], lane)
    return a.index_put(at, a.new_zeros(())), b.index_put(at, torch.addcmul(b[at], a[at], initial[lane]))


def scan(a: Tensor, b: Tensor, h: Tensor, *, reverse: bool = False) -> tuple[Tensor, Tensor]:
    """Return y [T, …] and its last, for a and b [T, …] and h [...].

    ::

        for t in reversed(range(T)) if reverse else range(T):
            y[t] = h = a[t] * h + b[t]
    """
    y: Tensor = _Scan.apply(a, b, h, reverse)  # type: ignore[no-untyped-call]
    return y, y[_order(reverse)[1]].clone()


def _order(reverse: bool) -> tuple[int, int, slice, slice]:
    """Return which row is walked first, which last, and all rows but the first, and but the last."""
    return (-1, 0, slice(None, -1), slice(1, None)) if reverse else (0, -1, slice(1, None), slice(None, -1))


class _Scan(torch.autograd.Function):
    """The scan with its gradient, which is a scan the other way."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h: Tensor, reverse: bool) -> Tensor:
        """Return y [T, …]."""
        first, _, later, _ = _order(reverse)
        y = _chain(a[later], b[later], torch.addcmul(b[first], a[first], h), reverse)
        ctx.save_for_backward(a, h, y)
        ctx.reverse = reverse
        return y

    @staticmethod
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of a, b and h."""
        (a, h, y), reverse = ctx.saved_tensors, ctx.reverse
        first, last, later, earlier = _order(reverse)
        if torch.is_grad_enabled():
            return _gradients_with_a_graph(a, h, y, d_y, reverse)
        d_b = _chain(a[later], d_y[earlier], d_y[last], not reverse)
        d_a = None
        if ctx.needs_input_grad[0]:
            d_a = torch.empty_like(d_b)
            torch.mul(d_b[later], y[earlier], out=d_a[later])
            torch.mul(d_b[first], h, out=d_a[first])
        return d_a, d_b, a[first] * d_b[first], None


def _gradients_with_a_graph(
    a: Tensor, h: Tensor, y: Tensor, d_y: Tensor, reverse: bool
) -> tuple[Tensor | None, ...]:
    """Return the gradients of a, b and h such that they can be differentiated again."""
    first, _, later, earlier = _order(reverse)
    none, start = torch.zeros_like(h), h.unsqueeze(0)
    links, before = [a[later], none.unsqueeze(0)], [start, y[earlier]]
    if reverse:
        links, before = links[::-1], before[::-1]
    d_b, _ = scan(torch.cat(links), d_y, none, reverse=not reverse)
    return d_b * torch.cat(before), d_b, a[first] * d_b[first], None


def _chain(a: Tensor, b: Tensor, h: Tensor, reverse: bool) -> Tensor:
    """Return [T, …]: h, and what the T − 1 steps of a and b make of it; from the end where ``reverse``."""
    first, _, later, _ = _order(reverse)
    y = torch.empty(len(b) + 1, *h.shape, dtype=h.dtype, device=h.device)
    y[first] = h
    _fill(y[later], a, b, h, reverse)
    return y


def _fill(y: Tensor, a: Tensor, b: Tensor, h: Tensor, reverse: bool) -> None:
    """Write y[t] = a[t] y[t − 1] + b[t] with h before the first, in pieces of L steps."""
    T, most = len(b), _enough(h) // max(1, h.numel())
    L = -(-T // max(1, min(T // _SHORTEST, most)))
    states = _entering(a, b, h, L, reverse) if L < T else h.unsqueeze(0)
    for step in range(L):
        # One row of each piece; the piece that is walked last may be shorter.
        rows = slice((T - 1 - step) % L, T - step, L) if reverse else slice(step, T, L)
        now = b[rows]
        states = states[len(states) - len(now) :] if reverse else states[: len(now)]
        states = torch.addcmul(now, a[rows], states, out=y[rows])


def _entering(a: Tensor, b: Tensor, h: Tensor, L: int, reverse: bool) -> Tensor:
    """Return the state that enters each piece of L steps: a piece is one long step of another chain."""
    T = len(b)
    whole = (T - 1) // L * L
    low, high = (T - whole, T) if reverse else (0, whole)
    steps = range(low + L - 1, low - 1, -1) if reverse else range(low, low + L)
    product, total = a[steps[0] : high : L].clone(), b[steps[0] : high : L].clone()
    for step in steps[1:]:
        rows = slice(step, high, L)
        product.mul_(a[rows])
        torch.addcmul(b[rows], a[rows], total, out=total)
    return _chain(product, total, h, reverse)


def _enough(like: Tensor) -> int:
    return _ENOUGH if like.device.type == "cpu" else _ENOUGH_ON_A_GPU


SCAN = ScanEngine()
