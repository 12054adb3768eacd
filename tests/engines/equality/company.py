"""The same bits in any company: batch, neighbours, threads, windows and single steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

import unrolled
from unrolled.cells import BUILT_IN, map_state, named_tensors
from unrolled.engines.native import layers
from unrolled.net import Chain, Net, chain

from .cases import Case, Verdict, seed_of
from .cells import MADE_UP
from .twins import draw, threads

CELLS = {**BUILT_IN, **MADE_UP}
SCENES, EACH = 50, 20
HIDDEN, LANES, STEPS = (1, 7, 16, 33, 64, 96, 130), 16, 12
# What a neighbour may hold.
HORRORS = (math.nan, math.inf, -1e30, 0.0)


@dataclass(frozen=True)
class Scene:
    """Something that reads x [T, B, ...] from a state, and what it gives for all lanes, all steps at once."""

    run: Callable[..., tuple[Tensor, Any]]
    """``run(x, state, fresh)`` → y [T, B, ...] and the next state."""
    x: Tensor
    state: Any
    fresh: Tensor
    y: Tensor
    last: Any


def company() -> Iterator[Case]:
    """A thousand arrangements: recurrent layers, output layers and whole nets."""
    for number in range(SCENES):
        kind = ("cell", "net", "net", "linear", "cell")[number % 5]
        for turn in range(EACH):
            yield Case(f"{kind} {number} turn {turn}", partial(_try, kind, number))


def nets() -> Iterator[Case]:
    """The part of them that whole nets are."""
    yield from (case for case in company() if case.name.startswith("net"))


def _try(kind: str, number: int) -> Verdict:
    if kind == "linear":
        return _try_linear()
    return _arranged(_scene(kind, number))


@functools.cache
def _scene(kind: str, number: int) -> Scene:
    """Make a scene; the same for all of its cases."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(number, kind))
        make = _cell if kind == "cell" else _net
        return make(number)


def _whole(run: Any, x: Tensor, state: Any) -> Scene:
    fresh = torch.rand(*x.shape[:2]) < (0.0, 0.15)[draw(0, 1)]
    with torch.no_grad():
        y, last = run(x, state, fresh)
    return Scene(run, x, state, fresh, y, last)


def _cell(number: int) -> Scene:
    D, H, name = HIDDEN[draw(0, 6)], HIDDEN[draw(0, 6)], sorted(CELLS)[number % len(CELLS)]
    cell, bf16 = CELLS[name](D, H), draw(0, 3) == 0
    x = torch.randn(STEPS, LANES, D) if draw(0, 1) else torch.randint(-1, D, (STEPS, LANES))

    def run(x: Tensor, state: Any, fresh: Tensor) -> tuple[Tensor, Any]:
        return unrolled.unroll(cell, x, state, fresh=fresh, engine="native", bf16=bf16)

    return _whole(run, x, map_state(torch.randn_like, cell.initial_state(LANES)))


def _net(number: int) -> Scene:
    V, names = draw(2, 60), sorted(BUILT_IN)
    sizes = Chain(
        V,
        cell=names[number % len(names)],
        layers=draw(1, 2),
        hidden=HIDDEN[draw(0, 6)],
        embedding=(0, draw(1, 40))[draw(0, 1)],
    )
    net = Net(chain(sizes)).eval()
    net.engine, net.bf16 = "native", draw(0, 3) == 0

    def run(x: Tensor, state: Any, fresh: Tensor) -> tuple[Tensor, Any]:
        y, after = net(x, state, fresh=fresh)
        return y, after

    ids = torch.randint(0, V, (STEPS, LANES))
    return _whole(run, ids, map_state(torch.randn_like, net.initial_state(LANES)))


def _arranged(scene: Scene) -> Verdict:
    """Run some lanes of a scene beside others, in windows; compare with what they were."""
    lanes = torch.randperm(LANES)[: draw(1, LANES)]
    others = torch.randint(0, LANES, (draw(0, 3) * draw(0, 9),))
    order = torch.randperm(len(lanes) + len(others))
    picked, ours = torch.cat([lanes, others])[order], order < len(lanes)
    x, state, fresh = scene.x[:, picked].clone(), map_state(lambda part: part[picked], scene.state), None
    state = map_state(lambda part: _disturbed(part, ours, 0), state)
    if x.is_floating_point():
        x = _disturbed(x, ours, 1)
    else:
        x[:, ~ours] = torch.randint(0, 2, (len(x), int((~ours).sum()))).clamp(max=int(scene.x.max()))
    fresh, ys, at = scene.fresh[:, picked], list[Tensor](), 0
    while at < STEPS:
        stop = min(STEPS, at + (1, draw(1, 5), STEPS)[draw(0, 2)])
        with threads(draw(1, 4), small=bool(draw(0, 3))), nullcontext() if draw(0, 1) else torch.no_grad():
            y, state = scene.run(x[at:stop], state, fresh[at:stop])
        ys.append(y.detach())
        at = stop
    wanted = {"y": scene.y[:, picked[ours]], **named_tensors(scene.last, "last")}
    found = {"y": torch.cat(ys)[:, ours], **named_tensors(map_state(lambda part: part[ours], state), "last")}
    for name, part in found.items():
        reference = wanted[name] if name == "y" else wanted[name][picked[ours]]
        if not torch.equal(part.detach(), reference):
            return Verdict(wrong=f"{name} has other bits: off by {(part - reference).abs().max():.1e}")
    return Verdict()


def _disturbed(part: Tensor, ours: Tensor, axis: int) -> Tensor:
    """Give the lanes that are not ours something else to hold."""
    part, horror = part.clone(), draw(0, len(HORRORS))
    if horror < len(HORRORS) and part.is_floating_point():
        part.movedim(axis, 0)[~ours] = HORRORS[horror]
    return part


def _try_linear() -> Verdict:
    N, D, K = draw(1, 300), draw(1, 130), draw(1, 130)
    x, W, bias = torch.randn(N, D), torch.randn(D, K), torch.randn(K) if draw(0, 1) else None
    bf16 = draw(0, 3) == 0
    wanted, rows = layers.linear(x, W, bias, bf16), torch.randperm(N)[: draw(1, N)]
    crowd = torch.full_like(x, HORRORS[draw(0, len(HORRORS) - 1)])
    crowd[rows] = x[rows]
    for given, place in ((x[rows], slice(None)), (crowd, rows)):
        with threads(draw(1, 4)):
            if not torch.equal(layers.linear(given, W, bias, bf16)[place], wanted[rows]):
                return Verdict(wrong="y has other bits")
    return Verdict()
