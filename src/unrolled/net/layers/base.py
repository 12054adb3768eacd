"""What every layer type says of itself, and the shapes that go from layer to layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

REQUIRED = object()
"""The default of a setting that has none."""


class Shape(NamedTuple):
    """What one copy of a layer gives each lane: numbers of some axes, or one of ``ids`` ids."""

    features: tuple[int, ...] = ()
    ids: int = 0
    """How many different ids there are; 0 says that these are numbers."""

    @property
    def width(self) -> int:
        """How many numbers there are."""
        product = 1
        for size in self.features:
            product *= size
        return product

    def __str__(self) -> str:
        return f"one of {self.ids} ids" if self.ids else str(list(self.features))


class Misfit(Exception):
    """Source number ``source`` does not fit; ``wanted`` says what would."""

    def __init__(self, source: int, wanted: str) -> None:
        super().__init__(wanted)
        self.source, self.wanted = source, wanted


class Memory(NamedTuple):
    """All copies of a source: values [S, B, ...], and a mask [S, B] of the real ones, or None."""

    values: Tensor
    mask: Tensor | None


@dataclass(frozen=True)
class Setting:
    """One setting of a layer type: what it may be, and what it is when nothing is said."""

    wanted: str
    accepts: Callable[[Any], bool]
    default: Any = REQUIRED


class LayerModule(nn.Module):
    """A layer that is no recurrent cell: a function of its sources, the same at every step.

    ``forward`` gets one tensor [n, B, ...] a source, n copies at once, and returns [n, B, ...].
    """

    settings: ClassVar[Mapping[str, Setting]] = {}
    sources: ClassVar[tuple[int, int | None]] = (1, 1)
    """The least and the greatest number of sources; None has no end."""
    joins: ClassVar[bool] = False
    """Whether several sources are laid side by side along the last axis, as one."""
    reads_outside: ClassVar[bool] = False
    """Whether its values are given to the net from outside."""
    remembers: ClassVar[tuple[int, ...]] = ()
    """The sources that it may read whole, as a Memory."""

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__()
        self.shape = self.shape_of(settings, inputs)

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return the shape of one copy; Misfit where a source's shape does not fit."""
        return inputs[0]

    @classmethod
    def roles(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of its parameters, in order."""
        return ()


def floats(inputs: Sequence[Shape], source: int = 0) -> Shape:
    """Return a source's shape; Misfit if it gives ids."""
    if inputs[source].ids:
        raise Misfit(source, "numbers (put a one-hot or an embedding layer between)")
    return inputs[source]


def is_count(value: Any) -> bool:
    """Tell whether a value is a whole number from 1 to 2^31."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


COUNT = Setting("a whole number of at least 1", is_count)
SIZE = Setting(
    'a whole number of at least 1, "vocab", or the name of an input whose ids it counts',
    lambda v: is_count(v) or (isinstance(v, str) and v != ""),
)
SHAPE = Setting(
    "a whole number of at least 1, or a list of such",
    lambda v: is_count(v) or (isinstance(v, list | tuple) and v != [] and all(map(is_count, v))),
)
AXIS = Setting("a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool), -1)
SHARE = Setting("a number of at least 0 and less than 1", lambda v: is_number(v) and 0 <= v < 1)
NUMBER = Setting("a number", is_number)
TEXT = Setting("a text", lambda v: isinstance(v, str) and v != "")


def flag(default: bool) -> Setting:
    """Return a setting that is true or false."""
    return Setting("true or false", lambda v: isinstance(v, bool), default)


def word(*choices: str, default: Any = REQUIRED) -> Setting:
    """Return a setting that is one of some words."""
    return Setting(f"one of {', '.join(choices)}", lambda v: isinstance(v, str) and v in choices, default)


def usually(setting: Setting, default: Any) -> Setting:
    """Return a setting with a default."""
    return Setting(setting.wanted, setting.accepts, default)
