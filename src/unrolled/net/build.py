"""From a spec of one phase to its layers' modules: shapes, cells, and parameters that are one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from unrolled.cells import NAMED, Cell, GatedCell
from unrolled.errors import CellError, NetError
from unrolled.net.layers import TYPES, LayerModule, Misfit, Shape, settings_of
from unrolled.net.params import cell_class
from unrolled.net.schedule import Component
from unrolled.net.sharing import share
from unrolled.net.spec import Layer, Spec


class Layers(nn.Module):
    """The layers' modules by name; unlike ``ModuleDict`` it takes any name."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self._modules.update(modules)

    def __getitem__(self, name: str) -> nn.Module:
        module = self._modules[name]
        assert module is not None
        return module

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def named(self) -> dict[str, nn.Module]:
        """Return the modules by name, in order."""
        return {name: module for name, module in self._modules.items() if module is not None}


class Twin(NamedTuple):
    """A layer of a net in another phase: its module, and the shapes that it reads."""

    layer: Layer
    module: nn.Module
    inputs: list[Shape]


class Builder:
    """Make the modules of a net of one phase, component by component."""

    def __init__(
        self, spec: Spec, cells: Mapping[str, type[Cell]], ready: Mapping[str, Twin] | None = None
    ) -> None:
        self.spec, self.cells, self.ready = spec, {**NAMED, **cells}, ready or {}
        self.layers = {layer.name: layer for layer in spec}
        self.shapes: dict[str, Shape] = {}
        self.modules: dict[str, nn.Module] = {}

    def build(self, components: Sequence[Component]) -> None:
        """Fill ``modules`` and ``shapes``; NetError where shapes don't fit, CellError for a cell's fault."""
        for component in components:
            self._guess(component.layers)
            for layer in component.layers:
                self._make(layer)
            for layer in component.layers:
                self._check_again(layer)
        share(self.spec, self.modules, self.cells, {name for name in self.modules if self._is_kept(name)})

    def _guess(self, layers: Sequence[Layer]) -> None:
        """Find the shapes inside a cycle: from what a layer says, else from the sources that are known."""
        waiting = [layer for layer in layers if layer.name not in self.shapes] if len(layers) > 1 else []
        itself = [layer for layer in layers if any(edge.source == layer.name for edge in layer.sources)]
        waiting = waiting or itself
        for layer in waiting:
            if layer.type in ("recurrent", "linear"):
                self.shapes[layer.name] = Shape((_number(layer, self._settings(layer)),))
        waiting = [layer for layer in waiting if layer.name not in self.shapes]
        while waiting:
            ready = [layer for layer in waiting if self._known(layer, every=True)]
            chosen = next(
                iter(ready or [layer for layer in waiting if self._known(layer, every=False)]), None
            )
            if chosen is None:
                names = ", ".join(layer.name for layer in waiting)
                raise NetError(f"nothing says how wide the layers {names} are", waiting[0].name)
            known = [edge.source for edge in chosen.sources if edge.source in self.shapes]
            self.shapes[chosen.name] = self._shape_of(chosen, [self.shapes[name] for name in known])
            waiting.remove(chosen)

    def _known(self, layer: Layer, every: bool) -> bool:
        found = [edge.source in self.shapes for edge in layer.sources]
        return all(found) if every else any(found)

    def _make(self, layer: Layer) -> None:
        inputs = [self.shapes[edge.source] for edge in layer.sources]
        if layer.type == "recurrent":
            cell = self._cell(layer, inputs)
            self.modules[layer.name] = cell
            found = Shape((cell.output_size,))
        else:
            module = self._layer(layer, inputs)
            self.modules[layer.name] = module
            found = module.shape
        before = self.shapes.setdefault(layer.name, found)
        if before != found:
            raise NetError(
                f"layer '{layer.name}' reads itself, and would have to give both {before} and {found}",
                layer.name,
            )

    def _layer(self, layer: Layer, inputs: list[Shape]) -> LayerModule:
        self._shape_of(layer, inputs)
        ready = self._ready(layer, inputs)
        if isinstance(ready, LayerModule):
            return ready
        cls = TYPES[layer.type]
        joined = [Shape((sum(shape.width for shape in inputs),))] if cls.joins and len(inputs) > 1 else inputs
        return cls(self._settings(layer), joined)

    def _ready(self, layer: Layer, inputs: list[Shape]) -> nn.Module | None:
        """Return the module of the same layer in another phase; NetError if that has weights of other shapes.

        A layer without weights that is another one there, under the same name, is made anew.
        """
        twin = self.ready.get(layer.name)
        if twin is None or _kind(layer, inputs) == _kind(twin.layer, twin.inputs):
            return None if twin is None else twin.module
        if any(True for _ in twin.module.parameters()):
            raise NetError(
                f"layer '{layer.name}' has weights, and other settings or sources in one phase than in "
                "another; give the two layers two names",
                layer.name,
            )
        return None

    def _shape_of(self, layer: Layer, inputs: list[Shape]) -> Shape:
        try:
            return TYPES[layer.type].shape_of(self._settings(layer), self._joined(layer, inputs))
        except Misfit as misfit:
            source = layer.sources[misfit.source].source if layer.sources else "outside"
            gives = inputs[misfit.source] if inputs else "nothing"
            raise NetError(
                f"layer '{layer.name}' ({layer.type}) wants {misfit.wanted} from '{source}', "
                f"which gives {gives}",
                layer.name,
                "sources",
            ) from misfit

    def _joined(self, layer: Layer, inputs: list[Shape]) -> list[Shape]:
        if not TYPES[layer.type].joins or len(inputs) < 2:
            return inputs
        for source, shape in enumerate(inputs):
            if shape.ids or len(shape.features) != 1:
                raise Misfit(source, "numbers of one axis, to lay its sources side by side")
        return [Shape((sum(shape.width for shape in inputs),))]

    def _cell(self, layer: Layer, inputs: list[Shape]) -> Cell:
        feeding = [
            (edge, shape) for edge, shape in zip(layer.sources, inputs, strict=True) if edge.kind != "last"
        ]
        if not feeding:
            raise NetError(
                f"layer '{layer.name}' has nothing to read at each step; give it an input", layer.name
            )
        for edge, shape in feeding:
            if shape.ids or (len(feeding) > 1 and len(shape.features) != 1):
                raise NetError(
                    f"layer '{layer.name}' (recurrent) wants numbers of one axis from '{edge.source}', "
                    f"which gives {shape}; put a one-hot or an embedding layer between",
                    layer.name,
                    "sources",
                )
        self._check_first_states(layer)
        ready = self._ready(layer, inputs)
        if isinstance(ready, Cell):
            return ready
        cls = cell_class(layer, self.cells)
        assert cls is not None
        settings = self._settings(layer)
        cell = _make_cell(cls, sum(shape.width for _, shape in feeding), settings["hidden"])
        if not settings["bias"]:
            _remove_bias(cell, layer)
        return cell

    def _check_first_states(self, layer: Layer) -> None:
        hidden = layer.settings["hidden"]
        first = [edge for edge in layer.sources if edge.kind == "last"]
        if len(first) > 1:
            raise NetError(
                f"layer '{layer.name}' has two 'last' sources; a state starts from one", layer.name, "sources"
            )
        for edge in first:
            gives = self.shapes[edge.source]
            if gives.ids or gives.width != hidden:
                raise NetError(
                    f"layer '{layer.name}' starts from the last of '{edge.source}': it wants [{hidden}], "
                    f"'{edge.source}' gives {gives}",
                    layer.name,
                    "sources",
                )

    def _check_again(self, layer: Layer) -> None:
        """Check shapes once more where some of them were guessed."""
        if layer.type != "recurrent":
            self._shape_of(layer, [self.shapes[edge.source] for edge in layer.sources])

    def _settings(self, layer: Layer) -> dict[str, Any]:
        settings = settings_of(layer.type, layer.settings)
        size = settings.get("size", 0)
        if isinstance(size, str):
            raise NetError(
                f"layer '{layer.name}' has the size '{size}', but no vocabulary or input of ids of that name "
                "is known; give a number",
                layer.name,
                "size",
            )
        if size is None and layer.type == "ids":
            raise NetError(f"layer '{layer.name}' has no size, and there are no data to tell it", layer.name)
        return settings

    def _is_kept(self, name: str) -> bool:
        """Tell whether a layer is another phase's; its parameters stay when new layers share them."""
        return name in self.ready and self.ready[name].module is self.modules[name]


