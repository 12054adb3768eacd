"""A summary of every layer at every step, forward and backward, for those who look for a fault."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolled.data import Batch, Window
from unrolled.net import Net
from unrolled.net.quiet import undisturbed
from unrolled.training.learner import on_device
from unrolled.training.losses import NO_TARGET


def summary(net: Net, window: Window | Batch, state: Any) -> list[dict[str, Any]]:
    """Return a line for each layer and step: mean absolute value, and gradient where there is one.

    The window is read from ``state`` without dropout; weights, gradients and random states stay as they
    are. Without a loss layer there are no gradients.
    """
    kept = [parameter.grad for parameter in net.parameters()]
    with undisturbed(net), torch.enable_grad():
        values = _values(net, on_device(window, next(net.parameters())), state)
    for parameter, grad in zip(net.parameters(), kept, strict=True):
        parameter.grad = grad
    lines = []
    for layer in net.wiring.spec:
        for step, value in enumerate(values.get(layer.name, ())):
            if value.is_floating_point():
                lines.append({"layer": layer.name, "step": step, **_sizes(value, values[layer.name], step)})
    return lines


def _values(net: Net, window: Window | Batch, state: Any) -> dict[str, Tensor]:
    """Run forward and backward; return every layer's values, whose gradients are kept."""
    if isinstance(window, Batch):
        return net.judged_values(window.inputs, lengths=window.lengths)
    targets = window.targets
    if window.context:
        targets = targets.clone()
        targets[: window.context] = NO_TARGET
    return net.judged_values(window.inputs, targets, state, fresh=window.fresh, lengths=window.lengths)


def _sizes(value: Tensor, whole: Tensor, step: int) -> dict[str, float | None]:
    gradient = None if whole.grad is None else float(whole.grad[step].abs().mean())
    return {"value": float(value.detach().abs().mean()), "gradient": gradient}
