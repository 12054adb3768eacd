"""The layers at the end of a net: losses, accuracy, and the choice of an id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from unrolled.engines.native import layers as compiled
from unrolled.net.layers.base import COUNT, NUMBER, LayerModule, Misfit, Setting, Shape, floats, usually

NO_TARGET = -1


class Loss(LayerModule):
    """A loss layer: sources are the net's output and its target; one number a target, [n, B]."""

    settings: ClassVar[Mapping[str, Setting]] = {"scale": usually(NUMBER, 1.0)}
    sources = (2, 2)

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        self.scale = float(settings["scale"])

    def targets(self, target: Tensor) -> Tensor:
        """Return which targets count, [n, B] bool."""
        return torch.ones(target.shape[:2], dtype=torch.bool, device=target.device)

    def right(self, output: Tensor, target: Tensor) -> Tensor:
        """Return which targets were met, [n, B] bool; of those that don't count it says nothing."""
        raise NotImplementedError


class SoftmaxLoss(Loss):
    """-log softmax(logits)[target] in nats; target -1 counts for nothing; ``topk`` may be right."""

    settings: ClassVar[Mapping[str, Setting]] = {
        "scale": usually(NUMBER, 1.0),
        "topk": usually(COUNT, 1),
        "ignore": Setting("a whole number", lambda v: isinstance(v, int), NO_TARGET),
    }

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        self.topk, self.ignore = settings["topk"], settings["ignore"]

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return one number."""
        check_logits(inputs)
        return Shape()

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return nats [n, B]."""
        wanted = target if self.ignore == NO_TARGET else target.where(self.targets(target), NO_TARGET)
        nats = functional.cross_entropy(
            logits.flatten(0, 1), wanted.flatten(), ignore_index=NO_TARGET, reduction="none"
        )
        return nats.view(target.shape)

    def judge(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return nats [n, B] and which targets were met, by compiled code in one pass where it can be."""
        if self.topk != 1 or self.ignore != NO_TARGET or not compiled.serves(logits):
            return self(logits, target), self.right(logits.detach(), target)
        nats, right = compiled.softmax_loss(logits.flatten(0, 1), target.flatten())
        return nats.view(target.shape), right.view(target.shape)

    def targets(self, target: Tensor) -> Tensor:
        """Return where there is a target, [n, B]."""
        there: Tensor = target != NO_TARGET
        return there if self.ignore == NO_TARGET else there & (target != self.ignore)

    def right(self, output: Tensor, target: Tensor) -> Tensor:
        """Return where the target is among the likeliest ``topk``, [n, B]."""
        return is_among(output, target, self.topk)


class EuclideanLoss(Loss):
    """Half the squared distance. Right is within 1/2 in every number."""

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return one number."""
        if floats(inputs).width != floats(inputs, 1).width:
            raise Misfit(1, f"{inputs[0].width} numbers, as many as its first source gives")
        return Shape()

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Return half the squared distance [n, B]."""
        return (output.flatten(2) - target.flatten(2)).square().sum(-1) / 2

    def right(self, output: Tensor, target: Tensor) -> Tensor:
        """Return where every number is within 1/2 of its target, [n, B]."""
        right: Tensor = ((output.flatten(2) - target.flatten(2)).abs() < 0.5).all(-1)
        return right


class Accuracy(LayerModule):
    """1 where the target is among the likeliest ``topk`` ids, else 0, [n, B]."""

    settings: ClassVar[Mapping[str, Setting]] = {"topk": usually(COUNT, 1)}
    sources = (2, 2)

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        self.topk = settings["topk"]

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return one number."""
        check_logits(inputs)
        return Shape()

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return 1 or 0."""
        return is_among(logits, target, self.topk).to(logits.dtype)


class Argmax(LayerModule):
    """The likeliest id, [n, B]; ties go to the lowest."""

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return one of as many ids as there are numbers."""
        if len(floats(inputs).features) != 1:
            raise Misfit(0, "numbers of one axis")
        return Shape((), inputs[0].features[0])

    def forward(self, x: Tensor) -> Tensor:
        """Return ids [n, B]."""
        return x.argmax(-1)


class Sample(Argmax):
    """An id drawn as the logits say, [n, B]; ``temperature`` divides them, 0 takes the likeliest.

    One float64 uniform number an id is inverted over the cumulative sum of the probabilities.
    """

    settings: ClassVar[Mapping[str, Setting]] = {
        "temperature": Setting("0 or more", lambda v: isinstance(v, int | float) and 0 <= v < 1e9, 1.0)
    }

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        self.temperature = float(settings["temperature"])
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return ids [n, B], drawn from ``generator``."""
        if self.temperature == 0:
            return x.argmax(-1)
        weights = ((x - x.amax(-1, keepdim=True)).double() / self.temperature).exp().cumsum(-1)
        uniform = torch.rand(x.shape[:-1], dtype=torch.float64, generator=self.generator, device=x.device)
        place = torch.searchsorted(weights, (uniform * weights[..., -1])[..., None], right=True)
        return place.squeeze(-1).clamp(max=x.shape[-1] - 1)


def check_logits(inputs: Sequence[Shape]) -> None:
    """Raise Misfit unless sources are logits [V] and one of V ids."""
    V = floats(inputs).width
    if len(inputs[0].features) != 1:
        raise Misfit(0, "numbers of one axis, the logits")
    if not inputs[1].ids:
        raise Misfit(1, "ids, the targets")
    if inputs[1].ids != V:
        raise Misfit(1, f"one of {V} ids, as many as there are logits")


def is_among(logits: Tensor, target: Tensor, topk: int) -> Tensor:
    """Return where the target is one of the ``topk`` likeliest ids, [n, B] bool."""
    if topk == 1:
        return logits.argmax(-1) == target
    among: Tensor = (logits.topk(min(topk, logits.shape[-1]), -1).indices == target[..., None]).any(-1)
    return among
