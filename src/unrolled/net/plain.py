"""A layer as a file says it, read strictly: every field known, every value of the right kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from unrolled.errors import NetError, nearest
from unrolled.net.fill import RULES
from unrolled.net.layers.base import NUMBER, TEXT, Setting, is_number
from unrolled.net.spec import KINDS, Edge, Layer, Param

Place = tuple[str | int, ...]

WHOLE = Setting("a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool))
WORD = Setting("a text", lambda v: isinstance(v, str))
EDGE = {
    "source": Setting("a layer's name", TEXT.accepts),
    "kind": Setting(f"one of {', '.join(KINDS)}", lambda v: isinstance(v, str) and v in KINDS),
    "shift": WHOLE,
    "initial": Setting(
        "a number, or { low, high, integer } to draw from", lambda v: is_number(v) or isinstance(v, Mapping)
    ),
}
INITIAL = {
    "low": NUMBER,
    "high": NUMBER,
    "integer": Setting("true or false", lambda v: isinstance(v, bool)),
}
PARAM = {
    "role": TEXT,
    "name": WORD,
    "gate": TEXT,
    "init": Setting("a table, such as { type = 'constant', value = 0.0 }", lambda v: isinstance(v, Mapping)),
    "lr": NUMBER,
    "decay": NUMBER,
    "share_from": WORD,
}
INIT = {
    "type": Setting(f"one of {', '.join(RULES)}", lambda v: isinstance(v, str) and v in RULES),
    "variance": Setting("in, out or average", lambda v: v in ("in", "out", "average")),
    **dict.fromkeys(("value", "low", "high", "mean", "std"), NUMBER),
}
PHASE_LIST = Setting(
    "a list of phases, such as ['train']",
    lambda v: isinstance(v, list | tuple) and all(isinstance(part, str) for part in v),
)


class FieldError(NetError):
    """A NetError that knows the way from the layer to what is wrong: ``("sources", 0, "shift")``."""

    def __init__(self, message: str, layer: str, path: Place) -> None:
        super().__init__(message, layer, str(path[0]) if path else "")
        self.path = path


def layer_of(entry: Mapping[str, Any]) -> Layer:
    """Return the layer that a table says, as ``Layer.to_dict`` writes it; FieldError where it doesn't.

    What is no field of every layer is a setting of its type, which ``check`` looks at.
    """
    rest = dict(entry)
    name = rest.pop("name", None)
    if not isinstance(name, str) or not name:
        came = "it has none" if name is None else f"came {_shown(name)}"
        raise FieldError(f"every layer needs a name, and {came}", "", ("name",) if name is not None else ())
    where = f"layer '{name}'"
    kind = rest.pop("type", None)
    if not isinstance(kind, str):
        own = [f.name for f in fields(Layer)]
        near = next((key for key in rest if key not in own and nearest(key, ["type"])), None)
        came = f"came {_shown(kind)}" if kind is not None else f"it has {repr(near) if near else 'none'}"
        raise FieldError(
            f"{where} needs a type, a text, and {came}", name, ("type",) if kind is not None else ()
        )
    sources = tuple(
        edge_of(value, name, ("sources", number))
        for number, value in enumerate(_list(rest, "sources", where, name))
    )
    params = tuple(
        param_of(value, name, ("params", number))
        for number, value in enumerate(_list(rest, "params", where, name))
    )
    own_fields: dict[str, Any] = {key: rest.pop(key) for key in ("unroll", "partition") if key in rest}
    if "partition" in own_fields:
        _fits(own_fields["partition"], WHOLE, f"{where}: partition", name, ("partition",))
    for key in ("include", "exclude"):
        if key in rest:
            _fits(rest[key], PHASE_LIST, f"{where}: {key}", name, (key,))
            own_fields[key] = tuple(rest.pop(key))
    return Layer(name, kind, sources, rest, params, **own_fields)


def edge_of(value: Any, layer: str = "", path: Place = ()) -> Edge:
    """Return the edge that a text or a table says; FieldError where it doesn't."""
    where = f"layer '{layer}', a source"
    if isinstance(value, str) and value:
        return Edge(value)
    if not isinstance(value, Mapping):
        wanted = "a layer's name, or { source, kind, shift, initial }"
        raise FieldError(f"{where}: wanted {wanted}, came {_shown(value)}", layer, path)
    _known(value, EDGE, where, layer, path, needs="source")
    if isinstance(value.get("initial"), Mapping):
        at = (*path, "initial")
        _known(value["initial"], INITIAL, f"{where}: initial", layer, at)
        for end in ("low", "high"):
            if end not in value["initial"]:
                raise FieldError(f"{where}: initial draws from low to high, and has no {end}", layer, at)
        low, high = value["initial"]["low"], value["initial"]["high"]
        if low > high:
            raise FieldError(f"{where}: initial draws from low to high, came {low} to {high}", layer, at)
    return Edge(**value)


def param_of(value: Any, layer: str = "", path: Place = ()) -> Param:
    """Return the parameter that a table says; FieldError where it doesn't."""
    where = f"layer '{layer}', a parameter"
    if not isinstance(value, Mapping):
        wanted = "{ role, name, gate, init, lr, decay, share_from }"
        raise FieldError(f"{where}: wanted {wanted}, came {_shown(value)}", layer, path)
    _known(value, PARAM, where, layer, path, needs="role")
    if "init" in value:
        _init_fits(value["init"], f"{where}: init", layer, (*path, "init"))
    return Param(**value)


def _init_fits(init: Mapping[str, Any], where: str, layer: str, path: Place) -> None:
    _known(init, INIT, where, layer, path, needs="type")
    low, high = init.get("low", -1.0), init.get("high", 1.0)
    if "uniform" in init["type"] and low > high:
        raise FieldError(f"{where} draws from low to high, came {low} to {high}", layer, path)
    if init.get("std", 1.0) < 0:
        raise FieldError(f"{where}: std wants 0 or more, came {init['std']}", layer, (*path, "std"))


def _list(rest: dict[str, Any], key: str, where: str, layer: str) -> list[Any]:
    found = rest.pop(key, [])
    if not isinstance(found, list | tuple):
        raise FieldError(f"{where}: {key} wants a list, [ ... ], came {_shown(found)}", layer, (key,))
    return list(found)


def _known(
    table: Mapping[str, Any],
    known: Mapping[str, Setting],
    where: str,
    layer: str,
    path: Place,
    needs: str | None = None,
) -> None:
    for key, value in table.items():
        if key not in known:
            near = nearest(key, known) or f"; it has {', '.join(known)}"
            raise FieldError(f"{where} has no field '{key}'{near}", layer, (*path, key))
        _fits(value, known[key], f"{where}: {key}", layer, (*path, key))
    if needs is not None and needs not in table:
        raise FieldError(f"{where} needs {needs}, {known[needs].wanted}", layer, path)


def _fits(value: Any, setting: Setting, where: str, layer: str, path: Place) -> None:
    accepts: Callable[[Any], bool] = setting.accepts
    if not accepts(value):
        raise FieldError(f"{where} wants {setting.wanted}, came {_shown(value)}", layer, path)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
