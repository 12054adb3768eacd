"""What must hold of a spec before anything is made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from unrolled.errors import NetError, nearest
from unrolled.net.layers import REQUIRED, TYPES
from unrolled.net.spec import KINDS, PHASES, Edge, Layer, Spec

MAX_LAYERS = 100_000
MAX_LENGTH = 10_000_000
MAX_SHIFT = 10_000
MAX_NAME = 200
"""Signs that a name may have, of a layer, a length, a parameter or whatever a setting names."""


def check(spec: Spec, phase: str | None = None) -> None:
    """Raise NetError, naming the layer, where a spec makes no sense in a phase.

    With phase None the layers of all phases are looked at, one by one; with a phase, names, sources, edges
    and lengths too.
    """
    if len(spec.layers) > MAX_LAYERS:
        raise NetError(f"a net has at most {MAX_LAYERS:,} layers, this one {len(spec.layers):,}")
    _check_length(spec.unroll, "the net")
    _check_partition(spec.partition, "the net")
    for layer in spec:
        _check_layer(layer)
    if phase is not None:
        _check_whole(spec.in_phase(phase), phase)


def phases_of(spec: Spec) -> tuple[str, ...]:
    """Return the phases in which the net differs; one, if they are all alike."""
    found: dict[tuple[str, ...], str] = {}
    for phase in PHASES:
        found.setdefault(tuple(str(index) for index, l in enumerate(spec) if l.belongs_to(phase)), phase)
    return tuple(found.values())


def _check_layer(layer: Layer) -> None:
    where = f"layer '{layer.name}'"
    if not isinstance(layer.name, str) or not layer.name:
        raise NetError("every layer needs a name", str(layer.name), "name")
    for name in _names(layer):
        if len(name) > MAX_NAME:
            came = f"came one of {len(name):,}, {_shown(name)}"
            raise NetError(
                f"a layer's name, and whatever it names, has at most {MAX_NAME} signs; {came}", layer.name
            )
    bad = next((sign for sign in "#@:" if sign in layer.name), None)
    if bad or not layer.name.isprintable() or layer.name != layer.name.strip():
        what = f"'{bad}', which unrolling puts there" if bad else "a blank or an unprintable sign"
        raise NetError(f"{where} has {what} in its name; name it otherwise", layer.name, "name")
    if layer.type not in TYPES:
        known = nearest(str(layer.type), TYPES) or f"; known are {', '.join(TYPES)}"
        raise NetError(f"{where} has the unknown type '{layer.type}'{known}", layer.name, "type")
    _check_settings(layer, where)
    _check_length(layer.unroll, where, layer.name)
    _check_partition(layer.partition, where, layer.name)
    _check_phases(layer, where)
    for edge in layer.sources:
        _check_edge(layer, edge)
    least, most = TYPES[layer.type].sources
    if len(layer.sources) < least or (most is not None and len(layer.sources) > most):
        wanted = f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
        raise NetError(
            f"{where} ({layer.type}) takes {wanted} {'source' if wanted == '1' else 'sources'}, "
            f"came {len(layer.sources)}",
            layer.name,
            "sources",
        )


def _names(layer: Layer) -> Iterator[str]:
    yield layer.name
    for value in (layer.unroll, *layer.settings, *layer.settings.values()):
        if isinstance(value, str):
            yield value
    for edge in layer.sources:
        yield edge.source
    for param in layer.params:
        yield from (param.role, param.name, param.gate or "", param.share_from)


def _check_settings(layer: Layer, where: str) -> None:
    known = TYPES[layer.type].settings
    for name, value in layer.settings.items():
        if name not in known:
            fields = [*known, *(f.name for f in dataclasses.fields(Layer))]
            raise NetError(
                f"{where} ({layer.type}) has no setting '{name}'" + nearest(name, fields), layer.name, name
            )
        setting = known[name]
        if value != setting.default and not setting.accepts(value):
            raise NetError(f"{where}: {name} wants {setting.wanted}, came {_shown(value)}", layer.name, name)
    for name, setting in known.items():
        if setting.default is REQUIRED and name not in layer.settings:
            raise NetError(f"{where} ({layer.type}) needs {name}, {setting.wanted}", layer.name)


def _check_length(length: Any, where: str, layer: str = "") -> None:
    if length is None or (isinstance(length, str) and length.isidentifier()):
        return
    if not isinstance(length, int) or isinstance(length, bool) or not 1 <= length <= MAX_LENGTH:
        raise NetError(
            f"{where}: unroll wants a number from 1 to {MAX_LENGTH:,} or a name, came {_shown(length)}",
            layer,
            "unroll",
        )


def _check_partition(partition: Any, where: str, layer: str = "") -> None:
    if partition is not None and partition not in (-1, 0, 1):
        raise NetError(
            f"{where}: partition wants 0 (lanes), 1 (features) or -1 (not), came {_shown(partition)}",
            layer,
            "partition",
        )


def _check_phases(layer: Layer, where: str) -> None:
    if layer.include and layer.exclude:
        raise NetError(f"{where} both includes and excludes phases; say one", layer.name, "exclude")
    for field in ("include", "exclude"):
        for phase in getattr(layer, field):
            if phase not in PHASES:
                known = f"; phases are {', '.join(PHASES)}"
                raise NetError(f"{where}: {field} has no phase '{phase}'{known}", layer.name, field)


def _check_edge(layer: Layer, edge: Edge) -> None:
    where = f"layer '{layer.name}', source '{edge.source}'"
    if edge.kind not in KINDS:
        raise NetError(
            f"{where}: an edge is one of {', '.join(KINDS)}, came {_shown(edge.kind)}", layer.name, "sources"
        )
    whole = isinstance(edge.shift, int) and not isinstance(edge.shift, bool)
    if not whole or not 0 <= edge.shift <= MAX_SHIFT:
        raise NetError(
            f"{where}: shift wants a whole number from 0 to {MAX_SHIFT:,}, came {_shown(edge.shift)}",
            layer.name,
            "sources",
        )
    if edge.kind != "same" and edge.shift:
        raise NetError(f"{where}: an '{edge.kind}' edge has no shift", layer.name, "sources")
    if edge.initial is not None and not edge.shift:
        raise NetError(
            f"{where}: an initial value is what copy t < shift reads, and there is no shift",
            layer.name,
            "sources",
        )


def _check_whole(spec: Spec, phase: str) -> None:
    """Check one phase: names and sources, then each edge's lengths."""
    layers: dict[str, Layer] = {}
    if not spec.layers:
        raise NetError(f"the net has no layer in phase {phase}")
    for layer in spec:
        if layer.name in layers:
            raise NetError(f"two layers are called '{layer.name}' in phase {phase}", layer.name, "name")
        layers[layer.name] = layer
    for layer in spec:
        for number, edge in enumerate(layer.sources):
            if edge.source not in layers:
                raise NetError(
                    f"layer '{layer.name}' reads '{edge.source}', but there is no such layer in phase {phase}"
                    + nearest(edge.source, layers),
                    layer.name,
                    "sources",
                )
            _check_lengths(spec, layer, number, layers[edge.source])


