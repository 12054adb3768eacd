"""The layer types by name. ``recurrent`` is not among the classes here: its module is the cell itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from unrolled.net.layers.base import (
    COUNT,
    REQUIRED,
    TEXT,
    LayerModule,
    Memory,
    Misfit,
    Setting,
    Shape,
    flag,
    word,
)
from unrolled.net.layers.ends import Accuracy, Argmax, EuclideanLoss, Loss, Sample, SoftmaxLoss
from unrolled.net.layers.functions import (
    Activation,
    Attention,
    Concat,
    Copy,
    Dropout,
    Eltwise,
    Embedding,
    Linear,
    Max,
    Mean,
    OneHot,
    Reshape,
    Slice,
    Softmax,
    Sum,
)
from unrolled.net.layers.inputs import Constant, Continues, Floats, Ids, Label, Text


class Recurrent(LayerModule):
    """A recurrent layer over any cell; ``backward`` walks from the last step to the first.

    This class only says what a spec may hold: in a net, the layer's module is its cell.
    """

    settings: ClassVar[Mapping[str, Setting]] = {
        "cell": TEXT,
        "hidden": COUNT,
        "direction": word("forward", "backward", default="forward"),
        "bias": flag(True),
    }
    sources = (1, None)
    joins = True


TYPES: dict[str, type[LayerModule]] = {
    "text": Text,
    "label": Label,
    "ids": Ids,
    "floats": Floats,
    "continues": Continues,
    "constant": Constant,
    "one-hot": OneHot,
    "embedding": Embedding,
    "recurrent": Recurrent,
    "linear": Linear,
    "dropout": Dropout,
    "activation": Activation,
    "softmax": Softmax,
    "copy": Copy,
    "concat": Concat,
    "slice": Slice,
    "reshape": Reshape,
    "eltwise": Eltwise,
    "mean": Mean,
    "sum": Sum,
    "max": Max,
    "attention": Attention,
    "softmax-loss": SoftmaxLoss,
    "euclidean-loss": EuclideanLoss,
    "accuracy": Accuracy,
    "argmax": Argmax,
    "sample": Sample,
}

__all__ = [
    "REQUIRED",
    "TYPES",
    "Accuracy",
    "Argmax",
    "Constant",
    "Continues",
    "Dropout",
    "Embedding",
    "EuclideanLoss",
    "LayerModule",
    "Linear",
    "Loss",
    "Memory",
    "Misfit",
    "OneHot",
    "Recurrent",
    "Sample",
    "Setting",
    "Shape",
    "SoftmaxLoss",
    "settings_of",
]


def settings_of(type_: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer's settings with the defaults of its type filled in."""
    defaults = {name: setting.default for name, setting in TYPES[type_].settings.items()}
    return {**defaults, **given}
