"""What a net is: layers, their settings, and the edges through time between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from unrolled.errors import LoadError, NetError, UsageError, nearest

Settings = Mapping[str, Any]
Length = int | str | None
Kind = Literal["same", "all", "last"]

KINDS = ("same", "all", "last")
PHASES = ("train", "validation", "test")
VOCAB = "vocab"
"""What a size is called that is the vocabulary's."""


@dataclass(frozen=True)
class Edge:
    """Where copy t of a layer reads.

    ``same``: copy ``t - shift`` of ``source``. ``all``: slice t of a source of length 1 that holds a
    sequence, the one value of a source of length 1 that does not, or all copies of a longer source.
    ``last``: the source's last copy, which starts a recurrent layer and is an input of copy 0 of any other.
    """

    source: str
    kind: Kind = "same"
    shift: int = 0
    initial: float | Mapping[str, Any] | None = None
    """What copy t < shift reads: None is zeros (of ids: no id), a number fills, ``{low, high, integer}``
    draws evenly."""

    def to_plain(self) -> str | dict[str, Any]:
        """Return the edge as a file says it: the source's name alone where that is all."""
        return self.source if self == Edge(self.source) else _without_defaults(self)


@dataclass(frozen=True)
class Param:
    """What a layer's parameter is called, where it begins, and how fast it learns.

    ``role`` is the layer type's own name for it (``x_to_y``), ``gate`` the slice of one gate in it. Layers
    that give a parameter the same ``name`` share it.
    """

    role: str
    name: str = ""
    gate: str | None = None
    init: Mapping[str, Any] | None = None
    """``{type = "constant" | "uniform" | "gaussian" | ..., value, low, high, mean, std}``; see ``fill``."""
    lr: float = 1.0
    """What the learning rate is multiplied by; 0 never learns."""
    decay: float = 1.0
    """What the weight decay is multiplied by."""
    share_from: str = ""
    """The parameter, by name, that this one is."""


@dataclass(frozen=True)
class Layer:
    """One layer: a name, a type, its sources in order, and the settings of that type."""

    name: str
    type: str
    sources: tuple[Edge, ...] = ()
    settings: Settings = field(default_factory=dict)
    params: tuple[Param, ...] = ()
    unroll: Length = None
    """How many copies: a number, a named length, or None for the net's."""
    partition: int | None = None
    """The dimension it is split along: 0 lanes, 1 features, -1 not; None takes the net's."""
    include: tuple[str, ...] = ()
    """The phases it belongs to; empty means all."""
    exclude: tuple[str, ...] = ()
    """The phases it doesn't belong to."""

    def belongs_to(self, phase: str | None) -> bool:
        """Tell whether the layer is there in a phase; None asks for every layer."""
        if phase is None:
            return True
        return phase not in self.exclude and (not self.include or phase in self.include)

    def to_dict(self) -> dict[str, Any]:
        """Return the layer as a file says it, without what is as usual."""
        plain = _without_defaults(self, leave_out=("sources", "settings", "params"))
        if self.sources:
            plain["sources"] = [edge.to_plain() for edge in self.sources]
        plain |= {name: _plain(value) for name, value in self.settings.items()}
        if self.params:
            plain["params"] = [_without_defaults(param) for param in self.params]
        return plain


@dataclass(frozen=True)
class Spec:
    """A net as a list of layers."""

    layers: tuple[Layer, ...]
    name: str = ""
    unroll: Length = None
    """How many copies a layer has that says nothing else; None leaves it to the data."""
    partition: int | None = None
    """The dimension along which layers are split that say nothing else."""

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, name: str) -> Layer:
        """Return the first layer of a name; UsageError where there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = [layer.name for layer in self.layers]
        raise UsageError(f"the net has no layer '{name}'" + nearest(name, names))

    def _repr_html_(self) -> str:
        """Return the net's picture, for a notebook; what can't be drawn is told in a line."""
        from html import escape

        from unrolled.net.pictures import draw_svg

        try:
            return draw_svg(self)
        except UsageError as error:
            return f"<p>{escape(str(error).encode('ascii', 'backslashreplace').decode())}</p>"

    def in_phase(self, phase: str | None) -> Spec:
        """Return the net without the layers that don't belong to a phase; None keeps all."""
        return replace(self, layers=tuple(layer for layer in self.layers if layer.belongs_to(phase)))

    def length_of(self, layer: Layer) -> Length:
        """Return how many copies a layer has; None is the length of the data.

        A layer that gives the net's own number is as long as the net; one copy holds a whole text.
        """
        if layer.unroll is None and layer.type == "text":
            return 1
        length = self.unroll if layer.unroll is None else layer.unroll
        return None if length == self.unroll and length != 1 else length

    def with_sizes(self, named: Mapping[str, int], inputs: Mapping[str, int] | None = None) -> Spec:
        """Return the net with every size that is a name set to a number.

        ``named`` has the numbers by name, ``"vocab"`` and the inputs' names; ``inputs`` those of the inputs
        that have no size of their own. Names that are not there stay.
        """
        return replace(self, layers=tuple(_sized(layer, named, inputs or {}) for layer in self.layers))

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain lists and dicts, as ``config.json`` and TOML files hold it."""
        head = {
            key: value for key, value in vars(self).items() if key != "layers" and value not in ("", None)
        }
        return {**head, "layers": [layer.to_dict() for layer in self]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Spec:
        """Read what ``to_dict`` wrote; LoadError for anything else."""
        from unrolled.net.plain import layer_of

        try:
            head = {key: data[key] for key in ("name", "unroll", "partition") if key in data}
            if not isinstance(head.get("name", ""), str):
                raise TypeError("name is no text")
            return cls(tuple(layer_of(entry) for entry in data["layers"]), **head)
        except (KeyError, TypeError, ValueError, AttributeError, NetError) as error:
            told = str(error) if isinstance(error, NetError) else repr(error)
            raise LoadError(f"the net's layer list can't be read: {told}") from error


def _sized(layer: Layer, named: Mapping[str, int], inputs: Mapping[str, int]) -> Layer:
    size = layer.settings.get("size")
    found = named.get(size) if isinstance(size, str) else None
    if size is None and layer.type in ("text", "ids"):
        found = inputs.get(layer.name) if layer.type == "ids" else named.get(VOCAB)
    return layer if found is None else replace(layer, settings={**layer.settings, "size": found})


def _without_defaults(value: Any, leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        f.name: _plain(getattr(value, f.name))
        for f in fields(value)
        if f.name not in leave_out and getattr(value, f.name) != f.default
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    return dict(value) if isinstance(value, Mapping) else value
