"""What a net is: layers, their settings, and the edges between them.

This first edition knows chains: every layer reads the one before it, at the same step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from unrolled.errors import LoadError

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Edge:
    """Where a layer reads: copy ``t - shift`` of ``source``."""

    source: str
    kind: str = "same"
    shift: int = 0


@dataclass(frozen=True)
class Layer:
    """One layer: a name, a type, the settings of that type, and its sources in order."""

    name: str
    type: str
    sources: tuple[Edge, ...] = ()
    settings: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """A net as a list of layers, in the order in which they are computed."""

    layers: tuple[Layer, ...]

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @property
    def input_size(self) -> int:
        """How many different ids the net reads, V, or how wide its float input is, D."""
        return int(next(layer.settings["size"] for layer in self if layer.type in INPUTS))

    @property
    def output_size(self) -> int:
        """How wide the output is: V logits, or K numbers."""
        return int(self.layers[-1].settings["size"])

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain lists and dicts, as ``config.json`` holds it."""
        return {
            "layers": [
                {
                    "name": layer.name,
                    "type": layer.type,
                    "sources": [vars(edge) for edge in layer.sources],
                    **dict(layer.settings),
                }
                for layer in self
            ]
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Spec:
        """Read what ``to_dict`` wrote; LoadError for anything else."""
        try:
            return cls(tuple(_layer(dict(entry)) for entry in data["layers"]))
        except (KeyError, TypeError, ValueError) as error:
            raise LoadError(f"the net's layer list can't be read: {error!r}") from error


INPUTS = ("one-hot", "embedding", "floats")


def _layer(entry: dict[str, Any]) -> Layer:
    name, kind, sources = entry.pop("name"), entry.pop("type"), entry.pop("sources")
    return Layer(name, kind, tuple(Edge(**edge) for edge in sources), entry)


@dataclass(frozen=True)
class Chain:
    """The sizes of a chain: input, recurrent layers one on the other, linear output."""

    outputs: int
    """Width of the output: how many ids there are, V, or the numbers of a float target."""
    inputs: int = 0
    """Numbers of a float input, D; 0 reads ids, as many as there are outputs."""
    cell: str = "lstm"
    """A built-in cell, or PATH.py:NAME."""
    layers: int = 2
    """How many recurrent layers, L."""
    hidden: int = 128
    """Units of each recurrent layer, H."""
    dropout: float = 0.0
    """Share of outputs that are zeroed after each recurrent layer while training."""
    embedding: int = 0
    """Width of a learned embedding of the ids; 0 reads them one-hot."""
    embedding_dropout: float = 0.0
    """Share of the embedding's numbers that is zeroed while training."""


def chain(sizes: Chain) -> Spec:
    """List the layers of a chain: ``onehot -> lstm1 -> dropout1 -> ... -> logits``."""
    built: list[Layer] = []

    def add(name: str, kind: str, **settings: Any) -> None:
        sources = (Edge(built[-1].name),) if built else ()
        built.append(Layer(name, kind, sources, settings))

    if sizes.inputs:
        add("input", "floats", size=sizes.inputs)
    elif sizes.embedding:
        add("embedding", "embedding", size=sizes.outputs, width=sizes.embedding)
        if sizes.embedding_dropout:
            add("dropout0", "dropout", ratio=sizes.embedding_dropout)
    else:
        add("onehot", "one-hot", size=sizes.outputs)
    label = sizes.cell.rpartition(":")[2].lower().replace("-", "_")
    for number in range(1, sizes.layers + 1):
        add(f"{label}{number}", "recurrent", cell=sizes.cell, hidden=sizes.hidden)
        if sizes.dropout:
            add(f"dropout{number}", "dropout", ratio=sizes.dropout)
    add("output" if sizes.inputs else "logits", "linear", size=sizes.outputs)
    return Spec(tuple(built))
