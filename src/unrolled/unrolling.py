"""Run a cell over time: check what was asked, pick an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import Cell, GatedCell, map_state, named_tensors
from unrolled.cells.state import describe
from unrolled.engines import ENGINES, Engine, Request
from unrolled.errors import CellError, UsageError, nearest


def unroll(
    cell: Cell,
    x: Tensor,
    state: Any = None,
    *,
    fresh: Tensor | None = None,
    lengths: Tensor | Sequence[int] | None = None,
    reverse: bool = False,
    engine: str = "auto",
    rows: Tensor | None = None,
    bf16: bool = False,
) -> tuple[Tensor, Any]:
    """Run ``cell`` over ``x`` [T, B, *D] from ``state``; return y [T, B, H] and the last state.

    ::

        for t in range(T):
            y[t], state = cell.step(x[t], state)

    Gated cells take one feature axis, or ids [T, B] that stand for one-hot rows (−1: no id, zeros).
    Without ``state`` every lane starts from ``cell.initial_state(B)``.

    ``fresh`` [T, B] bool (or [B]: of step 0) marks where a lane starts anew: the state is reset before that
    step. ``lengths`` [B] stops lanes early: in the padded steps y is 0, the state stays, and x does not
    matter. ``reverse`` walks from the last step to the first, each lane inside its own length; y stays
    aligned with x, and a mark resets the state after its step. On a GPU, ``fresh`` and ``lengths`` that
    live on the CPU spare a wait.

    ``engine`` is ``auto`` (the fastest that can serve) or a name; ``choose_engine`` says which and why.
    ``rows`` [V, D], an embedding's table, makes ids stand for its rows; ``x`` is then as good as ``rows[x]``,
    but what a row gives is multiplied once for all steps where the engine can. ``bf16`` rounds the factors
    of a gated cell's matrix products to bfloat16, forwards and backwards; sums and states stay float32.
    """
    request = _request(cell, x, state, fresh, lengths, reverse, rows)
    if bf16:
        request = _in_bf16(request)
    chosen, _ = _choose(request, engine)
    if not chosen.reads_rows:
        request = request.looked_up()
    if x.shape[0] == 0:
        like = cell.like()
        return torch.zeros(
            0, x.shape[1], cell.output_size, dtype=like.dtype, device=like.device
        ), request.state
    return chosen.run(request)


def detach(state: Any) -> Any:
    """Cut the gradient: the same state, without its history. The only place where a gradient is cut."""
    return map_state(Tensor.detach, state)


def choose_engine(
    cell: Cell,
    x: Tensor,
    state: Any = None,
    *,
    fresh: Tensor | None = None,
    lengths: Tensor | Sequence[int] | None = None,
    reverse: bool = False,
    engine: str = "auto",
    bf16: bool = False,
) -> tuple[Engine, dict[str, str]]:
    """Return the engine that ``unroll`` would use for these arguments, and why each faster one is not it."""
    request = _request(cell, x, state, fresh, lengths, reverse)
    return _choose(_in_bf16(request) if bf16 else request, engine)


def _choose(request: Request, wanted: str) -> tuple[Engine, dict[str, str]]:
    if wanted != "auto" and wanted not in ENGINES:
        known = ["auto", *ENGINES]
        raise UsageError(
            f"there is no engine {wanted!r}; there are {', '.join(known)}{nearest(wanted, known)}"
        )
    reasons: dict[str, str] = {}
    for name, engine in ENGINES.items():
        if wanted not in ("auto", name):
            continue
        reason = engine.why_not(request) or (engine.why_slow(request) if wanted == "auto" else None)
        if reason is None:
            return engine, reasons
        reasons[name] = reason
    raise UsageError(f"engine {wanted!r} cannot run this: {reasons[wanted]}. Take engine='auto'")


def _request(
    cell: Cell,
    x: Tensor,
    state: Any,
    fresh: Tensor | None,
    lengths: Tensor | Sequence[int] | None,
    reverse: bool,
    rows: Tensor | None = None,
) -> Request:
    """Check every argument and bring it into the one form that engines see."""
    _check_x(cell, x)
    T, B = x.shape[:2]
    if cell.reads_ids and not x.is_floating_point():
        x = x.long()
    initial = cell.initial_state(B) if state is None or fresh is not None else None
    if state is None:
        state = initial
    else:
        check_state(cell, state, B)
    request = Request(cell, x, state, lengths=_stops(lengths, T, B), reverse=reverse)
    if rows is not None:
        request = _with_rows(request, rows)
    _check_ids(request)
    return request if fresh is None else _with_marks(request, fresh, initial)


def _in_bf16(request: Request) -> Request:
    """Return ``request`` with factors of bfloat16; a cell whose products are its own has none to round."""
    if not isinstance(request.cell, GatedCell):
        return request
    if request.cell.bias.dtype != torch.float32:
        raise UsageError(
            f"bf16 is for float32 weights, {type(request.cell).__name__} is {request.cell.bias.dtype}"
        )
    return replace(request, bf16=True)


def _with_rows(request: Request, rows: Tensor) -> Request:
    """Return ``request`` with what its ids stand for."""
    cell, name = request.cell, type(request.cell).__name__
    if not isinstance(cell, GatedCell) or request.x.is_floating_point():
        raise UsageError(
            f"rows are for ids [T, B] of a gated cell, {name} got {describe(request.x)}; leave them out"
        )
    if rows.dim() != 2 or rows.shape[1] != cell.input_size or rows.dtype != cell.bias.dtype:
        wanted = f"rows [V, {cell.input_size}] of {cell.bias.dtype}"
        raise UsageError(f"{name} takes {wanted}, came {rows.dtype} {describe(rows)}")
    return replace(request, rows=rows)


def _check_x(cell: Cell, x: Tensor) -> None:
    name = type(cell).__name__
    if not isinstance(cell, Cell):
        raise CellError(f"unroll takes a Cell, came {cell!r}; inherit from unrolled.Cell")
    if not hasattr(cell, "output_size"):
        raise CellError(f"{name}.__init__ must begin with super().__init__(input_size, hidden_size)")
    D = cell.input_size
    if not isinstance(x, Tensor) or x.dim() < 2:
        raise UsageError(f"{name} takes x [T, B, {D}], came {describe(x)}")
    like = cell.like()
    if x.device != like.device:
        raise UsageError(f"{name} is on {like.device}, x is on {x.device}; move one with .to()")
    if x.is_floating_point():
        if (x.dim() == 3 or cell.reads_ids) and (x.dim() != 3 or x.shape[2] != D):
            raise UsageError(f"{name} takes x [T, B, {D}], came {describe(x)}; time first, then lanes")
        if cell.reads_ids and x.dtype != like.dtype and not torch.is_autocast_enabled(x.device.type):
            raise UsageError(
                f"{name} computes in {like.dtype}, x is {x.dtype}; bring one to the other with .to()"
            )
    elif cell.reads_ids and (x.dim() != 2 or x.dtype == torch.bool or x.is_complex()):
        raise UsageError(f"{name} takes floats [T, B, {D}] or whole ids [T, B], came {x.dtype} {describe(x)}")


def _check_ids(request: Request) -> None:
    """Look for ids outside −1 … V − 1; on a GPU that would be a wait, and its own kernels notice."""
    x, count = request.x, request.cell.input_size if request.rows is None else len(request.rows)
    if not request.cell.reads_ids or x.is_floating_point() or x.device.type != "cpu":
        return
    if x.numel() == 0 or (x.min() >= -1 and x.max() < count):
        return
    wrong = (x < -1) | (x >= count)
    if request.lengths is not None:
        wrong &= request.active()
    if wrong.any():
        t, b = wrong.nonzero()[0].tolist()
        raise UsageError(
            f"{type(request.cell).__name__} takes ids from 0 to {count - 1}, or -1 for no id; "
            f"came {int(x[t, b])} at step {t}, lane {b}"
        )


def check_state(cell: Cell, state: Any, B: int) -> None:
    """Raise UsageError unless ``state`` is one that ``cell`` can go on from in ``B`` lanes."""
    name = type(cell).__name__
    kind: Any = Tensor if cell.State is None else cell.State
    default = type(cell).initial_state is Cell.initial_state
    if not isinstance(state, kind) and (default or cell.State is not None):
        wanted = f"one tensor [{B}, {cell.hidden_size}]"
        if cell.State is not None:
            wanted = f"{kind.__name__}({', '.join(kind._fields)}), each [{B}, {cell.hidden_size}]"
        raise UsageError(f"{name} takes as state {wanted}; came {describe(state)}")
    for field, tensor in named_tensors(state).items():
        whose = f"the state's {field}" if field else "the state"
        if tensor.dim() < 1 or tensor.shape[0] != B:
            raise UsageError(
                f"x has {B} lanes, {whose} is {describe(tensor)}; give a state of {B} lanes, or none"
            )
        if default and list(tensor.shape) != [B, cell.hidden_size]:
            raise UsageError(
                f"{name} takes a state of [{B}, {cell.hidden_size}], {whose} is {describe(tensor)}"
            )
        like = cell.like()
        if cell.reads_ids and (tensor.dtype, tensor.device) != (like.dtype, like.device):
            came = f"{tensor.dtype} on {tensor.device}"
            raise UsageError(f"{name} is {like.dtype} on {like.device}, {whose} is {came}")


def _stops(lengths: Tensor | Sequence[int] | None, T: int, B: int) -> tuple[int, ...] | None:
    """Return ``lengths`` as numbers, or None where every lane goes to the end."""
    if lengths is None:
        return None
    tensor = torch.as_tensor(lengths)
    if list(tensor.shape) != [B] or tensor.is_floating_point() or tensor.dtype == torch.bool:
        raise UsageError(
            f"lengths must be {B} whole numbers, one a lane; came {tensor.dtype} {describe(tensor)}"
        )
    stops = tuple(int(stop) for stop in tensor.tolist())
    for lane, stop in enumerate(stops):
        if not 0 <= stop <= T:
            raise UsageError(f"lengths must be from 0 to {T}, the steps of x; came {stop} for lane {lane}")
    return None if min(stops, default=T) == T else stops


def _with_marks(request: Request, fresh: Tensor, initial: Any) -> Request:
    """Return ``request`` with the marked steps of ``fresh`` that are no padding."""
    T, B = request.x.shape[:2]
    if not isinstance(fresh, Tensor) or fresh.dtype != torch.bool or list(fresh.shape) not in ([B], [T, B]):
        came = f"{fresh.dtype} {describe(fresh)}" if isinstance(fresh, Tensor) else describe(fresh)
        raise UsageError(f"fresh must be bool, [{T}, {B}] or [{B}] for step 0; came {came}")
    if fresh.dim() == 1:
        first, fresh = fresh, torch.zeros(T, B, dtype=torch.bool, device=fresh.device)
        fresh[:1] = first
    if request.lengths is not None:
        fresh = fresh & request.active().to(fresh.device)
    steps = fresh.any(dim=1).nonzero().flatten().tolist()
    if not steps:
        return request
    fresh = fresh.to(request.x.device)
    return replace(request, fresh={t: fresh[t] for t in steps}, initial=initial)
