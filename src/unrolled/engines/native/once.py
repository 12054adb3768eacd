"""Gradients that have no gradients of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import UsageError


def only_once(grads: Sequence[Tensor | None], inputs: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return what a backward pass found, so that a gradient of it is refused and not silently zero."""
    if not torch.is_grad_enabled():
        return list(grads)
    anchor = next(part for part in inputs if part is not None and part.requires_grad)
    return [None if grad is None else _Once.apply(anchor, grad) for grad in grads]  # type: ignore[no-untyped-call]


class _Once(torch.autograd.Function):
    """Hands a gradient through and has none of its own."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, grad: Tensor) -> Tensor:
        """Return ``grad``, as if it came from ``anchor``."""
        return grad.view_as(grad)

    @staticmethod
    def backward(ctx: Any, *_: Any) -> Any:
        """Refuse."""
        raise UsageError("compiled code has no second derivatives; run with engine='naive'")
