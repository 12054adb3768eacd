"""One unroll by compiled code: the way there, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import GatedCell
from unrolled.engines.base import Request
from unrolled.engines.native.memory import Pool, pool_of, room
from unrolled.engines.native.once import only_once
from unrolled.engines.native.program import Program, program_of

_SMALL = 1 << 21  # multiply-adds below which a second thread costs more than it brings

Inputs = tuple[Tensor | None, ...]
"""Items or ids, rows, W, U, bias, h_bias, the vectors, the first state, the initial state."""


@dataclass(frozen=True)
class _Work:
    """One unroll, but for the tensors that have gradients."""

    program: Program
    T: int
    B: int
    D: int
    H: int
    threads: int
    ids_count: int
    """How many ids there are; 0 where the first input is items [T, B, D], and not ids [T, B]."""
    reverse: bool
    resets: Tensor | None
    """[T + 1, B] bool, in walking order: the state starts anew before that step."""
    lengths: Tensor | None
    num_vectors: int
    pool: Pool

    @property
    def P(self) -> int:
        """H rounded up to whole vectors."""
        return self.program.padded(self.H)

    @property
    def has_ids(self) -> bool:
        """Whether the first input is ids."""
        return self.ids_count > 0

    def problem(self, inputs: list[Tensor | None], **more: Any) -> Any:
        """Return the Problem with what forward and backward both need; ``inputs`` in one piece."""
        x, rows, W, U, bias, h_bias, *rest = inputs
        V, F = self.num_vectors, self.program.fields
        return self.program.fill(
            T=self.T,
            B=self.B,
            D=self.D,
            H=self.H,
            ids_count=self.ids_count,
            threads=self.threads,
            reverse=int(self.reverse),
            ids=x if self.has_ids else None,
            x=None if self.has_ids else x,
            rows=rows,
            W=W,
            U=U,
            bias=bias,
            h_bias=h_bias,
            resets=self.resets,
            lengths=self.lengths,
            vectors=rest[:V],
            first=rest[V : V + F],
            initial=rest[V + F :],
            **more,
        )


def work_of(request: Request) -> _Work:
    """Return what is asked of the compiled code, but for tensors."""
    cell, (T, B) = request.cell, request.x.shape[:2]
    assert isinstance(cell, GatedCell)
    program, resets = program_of(type(cell), request.bf16), None
    assert isinstance(program, Program)
    if request.fresh:
        resets = torch.zeros(T + 1, B, dtype=torch.bool, device="cpu")
        for t, lanes in request.fresh.items():
            resets[T - t if request.reverse else t] = lanes
    lengths = None if request.lengths is None else torch.tensor(request.lengths, device="cpu")
    D, H, ids_count = cell.input_size, cell.hidden_size, 0
    if not request.x.is_floating_point():
        ids_count = D if request.rows is None else len(request.rows)
    size = T * B * len(program.on_x) * H * (H if ids_count else H + D)
    threads = min(torch.get_num_threads(), B) if size >= _SMALL else 1
    return _Work(
        program,
        T,
        B,
        D,
        H,
        threads,
        ids_count,
        request.reverse,
        resets,
        lengths,
        len(cell.vectors),
        pool_of(cell),
    )


def run(work: _Work, inputs: Inputs) -> tuple[Tensor, list[Tensor]]:
    """Return y [T, B, H] and the fields of the last state."""
    if torch.is_grad_enabled() and any(part is not None and part.requires_grad for part in inputs):
        y, *last = _Unroll.apply(work, *inputs)  # type: ignore[no-untyped-call]
        return y, last
    y, last, memory = _forward(work, inputs, keeps=False)
    work.pool.give(memory.kept, *memory.before)
    return y, last


@dataclass
class _Memory:
    """What the way back needs of the way there."""

    kept: Tensor
    """[T, B, kept_row]: a slot of the pre-activations or its activation; its gradient after the way back."""
    before: list[Tensor]
    """[T + 1, B, P]: the state that entered each step, and the last."""


def _forward(work: _Work, inputs: Inputs, keeps: bool) -> tuple[Tensor, list[Tensor], _Memory]:
    """Return y, the last state, and what is kept for the way back."""
    T, B, P, H, F = work.T, work.B, work.P, work.H, work.program.fields
    y, last, take = room(T, B, H), [room(B, H) for _ in range(F)], work.pool.take
    before = [take(T + 1 if keeps else 2, B, P) for _ in range(F)]
    kept = take(T, B, work.program.kept_row(H)) if keeps else room(0)
    whole = _whole(inputs)
    problem = work.problem(whole, keeps=int(keeps), y=y, last=last, before=before, kept=kept)
    _call(work, "forward", problem)
    return y, last, _Memory(kept, before)


def _whole(inputs: Inputs) -> list[Tensor | None]:
    return [None if part is None else part.detach().contiguous() for part in inputs]


def _call(work: _Work, name: str, problem: Any) -> None:
    """Call forward or backward, with room for what it needs besides."""
    library, pointer = work.program.library, work.program.pointer(problem)
    packed = work.pool.take(library.room_for_weights(pointer))
    scratch = work.pool.take(library.room_for_threads(pointer))
    problem.packed, problem.scratch = packed.data_ptr(), scratch.data_ptr()
    getattr(library, name)(pointer)
    work.pool.give(packed, scratch)


class _Unroll(torch.autograd.Function):
    """The unroll with its gradient."""

    @staticmethod
    def forward(ctx: Any, work: _Work, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        """Return y and the fields of the last state."""
        y, last, ctx.memory = _forward(work, inputs, keeps=True)
        ctx.work = work
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        return y, *last

    @staticmethod
    def backward(ctx: Any, d_y: Tensor | None, *d_last: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of all inputs."""
        inputs, work, memory = ctx.saved_tensors, ctx.work, ctx.memory
        with torch.no_grad():
            if memory is None:  # a second time through the same graph: what was kept has been written over
                _, _, memory = _forward(work, inputs, keeps=True)
            ctx.memory = None
            grads = _gradients(work, memory, inputs, d_y, list(d_last), ctx.needs_input_grad[1:])
        return None, *only_once(grads, inputs)


