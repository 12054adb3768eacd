"""What training makes small."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from unrolled.net import Score

NO_TARGET = -1
"""The target of a padded step: it counts for nothing."""


Loss = Callable[[Tensor, Tensor, Tensor | None], Score]
"""(outputs [T, B, K], targets, lengths [B] or None) -> Score."""


def cross_entropy(logits: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Score:
    """Sum -log softmax(logits)[target] over targets [T, B]; -1 is no target. Right is the likeliest id."""
    flat, wanted = logits.flatten(0, -2), targets.flatten()
    total = functional.cross_entropy(flat, wanted, ignore_index=NO_TARGET, reduction="sum")
    count = int((wanted != NO_TARGET).sum())
    with torch.no_grad():
        correct = (flat.argmax(-1) == wanted).sum()
    return Score(total, count, correct)


def euclidean(outputs: Tensor, targets: Tensor, lengths: Tensor | None = None) -> Score:
    """Sum half the squared distance over targets [T, B, K]; right is within 1/2 in every component."""
    distance = outputs - targets
    right = (distance.detach().abs() < 0.5).all(-1)
    count = targets.shape[0] * targets.shape[1]
    if lengths is not None:
        real = torch.arange(len(targets), device=targets.device)[:, None] < lengths.to(targets.device)
        distance, right, count = torch.where(real[..., None], distance, 0.0), right & real, int(real.sum())
    return Score(distance.square().sum() / 2, count, right.sum())


def loss_for(targets: Tensor) -> Loss:
    """Return the loss that targets of this kind ask for: cross-entropy for ids, euclidean for floats."""
    return euclidean if targets.is_floating_point() else cross_entropy
