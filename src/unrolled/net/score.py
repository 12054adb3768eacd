"""What a net's own loss layers say of its values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.errors import UsageError
from unrolled.net.execution import Execution
from unrolled.net.layers import Loss


@dataclass(frozen=True)
class Judged:
    """Which targets counted, and which of these were met, [n, B] bool each."""

    right: Tensor
    counted: Tensor


@dataclass(frozen=True)
class Score:
    """The loss of a window, summed over its targets."""

    total: Tensor
    """The sum, a scalar, of a net's own losses in float64; nats for cross-entropy."""
    count: int
    """How many targets it is the sum of."""
    correct: Tensor
    """How many were predicted right, a scalar."""
    judged: Judged | None = None
    """Target by target, where the net's own losses say so."""

    @property
    def sequences(self) -> int:
        """How many lanes had a target."""
        return 0 if self.judged is None else int(self.judged.counted.any(0).sum())

    @property
    def exact(self) -> int:
        """In how many of them every target was predicted right."""
        if self.judged is None:
            return 0
        right, counted = self.judged.right, self.judged.counted
        return int(((right == counted).all(0) & counted.any(0)).sum())


def score(run: Execution) -> Score:
    """Return the sum of a run's loss layers over the real targets; counts are of the first one."""
    total, first = None, None
    for layer in run.wiring.spec:
        module = run.modules[layer.name]
        if not isinstance(module, Loss) or layer.name not in run.values:
            continue
        output, target = run.source(layer, 0), run.source(layer, 1)
        losses = run.values[layer.name]
        counted = module.targets(target)
        stops = run.lengths_of(layer)
        if stops is not None:
            counted = counted & (torch.arange(len(losses))[:, None] < stops).to(counted.device)
            losses = torch.where(counted, losses, torch.zeros((), dtype=losses.dtype))
        summed = losses.sum(dtype=torch.float64)
        if module.scale != 1:
            summed = summed * module.scale
        total = summed if total is None else total + summed
        if first is None:
            right = run.right.get(layer.name)
            right = module.right(output.detach(), target) if right is None else right
            first = Judged(right & counted, counted)
    if total is None or first is None:
        raise UsageError("the net has no loss whose sources are all there; give its targets too")
    return Score(total, int(first.counted.sum()), first.right.sum(), first)
