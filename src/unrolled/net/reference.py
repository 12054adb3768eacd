"""The unrolled graph, run literally: copy by copy, each from the copies that it reads.

This is the definition of what a net computes; autograd through it is the gradient that everything faster
must equal. One document in each lane, all lanes equally long, nothing carried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.errors import UsageError
from unrolled.net.graph import Copy, Link, UnrolledGraph, unroll_graph
from unrolled.net.layers import TYPES, Constant, Embedding, LayerModule, Memory, OneHot
from unrolled.net.module import Net
from unrolled.net.scan import for_cell


def reference(net: Net, inputs: Mapping[str, Tensor], steps: int | None = None) -> dict[str, Tensor]:
    """Return every layer's values [n, B, ...] by name, computed copy by copy in evaluation mode.

    ``inputs`` are as the net takes them, [n, B, ...]; a text's are its T ids, and its labels a second input.
    """
    lengths = {net.wiring.lengths[name]: len(x) for name, x in inputs.items() if name not in net.wiring.texts}
    for name in net.wiring.texts & inputs.keys():
        lengths[None] = len(inputs[name])
    given = {length or "": count for length, count in lengths.items() if not isinstance(length, int)}
    if steps is not None:
        given.setdefault("", steps)
    graph = unroll_graph(net.spec, given, phase=net.phase, cells=net.own_cells)
    return _Reference(net, graph, inputs).run()


class _Reference:
    def __init__(self, net: Net, graph: UnrolledGraph, inputs: Mapping[str, Tensor]) -> None:
        self.net, self.graph, self.inputs = net, graph, inputs
        self.copies = {copy.name: copy for copy in graph}
        self.values: dict[str, Tensor] = {}
        self.states: dict[str, Any] = {}
        self.lanes = next(iter(inputs.values())).shape[1] if inputs else 1

    def run(self) -> dict[str, Tensor]:
        for name in self.copies:
            self._compute(name)
        found: dict[str, list[Tensor]] = {}
        for copy in self.graph:
            if copy.layer.type != "text":
                found.setdefault(copy.layer.name, []).append(self.values[copy.name])
        return {name: torch.stack(values) for name, values in found.items()}

    def _compute(self, name: str) -> None:
        """Compute a copy after all that it reads, without recursion."""
        waiting = [name]
        while waiting:
            copy = self.copies[waiting[-1]]
            ahead = [source for source in copy.sources if source not in self.values]
            if waiting[-1] in self.values or not ahead:
                waiting.pop()
                if copy.name not in self.values:
                    self.values[copy.name] = self._value(copy)
            else:
                waiting += ahead

    def _value(self, copy: Copy) -> Tensor:
        """Return a copy's value [B, ...]; a text holds its whole sequence [T, B]."""
        module, layer = self.net.layers[copy.layer.name], copy.layer
        if layer.name in self.inputs:
            x = self.inputs[layer.name]
            if isinstance(module, OneHot | Embedding):
                rows: Tensor = module(x[copy.step][None])
                return rows[0]
            return x if layer.type == "text" else x[copy.step]
        if isinstance(module, Constant):
            return module.filled(1, self.lanes)[0]
        if isinstance(module, Cell):
            return self._cell(copy, module)
        if isinstance(module, LayerModule) and module.reads_outside:
            raise UsageError(f"the reference needs every input; '{layer.name}' is missing")
        remembered = TYPES[layer.type].remembers
        xs = [self._source(copy, i, i in remembered) for i in range(len(layer.sources))]
        y: Tensor = module(torch.cat(xs, -1)) if TYPES[layer.type].joins else module(*xs)
        return y[0]

    def _cell(self, copy: Copy, cell: Cell) -> Tensor:
        feeding = [i for i, edge in enumerate(copy.layer.sources) if edge.kind != "last"]
        x = for_cell(torch.cat([self._source(copy, i, False) for i in feeding], -1), cell)
        y, self.states[copy.name] = cell.step(x[0], self._state(copy, cell))
        return y

    def _state(self, copy: Copy, cell: Cell) -> Any:
        """Return the state that a copy starts from: its own previous copy's, or the last of a source."""
        for link in copy.links:
            if link.edge is None:
                return self.states[link.source]
        for link in copy.links:
            if link.edge is not None and link.edge.kind == "last":
                return self._handed_on(link, cell)
        return cell.initial_state(self.lanes)

    def _handed_on(self, link: Link, cell: Cell) -> Any:
        module = self.net.layers[self.copies[link.source].layer.name]
        if isinstance(module, Cell) and module.State is cell.State:
            return self.states[link.source]
        h = self.values[link.source].flatten(1)
        if cell.State is None:
            return h
        return cell.State(h, *(torch.zeros_like(h) for _ in cell.State._fields[1:]))

    def _source(self, copy: Copy, number: int, whole: bool) -> Any:
        """Return what a copy reads from one source, [1, B, ...], or all of it."""
        edge = copy.layer.sources[number]
        read = [self.values[link.source] for link in copy.links if link.edge is edge]
        if whole:
            return Memory(torch.stack(read), None)
        if not read:
            return self._missing(edge.source, edge.initial)[None]
        if edge.kind == "all" and self.net.spec[edge.source].type == "text":
            return read[0][copy.step][None]
        return read[0][None]

    def _missing(self, source: str, initial: Any) -> Tensor:
        """Return a copy that doesn't exist: zeros, no id, or the number that the edge gives."""
        shape = self.net.wiring.shapes[source]
        if isinstance(initial, Mapping):
            raise UsageError("the reference can't draw a random first value")
        if shape.ids:
            return torch.full((self.lanes,), -1 if initial is None else int(initial))
        return torch.full((self.lanes, *shape.features), initial or 0.0, dtype=self.net.wiring.like.dtype)
