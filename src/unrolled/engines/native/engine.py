"""The engine: which requests the compiled cells serve, and how one is served."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import GatedCell, named_tensors
from unrolled.cells.state import describe
from unrolled.engines.base import Request, blank
from unrolled.engines.native.program import Program, program_of, room
from unrolled.errors import UsageError

_OWN = ("step", "preactivations", "_from_x", "_split_slices")
_SMALL = 1 << 21  # multiply-adds below which a second thread costs more than it brings


class NativeEngine:
    """Run any gated cell in float32 on a CPU, by code compiled for it at its first use.

    What a row gives depends on nothing but the row: not on the other rows or their number, nor on threads,
    nor on where windows are cut. (Gradients of weights are sums over rows and do depend on them; and another
    kind of processor may round otherwise.)
    """

    name = "native"

    def why_not(self, request: Request) -> str | None:
        """Refuse what is no gated cell, no float32 or not on a CPU, and what cannot be compiled."""
        cell = request.cell
        if not isinstance(cell, GatedCell):
            return f"it runs gated cells, {type(cell).__name__} is none"
        cls: Any = type(cell)
        reason = _own_step(cls) or _wrong_place(cell, request)
        if reason is not None:
            return reason
        program = program_of(cls)
        return program if isinstance(program, str) else None

    def why_slow(self, request: Request) -> str | None:
        """Leave single steps to the cell: the weights are laid out anew at every call."""
        return "a single step costs less as a step" if request.x.shape[0] == 1 else None

    def run(self, request: Request) -> tuple[Tensor, Any]:
        """Return y [T, B, H] and the last state."""
        cell, work = request.cell, _work(request)
        assert isinstance(cell, GatedCell)
        x = request.x if request.lengths is None else blank(request.x, request.active())
        state = list(named_tensors(request.state).values())
        initial = list(named_tensors(request.initial).values()) if request.fresh else []
        vectors = cell.vector_parameters
        inputs = (x, cell.x_to_gates, cell.h_to_gates, cell.bias, cell.h_bias, *vectors, *state, *initial)
        if torch.is_grad_enabled() and any(part is not None and part.requires_grad for part in inputs):
            y, *last = _Unroll.apply(work, *inputs)  # type: ignore[no-untyped-call]
        else:
            y, last, _ = _forward(work, inputs, keeps=False)
        return y, last[0] if cell.State is None else cell.State(*last)


@functools.cache
def _own_step(cls: Any) -> str | None:
    own = [name for name in _OWN if getattr(cls, name) is not getattr(GatedCell, name)]
    return f"{cls.__name__} has a {own[0]} of its own" if own else None


def _wrong_place(cell: GatedCell, request: Request) -> str | None:
    """Say where dtype, device, transforms or the state's shape leave what the compiled code knows."""
    B, H, name = request.x.shape[1], cell.hidden_size, type(cell).__name__
    if cell.bias.dtype != torch.float32 or cell.bias.device.type != "cpu":
        return f"it runs float32 on a CPU, {name} is {cell.bias.dtype} on {cell.bias.device}"
    if torch.is_autocast_enabled("cpu"):
        return "autocast is on"
    if B == 0:
        return "there are no lanes"
    if _is_transformed(cell.bias, request.x):
        return "a transform of torch.func is at work"
    for state in (request.state, request.initial):
        for part in named_tensors(state).values() if state is not None else ():
            if part.shape != (B, H) or part.dtype != torch.float32:
                return f"it wants a state of [{B}, {H}] in float32, came {describe(state)}"
    return None


def _is_transformed(*tensors: Tensor) -> bool:
    functorch: Any = torch._C._functorch
    return any(functorch.is_functorch_wrapped_tensor(tensor) for tensor in tensors)


