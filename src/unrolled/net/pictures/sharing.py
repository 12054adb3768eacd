"""Which layers share a parameter by its name."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.net.params import Cells, owners, params_of
from unrolled.net.spec import Spec


@dataclass(frozen=True)
class Sharing:
    """Layers that share the same parameters, and the names these are stored under."""

    layers: tuple[str, ...]
    params: tuple[str, ...]

    @property
    def label(self) -> str:
        """The first parameter's name, and how many more there are."""
        more = len(self.params) - 1
        return self.params[0] + (f" +{more}" if more else "")


def sharing(spec: Spec, cells: Cells | None) -> tuple[Sharing, ...]:
    """Return every group of two or more layers that share parameters, in the order of the net."""
    known = owners(spec, cells)
    users: dict[str, dict[str, None]] = {}
    for layer in spec:
        for param in params_of(layer, cells):
            users.setdefault(known[param.name][1], {})[layer.name] = None
    groups: dict[tuple[str, ...], list[str]] = {}
    for param_name, layers in users.items():
        if len(layers) > 1:
            groups.setdefault(tuple(layers), []).append(param_name)
    return tuple(Sharing(layers, tuple(params)) for layers, params in groups.items())
