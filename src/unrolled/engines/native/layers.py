"""The layers at a net's end by compiled code: a matrix with a bias, and the softmax loss."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from unrolled.engines.native.compiler import BuildError, build
from unrolled.engines.native.generation import define, source
from unrolled.engines.native.memory import room
from unrolled.engines.native.once import only_once
from unrolled.errors import UsageError

_SMALL = 1 << 19  # multiply-adds below which a second thread costs more than it brings


@functools.cache
def _library(bf16: bool = False) -> Any:
    """Return the compiled layers, or why there are none."""
    files = ("vector.h", "products.h", "layers.h")
    try:
        library = build(define(bf16) + "\n".join(source(name) for name in files))
    except BuildError as error:
        return str(error)
    for name in ("lanes", "room_for_matrix", "room_for_rows"):
        getattr(library, name).restype = ctypes.c_int64
    return library


def serves(*tensors: Tensor | None, bf16: bool = False) -> bool:
    """Tell whether compiled layers can take these: float32 on a CPU, plain, and there is a compiler."""
    for tensor in tensors:
        if tensor is not None and (
            tensor.dtype != torch.float32 or tensor.device.type != "cpu" or not tensor.numel()
        ):
            return False
    if torch.is_autocast_enabled("cpu") or is_transformed(*tensors):
        return False
    return not isinstance(_library(bf16), str)


def is_transformed(*tensors: Tensor | None) -> bool:
    """Tell whether one of these is inside a transform of torch.func, or derivatives are taken forwards."""
    functorch: Any = torch._C._functorch
    return forward_ad._current_level >= 0 or any(
        tensor is not None and functorch.is_functorch_wrapped_tensor(tensor) for tensor in tensors
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, bf16: bool = False) -> Tensor:
    """Return bias + x [N, D] @ weight [D, K]: a row's bits depend on the row alone.

    Each number is one chain of multiply-adds, from the bias on, the inputs ascending; ``bf16`` rounds the
    factors to bfloat16.
    """
    y: Tensor = _Linear.apply(x, weight, bias, bf16)  # type: ignore[no-untyped-call]
    return y


def softmax_loss(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return -log softmax(logits [N, K])[target] in nats, 0 where targets [N] is -1; and where the target is
    the likeliest id, the first of several, [N] bool.
    """
    for end in targets.aminmax() if targets.numel() else ():
        if not -1 <= int(end) < logits.shape[1]:
            raise UsageError(f"targets are ids from 0 to {logits.shape[1] - 1}, or -1; came {int(end)}")
    nats, right = _Softmax.apply(logits, targets.long())  # type: ignore[no-untyped-call]
    return nats, right


def _threads(N: int, size: int) -> int:
    return max(1, min(torch.get_num_threads(), N)) if size >= _SMALL else 1


def _call(library: Any, name: str, *arguments: Tensor | int | None) -> None:
    """Call a function: whole numbers and addresses."""
    converted = [
        ctypes.c_int64(part)
        if isinstance(part, int)
        else ctypes.c_void_p(None if part is None else part.data_ptr())
        for part in arguments
    ]
    getattr(library, name)(*converted)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, bf16: bool) -> Tensor:
        """Return y [N, K]."""
        (N, D), K = x.shape, weight.shape[1]
        ctx.save_for_backward(x, weight, bias)
        ctx.library = library = _library(bf16)
        x, bias = x.detach().contiguous(), None if bias is None else bias.detach().contiguous()
        threads, y = _threads(N, N * D * K), room(N, K)
        rooms = _rooms(library, D, K, threads)
        _call(library, "linear_forward", N, D, K, threads, x, weight, *weight.stride(), bias, y, *rooms)
        return y

    @staticmethod
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, weight and bias."""
        x, weight, bias = ctx.saved_tensors
        (N, D), K = x.shape, weight.shape[1]
        library, lanes = ctx.library, ctx.library.lanes()
        P = -(-K // lanes) * lanes
        x, d_y, threads = x.detach().contiguous(), d_y.contiguous(), _threads(N, N * D * K)
        d_x = room(N, D) if ctx.needs_input_grad[0] else None
        d_W = room(D, P) if ctx.needs_input_grad[1] else None
        d_bias = room(P) if bias is not None and ctx.needs_input_grad[2] else None
        rooms = _rooms(library, D, K, threads)
        _call(
            library,
            "linear_backward",
            N,
            D,
            K,
            threads,
            x,
            weight,
            *weight.stride(),
            d_y,
            d_x,
            d_W,
            d_bias,
            *rooms,
        )
        d_W, d_bias = None if d_W is None else d_W[:, :K], None if d_bias is None else d_bias[:K]
        return *only_once((d_x, d_W, d_bias), ctx.saved_tensors), None


def _rooms(library: Any, D: int, K: int, threads: int) -> tuple[Tensor, Tensor]:
    sizes = [ctypes.c_int64(number) for number in (D, K, threads)]
    return room(library.room_for_matrix(*sizes[:2])), room(library.room_for_rows(*sizes))


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return nats [N] and right [N]."""
        (N, K), whole, targets = logits.shape, logits.detach().contiguous(), targets.contiguous()
        nats, log_sums, right = room(N), room(N), torch.empty(N, dtype=torch.bool)
        _call(
            _library(),
            "softmax_forward",
            N,
            K,
            _threads(N, 16 * N * K),
            whole,
            targets,
            nats,
            log_sums,
            right,
        )
        ctx.save_for_backward(logits, targets, log_sums)
        ctx.mark_non_differentiable(right)
        return nats, right

    @staticmethod
    def backward(ctx: Any, d_nats: Tensor, _: Any) -> tuple[Tensor | None, None]:
        """Return the gradient of the logits."""
        logits, targets, log_sums = ctx.saved_tensors
        (N, K), d_logits = logits.shape, room(*logits.shape)
        whole, d_nats = logits.detach().contiguous(), d_nats.contiguous()
        _call(
            _library(),
            "softmax_backward",
            N,
            K,
            _threads(N, 16 * N * K),
            whole,
            targets,
            log_sums,
            d_nats,
            d_logits,
        )
        return only_once((d_logits,), (logits,))[0], None
