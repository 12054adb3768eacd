"""The layers that each step of a net unrolled by hand has: they become one, or the pattern is broken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unrolled.net.hand import Cut, Hand, broken, size
from unrolled.net.layers import TYPES, settings_of
from unrolled.net.params import params_of
from unrolled.net.repeats import common
from unrolled.net.spec import Edge, Layer, Param


def repeated(hand: Hand, stem: str) -> tuple[Layer, Cut | None]:
    """Return the layer that the repeats of a stem are, and for an input how it is cut."""
    layers = [hand.by_name[name] for name in hand.repeats.stems[stem]]
    if all(layer.type == "slice" for layer in layers) and _is_time_slice(hand, layers):
        return _slices(hand, stem, layers)
    _check_alike(layers)
    edges = tuple(_edge(hand, layers, number) for number in range(len(layers[0].sources)))
    params = _params(hand, layers)
    made = replace(layers[0], name=hand.names[stem], sources=edges, params=params, unroll=None)
    outside = TYPES[made.type].reads_outside
    return made, Cut(made.name, hand.repeats.stems[stem]) if outside else None


def _is_time_slice(hand: Hand, layers: list[Layer]) -> bool:
    """Tell whether slices are the parts of one input that the steps read."""
    parts = {(layer.settings.get("begin", 0), layer.settings["end"]) for layer in layers}
    return len(parts) > 1 and not any(hand.at(layer.sources[0].source) for layer in layers)


def _slices(hand: Hand, stem: str, layers: list[Layer]) -> tuple[Layer, Cut]:
    """Return the input of which each step gets one slice."""
    source = hand.by_name[common([layer.sources[0].source for layer in layers])]
    whole = hand.shapes[source.name].features
    axis = common([settings_of("slice", layer.settings)["axis"] % len(whole) for layer in layers])
    length = whole[axis] // len(layers)
    if source.type != "floats":
        raise broken(layers[0], f"slices '{source.name}', which is no input but {source.type}")
    for step, layer in enumerate(layers):
        came = settings_of("slice", layer.settings)
        begin, end = step * length, (step + 1) * length
        if layer.sources[0].source != source.name or came["axis"] % len(whole) != axis:
            raise broken(
                layer, f"slices another input or axis than the other steps, '{source.name}' along {axis}"
            )
        if (came["begin"], came["end"]) != (begin, end) or length * len(layers) != whole[axis]:
            raise broken(
                layer,
                f"takes {came['begin']} up to {came['end']} of the {whole[axis]} along the time axis of "
                f"'{source.name}'; step {step + 1} of {len(layers)} equal ones takes {begin} up to {end}",
            )
    for reader in hand.readers[source.name]:
        if (hand.at(reader) or ("", 0))[0] != stem:
            raise broken(hand.by_name[reader], f"reads '{source.name}', which is cut into steps")
    part = (*whole[:axis], length, *whole[axis + 1 :])
    made = Layer(hand.names[stem], "floats", (), {"size": size(part)})
    return made, Cut(made.name, (source.name,), whole, axis)


def _check_alike(layers: list[Layer]) -> None:
    """Raise NetError for a repeat of another type, settings or number of sources."""
    for what, told in (
        ("type", [layer.type for layer in layers]),
        ("number of sources", [str(len(layer.sources)) for layer in layers]),
        ("settings", [_told(settings_of(layer.type, layer.settings)) for layer in layers]),
        ("partition", [str(layer.partition) for layer in layers]),
    ):
        usual = common(told)
        for layer, came in zip(layers, told, strict=True):
            if came != usual:
                raise broken(layer, f"has the {what} {came}, in other steps it is {usual}")


def _told(settings: Mapping[str, Any]) -> str:
    return json.dumps(dict(settings), sort_keys=True, default=str)


def _params(hand: Hand, layers: list[Layer]) -> tuple[Param, ...]:
    """Return the parameters that all steps share, under the names that they are stored by."""
    told = [
        tuple(
            (param.role, param.gate, hand.stored[param.name][1], param.lr, param.decay)
            for param in params_of(layer)
        )
        for layer in layers
    ]
    usual = common(told)
    for layer, came in zip(layers, told, strict=True):
        if came != usual:
            raise broken(layer, _difference(came, usual))
    # The step that has a parameter first says how it begins.
    begins = {
        hand.stored[param.name][1]: param.init
        for layer in reversed(layers)
        for param in layer.params
        if param.init
    }
    return tuple(
        replace(param, name=stored, share_from="", init=begins.get(stored))
        for param in params_of(layers[0])
        for stored in [hand.stored[param.name][1]]
    )


def _difference(came: tuple[Any, ...], usual: tuple[Any, ...]) -> str:
    """Say which of a layer's parameters is not the other steps'."""
    for mine, theirs in zip(came, usual, strict=False):
        if mine[:2] == theirs[:2] and mine[2] != theirs[2]:
            return f"has its {mine[0]} in '{mine[2]}', another step in '{theirs[2]}'; steps share by one name"
    return "has its parameters in another order, or at another rate, than other steps"


def _edge(hand: Hand, layers: list[Layer], number: int) -> Edge:
    """Return the edge that source ``number`` of a repeated layer is."""
    names = [layer.sources[number].source for layer in layers]
    told = [_relation(hand, name, step) for step, name in enumerate(names)]
    moving = [each for each, name in zip(told, names, strict=True) if not hand.is_constant(name)]
    stem, shift = common(moving or told)
    if shift < 0:
        step = told.index((stem, shift))
        raise broken(layers[step], f"reads '{names[step]}' of a later step; a net goes forwards")
    for step, (layer, name) in enumerate(zip(layers, names, strict=True)):
        starts = bool(stem) and step < shift and hand.is_constant(name)
        if told[step] != (stem, shift) and not starts:
            raise broken(layer, _wrong_source(hand, name, stem, shift, step, names))
    if not stem:
        return _edge_to_one(hand, layers, names)
    return Edge(hand.names[stem], shift=shift, initial=_initial(hand, layers, names[:shift], names[-1]))


def _relation(hand: Hand, name: str, step: int) -> tuple[str, int]:
    """Return a source's stem and how many steps before it is; of one that is there once ("", 0)."""
    at = hand.at(name)
    return ("", 0) if at is None else (at[0], step - at[1])