def _check_lengths(spec: Spec, layer: Layer, number: int, source: Layer) -> None:
    edge, cls = layer.sources[number], TYPES[layer.type]
    here, there = spec.length_of(layer), spec.length_of(source)
    where = f"layer '{layer.name}', source '{source.name}'"
    if edge.kind == "same" and here != there:
        raise NetError(
            f"{where}: a 'same' edge joins equal lengths, not {length_words(there)} and "
            f"{length_words(here)}; use 'all' or 'last', or give both one unroll",
            layer.name,
            "sources",
        )
    reads_whole = edge.kind == "all" and there != 1
    if reads_whole and number not in cls.remembers:
        readers = ", ".join(name for name, kind in TYPES.items() if kind.remembers)
        raise NetError(
            f"{where}: all {length_words(there)} copies go to each copy of a layer that can't read so many; "
            f"{readers} can, or take 'last'",
            layer.name,
            "sources",
        )
    if number in cls.remembers and not reads_whole:
        raise NetError(
            f"{where}: {layer.type} reads all copies of a longer layer; make it an 'all' edge",
            layer.name,
            "sources",
        )
    if cls.remembers == (0,) and here != 1:
        raise NetError(
            f"layer '{layer.name}' ({layer.type}) has one copy; set unroll = 1", layer.name, "unroll"
        )


def length_words(length: int | str | None) -> str:
    """Return a length as words."""
    return "the net's length" if length is None else f"length {length}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