@dataclass(frozen=True)
class _Work:
    """One unroll, but for the tensors that have gradients."""

    program: Program
    T: int
    B: int
    D: int
    H: int
    threads: int
    has_ids: bool
    """Whether the first input is ids [T, B], and not items [T, B, D]."""
    reverse: bool
    resets: Tensor | None
    """[T + 1, B] bool, in walking order: the state starts anew before that step."""
    lengths: Tensor | None
    num_vectors: int

    @property
    def P(self) -> int:
        """H rounded up to whole vectors."""
        return self.program.padded(self.H)

    def problem(self, inputs: list[Tensor | None], **more: Any) -> Any:
        """Return the Problem with what forward and backward both need; ``inputs`` in one piece."""
        x, W, U, bias, h_bias, *rest = inputs
        V, F = self.num_vectors, self.program.fields
        return self.program.fill(
            T=self.T,
            B=self.B,
            D=self.D,
            H=self.H,
            threads=self.threads,
            reverse=int(self.reverse),
            ids=x if self.has_ids else None,
            x=None if self.has_ids else x,
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


def _work(request: Request) -> _Work:
    cell, (T, B) = request.cell, request.x.shape[:2]
    assert isinstance(cell, GatedCell)
    program, resets = program_of(type(cell)), None
    assert isinstance(program, Program)
    if request.fresh:
        resets = torch.zeros(T + 1, B, dtype=torch.bool, device="cpu")
        for t, lanes in request.fresh.items():
            resets[T - t if request.reverse else t] = lanes
    lengths = None if request.lengths is None else torch.tensor(request.lengths, device="cpu")
    D, H, has_ids = cell.input_size, cell.hidden_size, not request.x.is_floating_point()
    size = T * B * len(program.on_x) * H * (H if has_ids else H + D)
    threads = min(torch.get_num_threads(), B) if size >= _SMALL else 1
    return _Work(program, T, B, D, H, threads, has_ids, request.reverse, resets, lengths, len(cell.vectors))


@dataclass
class _Memory:
    """What the way back needs of the way there."""

    kept: Tensor
    """[T, B, slots, P]: a slot of the pre-activations or its activation; its gradient after the way back."""
    before: list[Tensor]
    """[T + 1, B, P]: the state that entered each step, and the last."""


def _forward(
    work: _Work, inputs: tuple[Tensor | None, ...], keeps: bool
) -> tuple[Tensor, list[Tensor], _Memory]:
    """Return y, the last state, and what is kept for the way back."""
    T, B, P, H, F = work.T, work.B, work.P, work.H, work.program.fields
    y, last = room(T, B, H), [room(B, H) for _ in range(F)]
    before = [room(T + 1 if keeps else 2, B, P) for _ in range(F)]
    kept = room(T, B, work.program.num_slots, P) if keeps else room(0)
    whole = _whole(inputs)
    problem = work.problem(whole, keeps=int(keeps), y=y, last=last, before=before, kept=kept)
    _call(work, "forward", problem)
    return y, last, _Memory(kept, before)


def _whole(inputs: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    return [None if part is None else part.detach().contiguous() for part in inputs]


def _call(work: _Work, name: str, problem: Any) -> None:
    """Call forward or backward, with room for what it needs besides."""
    library, pointer = work.program.library, work.program.pointer(problem)
    packed, scratch = room(library.room_for_weights(pointer)), room(library.room_for_threads(pointer))
    problem.packed, problem.scratch = packed.data_ptr(), scratch.data_ptr()
    getattr(library, name)(pointer)


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
        if torch.is_grad_enabled():
            anchor = next(part for part in inputs if part is not None and part.requires_grad)
            grads = [None if grad is None else _Once.apply(anchor, grad) for grad in grads]  # type: ignore[no-untyped-call]
        return None, *grads


class _Once(torch.autograd.Function):
    """Hands a gradient through and has none of its own."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, grad: Tensor) -> Tensor:
        """Return ``grad``, as if it came from ``anchor``."""
        return grad.view_as(grad)

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        """Refuse."""
        raise UsageError("engine 'native' has no second derivatives; unroll with engine='naive'")


def _gradients(
    work: _Work,
    memory: _Memory,
    inputs: tuple[Tensor | None, ...],
    d_y: Tensor | None,
    d_last: list[Tensor | None],
    needed: tuple[bool, ...],
) -> list[Tensor | None]:
    """Return the gradients of ``inputs`` in their order."""
    program, D, B, H, P = work.program, work.D, work.B, work.H, work.P
    G, N, V, F = len(program.on_x), program.num_split, work.num_vectors, program.fields
    has_x, whole, d_out = not work.has_ids, _whole(inputs), _whole((d_y, *d_last))
    d_x = room(work.T, B, D) if has_x and needed[0] else None
    d_W = None if has_x else room(D, G * H).zero_()
    W_slots = room(D, G * P) if has_x and needed[1] else None
    U_slots = room(H, G * P) if needed[2] else None
    sums, d_vectors = room(1, program.num_slots * P), room(work.threads, V, P).zero_()
    d_first = [room(B, H) for _ in range(F)]
    d_initial = [room(B, H).zero_() for _ in range(F)] if work.resets is not None else []
    results = {"d_x": d_x, "d_W": d_W, "W_slots": W_slots, "U_slots": U_slots, "sums": sums}
    states = {"d_first": d_first, "d_initial": d_initial, "d_vectors": d_vectors}
    given = {"before": memory.before, "kept": memory.kept, "d_y": d_out[0], "d_last": d_out[1:]}
    _call(work, "backward", work.problem(whole, keeps=1, **given, **results, **states))
    return [
        d_x,
        d_W if W_slots is None else _from_slots(W_slots, program.on_x, H),
        None if U_slots is None else _from_slots(U_slots, program.on_h, H),
        _from_slots(sums[:, : G * P], program.on_x, H).view(-1),
        sums[:, G * P :].view(N, P)[:, :H].reshape(-1) if N else None,
        *d_vectors.sum(0)[:, :H].contiguous(),
        *d_first,
        *d_initial,
    ]


def _from_slots(d: Tensor, order: list[int], H: int) -> Tensor:
    """Return [K, G·H] in the order of gates for ``d`` [K, G·P] in that of slots."""
    parts = d.view(d.shape[0], len(order), -1)
    if order != sorted(order):
        parts = parts[:, [order.index(gate) for gate in range(len(order))]]
    return parts[:, :, :H].reshape(d.shape[0], -1)


NATIVE = NativeEngine()
