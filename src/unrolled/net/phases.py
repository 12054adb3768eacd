"""One spec out of several that hold in different phases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from unrolled.net.spec import PHASES, Layer

InPhases = tuple[Layer, tuple[str, ...]]
"""A layer, and the phases that it belongs to."""


def merged(parts: Iterable[tuple[tuple[str, ...], Sequence[Layer]]]) -> list[InPhases]:
    """Lay the layers of several groups of phases into one list; equal layers become one.

    The order of each part is kept where the parts agree. A layer's own include and exclude count for nothing.
    """
    whole: list[InPhases] = []
    for phases, layers in parts:
        whole = _merge(whole, [(replace(layer, include=(), exclude=()), phases) for layer in layers])
    return whole


def in_order(layers: Iterable[InPhases]) -> tuple[Layer, ...]:
    """Return layers that say themselves to which phases they belong."""
    return tuple(
        layer if set(phases) == set(PHASES) else replace(layer, include=phases) for layer, phases in layers
    )


def _merge(first: list[InPhases], second: list[InPhases]) -> list[InPhases]:
    """Walk the first list; before a layer that is in both, put what the second has before it."""
    places = {layer.name: place for place, (layer, _) in enumerate(second)}
    found: list[InPhases] = []
    done = 0
    for layer, phases in first:
        place = places.get(layer.name, -1)
        if place >= done and second[place][0] == layer:
            found += [*second[done:place], (layer, (*phases, *second[place][1]))]
            done = place + 1
        else:
            found.append((layer, phases))
    return found + second[done:]