def _kind(layer: Layer, inputs: list[Shape]) -> tuple[Any, ...]:
    """Return what must be equal in two layers that are to have one module."""
    settings = settings_of(layer.type, layer.settings)
    if layer.type == "embedding":
        return layer.type, settings, settings["size"] or inputs
    edges = zip(layer.sources, inputs, strict=True)
    reads = [shape for edge, shape in edges if layer.type != "recurrent" or edge.kind != "last"]
    joins = TYPES[layer.type].joins
    return layer.type, settings, sum(shape.width for shape in reads) if joins else reads


def _number(layer: Layer, settings: Mapping[str, Any]) -> int:
    return int(settings["hidden"] if layer.type == "recurrent" else settings["size"])


def _remove_bias(cell: Cell, layer: Layer) -> None:
    """Zero a gated cell's biases for good."""
    if not isinstance(cell, GatedCell):
        raise NetError(
            f"layer '{layer.name}': bias = false is for gated cells; write the cell without one",
            layer.name,
            "bias",
        )
    for bias in (cell.bias, cell.h_bias):
        if bias is not None:
            bias.requires_grad_(False).zero_()


def _make_cell(cls: type[Cell], width: int, hidden: int) -> Cell:
    """Make a cell; a mistake in a user's ``__init__`` is told as theirs."""
    try:
        return cls(width, hidden)
    except (AttributeError, LookupError, NameError, TypeError, ValueError) as error:
        raise CellError(
            f"{cls.__name__}(input_size={width}, hidden_size={hidden}) failed: "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
