"""One unroll by a fast engine and by the naive loop in float64: values and gradients, tensor by tensor."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

import unrolled
from unrolled.cells import map_state, named_tensors
from unrolled.engines.native import layers, running

from .cases import Verdict

# Sums of up to some thousand products in float32: a few times √n · 2^-24 of the tensor's norm.
BOUND = 1e-5
# How much more than float32's own unrest around there an error may be, and how that unrest is found.
UNREST, NUDGE, NUDGES = 4.0, 2.0**-22, 8


@dataclass(frozen=True)
class Ask:
    """One unroll: a cell, x [T, B, D] or ids [T, B], a state or None, and what else ``unroll`` takes."""

    cell: Any
    x: Tensor
    state: Any = None
    more: dict[str, Any] = field(default_factory=dict)

    def changed(self, change: Callable[[Tensor], Tensor]) -> Ask:
        """Return the same with every tensor of numbers changed."""
        cell = copy.deepcopy(self.cell)
        with torch.no_grad():
            for name, part in cell.named_parameters():
                _set(cell, name, torch.nn.Parameter(change(part.detach())))
        x = change(self.x) if self.x.is_floating_point() else self.x
        state = None if self.state is None else map_state(change, self.state)
        more = {k: change(v) if k == "rows" and v is not None else v for k, v in self.more.items()}
        return replace(self, cell=cell, x=x, state=state, more=more)

    def exact(self) -> Ask:
        """Return the same in float64."""
        return self.changed(Tensor.double)

    def nudged(self) -> Ask:
        """Return the same with every number changed by about a rounding of float32."""
        return self.changed(lambda part: part * (1 + NUDGE * (2 * torch.rand_like(part) - 1)))

    def results(self, engine: str) -> dict[str, Tensor]:
        """Return every output and every gradient under names."""
        leaves, more = dict(self.cell.named_parameters()), dict(self.more)
        x, state = self.x, self.state
        if x.is_floating_point():
            x = leaves["x"] = x.detach().requires_grad_()
        if more.get("rows") is not None:
            more["rows"] = leaves["rows"] = more["rows"].detach().requires_grad_()
        if state is not None:
            state = map_state(lambda part: part.detach().requires_grad_(), state)
            leaves |= named_tensors(state, "first")
        y, last = unrolled.unroll(self.cell, x, state, engine=engine, **more)
        found = {"y": y, **named_tensors(last, "last")}
        weigh = torch.Generator().manual_seed(1)
        loss = sum(
            (part * torch.randn(part.shape, generator=weigh).to(part)).sum() for part in found.values()
        )
        grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        for leaf, grad in zip(leaves, grads, strict=True):
            found[f"d {leaf}"] = torch.zeros_like(leaves[leaf]) if grad is None else grad
        return {key: part.detach() for key, part in found.items()}


def _set(module: Any, name: str, parameter: torch.nn.Parameter) -> None:
    *path, last = name.split(".")
    for part in path:
        module = getattr(module, part)
    setattr(module, last, parameter)


def judged(ask: Ask, engines: tuple[str, ...]) -> Verdict:
    """Return how far each of ``engines`` is from the naive loop in float64."""
    verdict, exact = Verdict(), ask.exact()
    wanted = exact.results("naive")
    for engine in engines:
        verdict.add(_compared(engine, ask.results(engine), wanted, exact))
    return verdict


def _compared(engine: str, ours: dict[str, Tensor], wanted: dict[str, Tensor], exact: Ask) -> Verdict:
    verdict, doubtful = Verdict(), dict[str, float]()
    if ours.keys() != wanted.keys():
        return Verdict(wrong=f"{engine} gives {sorted(ours)}")
    for name, reference in wanted.items():
        if ours[name].shape != reference.shape:
            return Verdict(wrong=f"{engine} gives {name} {list(ours[name].shape)}")
        error, norm = float((ours[name].double() - reference).norm()), float(reference.norm())
        if error <= BOUND * norm:
            verdict.add(Verdict(error / norm if norm else 0.0, f"{engine}, {name}"))
        else:
            doubtful[name] = error
    if doubtful:
        _settle(engine, verdict, doubtful, wanted, exact)
    return verdict


def _settle(
    engine: str, verdict: Verdict, doubtful: dict[str, float], wanted: dict[str, Tensor], exact: Ask
) -> None:
    """Tell errors from what float32 leaves open: sums that cancel, 1 − y² near 0, kinks such as relu's.

    Where roundings of its inputs move the reference in float64 about as far, or where the naive loop in
    float32 is about as far from it at such inputs, nothing is wrong.
    """
    unrest = dict.fromkeys(doubtful, 0.0)
    for _ in range(NUDGES):
        near = exact.nudged().changed(Tensor.float)
        single, double = near.results("naive"), near.exact().results("naive")
        for name in doubtful:
            moves = (double[name] - wanted[name], single[name].double() - double[name])
            unrest[name] = max(unrest[name], *(float(move.norm()) for move in moves))
    for name, error in doubtful.items():
        norm = float(wanted[name].norm())
        if not error <= UNREST * unrest[name]:
            verdict.wrong = f"{engine}: {name} is off by {error:.1e} of {norm:.1e}, unrest {unrest[name]:.1e}"
        elif error <= BOUND * max(norm, 1.0):
            verdict.cancelled += 1
        else:
            verdict.kinks += 1


@contextmanager
def threads(number: int, small: bool = True) -> Iterator[None]:
    """Let the compiled code have ``number`` threads, for small work too."""
    before, least = torch.get_num_threads(), 0 if small else 1 << 21
    torch.set_num_threads(number)
    try:
        with patch.object(running, "_SMALL", least), patch.object(layers, "_SMALL", least):
            yield
    finally:
        torch.set_num_threads(before)


def draw(low: int, high: int) -> int:
    """Return a whole number from ``low`` to ``high``, both included."""
    return int(torch.randint(low, high + 1, ()))
