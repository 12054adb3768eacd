"""The layers through which values come into a net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from unrolled.net.layers.base import (
    NUMBER,
    SHAPE,
    SIZE,
    TEXT,
    LayerModule,
    Misfit,
    Setting,
    Shape,
    flag,
    usually,
)


class Ids(LayerModule):
    """Ids from outside, [n, B] of ``size`` different ones; -1 is no id.

    Without a size it has the data's. Inputs of one ``share`` have one vocabulary; ``stop`` ends each
    sequence with one id more, ``size``.
    """

    settings: ClassVar[Mapping[str, Setting]] = {
        "size": usually(SIZE, None),
        "share": usually(TEXT, None),
        "stop": flag(False),
    }
    sources = (0, 0)
    reads_outside = True

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return one of ``size`` ids, the stop among them."""
        return Shape((), settings["size"] + settings.get("stop", False))


class Text(Ids):
    """A text's successive ids, held by one copy: copy t of a reader takes the t-th, a label the one after."""

    settings: ClassVar[Mapping[str, Setting]] = {"size": usually(SIZE, "vocab")}


class Label(LayerModule):
    """What a text goes on with: copy t is id t + 1."""

    reads_outside = True

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return the text's shape."""
        if not inputs[0].ids:
            raise Misfit(0, "ids")
        return inputs[0]


class Floats(LayerModule):
    """Numbers from outside, [n, B, *size]."""

    settings: ClassVar[Mapping[str, Setting]] = {"size": SHAPE}
    sources = (0, 0)
    reads_outside = True

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return ``size`` as axes."""
        return Shape(_axes(settings["size"]))


class Continues(LayerModule):
    """Marks from outside, [T, B]: 0 where a sequence starts, which makes the whole net start anew there."""

    sources = (0, 0)
    reads_outside = True

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return one number."""
        return Shape()


class Constant(LayerModule):
    """The same number everywhere, [n, B, *size]."""

    settings: ClassVar[Mapping[str, Setting]] = {"size": SHAPE, "value": usually(NUMBER, 0.0)}
    sources = (0, 0)

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        self.value = float(settings["value"])
        self.register_buffer("_like", torch.empty(0), persistent=False)

    _like: Tensor

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return ``size`` as axes."""
        return Shape(_axes(settings["size"]))

    def filled(self, copies: int, lanes: int) -> Tensor:
        """Return [copies, lanes, *size]."""
        size = (copies, lanes, *self.shape.features)
        return torch.full(size, self.value, dtype=self._like.dtype, device=self._like.device)


def _axes(size: int | Sequence[int]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)
