"""A net that was unrolled by hand, looked at before it is rolled up."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.errors import NetError
from unrolled.net.check import check
from unrolled.net.layers import TYPES, Misfit, Shape, settings_of
from unrolled.net.params import owners
from unrolled.net.repeats import Repeats, repeats
from unrolled.net.schedule import schedule
from unrolled.net.spec import Layer, Spec


@dataclass(frozen=True)
class Cut:
    """How an input of the rolled net comes from inputs of the net unrolled by hand."""

    name: str
    sources: tuple[str, ...]
    """One input that is cut, or that is as it was; or one a step."""
    whole: tuple[int, ...] = ()
    """The axes of the one before it is cut along ``axis``; empty where nothing is cut."""
    axis: int = 0


class Hand:
    """One phase of a net unrolled by hand: its layers, and which of them are one, step after step."""

    def __init__(self, spec: Spec, phase: str) -> None:
        check(spec, phase)
        chosen = spec.in_phase(phase)
        self.by_name = {layer.name: layer for layer in chosen}
        for layer in chosen:
            _check_unrolled(chosen, layer)
        self.repeats: Repeats = repeats(self.by_name)
        self.shapes = _shapes(chosen)
        self.stored = owners(chosen)
        self.readers = _readers(chosen)
        self.names = self._names()

    def _names(self) -> dict[str, str]:
        """Return what each stem is called: without what parted it from the number, but as no other layer."""
        alone = {
            name
            for name, layer in self.by_name.items()
            if not self.at(name) and layer.type not in ("concat", "floats")
        }
        found: dict[str, str] = {}
        for stem in self.repeats.stems:
            name = stem.strip("_-./ ") or "step"
            while name in alone:
                name += "_t"
            alone.add(name)
            found[stem] = name
        return found

    def at(self, name: str) -> tuple[str, int] | None:
        """Return a layer's stem and step, or None where it isn't repeated."""
        return self.repeats.places.get(name)

    def is_constant(self, name: str) -> bool:
        """Tell whether a layer is a constant that is there once."""
        return self.by_name[name].type == "constant" and not self.at(name)

    def lacks(self, name: str) -> str:
        """Say what is missing where a layer looks repeated and isn't in every step; else nothing."""
        return "" if self.by_name[name].type in ("constant", "concat") else self.repeats.broken.get(name, "")


def _check_unrolled(spec: Spec, layer: Layer) -> None:
    """Raise NetError for a layer that goes through time by itself."""
    if spec.length_of(layer) != 1:
        raise broken(layer, "has more than one copy; only a net unrolled by hand can be rolled up")
    if layer.type == "recurrent" or any(edge.shift or edge.kind == "last" for edge in layer.sources):
        raise broken(layer, "goes through time by itself; only a net unrolled by hand can be rolled up")


def _shapes(spec: Spec) -> dict[str, Shape]:
    """Return the shape of each layer's one copy; NetError where a source doesn't fit."""
    found: dict[str, Shape] = {}
    for component in schedule(spec):
        for layer in component.layers:
            _check_size(layer)
            inputs = [found[edge.source] for edge in layer.sources]
            try:
                found[layer.name] = TYPES[layer.type].shape_of(
                    settings_of(layer.type, layer.settings), inputs
                )
            except Misfit as misfit:
                source = layer.sources[misfit.source].source
                raise broken(layer, f"wants {misfit}; '{source}' gives {inputs[misfit.source]}") from misfit
    return found


def _check_size(layer: Layer) -> None:
    """Raise NetError for a size that comes with the data: equal copies can't be told by it."""
    size = layer.settings.get("size")
    if isinstance(size, str) or (size is None and layer.type in ("ids", "text")):
        raise broken(layer, "has a size that only the data knows; write the number to roll the net up")


def _readers(spec: Spec) -> dict[str, list[str]]:
    """Return the names of the layers that read each layer."""
    found: dict[str, list[str]] = {layer.name: [] for layer in spec}
    for layer in spec:
        for edge in layer.sources:
            found[edge.source].append(layer.name)
    return found


def broken(layer: Layer, how: str) -> NetError:
    """Return the error that a layer breaks the pattern."""
    return NetError(f"layer '{layer.name}' {how}", layer.name)


def size(features: tuple[int, ...]) -> int | list[int]:
    """Return axes as a spec says them: one as a number."""
    return features[0] if len(features) == 1 else list(features)
