"""The engine: which requests the compiled cells serve, and how one is served."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolled.cells import GatedCell, named_tensors
from unrolled.cells.state import describe
from unrolled.engines.base import Request, blank
from unrolled.engines.native.layers import is_transformed
from unrolled.engines.native.program import own_step, program_of
from unrolled.engines.native.running import run, work_of


class NativeEngine:
    """Run any gated cell in float32 on a CPU, by code compiled for it at its first use.

    What a row gives depends on nothing but the row: not on the other rows or their number, nor on threads,
    nor on where windows are cut. (Gradients of weights are sums over rows and do depend on them; and another
    kind of processor may round otherwise.)
    """

    name = "native"
    reads_rows = True

    def why_not(self, request: Request) -> str | None:
        """Refuse what is no gated cell, no float32 or not on a CPU, and what cannot be compiled."""
        cell = request.cell
        if not isinstance(cell, GatedCell):
            return f"it runs gated cells, {type(cell).__name__} is none"
        cls: Any = type(cell)
        reason = own_step(cls) or _wrong_place(cell, request)
        if reason is not None:
            return reason
        program = program_of(cls, request.bf16)
        return program if isinstance(program, str) else None

    def why_slow(self, request: Request) -> str | None:
        """Leave single steps to the cell: the weights are laid out anew at every call."""
        return "a single step costs less as a step" if request.x.shape[0] == 1 else None

    def run(self, request: Request) -> tuple[Tensor, Any]:
        """Return y [T, B, H] and the last state."""
        if request.rows is not None and len(request.rows) > request.x.numel():
            request = request.looked_up()  # a table of all ids would cost more than it spares
        cell = request.cell
        assert isinstance(cell, GatedCell)
        x = request.x if request.lengths is None else blank(request.x, request.active())
        state = list(named_tensors(request.state).values())
        initial = list(named_tensors(request.initial).values()) if request.fresh else []
        y, last = run(work_of(request), (x, request.rows, *_weights(cell), *state, *initial))
        return y, last[0] if cell.State is None else cell.State(*last)


def _weights(cell: GatedCell) -> tuple[Tensor | None, ...]:
    return cell.x_to_gates, cell.h_to_gates, cell.bias, cell.h_bias, *cell.vector_parameters


def _wrong_place(cell: GatedCell, request: Request) -> str | None:
    """Say where dtype, device, transforms or the state's shape leave what the compiled code knows."""
    B, H, name = request.x.shape[1], cell.hidden_size, type(cell).__name__
    if cell.bias.dtype != torch.float32 or cell.bias.device.type != "cpu":
        return f"it runs float32 on a CPU, {name} is {cell.bias.dtype} on {cell.bias.device}"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on"
    if B == 0:
        return "there are no lanes"
    states = [
        part
        for state in (request.state, request.initial)
        if state is not None
        for part in named_tensors(state).values()
    ]
    if is_transformed(request.x, request.rows, *states, *_weights(cell)):
        return "a transform of torch.func is at work"
    for part in states:
        if part.shape != (B, H) or part.dtype != torch.float32:
            return f"it wants a state of [{B}, {H}] in float32, came {part.dtype} {describe(part)}"
    return None


NATIVE = NativeEngine()