def _wrong_source(hand: Hand, name: str, stem: str, shift: int, step: int, names: list[str]) -> str:
    if hand.lacks(name):
        return f"reads '{name}', and {hand.lacks(name)}"
    if not stem:
        return f"reads '{name}', in other steps it is '{common(names)}'"
    if step < shift:
        kind = hand.by_name[name].type
        return f"starts from '{name}' ({kind}); wanted a constant, as nothing is before the first step"
    return f"reads '{name}'; as in the other steps it would be '{hand.repeats.stems[stem][step - shift]}'"


def _initial(hand: Hand, layers: list[Layer], first: list[str], last: str) -> float | None:
    """Return the number from which a state starts, None for 0."""
    values = [float(hand.by_name[name].settings.get("value", 0)) for name in first]
    for layer, name, value in zip(layers, first, values, strict=False):
        here, there = hand.shapes[name], hand.shapes[last]
        if value != values[0]:
            raise broken(layer, f"starts from {value:g} in '{name}', and another step from {values[0]:g}")
        if here.width != there.width:
            raise broken(layer, f"starts from '{name}' {here}, and other steps read '{last}' {there}")
    return values[0] if values and values[0] else None


def _edge_to_one(hand: Hand, layers: list[Layer], names: list[str]) -> Edge:
    """Return the edge to one layer that all steps read."""
    usual = common(names)
    for layer, name in zip(layers, names, strict=True):
        if hand.lacks(name):
            raise broken(layer, f"reads '{name}', and {hand.lacks(name)}")
        if name != usual:
            raise broken(layer, f"reads '{name}', in other steps it is '{usual}'")
    return Edge(usual, "all")
