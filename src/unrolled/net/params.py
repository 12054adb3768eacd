"""What a layer's parameters are called, and which are one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch

from unrolled.cells import NAMED, Cell, GatedCell
from unrolled.errors import NetError, OwnCellError, nearest
from unrolled.net.layers import TYPES, settings_of
from unrolled.net.spec import Layer, Param, Spec

Cells = Mapping[str, type[Cell]]


def params_of(layer: Layer, cells: Cells | None = None) -> tuple[Param, ...]:
    """Return a layer's parameters with their names, those that it lists first.

    A parameter without a name of its own is called ``<layer>.<role>``. The roles of a user's cell are
    known only where ``cells`` holds its class.
    """
    listed = [
        param if param.name else Param(**{**vars(param), "name": f"{layer.name}.{_place(param)}"})
        for param in layer.params
    ]
    given = {param.role for param in listed}
    rest = [Param(role, f"{layer.name}.{role}") for role in roles_of(layer, cells) if role not in given]
    return (*listed, *rest)


def roles_of(layer: Layer, cells: Cells | None = None) -> tuple[str, ...]:
    """Return the names that a layer's type, or its cell, gives its parameters."""
    if layer.type != "recurrent":
        return TYPES[layer.type].roles(settings_of(layer.type, layer.settings))
    cls: Any = cell_class(layer, {**NAMED, **(cells or {})}, required=False)
    return () if cls is None else _roles_of_cell(cls, layer.settings.get("bias") is not False)


@lru_cache(maxsize=64)
def _roles_of_cell(cls: type[Cell], bias: bool) -> tuple[str, ...]:
    with torch.device("meta"):
        cell = cls(1, 1)
    unused = () if bias else biases_of(cell)
    return tuple(name for name, _ in cell.named_parameters() if name not in unused)


def biases_of(cell: Cell) -> tuple[str, ...]:
    """Return the names of a gated cell's biases; none of another cell."""
    biases = (cell.bias, cell.h_bias) if isinstance(cell, GatedCell) else ()
    return tuple(name for name, found in cell.named_parameters() if any(found is bias for bias in biases))


def owners(spec: Spec, cells: Cells | None = None) -> dict[str, tuple[str, str]]:
    """Return for each parameter name the layer that owns it, the first, and the name it is stored under.

    ``share_from`` is followed to its end; NetError where it leads to no parameter.
    """
    found: dict[str, tuple[str, str]] = {}
    aliases: dict[str, tuple[str, str]] = {}
    for layer in spec:
        for param in params_of(layer, cells):
            if param.share_from:
                aliases[param.name] = (layer.name, param.share_from)
            else:
                found.setdefault(param.name, (layer.name, param.name))
    for name, (layer_name, source) in aliases.items():
        seen = {name}
        while source in aliases and source not in seen:
            seen.add(source)
            source = aliases[source][1]
        if source not in found:
            raise NetError(
                f"layer '{layer_name}': parameter '{name}' is shared from '{source}', and there is none",
                layer_name,
                "params",
            )
        found[name] = found[source]
    return found


def cell_class(layer: Layer, cells: Cells, required: bool = True) -> type[Cell] | None:
    """Return the class of a recurrent layer's cell; code of the user's is never imported here.

    None for another layer, or where the class is missing and not ``required``.
    """
    if layer.type != "recurrent":
        return None
    name = str(layer.settings["cell"])
    tail = name.rpartition(":")[2]
    if name in cells:
        return cells[name]
    if tail in cells and tail not in NAMED:
        return cells[tail]
    if not required:
        return None
    if ":" in name:
        raise OwnCellError(
            f"this net uses the cell {name}, which is your code; name it too: --cell {name} "
            f"(in Python: cells={{'{tail}': the class}})",
            layer.name,
        )
    known = f"known are {', '.join(sorted(NAMED))}{nearest(name, NAMED)}"
    raise NetError(f"layer '{layer.name}': there is no cell '{name}'; {known}", layer.name, "cell")


def _place(param: Param) -> str:
    return param.role if param.gate is None else f"{param.role}[{param.gate}]"
