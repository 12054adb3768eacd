"""PyTorch's own RNN, LSTM and GRU kernels: oneDNN or plain loops on a CPU, cuDNN on a GPU."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import GRU, LSTM, RNN, GatedCell, LSTMState, ReluRNN
from unrolled.cells.torch_layout import torch_weights
from unrolled.engines.base import Request, blank, choose, lift

_KERNELS = {RNN: torch.rnn_tanh, ReluRNN: torch.rnn_relu, LSTM: torch.lstm, GRU: torch.gru}
_MATHEMATICS = ("next_state", "step", "preactivations", "gates", "split", "vectors", "State")
_MOST_CUTS = 8


class TorchEngine:
    """Run the built-in cells by torch's kernels, whole stretches of steps at a time.

    A stretch ends where ``fresh`` marks a lane and where some lane's length ends; each cut costs one more
    call, so more than eight of them are left to the naive engine. Lanes that have ended run on over zeros
    and their results are thrown away. With ``bf16`` a stretch is computed in bfloat16, states too, which the
    kernels of a GPU can. Ids become dense one-hot rows [T, B, D] here, since the kernels
    know no gather. Lanes of unequal length are turned round one by one for ``reverse``.
    """

    name = "torch"
    reads_rows = False

    def why_not(self, request: Request) -> str | None:
        """Refuse cells whose mathematics is not torch's, odd dtypes, and too many cuts."""
        cell, name = request.cell, type(request.cell).__name__
        if kernel_of(cell) is None:
            return f"torch has no kernel for {name}"
        if cell.like().dtype not in (torch.float32, torch.float64):
            return f"it runs float32 and float64, {name} is {cell.like().dtype}"
        if torch.is_autocast_enabled(request.x.device.type):
            return "autocast is on"
        if request.bf16 and request.x.device.type == "cpu":
            return "on a CPU it has no products of bfloat16 with sums in float32"
        if request.x.shape[1] == 0:
            return "there are no lanes"
        marks, _ = _marks_ahead(request)
        cuts = len(_bounds(request, marks)) - 2
        if cuts > _MOST_CUTS:
            return f"fresh and lengths cut the window {cuts} times, more than {_MOST_CUTS}"
        return None

    def why_slow(self, request: Request) -> str | None:
        """Leave single steps on a CPU to the cell: oneDNN prepares its weights anew at every call."""
        alone = request.x.shape[0] == 1 and request.x.device.type == "cpu"
        return "a single step on a CPU costs less as a step" if alone else None

    def run(self, request: Request) -> tuple[Tensor, Any]:
        """Return y [T, B, H] and the last state."""
        marks, at_end = _marks_ahead(request)
        if not request.reverse:
            return _run_ahead(request, marks)
        turned = replace(request, x=_turn(request, request.x), reverse=False)
        y, state = _run_ahead(turned, marks)
        if at_end is not None:
            state = choose(at_end, request.initial, state)
        return _turn(request, y), state


def kernel_of(cell: object) -> Any:
    """Return torch's kernel for ``cell``, None where it is no built-in or has mathematics of its own."""
    cls: Any = type(cell)
    return _kernel_of_class(cls)


@functools.cache
def _kernel_of_class(cls: Any) -> Any:
    for built_in, kernel in _KERNELS.items():
        if issubclass(cls, built_in):
            ours = [inspect.getattr_static(built_in, name) for name in _MATHEMATICS]
            theirs = [inspect.getattr_static(cls, name) for name in _MATHEMATICS]
            return kernel if all(a is b for a, b in zip(ours, theirs, strict=True)) else None
    return None


