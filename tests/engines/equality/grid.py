"""Every cell at every size: items, ids, and ids that stand for rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from unrolled.cells import BUILT_IN, GatedCell, map_state
from unrolled.engines import ENGINES
from unrolled.engines.native import layers
from unrolled.errors import UsageError
from unrolled.unrolling import choose_engine

from .cases import Case, Verdict
from .cells import MADE_UP
from .twins import BOUND, Ask, draw, judged, threads

SIZES, LANES, STEPS = (1, 3, 17, 64, 100, 512), (1, 2, 7, 100), (1, 2, 9)
KINDS = ("items", "ids", "rows")


def grid() -> Iterator[Case]:
    """The built-in gated cells."""
    yield from over({name: cell for name, cell in BUILT_IN.items() if issubclass(cell, GatedCell)})


def made_up() -> Iterator[Case]:
    """Cells that no engine has seen before."""
    yield from over(MADE_UP)


def over(cells: Mapping[str, Any]) -> Iterator[Case]:
    """Yield a case for each of ``cells`` and each combination of sizes."""
    for name, H, D, B, T, kind in itertools.product(cells, SIZES, SIZES, LANES, STEPS, KINDS):
        yield Case(f"{name} H{H} D{D} B{B} T{T} {kind}", partial(_try, cells[name], H, D, B, T, kind))


def _try(kind: Any, H: int, D: int, B: int, T: int, x_kind: str) -> Verdict:
    ask = drawn(kind(D, H), B, T, x_kind)
    with threads(draw(1, 3), small=bool(draw(0, 1))):
        return judged(ask, ("native", *others(ask)))


def others(ask: Ask) -> list[str]:
    """Return the engines besides native that serve ``ask``."""
    found, more = [], {name: part for name, part in ask.more.items() if name != "rows"}
    x = ask.x if ask.more.get("rows") is None else ask.x.clamp(max=ask.cell.input_size - 1)
    for name in ENGINES:
        if name not in ("naive", "native"):
            try:
                found.append(choose_engine(ask.cell, x, ask.state, engine=name, **more)[0].name)
            except UsageError:
                continue
    return found


def drawn(cell: Any, B: int, T: int, kind: str) -> Ask:
    """Return an unroll of ``cell`` with state, marks, lengths and direction as chance will have them."""
    D, V, more = cell.input_size, cell.input_size, dict[str, Any](reverse=bool(draw(0, 1)))
    if kind == "rows":
        V = draw(1, min(2 * T * B + 3, 600))
        more["rows"] = torch.randn(V, D)
    x = torch.randn(T, B, D) if kind == "items" else torch.randint(-1, V, (T, B))
    if draw(0, 1):
        more["fresh"] = torch.rand(T, B) < (0.1, 0.5)[draw(0, 1)]
    if draw(0, 1):
        lengths = torch.randint(0, T + 1, (B,))
        padding = torch.arange(T)[:, None] >= lengths
        x[padding] = torch.nan if kind == "items" else 10**12
        more["lengths"] = lengths
    state = map_state(torch.randn_like, cell.initial_state(B)) if draw(0, 1) else None
    if draw(0, 3) == 0:  # as it lies where lanes come first
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    return Ask(cell, x, state, more)


def ends() -> Iterator[Case]:
    """The compiled output layer and softmax loss."""
    for D, K, N in itertools.product(SIZES, SIZES, (*LANES, 301)):
        yield Case(f"linear D{D} K{K} N{N}", partial(_try_ends, D, K, N))


def _try_ends(D: int, K: int, N: int) -> Verdict:
    weight = torch.randn(K, D).t() if draw(0, 1) else torch.randn(D, K)
    parts = [torch.randn(N, D), weight / D**0.5, *([torch.randn(K)] if draw(0, 1) else [])]
    targets, weigh, verdict = torch.randint(-1, K, (N,)), torch.randn(N, K), Verdict()
    exact = [part.double().requires_grad_() for part in parts]
    parts = [part.detach().requires_grad_() for part in parts]
    with threads(draw(1, 3)):
        y = layers.linear(parts[0], parts[1], parts[2] if len(parts) > 2 else None)
        nats, _ = layers.softmax_loss(y, targets)
        ours = [y, nats, *torch.autograd.grad((y * weigh).sum() + nats.sum(), parts)]
    wanted_y = exact[0] @ exact[1] + (exact[2] if len(exact) > 2 else 0.0)
    wanted_nats = functional.cross_entropy(wanted_y, targets, ignore_index=-1, reduction="none")
    wanted = [
        wanted_y,
        wanted_nats,
        *torch.autograd.grad((wanted_y * weigh).sum() + wanted_nats.sum(), exact),
    ]
    for place, (mine, reference) in enumerate(zip(ours, wanted, strict=True)):
        verdict.add(_near(("y", "nats", "d x", "d W", "d bias")[place], mine, reference))
    return verdict


def _near(name: str, ours: Tensor, wanted: Tensor) -> Verdict:
    error, norm = float((ours.detach().double() - wanted.detach()).norm()), float(wanted.detach().norm())
    if error <= BOUND * norm:
        return Verdict(error / norm if norm else 0.0, name)
    near = error <= BOUND  # of terms of about 1
    return Verdict(cancelled=1) if near else Verdict(wrong=f"{name} is off by {error:.1e} of {norm:.1e}")
