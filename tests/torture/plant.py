"""Train with a number planted that is none: ``plant.py WHAT VALUE UPDATE`` and the words of a command line.

Run by itself, as a script, in a child. WHAT is loss, gradient, weight, lanes, optimizer or validation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import named_tensors
from unrolled.cli.main import main
from unrolled.training import evaluation, learner
from unrolled.training.optimizers import optimizer_tensors


def spoil(tensors: Iterator[Tensor], value: float) -> None:
    """Set the last number of the first tensor of floats."""
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.dim():
            with torch.no_grad():
                tensor[(-1,) * tensor.dim()] = value
            return
    raise AssertionError("there is nothing to spoil")


def plant(what: str, value: float, update: int) -> None:
    """Change what is called at an update."""
    kind, done = learner.Learner, 0
    learn: Callable[..., Any] = kind.learn

    def counted(self: Any, window: Any, lr: float) -> Any:
        nonlocal done
        done += 1
        found = learn(self, window, lr)
        if done == update and what == "weight":
            spoil(iter(self.parameters), value)
        if done == update and what == "lanes":
            spoil(iter(named_tensors(self.state).values()), value)
        if done == update and what == "optimizer":
            spoil(iter(optimizer_tensors(self.optimizer, self.net).values()), value)
        return found

    kind.learn = counted  # type: ignore[method-assign]
    judge: Callable[..., Any] = learner.judge

    def judged(*words: Any) -> Any:
        score, state = judge(*words)
        validating = torch.is_inference_mode_enabled()
        if done >= update and what == ("validation" if validating else "loss"):
            score = replace(score, total=score.total * value)
        return score, state

    learner.judge = evaluation.judge = judged
    clip: Callable[..., float] = kind._clip

    def clipped(self: Any) -> float:
        if done == update and what == "gradient":
            spoil((p.grad for p in self.parameters if p.grad is not None), value)
        return clip(self)

    kind._clip = clipped  # type: ignore[method-assign]


if __name__ == "__main__":
    plant(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
    main(sys.argv[4:])
