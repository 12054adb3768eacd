"""The short way of a single step, for nets that are one line from input to output."""

from __future__ import annotations

from typing import Any

from unrolled.cells import Cell
from unrolled.net.layers import Dropout, LayerModule
from unrolled.net.spec import Layer
from unrolled.net.wiring import Wiring


def straight_walk(wiring: Wiring) -> list[tuple[str, Any, bool]] | None:
    """Return the layers from the only input to the output: name, module, and whether it is recurrent.

    None for a net that is no such line, or has a shift, or carries more than the line's own states.
    """
    walk: list[tuple[str, Any, bool]] = []
    name: str | None = wiring.output
    may, seen = wiring.streams | wiring.texts, set[str]()
    while name is not None:
        layer, module = wiring.layers[name], wiring.modules[name]
        if name in seen or name not in may:
            return None
        seen.add(name)
        if isinstance(module, Cell):
            walk.append((name, module, True))
        elif not isinstance(module, Dropout) and name not in wiring.gathered:
            walk.append((name, module, False))
        if layer.sources and not _leads_on(layer, wiring):
            return None
        name = layer.sources[0].source if layer.sources else None
    first = walk[-1][1] if walk else None
    if isinstance(first, LayerModule) and first.reads_outside:
        walk.pop()
    walked = {name for name, _, recurrent in walk if recurrent}
    return walk[::-1] if walked == set(wiring.state_names) else None


def _leads_on(layer: Layer, wiring: Wiring) -> bool:
    """Tell whether a layer reads one source and nothing else, at the same step."""
    edge = layer.sources[0]
    if len(layer.sources) > 1 or edge.shift or wiring.reads_outside(layer):
        return False
    return edge.kind == "same" or (edge.kind == "all" and edge.source in wiring.texts)
