"""The unrolled graph: what a net computes, copy by copy. Everything faster must equal it.

The rules are SINGA's: copy t of ``name`` is ``t#name``, its parameter ``w`` is ``t#w`` and shares from
``0#w``; all copies of a layer come before the next layer; partitions are ``name@p``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from unrolled.errors import UsageError
from unrolled.net.check import check, phases_of
from unrolled.net.params import Cells, owners, params_of
from unrolled.net.schedule import schedule
from unrolled.net.spec import Edge, Layer, Param, Spec

MAX_COPIES = 200_000
MAX_EDGES = 2_000_000


@dataclass(frozen=True)
class CopyParam:
    """One copy's parameter: its name, and the one that it really is, or None where it is itself."""

    name: str
    shared_from: str | None


@dataclass(frozen=True)
class Link:
    """One source of a copy: the copy's name, and the edge of the rolled net that it is of.

    ``edge`` is None for a recurrent layer's own previous copy.
    """

    source: str
    edge: Edge | None


@dataclass(frozen=True)
class Copy:
    """One layer at one step, in one partition."""

    name: str
    layer: Layer
    step: int
    partition: int | None
    links: tuple[Link, ...]
    params: tuple[CopyParam, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the copies that it reads, in order."""
        return tuple(link.source for link in self.links)


@dataclass(frozen=True)
class UnrolledGraph:
    """All copies of all layers, in the order of the file."""

    copies: tuple[Copy, ...]
    lengths: Mapping[str, int]
    """How many copies each layer has."""

    def __iter__(self) -> Iterator[Copy]:
        return iter(self.copies)

    def listing(self) -> dict[str, Any]:
        """Return ``{"layers": [{"name", "type", "sources", "params": [{"name", "shared_from"}]}]}``."""
        return {
            "layers": [
                {
                    "name": copy.name,
                    "type": copy.layer.type,
                    "sources": list(copy.sources),
                    "params": [vars(param) for param in copy.params],
                }
                for copy in self
            ]
        }

    def node_link(self) -> dict[str, Any]:
        """Return node-link JSON, which ``networkx.node_link_graph(..., edges="links")`` reads."""
        nodes = [
            {
                "id": copy.name,
                "layer": copy.layer.name,
                "type": copy.layer.type,
                "step": copy.step,
                "partition": copy.partition,
                "params": [vars(param) for param in copy.params],
            }
            for copy in self
        ]
        links = [
            {
                "source": link.source,
                "target": copy.name,
                "key": number,
                "kind": link.edge.kind if link.edge else "self",
                "shift": link.edge.shift if link.edge else 1,
            }
            for copy in self
            for number, link in enumerate(copy.links)
        ]
        return {"directed": True, "multigraph": True, "graph": {}, "nodes": nodes, "links": links}


def unroll_graph(
    spec: Spec,
    steps: int | Mapping[str, int] | None = None,
    *,
    phase: str | None = None,
    partitions: int = 1,
    cells: Cells | None = None,
) -> UnrolledGraph:
    """Unroll a net of one phase (the first that it has, where None is said).

    ``steps`` is the net's length, or a number for each named length (and "" for the net's); None takes what
    the spec says, else 1. UsageError where that makes more than 200,000 copies or 2,000,000 edges.
    """
    phase = phase or phases_of(spec)[0]
    check(spec, phase)
    chosen = spec.in_phase(phase)
    schedule(chosen)
    lengths = {layer.name: _copies(chosen, layer, steps) for layer in chosen}
    _check_size(chosen, lengths, partitions)
    rolled = _Rolled(chosen, lengths, partitions, owners(chosen, cells))
    copies = [
        rolled.copy(layer, params, step, partition)
        for layer in chosen
        for params in [_listed(params_of(layer, cells))]
        for step in range(lengths[layer.name])
        for partition in rolled.splits(layer)
    ]
    return UnrolledGraph(tuple(copies), lengths)


def _listed(params: tuple[Param, ...]) -> tuple[Param, ...]:
    """Leave out what never learns and has no name of its own: a constant of the cell."""
    return tuple(param for param in params if param.lr or "." not in param.name)


def _copies(spec: Spec, layer: Layer, steps: int | Mapping[str, int] | None) -> int:
    length = spec.length_of(layer)
    if isinstance(length, int):
        return length
    found = steps.get(length or "", steps.get("")) if isinstance(steps, Mapping) else steps
    if found is None:
        found = spec.unroll if isinstance(spec.unroll, int) else 1
    if found < 1:
        raise UsageError(f"--steps: wanted at least 1, came {found}")
    return found


def _check_size(spec: Spec, lengths: Mapping[str, int], partitions: int) -> None:
    if not 1 <= partitions <= 1000:
        raise UsageError(f"--partitions: wanted from 1 to 1,000, came {partitions}")
    copies = sum(lengths.values()) * partitions
    edges = partitions * sum(
        lengths[layer.name] * (lengths[edge.source] if edge.kind == "all" else 1)
        for layer in spec
        for edge in layer.sources
    )
    if copies > MAX_COPIES or edges > MAX_EDGES:
        raise UsageError(
            f"this net would have {copies:,} copies and {edges:,} edges; at most {MAX_COPIES:,} and "
            f"{MAX_EDGES:,} are listed. Give fewer --steps"
        )


def _name(layer: str, step: int, partition: int | None) -> str:
    return f"{step}#{layer}" if partition is None else f"{step}#{layer}@{partition}"


def dimension(spec: Spec, layer: Layer) -> int:
    """Return the dimension a layer is split along, -1 for none."""
    found = layer.partition if layer.partition is not None else spec.partition
    return -1 if found is None else found


class _Rolled:
    """The rolled net, asked for one copy after the other."""

    def __init__(
        self, spec: Spec, lengths: Mapping[str, int], partitions: int, known: Mapping[str, tuple[str, str]]
    ) -> None:
        self.spec, self.lengths, self.partitions, self.known = spec, lengths, partitions, known
        self.layers = {layer.name: layer for layer in spec}

    def copy(self, layer: Layer, params: tuple[Param, ...], step: int, partition: int | None) -> Copy:
        links = tuple(self._links(layer, step, partition))
        shared = tuple(self._shared(param, layer, step, partition) for param in params)
        return Copy(_name(layer.name, step, partition), layer, step, partition, links, shared)

    def splits(self, layer: Layer) -> list[int | None]:
        if self.partitions == 1 or dimension(self.spec, layer) < 0:
            return [None]
        return list(range(self.partitions))

    def _links(self, layer: Layer, step: int, partition: int | None) -> Iterator[Link]:
        backward = layer.settings.get("direction") == "backward"
        first = self.lengths[layer.name] - 1 if backward else 0
        for edge in layer.sources:
            for at in _steps(edge, step, self.lengths[edge.source], first):
                for part in self._parts(layer, self.layers[edge.source], partition):
                    yield Link(_name(edge.source, at, part), edge)
        if layer.type == "recurrent":
            before = step + 1 if backward else step - 1
            if 0 <= before < self.lengths[layer.name]:
                for part in self._parts(layer, layer, partition):
                    yield Link(_name(layer.name, before, part), None)

    def _parts(self, layer: Layer, source: Layer, partition: int | None) -> list[int | None]:
        """Return which partitions of a source one partition reads: its own along the lanes, else all."""
        parts = self.splits(source)
        lanes = dimension(self.spec, layer) == dimension(self.spec, source) == 0
        return [partition] if partition is not None and lanes else parts

    def _shared(self, param: Param, layer: Layer, step: int, partition: int | None) -> CopyParam:
        """Name a copy's parameter and what it shares from; features are split, lanes share."""
        owner, stored = self.known[param.name]
        split = f"@{partition}" if partition is not None and dimension(self.spec, layer) == 1 else ""
        name, own = f"{step}#{param.name}{split}", f"0#{param.name}{split}"
        if step > 0:
            return CopyParam(name, own)
        first = (owner, stored) == (layer.name, param.name) and (split or partition in (None, 0))
        return CopyParam(name, None if first else f"0#{stored}{split}")


def _steps(edge: Edge, step: int, copies: int, first: int) -> range:
    """Return which copies of the source copy ``step`` reads; ``first`` is the copy that is walked first."""
    if edge.kind == "all":
        return range(copies)
    if edge.kind == "last":
        return range(copies - 1, copies) if step == first else range(0)
    return range(step - edge.shift, step - edge.shift + 1) if step >= edge.shift else range(0)
