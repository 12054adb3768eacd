"""Layers that feed each other, or one that reads itself: run step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.engines.base import blank, choose
from unrolled.net.layers import TYPES, Memory
from unrolled.net.schedule import Component
from unrolled.net.spec import Edge, Layer

if TYPE_CHECKING:
    from unrolled.net.execution import Execution


class Scan:
    """Several layers, or one that reads itself, step by step."""

    def __init__(self, execution: Execution, component: Component) -> None:
        self.run_of, self.layers = execution, component.layers
        self.names = set(component.names)
        self.outside: dict[tuple[str, int], Any] = {}
        self.past: dict[str, list[Tensor]] = {name: [] for name in self.names}
        self.states: dict[str, Any] = {}
        self.initial: dict[str, Any] = {}

    def run(self) -> None:
        """Fill in the layers' values and what is carried of them."""
        run, first = self.run_of, self.layers[0]
        self._prepare()
        self.real = run.lengths_of(first)
        fresh = run.fresh_of(first)
        for t in range(run.count(first)):
            for layer in self.layers:
                self.past[layer.name].append(self._step(layer, t, None if fresh is None else fresh[t]))
        for layer in self.layers:
            past = self.past[layer.name] or [run.wiring.blank(layer.name, (0, run.call.lanes))]
            run.values[layer.name] = torch.cat(past)
        for layer in self.layers:
            if layer.name in self.states:
                run.finish(layer, self.states[layer.name])
            for number, edge in enumerate(layer.sources):
                if edge.source in self.names and edge.shift and layer.name in run.wiring.streams:
                    self._carry(layer, number, edge)

    def _prepare(self) -> None:
        run = self.run_of
        for layer in self.layers:
            module = run.modules[layer.name]
            feeding = run.wiring.feeding(layer) if isinstance(module, Cell) else range(len(layer.sources))
            for number in feeding:
                if layer.sources[number].source not in self.names:
                    memory = number in TYPES[layer.type].remembers
                    self.outside[layer.name, number] = (
                        run.memory(layer, number) if memory else run.source(layer, number)
                    )
            if isinstance(module, Cell):
                self.states[layer.name] = run.first_state(layer, module)
                if run.call.fresh is not None:
                    self.initial[layer.name] = run.fresh_state(layer, module)

    def _step(self, layer: Layer, t: int, fresh: Tensor | None) -> Tensor:
        """Return one copy of a layer, [1, B, ...]."""
        run, module = self.run_of, self.run_of.modules[layer.name]
        if isinstance(module, Cell):
            x = for_cell(join([self._input(layer, i, t) for i in run.wiring.feeding(layer)]), module)
            return self._cell_step(layer.name, module, x[0], t, fresh)[None]
        if layer.name in run.wiring.gathered:
            found: Tensor = self._input(layer, 0, t)
            return found
        xs = [self._input(layer, i, t) for i in range(len(layer.sources))]
        y: Tensor = module(join(xs)) if TYPES[layer.type].joins else module(*xs)
        mask = run.call.masks.get(layer.name)
        return y if mask is None else y * mask[t : t + 1]

    def _cell_step(self, name: str, cell: Cell, x: Tensor, t: int, fresh: Tensor | None) -> Tensor:
        before = self.states[name]
        if fresh is not None:
            before = choose(fresh.to(x.device), self.initial[name], before)
        if self.real is None:
            y, self.states[name] = cell.step(x, before)
            return y
        real = (t < self.real).to(x.device)
        y, after = cell.step(blank(x, real), before)
        self.states[name] = choose(real, after, before)
        return torch.where(lift(real, y.dim()), y, torch.zeros((), dtype=y.dtype))

    def _input(self, layer: Layer, number: int, t: int) -> Any:
        """Return what copy t of a layer reads from one source, [1, B, ...]."""
        edge, run = layer.sources[number], self.run_of
        if edge.source not in self.names:
            found = self.outside[layer.name, number]
            return found if isinstance(found, Memory) else found[t : t + 1]
        if not edge.shift:
            return self.past[edge.source][t]
        if t >= edge.shift:
            x = self.past[edge.source][t - edge.shift]
        else:
            x = self._line(layer, number, edge)[:, t][None]
        if t >= edge.shift and run.call.fresh is None:
            return x
        return run.existing(layer, edge, x, slice(t, t + 1))

    def _line(self, layer: Layer, number: int, edge: Edge) -> Tensor:
        return self.run_of.delay_line(self.run_of.wiring.line(layer, number), edge)

    def _carry(self, layer: Layer, number: int, edge: Edge) -> None:
        run = self.run_of
        line = self._line(layer, number, edge).transpose(0, 1)
        whole = torch.cat([line, run.values[edge.source]])
        run.next_state[run.wiring.line(layer, number)] = run.next_line(layer, edge.shift, whole)


def last_copy(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Return the last real one of ``values`` [n, B, ...] in each lane; nothing for a lane that has none."""
    if not len(values):
        return nothing(values).expand(values.shape[1:])
    if lengths is None:
        return values[-1]
    at = lengths.to(values.device)
    index = (at - 1).clamp(min=0).reshape(1, -1, *(1,) * (values.dim() - 2))
    last = values.gather(0, index.expand(1, *values.shape[1:]))[0]
    return torch.where(lift(at > 0, last.dim()), last, nothing(last))


def nothing(like: Tensor) -> Tensor:
    """Return what is read where there is no copy, as a scalar: zero, or no id."""
    return torch.full((), 0 if like.is_floating_point() else -1, dtype=like.dtype, device=like.device)


def join(xs: list[Tensor]) -> Tensor:
    """Lay tensors [n, B, D] side by side."""
    return xs[0] if len(xs) == 1 else torch.cat(xs, -1)


def for_cell(x: Tensor, cell: Cell) -> Tensor:
    """Return items [n, B, ...] with one axis of features where the cell needs that."""
    return x.flatten(2) if cell.reads_ids and x.dim() > 3 else x


def lift(mask: Tensor, axes: int) -> Tensor:
    """Give a mask trailing axes of length 1 until it has ``axes``."""
    return mask.reshape(mask.shape + (1,) * (axes - mask.dim()))
