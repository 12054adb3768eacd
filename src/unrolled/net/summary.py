"""What a net is made of and how it runs, as plain data: what ``unrolled net show`` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from unrolled.cells import Cell
from unrolled.errors import NetError, UsageError
from unrolled.net.module import Net
from unrolled.net.params import owners, params_of
from unrolled.net.schedule import Component
from unrolled.net.spec import VOCAB, Layer, Spec
from unrolled.unrolling import choose_engine

Owners = Mapping[str, tuple[str, str]]
"""Who owns each parameter; see ``owners``."""
PLACEHOLDER = 100
USUAL_STEPS = 50
CALL_SECONDS = (30e-6, 60e-6)
"""What one layer costs at one step in one direction on a CPU, beside its arithmetic: measured."""


def sizes_of(spec: Spec, vocab: int | None = None) -> dict[str, int]:
    """Return a number for every size of a spec that is a name, or that the data would tell.

    ``vocab`` is the one called ``"vocab"``; for all others, and without it, a placeholder is taken.
    """
    found: dict[str, int] = {}
    for layer in spec:
        size = layer.settings.get("size")
        if layer.type == "text" and not isinstance(size, int):
            found[size or VOCAB] = _size_read(spec, layer.name) or PLACEHOLDER
        elif layer.type == "ids" and not isinstance(size, str):
            found[layer.name] = size or _size_read(spec, layer.name) or PLACEHOLDER
    for layer in spec:
        size = layer.settings.get("size")
        if isinstance(size, str):
            found.setdefault(size, PLACEHOLDER)
    if vocab is not None:
        found[VOCAB] = vocab
    return found


def _size_read(spec: Spec, name: str) -> int | None:
    """Return how many ids a reader of an input wants, if one says so in a number."""
    for layer in spec:
        size = layer.settings.get("size")
        reads = any(edge.source == name for edge in layer.sources)
        if reads and layer.type in ("one-hot", "embedding") and isinstance(size, int):
            return size
    return None


def empty_net(
    spec: Spec,
    cells: Mapping[str, type[Cell]] | None = None,
    *,
    phase: str | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Net:
    """Return a net without numbers: it has shapes, names and a schedule, and takes no memory.

    NetError where the spec makes no sense, or where its layers are larger than any memory.
    """
    inputs = sizes or {}
    stops = {layer.name for layer in spec if layer.settings.get("stop")}
    named = {name: size + (name in stops) for name, size in inputs.items()}
    try:
        with torch.device("meta"):
            return Net(spec.with_sizes(named, inputs), cells=cells, phase=phase)
    except UsageError:
        raise
    except (RuntimeError, OverflowError) as error:
        message = " ".join(str(error).split())[:200]
        raise NetError(f"this net can't be built, not even without its numbers: {message}") from error


def summary(net: Net) -> dict[str, Any]:
    """Return components, layers, parameters, delay lines and state of a net as plain data."""
    wiring = net.wiring
    engines = _engines(net)
    steps = net.spec.unroll if isinstance(net.spec.unroll, int) else None
    known = owners(wiring.spec, net.own_cells)
    parts = [_component(net, component, engines) for component in wiring.components]
    return {
        "name": net.spec.name,
        "phase": net.phase,
        "unroll": net.spec.unroll,
        "components": parts,
        "layers": [_layer(net, layer, engines, known) for layer in wiring.spec],
        "parameters": net.num_parameters,
        "shared": _shared(net, known),
        "output": wiring.output,
        "inputs": list(net.input_names),
        "reads_future": wiring.reads_future,
        "streams": wiring.spec_names(wiring.streams),
        "state": [name for name in net.cells if name in wiring.streams],
        "delay_lines": [
            {
                "layer": key.rpartition(":")[0],
                "source": edge.source,
                "shift": edge.shift,
                "initial": edge.initial,
                "carried": key.rpartition(":")[0] in wiring.streams,
            }
            for key, edge in wiring.shifted.items()
        ],
        "step_by_step": _cost(net, parts, steps),
    }


def _engines(net: Net) -> dict[str, str]:
    """Return what ``Net.engines`` does, found on cells of 3 units: engines go by class, not by width."""
    found: dict[str, str] = {}
    for component in net.wiring.components:
        for layer in component.layers:
            cell = net.layers[layer.name]
            if isinstance(cell, Cell):
                ids = layer.sources[net.wiring.feeding(layer)[0]].source in net.wiring.gathered
                x = torch.zeros(2, 1, dtype=torch.int64) if ids else torch.zeros(2, 1, 2)
                small = type(cell)(2, 3)
                found[layer.name] = "step by step" if component.scan else choose_engine(small, x)[0].name
    return found


def _component(net: Net, component: Component, engines: Mapping[str, str]) -> dict[str, Any]:
    at_once = engines.get(component.names[0], "all steps at once")
    runs = "step by step" if component.scan else at_once
    return {"layers": list(component.names), "scan": component.scan, "runs": runs}


def _layer(net: Net, layer: Layer, engines: Mapping[str, str], known: Owners) -> dict[str, Any]:
    shape = net.wiring.shapes[layer.name]
    params = _params(net, layer, known)
    length = net.wiring.lengths[layer.name]
    return {
        "name": layer.name,
        "type": layer.type,
        "sources": [edge.to_plain() for edge in layer.sources],
        "length": net.spec.unroll if length is None else length,
        "shape": {"ids": shape.ids} if shape.ids else list(shape.features),
        "engine": engines.get(layer.name),
        "params": params,
        "parameters": sum(param["numbers"] for param in params if param["shared_from"] is None),
    }


def _params(net: Net, layer: Layer, known: Owners) -> list[dict[str, Any]]:
    """List a layer's parameters; the gates of one are told with it."""
    roles: dict[str, list[str]] = {}
    for param in params_of(layer, net.own_cells):
        roles.setdefault(param.role, []).append(param.name)
    found = []
    for role, tensor in net.layers[layer.name].named_parameters():
        names = roles.get(role, [f"{layer.name}.{role}"])
        stored = known.get(names[0], (layer.name, names[0]))
        own = stored[0] == layer.name and stored[1] in names
        found.append(
            {
                "role": role,
                "name": names[0] if len(names) == 1 else ", ".join(names),
                "shape": list(tensor.shape),
                "numbers": tensor.numel(),
                "learns": tensor.requires_grad,
                "shared_from": None if own else stored[1],
            }
        )
    return found


def _shared(net: Net, known: Owners) -> list[dict[str, Any]]:
    """Return for each parameter that several layers have the layers that have it."""
    having: dict[str, list[str]] = {}
    for layer in net.wiring.spec:
        for param in params_of(layer, net.own_cells):
            layers = having.setdefault(known[param.name][1], [])
            if layer.name not in layers:
                layers.append(layer.name)
    return [{"param": name, "layers": layers} for name, layers in having.items() if len(layers) > 1]


def _cost(net: Net, parts: list[dict[str, Any]], steps: int | None) -> dict[str, Any] | None:
    """Estimate what the scans cost beside their arithmetic; None where there is none."""
    layers = sum(len(part["layers"]) for part in parts if part["scan"])
    if not layers:
        return None
    window = steps or USUAL_STEPS
    calls = 0
    for part in parts:
        if part["scan"]:
            length = net.wiring.lengths[part["layers"][0]]
            copies = length if isinstance(length, int) else window
            calls += 2 * copies * len(part["layers"])
    return {
        "layers": layers,
        "steps": window,
        "layer_calls": calls,
        "seconds": [round(calls * each, 6) for each in CALL_SECONDS],
    }
