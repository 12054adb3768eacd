"""What a net's run needs to know of its spec: who reads what, what is carried, and where it may be cut."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells import Cell, GatedCell
from unrolled.errors import NetError
from unrolled.net.layers import Accuracy, Embedding, LayerModule, Loss, Shape
from unrolled.net.schedule import Component, reads_future, schedule
from unrolled.net.spec import Edge, Layer, Length, Spec

AGE = ":age"
"""What a state calls the lanes' ages; no layer's name has a colon."""


class Wiring:
    """The facts of a spec of one phase; ``shapes`` and ``modules`` are those of its layers."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.layers = {layer.name: layer for layer in spec}
        self.components: tuple[Component, ...] = schedule(spec)
        self.lengths: dict[str, Length] = {layer.name: spec.length_of(layer) for layer in spec}
        self.reads_future = reads_future(spec)
        self.texts = {layer.name for layer in spec if layer.type == "text"}
        self.shifted = {
            self.line(layer, number): edge
            for layer in spec
            for number, edge in enumerate(layer.sources)
            if edge.shift
        }
        self.generator: torch.Generator | None = None
        self.device = torch.device("cpu")
        self.modules: dict[str, nn.Module] = {}
        self.shapes: dict[str, Shape] = {}
        self.gathered: frozenset[str] = frozenset()
        self.foldable: frozenset[str] = frozenset()
        self.like = torch.empty(0)

    def finish(self, modules: Mapping[str, nn.Module], shapes: Mapping[str, Shape]) -> None:
        """Take in what is known only after the modules are made."""
        self.shapes = dict(shapes)
        self._check_first_ids()
        self.modules = {layer.name: modules[layer.name] for layer in self.spec}
        self.has_weights = any(True for module in self.modules.values() for _ in module.parameters())
        self.gathered = frozenset(
            layer.name for layer in self.spec if layer.type == "one-hot" and self._is_gathered(layer, modules)
        )
        self.output = self._find_output(modules)
        self.streams = self._find_stream()
        self.has_age = any(
            edge.shift or edge.kind == "last" for name in self.streams for edge in self.layers[name].sources
        )
        self.inputs = self._find_inputs()
        self.scanned = {name for part in self.components if part.scan for name in part.names}
        self.foldable = frozenset(layer.name for layer in self.spec if self._is_foldable(layer, modules))
        self.targets = self._find_targets()
        self.state_names = self._find_state_names()
        self.data_lengths = tuple(dict.fromkeys(self.data_length(name) for name in self.layers))

    def _check_first_ids(self) -> None:
        """Raise NetError for an edge that begins with ids which its source can't give."""
        for layer in self.spec:
            for edge in layer.sources:
                ids = self.shapes[edge.source].ids
                if ids and edge.initial is not None and not _are_ids(edge.initial, ids):
                    raise NetError(
                        f"layer '{layer.name}', source '{edge.source}': initial wants whole numbers from 0 "
                        f"to {ids - 1}, as the source gives one of {ids} ids, came {edge.initial}",
                        layer.name,
                        "sources",
                    )

    def length(self, layer: Layer) -> Length:
        """Return how many copies a layer has; None is the net's length."""
        return self.lengths[layer.name]

    def data_length(self, name: str) -> Length:
        """Return the length of a layer's values; a text's are as many as the net has steps."""
        return None if name in self.texts else self.lengths[name]

    def feeding(self, layer: Layer) -> list[int]:
        """Return the numbers of a recurrent layer's sources that it reads at each step."""
        return [number for number, edge in enumerate(layer.sources) if edge.kind != "last"]

    def spec_names(self, names: Collection[str]) -> list[str]:
        """Return some layers' names in the order of the spec."""
        return [layer.name for layer in self.spec if layer.name in names]

    def line(self, layer: Layer, number: int) -> str:
        """Return the name that the state gives a shifted edge's delay line."""
        return f"{layer.name}:{number}"

    def blank_line(self, edge: Edge, lanes: int) -> Tensor:
        """Return an empty delay line [B, k, ...] of an edge."""
        return self.blank(edge.source, (lanes, edge.shift))

    def blank(self, name: str, size: tuple[int, int]) -> Tensor:
        """Return [*size, ...] of what is read where there is no copy of a layer: zeros, or no id."""
        shape = self.shapes[name]
        if shape.ids or name in self.gathered:
            return torch.full(size, -1, dtype=torch.int64, device=self.device)
        return torch.zeros(*size, *shape.features, dtype=self.like.dtype, device=self.device)

    def part_shape(self, name: str, lanes: int) -> list[int]:
        """Return the shape of a state's part that is no cell's: the ages, or a delay line."""
        if name not in self.shifted:
            return [lanes]
        edge = self.shifted[name]
        ids = self.shapes[edge.source].ids or edge.source in self.gathered
        return [lanes, edge.shift, *(() if ids else self.shapes[edge.source].features)]

    def reads_outside(self, layer: Layer) -> bool:
        """Tell whether a layer is given values from outside."""
        module = self.modules[layer.name]
        outside = isinstance(module, LayerModule) and module.reads_outside
        return outside or (not layer.sources and layer.type in ("one-hot", "embedding"))

    def _find_inputs(self) -> dict[str, int]:
        """Return the layers that are given values, in order, and of how many ids; 0 for numbers."""
        return {
            layer.name: self.shapes[layer.name].ids or getattr(self.modules[layer.name], "size", 0)
            for layer in self.spec
            if self.reads_outside(layer)
        }

    def _find_targets(self) -> tuple[str, ...]:
        """Return the inputs that losses and accuracies compare with, and labels."""
        judges = [layer for layer in self.spec if isinstance(self.modules[layer.name], Loss | Accuracy)]
        judged = {edge.source for layer in judges for edge in layer.sources[1:]}
        return tuple(name for name in self.inputs if name in judged or self.layers[name].type == "label")

    def _find_state_names(self) -> tuple[str, ...]:
        """Return what a state has a part for, in order: recurrent layers, delay lines, ages."""
        cells = [name for name in self.cells(self.modules) if name in self.streams]
        lines = [key for key in self.shifted if key.rpartition(":")[0] in self.streams]
        return (*cells, *lines, *([AGE] if self.has_age else []))

    def _is_gathered(self, layer: Layer, modules: Mapping[str, nn.Module]) -> bool:
        """Tell whether a one-hot may stay ids: all its readers are cells that take ids, and nothing else."""
        readers = [
            reader for reader in self.spec if any(edge.source == layer.name for edge in reader.sources)
        ]
        return bool(readers) and all(
            isinstance(module := modules[reader.name], Cell)
            and module.reads_ids
            and len(self.feeding(reader)) == 1
            and all(edge.kind == "same" for edge in reader.sources if edge.source == layer.name)
            and all(edge.initial is None for edge in reader.sources)
            for reader in readers
        )

    def _is_foldable(self, layer: Layer, modules: Mapping[str, nn.Module]) -> bool:
        """Tell whether an embedding may stay ids whose rows its readers multiply once for all steps."""
        module = modules[layer.name]
        if not isinstance(module, Embedding) or module.bias is not None or not layer.sources:
            return False
        readers = [r for r in self.spec if any(edge.source == layer.name for edge in r.sources)]
        return bool(readers) and all(
            isinstance(modules[reader.name], GatedCell)
            and [edge.kind for edge in reader.sources] == ["same"]
            and reader.sources[0].shift == 0
            and reader.name not in self.scanned
            and reader.settings.get("direction") != "backward"
            for reader in readers
        )

    def _find_output(self, modules: Mapping[str, nn.Module]) -> str:
        """Return the layer that answers a call with one tensor: what the first loss judges, or the last."""
        for layer in self.spec:
            if isinstance(modules[layer.name], Loss):
                return layer.sources[0].source
        return self.spec.layers[-1].name

    def _find_stream(self) -> frozenset[str]:
        """Return the layers that can go on window by window: those of the output's length, if they may."""
        length = self.lengths[self.output]
        names = frozenset(name for name, own in self.lengths.items() if own == length)
        backward = any(self.layers[name].settings.get("direction") == "backward" for name in names)
        if length == 1 or backward or self._reads_its_end(names):
            return frozenset()
        return names

    def _reads_its_end(self, names: frozenset[str]) -> bool:
        """Tell whether some of these layers read all or the last of them, be it through other layers."""
        ahead = {e.source for name in names for e in self.layers[name].sources if e.source not in names}
        whole = any(e.kind != "same" and e.source in names for n in names for e in self.layers[n].sources)
        seen: set[str] = set()
        while ahead and not whole:
            seen |= ahead
            sources = {edge.source for name in ahead for edge in self.layers[name].sources}
            whole, ahead = bool(sources & names), sources - seen
        return whole

    def is_stream(self, component: Component) -> bool:
        """Tell whether a component goes on window by window."""
        return component.layers[0].name in self.streams

    def cells(self, modules: Mapping[str, nn.Module]) -> dict[str, Cell]:
        """Return the recurrent layers' cells by name."""
        return {layer.name: module for layer in self.spec if isinstance(module := modules[layer.name], Cell)}


def _are_ids(initial: Any, ids: int) -> bool:
    """Tell whether first values, a number or what is drawn from low up to high, are some of so many ids."""
    if isinstance(initial, Mapping):
        return bool(initial["low"] >= 0 and initial["high"] <= ids)
    return bool(initial == int(initial) and -1 <= initial < ids)
