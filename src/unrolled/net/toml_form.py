"""A net as TOML: ``name``, ``unroll``, ``partition``, and a ``[[layer]]`` for each layer.

::

    name = "echo"
    unroll = 20

    [[layer]]
    name = "h"
    type = "recurrent"
    sources = ["x", { source = "y", shift = 1 }]
    cell = "gru"
    hidden = 64
    params = [{ role = "x_to_rzn", init = { type = "uniform", low = -0.08, high = 0.08 } }]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import tomli_w

from unrolled.errors import NetError, nearest, printable
from unrolled.net.check import check
from unrolled.net.plain import layer_of
from unrolled.net.spec import Layer, Spec
from unrolled.toml_text import TomlText, read_toml

HEAD = ("name", "unroll", "partition")
PASSED_ON = ("about", "recipe")
"""What a recipe says beside its tables."""


@dataclass(frozen=True)
class TomlNet:
    """A net that was read, what else the file holds, and where its layers stand."""

    spec: Spec
    tables: Mapping[str, Any]
    text: TomlText

    def where(self, layer: str, field: str = "", phase: str | None = None) -> str:
        """Return ``file:line:column`` of a layer's field, or of the layer, or of a field of the net."""
        if not layer:
            return self.text.where(field)
        numbers = [
            number
            for number, other in enumerate(self.spec)
            if other.name == layer and other.belongs_to(phase)
        ]
        if not numbers:
            return self.text.where()
        # Of two layers of one name it is the second that is one too many.
        number = numbers[-1] if field == "name" else numbers[0]
        return self.text.where("layer", number, field)


def parse(source: str | bytes, label: str) -> TomlNet:
    """Read a net, each layer checked by itself; NetError, as ``label:line:column: what``, if it's wrong."""
    text = read_toml(source, label)
    data = text.data

    def wrong(error: NetError, *path: str | int) -> NetError:
        return placed(error, text.where(*path))

    tables = {key: value for key, value in data.items() if key not in ("layer", *HEAD)}
    for key, value in tables.items():
        fault = _top_fault(key, value)
        if fault:
            raise wrong(NetError(fault, field=key), key, 0)
    entries = data.get("layer", [])
    if not entries or not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        what = "there is no [[layer]] in it" if not entries else "'layer' must be tables, each [[layer]]"
        raise wrong(NetError(f"a net is a list of layers, and {what}"), "layer")
    head = {key: data[key] for key in HEAD if key in data}
    if not isinstance(head.get("name", ""), str):
        raise wrong(NetError(f"name: wanted a text, came {head['name']!r}", field="name"), "name")
    try:
        check(Spec((), **head))
    except NetError as error:
        raise wrong(error, error.field) from error
    layers = []
    for number, entry in enumerate(entries):
        try:
            layers.append(layer_of(entry))
            check(Spec((layers[-1],)))
        except NetError as error:
            at = getattr(error, "path", None) or ((error.field,) if error.field else ())
            raise wrong(error, "layer", number, *at) from error
    return TomlNet(Spec(tuple(layers), **head), tables, text)


def placed(error: NetError, where: str) -> NetError:
    """Return an error that begins with its place."""
    return NetError(f"{where}: {printable(str(error))}", error.layer, error.field)


def _top_fault(key: str, value: Any) -> str | None:
    """Return what is wrong with something at the top of a file, or None where it is for others to read."""
    if key in PASSED_ON or isinstance(value, dict):
        return None
    known = [*HEAD, "layer", *PASSED_ON]
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        return f"a net has no list [[{key}]]" + (nearest(key, known) or "; layers are [[layer]]")
    return f"a net has no field '{key}'" + (nearest(key, known) or f"; it has {', '.join(HEAD)}")


def to_toml(spec: Spec, tables: Mapping[str, Any] | None = None) -> str:
    """Write a net as TOML that ``read_net`` gives back: a table a layer, a line a setting.

    ``tables`` are what else the file is to hold. NetError for what TOML has no word for, such as None.
    """
    more = dict(tables or {})
    plain = spec.to_dict()
    try:
        lines = [f"{key} = {_value(more.pop(key))}" for key in PASSED_ON if key in more]
        lines += [f"{key} = {_value(plain[key])}" for key in HEAD if key in plain]
    except TypeError as error:
        raise NetError(f"the net can't be written as TOML: {error}") from error
    for layer in spec:
        lines += ["", "[[layer]]", *_layer_lines(layer)]
    text = "\n".join(lines).lstrip("\n") + "\n"
    return text + ("\n" + tomli_w.dumps(more) if more else "")


def _layer_lines(layer: Layer) -> list[str]:
    plain = layer.to_dict()
    own = [f.name for f in fields(Layer) if f.name not in ("name", "type", "sources", "settings", "params")]
    order = ["name", "type", "sources", *layer.settings, *own, "params"]
    try:
        return [
            f"{_key(key)} = {_rows(plain[key]) if key == 'params' else _value(plain[key])}"
            for key in dict.fromkeys(order)
            if key in plain
        ]
    except TypeError as error:
        raise NetError(f"layer '{layer.name}' can't be written as TOML: {error}", layer.name) from error


def _rows(values: Sequence[Any]) -> str:
    """Write an array, with a line for each item where they are several."""
    if len(values) == 1:
        return _value(values)
    return "[\n" + "".join(f"  {_value(value)},\n" for value in values) + "]"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    raise TypeError(f"there is no word for {value!r}")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _text(text: str) -> str:
    """Write a string in quotes; control characters by number, as TOML wants it."""
    if not text.isascii() and any(0xD800 <= ord(sign) < 0xE000 for sign in text):
        raise TypeError(f"there is no word for {text!r}")
    named = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    signs = (
        named.get(sign) or (f"\\u{ord(sign):04x}" if ord(sign) < 32 or ord(sign) == 127 else sign)
        for sign in text
    )
    return f'"{"".join(signs)}"'