def _run_ahead(request: Request, marks: Mapping[int, Tensor]) -> tuple[Tensor, Any]:
    """Run the stretches between the cuts one after the other, first step first."""
    cell, x, state = request.cell, request.x, request.state
    assert isinstance(cell, GatedCell)
    kernel, weights = kernel_of(cell), _weights(cell)
    if request.bf16:
        weights = [weight.bfloat16() for weight in weights]
    active = request.active() if request.lengths is not None else None
    if active is not None:
        x = blank(x, active)
    if not x.is_floating_point():
        x = _one_hot(x, cell)
    ys = []
    for start, stop in pairwise(_bounds(request, marks)):
        if start in marks:
            state = choose(marks[start], request.initial, state)
        y, after = _call(kernel, x[start:stop], state, weights)
        if active is not None:
            y = torch.where(lift(active[start:stop], y), y, 0.0)
            after = choose(active[start], after, state)
        ys.append(y)
        state = after
    return (torch.cat(ys) if len(ys) > 1 else ys[0]), state


def _call(kernel: Any, x: Tensor, state: Any, weights: list[Tensor]) -> tuple[Tensor, Any]:
    """Call a kernel: with biases, one layer, no dropout, training or not, one direction, time first.

    Where the weights are in another number format than x, the kernel computes in theirs.
    """
    rest = (weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
    given, inside = x.dtype, weights[0].dtype
    if isinstance(state, LSTMState):
        first = tuple(part.to(inside).unsqueeze(0).contiguous() for part in state)
        y, h, c = kernel(x.to(inside), first, *rest)
        return y.to(given), LSTMState(h.squeeze(0).to(given), c.squeeze(0).to(given))
    y, h = kernel(x.to(inside), state.to(inside).unsqueeze(0).contiguous(), *rest)
    return y.to(given), h.squeeze(0).to(given)


def _weights(cell: GatedCell) -> list[Tensor]:
    """Return torch's four weights; on a GPU as views of one chunk, else cuDNN copies them and warns."""
    weights = list(torch_weights(cell))
    if not cell.bias.is_cuda:
        return weights
    chunk = torch.cat([weight.reshape(-1) for weight in weights])
    pieces = torch.split(chunk, [weight.numel() for weight in weights])
    return [piece.view(weight.shape) for piece, weight in zip(pieces, weights, strict=True)]


def _one_hot(ids: Tensor, cell: GatedCell) -> Tensor:
    """Return [T, B, D] for ids [T, B]: a one at each id, nothing at −1."""
    rows = torch.zeros(*ids.shape, cell.input_size, dtype=cell.bias.dtype, device=ids.device)
    known = (ids >= 0).to(rows.dtype).unsqueeze(-1)
    return rows.scatter_(2, ids.clamp(min=0).long().unsqueeze(-1), known)


def _bounds(request: Request, marks: Mapping[int, Tensor]) -> list[int]:
    """Return 0, the steps at which a stretch begins, and T."""
    T = request.x.shape[0]
    return sorted({0, T, *marks, *(request.lengths or ())})


def _marks_ahead(request: Request) -> tuple[Mapping[int, Tensor], Tensor | None]:
    """Return ``fresh`` as resets before a step in walking order, and the lanes to reset after the walk.

    Backwards, a mark on step t of a lane of length L resets after it, which is before step L − t of the walk.
    """
    if not request.reverse:
        return request.fresh, None
    T, B = request.x.shape[:2]
    stops = request.lengths or (T,) * B
    ahead: dict[int, Tensor] = {}
    for t, lanes in request.fresh.items():
        for b in lanes.nonzero().flatten().tolist() if t else ():
            ahead.setdefault(stops[b] - t, torch.zeros_like(lanes))[b] = True
    return ahead, request.fresh.get(0)


def _turn(request: Request, x: Tensor) -> Tensor:
    """Reverse each lane of ``x`` [T, B, …] inside its own length; padding stays in its place."""
    if request.lengths is None:
        return x.flip(0)
    T, B = x.shape[:2]
    steps = torch.arange(T, device=x.device).unsqueeze(1)
    stops = torch.tensor(request.lengths, device=x.device)
    return x[torch.where(steps < stops, stops - 1 - steps, steps), torch.arange(B, device=x.device)]


TORCH = TorchEngine()
