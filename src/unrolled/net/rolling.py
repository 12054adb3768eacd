"""Roll up a net that was unrolled by hand, so that it runs at any length.

::

    x1 x2 x3 = slices of data             x   = an input, one slice a step
    a1 = f(x1, h0)                        a_t = f(x_t, a_{t-1}), which starts with h0's number
    a2 = f(x2, a1)              ->
    a3 = f(x3, a2)
    loss of [a1 a2 a3] and label          loss of a_t and label's slice t

A half squared distance over all steps is the sum of those of the steps, so the losses of all steps, added
up, and their gradients are those of the net that was rolled. Parameters keep the names by which the steps
share them, so weights fit both nets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import NetError, UsageError, nearest
from unrolled.net.check import check
from unrolled.net.layers import TYPES, Misfit, Shape, settings_of
from unrolled.net.params import owners, params_of
from unrolled.net.phases import in_order, merged
from unrolled.net.repeats import common, repeats
from unrolled.net.schedule import schedule
from unrolled.net.spec import PHASES, Edge, Layer, Param, Spec

ELEMENTWISE = ("activation", "dropout", "copy")
"""What may stand between the outputs of all steps, laid side by side, and their loss."""


def roll(spec: Spec) -> Spec:
    """Return the net of one step, with edges through time, of a net that was unrolled by hand.

    A layer of the result is called as the repeats are without their number. Its inputs are those that
    ``cut`` makes of the hand-unrolled net's. NetError names the layer that breaks the pattern, and how.
    """
    groups: dict[tuple[int, ...], tuple[str, ...]] = {}
    for phase in PHASES:
        there = tuple(index for index, layer in enumerate(spec) if layer.belongs_to(phase))
        groups[there] = (*groups.get(there, ()), phase)
    rolled = {phases: _Rolling(spec, phases[0]) for phases in groups.values()}
    steps = {rolling.repeats.steps for rolling in rolled.values()}
    if len(steps) > 1:
        raise NetError(f"the phases have different numbers of steps, {' and '.join(map(str, sorted(steps)))}")
    layers = in_order(merged((phases, rolling.layers) for phases, rolling in rolled.items()))
    result = Spec(layers, spec.name, unroll=steps.pop(), partition=spec.partition)
    for phases in rolled:
        check(result, phases[0])
    return result


def cut(spec: Spec, values: Mapping[str, Tensor], phase: str = "train") -> dict[str, Tensor]:
    """Return the rolled net's inputs, [T, B, ...], made of the hand-unrolled net's, [1, B, ...].

    ``spec`` is the hand-unrolled net. UsageError where a value is missing or of another shape.
    """
    rolling = _Rolling(spec, phase)
    found: dict[str, Tensor] = {}
    for part in rolling.cuts:
        for name in part.sources:
            if name not in values:
                raise UsageError(
                    f"wanted a value for the input '{name}', and there is none" + nearest(name, values)
                )
            wanted = rolling.shapes[name].features
            if values[name].dim() < 2 or len(values[name]) != 1 or values[name].shape[2:] != wanted:
                raise UsageError(
                    f"input '{name}': wanted [1, B{''.join(f', {n}' for n in wanted)}], "
                    f"came {list(values[name].shape)}"
                )
        found[part.name] = part.of([values[name] for name in part.sources], rolling.repeats.steps)
    return found


@dataclass(frozen=True)
class _Cut:
    """How an input of the rolled net comes from inputs of the net unrolled by hand."""

    name: str
    sources: tuple[str, ...]
    whole: tuple[int, ...] = ()
    """The axes before it is cut along ``axis``; empty where nothing is cut."""
    axis: int = 0

    def of(self, values: list[Tensor], steps: int) -> Tensor:
        """Return the input [T, B, ...], or [1, B, ...] where it has no steps."""
        if not self.whole:
            return torch.cat(values)
        (value,) = values
        return torch.cat(value.reshape(1, -1, *self.whole).chunk(steps, self.axis + 2))


@dataclass(frozen=True)
class _Joined:
    """The outputs of all steps side by side: the layer that gives one step's, and how they lie."""

    layer: str
    part: tuple[int, ...]
    whole: tuple[int, ...]
    axis: int

    def target(self, features: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return a target's axes such that it is cut along ``axis``; None where it lies otherwise."""
        in_order = prod(self.whole[: self.axis]) == 1
        return (
            self.whole if features == self.whole or in_order and prod(features) == prod(self.whole) else None
        )


class _Rolling:
    """One phase of a net unrolled by hand, while it is rolled up."""

    def __init__(self, spec: Spec, phase: str) -> None:
        check(spec, phase)
        chosen = spec.in_phase(phase)
        self.by_name = {layer.name: layer for layer in chosen}
        for layer in chosen:
            _check_unrolled(chosen, layer)
        self.repeats = repeats(self.by_name)
        self.shapes = _shapes(chosen)
        self.stored = owners(chosen)
        self.readers = _readers(chosen)
        self.names = self._names()
        self.joined: dict[str, _Joined] = {}
        self.cuts: list[_Cut] = []
        self.targets: dict[str, Layer] = {}
        self.layers = list(self._layers())

    def _names(self) -> dict[str, str]:
        """Return what each stem is called: without what parted it from the number, but as no other layer."""
        alone = {
            name
            for name, layer in self.by_name.items()
            if not self.repeats.at(name) and layer.type not in ("concat", "floats")
        }
        found: dict[str, str] = {}
        for stem in self.repeats.stems:
            name = stem.strip("_-./ ") or "step"
            while name in alone:
                name += "_t"
            alone.add(name)
            found[stem] = name
        return found

    def _layers(self) -> Iterator[Layer]:
        """Give the rolled layers where the first of each stands in the file."""
        made: list[Layer | str] = []
        for name, layer in self.by_name.items():
            at = self.repeats.at(name)
            if at is None:
                made += self._alone(layer)
            elif at[1] == 0:
                made.append(self._repeated(at[0]))
        for entry in made:
            if isinstance(entry, Layer):
                yield entry
            elif entry in self.targets:
                yield self.targets[entry]
            elif not self._is_consumed(entry):
                yield self._kept(entry)

    # Layers that each step has.

    def _repeated(self, stem: str) -> Layer:
        layers = [self.by_name[name] for name in self.repeats.stems[stem]]
        if all(layer.type == "slice" for layer in layers) and self._is_time_slice(layers):
            return self._slices(stem, layers)
        self._check_alike(layers)
        model = layers[0]
        edges = tuple(self._edge(layers, number) for number in range(len(model.sources)))
        if TYPES[model.type].reads_outside:
            self.cuts.append(_Cut(self.names[stem], self.repeats.stems[stem]))
        return replace(model, name=self.names[stem], sources=edges, params=self._params(layers), unroll=None)

    def _is_time_slice(self, layers: list[Layer]) -> bool:
        sources = {layer.sources[0].source for layer in layers}
        parts = {(layer.settings.get("begin", 0), layer.settings["end"]) for layer in layers}
        return not any(self.repeats.at(source) for source in sources) and len(parts) > 1

    def _slices(self, stem: str, layers: list[Layer]) -> Layer:
        """Return the input of which each step gets one slice."""
        source = self.by_name[common([layer.sources[0].source for layer in layers])]
        whole = self.shapes[source.name].features
        axis = layers[0].settings.get("axis", -1) % len(whole)
        size = whole[axis] // len(layers)
        for step, layer in enumerate(layers):
            came = settings_of("slice", layer.settings)
            begin, end = came["begin"], came["end"]
            if layer.sources[0].source != source.name or came["axis"] % len(whole) != axis:
                raise _broken(layer, f"slices another input or axis than '{source.name}' along {axis}")
            if (begin, end) != (step * size, (step + 1) * size) or size * len(layers) != whole[axis]:
                raise _broken(
                    layer,
                    f"takes {begin} up to {end} of {whole[axis]} along the time axis; step {step + 1} of "
                    f"{len(layers)} would take {step * size} up to {(step + 1) * size}",
                )
        if source.type != "floats":
            raise _broken(layers[0], f"slices '{source.name}', which is no input but {source.type}")
        for reader in self.readers[source.name]:
            at = self.repeats.at(reader)
            if at is None or at[0] != stem:
                raise _broken(self.by_name[reader], f"reads '{source.name}', which is cut into steps")
        self.cuts.append(_Cut(self.names[stem], (source.name,), whole, axis))
        part = (*whole[:axis], size, *whole[axis + 1 :])
        return Layer(self.names[stem], "floats", (), {"size": _size(part)})

    def _check_alike(self, layers: list[Layer]) -> None:
        """Raise NetError for a repeat of another type, settings or number of sources."""
        for what, told in (
            ("type", [layer.type for layer in layers]),
            ("settings", [_told(settings_of(layer.type, layer.settings)) for layer in layers]),
            ("partition", [str(layer.partition) for layer in layers]),
            ("number of sources", [str(len(layer.sources)) for layer in layers]),
        ):
            usual = common(told)
            for layer, came in zip(layers, told, strict=True):
                if came != usual:
                    raise _broken(layer, f"has the {what} {came}, in other steps it is {usual}")

    def _params(self, layers: list[Layer]) -> tuple[Param, ...]:
        """Return the parameters that all steps share, under the name that they are stored by."""
        told = [
            tuple(
                (param.role, param.gate, self.stored[param.name][1], param.lr, param.decay)
                for param in params_of(layer)
            )
            for layer in layers
        ]
        usual = common(told)
        for layer, came in zip(layers, told, strict=True):
            if came != usual:
                raise _broken(layer, _difference(came, usual))
        model = params_of(layers[0])
        return tuple(replace(param, name=self.stored[param.name][1], share_from="") for param in model)

    def _edge(self, layers: list[Layer], number: int) -> Edge:
        """Return the edge that source ``number`` of a repeated layer is."""
        names = [layer.sources[number].source for layer in layers]
        told = [self._relation(name, step) for step, name in enumerate(names)]
        moving = [each for each, name in zip(told, names, strict=True) if not self._is_constant(name)]
        stem, shift = common(moving or told)
        for step, (layer, name) in enumerate(zip(layers, names, strict=True)):
            if told[step] != (stem, shift) and not (stem and step < shift and self._is_constant(name)):
                raise _broken(layer, self._wrong_source(name, stem, shift, step, names))
        if not stem:
            return self._edge_to_alone(layers, names[0])
        if shift < 0:
            raise _broken(layers[0], f"reads '{names[0]}' of a later step; a net goes forwards")
        return Edge(self.names[stem], shift=shift, initial=self._initial(layers, names[:shift], names[-1]))

    def _relation(self, name: str, step: int) -> tuple[str, int]:
        """Return a source's stem and how many steps before it is; of one that isn't repeated ("", 0)."""
        at = self.repeats.at(name)
        return ("", 0) if at is None else (at[0], step - at[1])

    def _is_constant(self, name: str) -> bool:
        return self.by_name[name].type == "constant" and not self.repeats.at(name)

    def _wrong_source(self, name: str, stem: str, shift: int, step: int, names: list[str]) -> str:
        if name in self.repeats.broken and not self._is_constant(name):
            return f"reads '{name}', and {self.repeats.broken[name]}"
        if not stem:
            return f"reads '{name}', in other steps it is '{common(names)}'"
        if step < shift:
            kind = self.by_name[name].type
            return f"starts from '{name}' ({kind}); wanted a constant, as before step 1 there is nothing"
        return f"reads '{name}'; as in the other steps it would be '{self.repeats.stems[stem][step - shift]}'"

    def _initial(self, layers: list[Layer], first: list[str], last: str) -> float | None:
        """Return the number from which a state starts, None for 0."""
        values = [float(self.by_name[name].settings.get("value", 0)) for name in first]
        for layer, name, value in zip(layers, first, values, strict=False):
            if value != values[0]:
                raise _broken(layer, f"starts from {value:g} in '{name}' and another step from {values[0]:g}")
            if self.shapes[name].width != self.shapes[last].width:
                raise _broken(
                    layer,
                    f"starts from '{name}' {self.shapes[name]}, and goes on with '{last}' {self.shapes[last]}",
                )
        return values[0] if values and values[0] else None

    def _edge_to_alone(self, layers: list[Layer], name: str) -> Edge:
        """Return the edge to one layer that all steps read, whole."""
        for layer in layers:
            came = next(edge.source for edge in layer.sources if not self.repeats.at(edge.source))
            if came in self.repeats.broken and self.by_name[came].type != "constant" and came != name:
                raise _broken(layer, f"reads '{came}', and {self.repeats.broken[came]}")
        other = next((layer for layer in layers if all(e.source != name for e in layer.sources)), None)
        if other is not None:
            raise _broken(other, f"reads another layer than '{name}', which the other steps read")
        return Edge(name, "all")

    # Layers that are there once.

    def _alone(self, layer: Layer) -> list[Layer | str]:
        """Return what a layer of no step becomes; a name stands for what is known at the end only."""
        steps = [edge.source for edge in layer.sources if self.repeats.at(edge.source)]
        if not steps and not any(edge.source in self.joined for edge in layer.sources):
            return [layer.name]
        if layer.name in self.repeats.broken and layer.type != "concat":
            raise _broken(layer, f"is repeated, but {self.repeats.broken[layer.name]}")
        if layer.type == "concat":
            self.joined[layer.name] = self._concat(layer)
            return []
        if steps:
            raise _broken(layer, f"reads '{steps[0]}' of one step alone; wanted a concat of all steps")
        return self._after_all(layer)

    def _concat(self, layer: Layer) -> _Joined:
        """Check that a concat lays the outputs of all steps side by side, in order."""
        came = [edge.source for edge in layer.sources]
        at = next(filter(None, map(self.repeats.at, came)))
        wanted = self.repeats.stems[at[0]]
        for number, name in enumerate(wanted):
            if number >= len(came) or came[number] != name:
                other = f"'{came[number]}'" if number < len(came) else "nothing"
                raise _broken(
                    layer, f"joins {other} as number {number + 1}, where step {number + 1} has '{name}'"
                )
        if len(came) > len(wanted):
            raise _broken(layer, f"joins '{came[len(wanted)]}' after all steps")
        whole, part = self.shapes[layer.name].features, self.shapes[came[0]].features
        return _Joined(self.names[at[0]], part, whole, layer.settings.get("axis", -1) % len(whole))

    def _after_all(self, layer: Layer) -> list[Layer | str]:
        """Run a layer step by step that reads all steps' outputs at once."""
        name, model = layer.name, replace(layer, unroll=None)
        if layer.type == "reshape":
            self.joined[name] = self._reshaped(layer)
            return []
        first = next(edge.source for edge in layer.sources if edge.source in self.joined)
        joined = self.joined[first]
        if layer.type in ELEMENTWISE:
            self.joined[name] = replace(joined, layer=name)
            return [replace(model, sources=(Edge(joined.layer),))]
        if layer.type == "euclidean-loss":
            sources = tuple(Edge(self._of_step(layer, edge.source, joined)) for edge in layer.sources)
            return [replace(model, sources=sources)]
        raise _broken(
            layer,
            f"({layer.type}) works on the outputs of all steps at once; of one step it would be another. "
            f"Only {', '.join(ELEMENTWISE)} and euclidean-loss can be rolled there",
        )

    def _reshaped(self, layer: Layer) -> _Joined:
        """Look through a reshape of all outputs, which leaves their order."""
        joined = self.joined[layer.sources[0].source]
        if prod(joined.whole[: joined.axis]) != 1:
            raise _broken(layer, "reshapes outputs that don't lie one step after the other")
        return joined

    def _of_step(self, layer: Layer, name: str, joined: _Joined) -> str:
        """Return what gives one step's part of a loss's source."""
        if name in self.joined:
            return self.joined[name].layer
        source, whole = self.by_name[name], joined.target(self.shapes[name].features)
        if source.type != "floats" or self.readers[name] != [layer.name]:
            raise _broken(layer, f"has the target '{name}', wanted an input that nothing else reads")
        if whole is None:
            raise _broken(
                layer,
                f"has the target '{name}' {self.shapes[name]}, which can't be cut as {list(joined.whole)}",
            )
        self.targets[name] = Layer(name, "floats", (), {"size": _size(joined.part)}, include=source.include)
        self.cuts.append(_Cut(name, (name,), whole, joined.axis))
        return name

    def _is_consumed(self, name: str) -> bool:
        """Tell whether all that reads a layer reads it in another form, or as where a state starts."""
        readers = self.readers[name]
        if self.by_name[name].type == "constant":
            return bool(readers) and not any(self._keeps(reader, name) for reader in readers)
        return bool(readers) and all(
            self.repeats.at(reader) and self.by_name[reader].type == "slice" and self._is_cut(name)
            for reader in readers
        )

    def _is_cut(self, name: str) -> bool:
        return any(part.whole and name in part.sources for part in self.cuts)

    def _keeps(self, reader: str, name: str) -> bool:
        """Tell whether a constant is more to its reader than the start of a state."""
        at = self.repeats.at(reader)
        if at is None:
            return True
        last = self.by_name[self.repeats.stems[at[0]][-1]]
        return any(edge.source == name for edge in last.sources)

    def _kept(self, name: str) -> Layer:
        layer = self.by_name[name]
        if TYPES[layer.type].reads_outside:
            self.cuts.append(_Cut(name, (name,)))
        return replace(layer, unroll=1)


def _check_unrolled(spec: Spec, layer: Layer) -> None:
    """Raise NetError for a layer that goes through time by itself."""
    if spec.length_of(layer) != 1:
        raise _broken(layer, "has more than one copy; only a net unrolled by hand can be rolled up")
    if layer.type == "recurrent" or any(edge.shift or edge.kind == "last" for edge in layer.sources):
        raise _broken(layer, "goes through time by itself; only a net unrolled by hand can be rolled up")


def _shapes(spec: Spec) -> dict[str, Shape]:
    """Return the shape of each layer's one copy; NetError where a source doesn't fit."""
    found: dict[str, Shape] = {}
    for component in schedule(spec):
        for layer in component.layers:
            inputs = [found[edge.source] for edge in layer.sources]
            try:
                found[layer.name] = TYPES[layer.type].shape_of(
                    settings_of(layer.type, layer.settings), inputs
                )
            except Misfit as misfit:
                source = layer.sources[misfit.source].source
                raise _broken(layer, f"wants {misfit}; '{source}' gives {inputs[misfit.source]}") from misfit
    return found


def _readers(spec: Spec) -> dict[str, list[str]]:
    """Return the names of the layers that read each layer."""
    found: dict[str, list[str]] = {layer.name: [] for layer in spec}
    for layer in spec:
        for edge in layer.sources:
            found[edge.source].append(layer.name)
    return found


def _difference(came: tuple[Any, ...], usual: tuple[Any, ...]) -> str:
    """Say which of a layer's parameters is not the other steps'."""
    for mine, theirs in zip(came, usual, strict=False):
        if mine[:2] == theirs[:2] and mine[2] != theirs[2]:
            return f"has its {mine[0]} in '{mine[2]}', another step in '{theirs[2]}'; give all one parameter's name"
    return "has its parameters in another order, or at another rate, than other steps"


def _told(settings: Mapping[str, Any]) -> str:
    return json.dumps(dict(settings), sort_keys=True, default=str)


def _size(features: tuple[int, ...]) -> int | list[int]:
    return features[0] if len(features) == 1 else list(features)


def _broken(layer: Layer, how: str) -> NetError:
    return NetError(f"layer '{layer.name}' {how}", layer.name)
