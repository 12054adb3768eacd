"""One run of a net over T steps of B lanes, component by component."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.engines.base import blank, choose
from unrolled.net.layers import TYPES, Constant, Embedding, LayerModule, Linear, Memory, OneHot, SoftmaxLoss
from unrolled.net.scan import Scan, for_cell, join, last_copy, lift, nothing
from unrolled.net.schedule import Component
from unrolled.net.spec import Edge, Layer, Length
from unrolled.net.wiring import AGE, Wiring
from unrolled.unrolling import unroll

State = dict[str, Any]
HELD, REAL = ":held", ":real"
"""What the state of a net that was started holds besides: values, and their lengths."""


@dataclass
class Call:
    """What a net is called with, checked."""

    inputs: Mapping[str, Tensor]
    """The values from outside, [n, B, ...]."""
    lanes: int
    counts: Mapping[Length, int]
    """How many copies layers of each length have."""
    state: State
    fresh: Tensor | None = None
    """[T, B] bool: where a lane starts anew."""
    lengths: Mapping[Length, Tensor] = field(default_factory=dict)
    """For each length, each lane's number of real copies, where they are not all real."""
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """The dropout layers' masks."""


class Execution:
    """Run components in order, into ``values``, each layer's copies [n, B, ...], and ``next_state``."""

    def __init__(
        self,
        wiring: Wiring,
        call: Call,
        engine: str,
        values: Mapping[str, Tensor] | None = None,
        next_state: State | None = None,
        *,
        folds: bool = True,
        bf16: bool = False,
    ) -> None:
        self.wiring, self.modules, self.call, self.engine = wiring, wiring.modules, call, engine
        self.fast, self.bf16 = engine in ("auto", "native"), bf16
        self.foldable = wiring.foldable if folds and self.fast else frozenset[str]()
        self.values = self._given() if values is None else dict(values)
        self.finals: dict[str, Any] = {}
        self.right: dict[str, Tensor] = {}
        """Of losses that were found together with them: which targets were met, [n, B]."""
        self.next_state: State = next_state or {}
        self._ages: dict[Length, Tensor] = {}

    def _given(self) -> dict[str, Tensor]:
        """Return the values from outside, and those that a started state holds."""
        held = self.call.state.get(HELD, {})
        return {
            **{name: self._shown(name, x) for name, x in self.call.inputs.items()},
            **{name: value.transpose(0, 1) for name, value in held.items()},
        }

    def _shown(self, name: str, x: Tensor) -> Tensor:
        """Return a value from outside as the layer's; a one-hot or embedding without a source gets ids.

        Floats of padded copies become 0, for not even NaN may reach a gradient from there.
        """
        module, lengths = self.modules[name], self.lengths_of(self.wiring.layers[name])
        if lengths is not None and x.is_floating_point():
            steps = torch.arange(len(x), device=x.device)
            return blank(x, steps[:, None] < lengths.to(x.device))
        if isinstance(module, OneHot | Embedding) and name not in self.wiring.gathered:
            y: Tensor = module(x)
            return y
        return x

    def dense(self, name: str) -> Tensor:
        """Return a layer's values; ids that stand for rows become rows."""
        value = self.values[name]
        if name not in self.wiring.gathered | self.foldable:
            return value
        rows: Tensor = self.modules[name](value)
        return rows

    def run(self, components: tuple[Component, ...]) -> None:
        """Run components whose sources are all there; the others are left out."""
        for component in components:
            first = component.layers[0]
            if first.name in self.values or self.wiring.length(first) not in self.call.counts:
                continue
            if not component.reads <= self.values.keys() or self._waits_for_input(component):
                continue
            if component.scan or self._starts_anew_from_another(first):
                Scan(self, component).run()
            else:
                self._at_once(component.layers[0])
        if self.wiring.has_age:
            self.next_state[AGE] = self._next_age()
        for kept in (HELD, REAL):
            if kept in self.call.state:
                self.next_state[kept] = self.call.state[kept]

    def _starts_anew_from_another(self, layer: Layer) -> bool:
        """Tell whether a cell is to start inside this run from the last of a layer, which no engine does."""
        marked = self.fresh_of(layer) is not None and isinstance(self.modules[layer.name], Cell)
        return marked and any(edge.kind == "last" for edge in layer.sources)

    def started(self) -> State:
        """Return the state of the part that streams, after all before it has run: what it starts from."""
        wiring, state = self.wiring, dict[str, Any]()
        read = {edge.source for name in wiring.streams for edge in wiring.layers[name].sources}
        held = {
            name: self.values[name] for name in self.values if name in read and name not in wiring.streams
        }
        for name in wiring.spec_names(wiring.streams):
            module, layer = self.modules[name], wiring.layers[name]
            if isinstance(module, Cell):
                state[name] = self.first_state(layer, module)
            for number, edge in enumerate(layer.sources):
                if edge.shift:
                    state[wiring.line(layer, number)] = wiring.blank_line(edge, self.call.lanes)
        if wiring.has_age:
            state[AGE] = torch.zeros(self.call.lanes, dtype=torch.int64, device=wiring.device)
        state[HELD] = {name: value.transpose(0, 1) for name, value in held.items()}
        state[REAL] = {
            name: lengths.to(wiring.device)
            for name in held
            if (lengths := self.lengths_of(wiring.layers[name])) is not None
        }
        return state

    def _waits_for_input(self, component: Component) -> bool:
        layer = component.layers[0]
        module = self.modules[layer.name]
        outside = isinstance(module, LayerModule) and module.reads_outside
        return outside or (not layer.sources and not isinstance(module, Constant))

    def _at_once(self, layer: Layer) -> None:
        """Run one layer for all its copies at once."""
        module = self.modules[layer.name]
        if isinstance(module, Constant):
            self.values[layer.name] = module.filled(self.count(layer), self.call.lanes)
        elif isinstance(module, Cell):
            self._recurrent(layer, module)
        elif layer.name in self.wiring.gathered | self.foldable:
            self.values[layer.name] = self.source(layer, 0)
        elif self.fast and isinstance(module, SoftmaxLoss):
            self.values[layer.name], self.right[layer.name] = module.judge(*self._inputs(layer))
        elif self.fast and isinstance(module, Linear):
            self.values[layer.name] = module(*self._inputs(layer), fast=True, bf16=self.bf16)
        else:
            y = module(*self._inputs(layer))
            if layer.name in self.call.masks:
                y = y * self.call.masks[layer.name]
            self.values[layer.name] = y

    def _recurrent(self, layer: Layer, cell: Cell) -> None:
        feeding = self.wiring.feeding(layer)
        x, table = for_cell(join([self.source(layer, i) for i in feeding]), cell), None
        if layer.sources[feeding[0]].source in self.foldable:
            table = self.modules[layer.sources[feeding[0]].source]
        backward = layer.settings.get("direction") == "backward"
        start, lengths = self.first_state(layer, cell), self.lengths_of(layer)
        y, state = unroll(
            cell,
            x,
            start,
            fresh=self.fresh_of(layer),
            lengths=lengths,
            reverse=backward,
            engine=self.engine,
            rows=table.id_to_x if isinstance(table, Embedding) else None,
            bf16=self.bf16,
        )
        self.values[layer.name] = y
        self.finish(layer, _after_last_copy(cell, x, start, lengths) if backward else state)

    def finish(self, layer: Layer, state: Any) -> None:
        """Keep a recurrent layer's last state, and carry it where the net can be carried on."""
        self.finals[layer.name] = state
        if layer.name in self.wiring.streams:
            self.next_state[layer.name] = state

    def _inputs(self, layer: Layer) -> list[Any]:
        sources = range(len(layer.sources))
        remembered = TYPES[layer.type].remembers
        if TYPES[layer.type].joins:
            return [join([self.source(layer, i) for i in sources])]
        return [self.memory(layer, i) if i in remembered else self.source(layer, i) for i in sources]

    def count(self, layer: Layer) -> int:
        """Return how many copies a layer has."""
        return self.call.counts[self.wiring.length(layer)]

    def fresh_of(self, layer: Layer) -> Tensor | None:
        """Return where a layer starts anew, [T, B]; None for one that doesn't go on from window to window."""
        return self.call.fresh if layer.name in self.wiring.streams else None

    def lengths_of(self, layer: Layer) -> Tensor | None:
        """Return how many copies of a layer are real in each lane [B], None where all are."""
        return self.call.lengths.get(self.wiring.length(layer))

    def source(self, layer: Layer, number: int) -> Tensor:
        """Return what a layer's copies read from a source outside its component, [n, B, ...]."""
        edge = layer.sources[number]
        values = self.values[edge.source]
        if edge.kind == "same":
            return self._shifted(layer, number, edge, values) if edge.shift else values
        if edge.kind == "all":
            slices = edge.source in self.wiring.texts
            return values if slices else values.expand(self.count(layer), *values.shape[1:])
        first = self._last_of(edge.source)
        shape = (self.count(layer), *first.shape)
        start = lift(self.age(layer) == 0, len(shape))
        return torch.where(start, first.expand(shape), nothing(first))

    def memory(self, layer: Layer, number: int) -> Memory:
        """Return all copies of a source, and which are real."""
        source = self.wiring.layers[layer.sources[number].source]
        values = self.values[source.name]
        lengths = self.call.state.get(REAL, {}).get(source.name, self.lengths_of(source))
        if lengths is None:
            return Memory(values, None)
        steps = torch.arange(len(values), device=values.device)
        return Memory(values, steps[:, None] < lengths.to(values.device))

    def first_state(self, layer: Layer, cell: Cell) -> Any:
        """Return the state a recurrent layer starts this run in."""
        carried = self.call.state.get(layer.name)
        edge = next((edge for edge in layer.sources if edge.kind == "last"), None)
        if carried is not None and (edge is None or HELD in self.call.state):
            return carried
        if edge is None:
            return cell.initial_state(self.call.lanes)
        handed_on = self._handed_on(edge, cell)
        return handed_on if carried is None else choose(self._age(layer)[0] == 0, handed_on, carried)

    def fresh_state(self, layer: Layer, cell: Cell) -> Any:
        """Return the state that a recurrent layer starts anew from at a mark."""
        edge = next((edge for edge in layer.sources if edge.kind == "last"), None)
        return cell.initial_state(self.call.lanes) if edge is None else self._handed_on(edge, cell)

    def _handed_on(self, edge: Edge, cell: Cell) -> Any:
        """Return the state that a ``last`` edge starts a cell in."""
        final, module = self.finals.get(edge.source), self.modules[edge.source]
        if final is not None and isinstance(module, Cell) and module.State is cell.State:
            return final
        h = self._last_of(edge.source).flatten(1)
        if cell.State is None:
            return h
        return cell.State(h, *(torch.zeros_like(h) for _ in cell.State._fields[1:]))

    def _last_of(self, name: str) -> Tensor:
        """Return a layer's last real copy [B, ...]; nothing for a lane that has none."""
        lengths = self.call.state.get(REAL, {}).get(name, self.lengths_of(self.wiring.layers[name]))
        return last_copy(self.values[name], lengths)

    def _shifted(self, layer: Layer, number: int, edge: Edge, values: Tensor) -> Tensor:
        """Return [n, B, ...] with copy t - k at t, and what an edge starts with where there is none."""
        key = self.wiring.line(layer, number)
        whole = torch.cat([self.delay_line(key, edge).transpose(0, 1), values])
        if layer.name in self.wiring.streams:
            self.next_state[key] = self.next_line(layer, edge.shift, whole)
        return self.existing(layer, edge, whole[: len(values)], slice(None))

    def delay_line(self, key: str, edge: Edge) -> Tensor:
        """Return the content [B, k, ...] of an edge's delay line before this run, the oldest first."""
        if key in self.call.state:
            line: Tensor = self.call.state[key]
            return line
        return self.wiring.blank_line(edge, self.call.lanes)

    def next_line(self, layer: Layer, shift: int, whole: Tensor) -> Tensor:
        """Return the last ``shift`` real entries [B, k, ...] of a delay line and what came after it."""
        lengths = self.lengths_of(layer)
        if lengths is None:
            return whole[len(whole) - shift :].transpose(0, 1)
        index = lengths.to(whole.device)[None] + torch.arange(shift, device=whole.device)[:, None]
        index = index.reshape(*index.shape, *(1,) * (whole.dim() - 2)).expand(shift, *whole.shape[1:])
        return whole.gather(0, index).transpose(0, 1)

    def existing(self, layer: Layer, edge: Edge, x: Tensor, steps: slice) -> Tensor:
        """Return ``x`` [n, B, ...], with the edge's first values where a lane is younger than its shift."""
        exists = lift(self.age(layer)[steps] >= edge.shift, x.dim())
        return torch.where(exists, x, self._first_values(edge, x, exists))

    def _first_values(self, edge: Edge, like: Tensor, exists: Tensor) -> Tensor:
        initial = edge.initial
        if initial is None:
            return nothing(like)
        if not isinstance(initial, Mapping):
            return torch.full((), initial, dtype=like.dtype, device=like.device)
        if bool(exists.all()):
            return like
        drawn = torch.rand(
            like.shape, dtype=torch.float64, generator=self.wiring.generator, device=like.device
        )
        low, high = float(initial["low"]), float(initial["high"])
        numbers = low + drawn * (high - low)
        return (numbers if like.is_floating_point() else numbers.floor()).to(like)

    def age(self, layer: Layer) -> Tensor:
        """Return the steps since each lane's start, [n, B] for a layer of n copies, 0 where it starts."""
        return self._age(layer)[:-1]

    def _age(self, layer: Layer) -> Tensor:
        length = self.wiring.length(layer)
        if length not in self._ages:
            self._ages[length] = self._new_age(layer).to(self.wiring.device)
        return self._ages[length]

    def _new_age(self, layer: Layer) -> Tensor:
        """Return the ages before each of n copies and after the last, [n + 1, B]."""
        n, B = self.count(layer), self.call.lanes
        steps = torch.arange(n + 1)[:, None]
        carried = self.call.state.get(AGE) if layer.name in self.wiring.streams else None
        before = torch.zeros(B, dtype=torch.int64) if carried is None else carried.cpu()
        fresh = self.fresh_of(layer)
        if fresh is None:
            return before + steps
        marked = torch.cat([fresh.cpu(), torch.zeros(1, B, dtype=torch.bool)])
        latest = torch.where(marked, steps, -1).cummax(0).values
        return torch.where(latest >= 0, steps - latest, before + steps)

    def _next_age(self) -> Tensor:
        layer = self.wiring.layers[min(self.wiring.streams)]
        age, lengths = self._age(layer), self.lengths_of(layer)
        return age[-1] if lengths is None else age.gather(0, lengths.to(age.device)[None])[0]


def _after_last_copy(cell: Cell, x: Tensor, start: Any, lengths: Tensor | None) -> Any:
    """Return a backward cell's state at its last real copy, which it walks first."""
    if not len(x):
        return start
    _, state = cell.step(last_copy(x, lengths), start)
    return state if lengths is None else choose(lengths.to(x.device) > 0, state, start)