def _gradients(
    work: _Work,
    memory: _Memory,
    inputs: Inputs,
    d_y: Tensor | None,
    d_last: list[Tensor | None],
    needed: tuple[bool, ...],
) -> list[Tensor | None]:
    """Return the gradients of ``inputs`` in their order."""
    out, whole, d_out = _rooms(work, inputs, needed), _whole(inputs), _whole((d_y, *d_last))
    given = {"before": memory.before, "kept": memory.kept, "d_y": d_out[0], "d_last": d_out[1:]}
    _call(work, "backward", work.problem(whole, keeps=1, **given, **vars(out)))
    work.pool.give(memory.kept, *memory.before)
    program, H = work.program, work.H
    GP, N = len(program.on_x) * work.P, program.num_split
    sums, d_W = out.d_sums.sum(0).view(1, -1), out.W_slots
    if d_W is None and inputs[1] is None and needed[2]:
        d_W = out.d_table  # one-hot: the table is W
    return [
        out.d_x,
        out.d_rows,
        None if d_W is None else _from_slots(d_W, program.on_x, H),
        None if out.U_slots is None else _from_slots(out.U_slots, program.on_h, H),
        _from_slots(sums[:, :GP], program.on_x, H).view(-1),
        sums[:, GP:].view(N, work.P)[:, :H].reshape(-1) if N else None,
        *out.d_vectors.sum(0)[:, :H].contiguous(),
        *out.d_first,
        *out.d_initial,
    ]


@dataclass
class _Rooms:
    """Where the way back puts gradients, under the names of Problem's fields."""

    d_x: Tensor | None
    d_rows: Tensor | None
    d_table: Tensor | None
    W_slots: Tensor | None
    U_slots: Tensor | None
    d_sums: Tensor
    d_vectors: Tensor
    d_first: list[Tensor]
    d_initial: list[Tensor]


def _rooms(work: _Work, inputs: Inputs, needed: tuple[bool, ...]) -> _Rooms:
    program, D, B, H, P, V = work.program, work.D, work.B, work.H, work.P, work.ids_count
    GP, F, has_rows = len(program.on_x) * P, program.fields, inputs[1] is not None
    has_items = has_rows or not work.has_ids
    starts_anew = F if work.resets is not None else 0
    return _Rooms(
        d_x=room(work.T, B, D) if not work.has_ids and needed[0] else None,
        d_rows=room(V, D) if has_rows and needed[1] else None,
        d_table=room(V, GP) if work.has_ids and (needed[1] or needed[2]) else None,
        W_slots=room(D, GP) if has_items and needed[2] else None,
        U_slots=room(H, GP) if needed[3] else None,
        d_sums=room(work.threads, program.num_slots * P),
        d_vectors=room(work.threads, work.num_vectors, P),
        d_first=[room(B, H) for _ in range(F)],
        d_initial=[room(B, H).zero_() for _ in range(starts_anew)],
    )


def _from_slots(d: Tensor, order: list[int], H: int) -> Tensor:
    """Return [K, G·H] in the order of gates for ``d`` [K, G·P] in that of slots."""
    parts = d.view(d.shape[0], len(order), -1)
    if order != sorted(order):
        parts = parts[:, [order.index(gate) for gate in range(len(order))]]
    return parts[:, :, :H].reshape(d.shape[0], -1)
