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
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import tomli_w

from unrolled.errors import NetError, UsageError, nearest
from unrolled.net.check import check
from unrolled.net.plain import layer_of
from unrolled.net.spec import Layer, Spec
from unrolled.net.toml_places import Path, places_of

MAX_KEY = 64
HEAD = ("name", "unroll", "partition")
PASSED_ON = ("about", "recipe")
"""What a recipe says beside its tables."""
LONG_KEY = re.compile(
    r"""(?:^|[{,\[])[ \t]*(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*)"""
    rf"{{{MAX_KEY},}}",
    re.M,
)
SYNTAX = re.compile(r"(?s)(.*?) \((?:at line (\d+), column (\d+)|at end of document)\)$")


@dataclass(frozen=True)
class TomlNet:
    """A net that was read, what else the file holds, and where its layers stand."""

    spec: Spec
    tables: Mapping[str, Any]
    places: Mapping[Path, tuple[int, int]]

    def place_of(self, layer: str, field: str = "", phase: str | None = None) -> tuple[int, int] | None:
        """Return line and column of a layer's field, or of the layer, or of a field of the net."""
        if not layer:
            return self.places.get((field,))
        numbers = [
            number
            for number, other in enumerate(self.spec)
            if other.name == layer and other.belongs_to(phase)
        ]
        if not numbers:
            return None
        # Of two layers of one name it is the second that is one too many.
        number = numbers[-1] if field == "name" else numbers[0]
        return self.places.get(("layer", number, field)) or self.places.get(("layer", number))


def parse(text: str, label: str) -> TomlNet:
    """Read a net, each layer checked by itself; NetError, as ``label:line:column: what``, if it's wrong."""
    data = _loads(text, label)
    places = places_of(text)

    def wrong(error: NetError, *path: str | int) -> NetError:
        return placed(error, label, _nearest_place(places, path))

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
    return TomlNet(Spec(tuple(layers), **head), tables, places)


def placed(error: NetError, label: str, place: tuple[int, int] | None) -> NetError:
    """Return an error that begins with its file, and line and column where they are known."""
    where = label if place is None else f"{label}:{place[0]}:{place[1]}"
    # What a file calls things is told as it is, but for signs that could break a line or move a cursor.
    message = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in str(error))
    return NetError(f"{where}: {message}", error.layer, error.field)


def _nearest_place(places: Mapping[Path, tuple[int, int]], path: Path) -> tuple[int, int] | None:
    """Return the place of a path, or of what holds it."""
    while path and path not in places:
        path = path[:-1]
    return places.get(path)


def _top_fault(key: str, value: Any) -> str | None:
    """Return what is wrong with something at the top of a file, or None where it is for others to read."""
    if key in PASSED_ON or isinstance(value, dict):
        return None
    known = [*HEAD, "layer", *PASSED_ON]
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        return f"a net has no list [[{key}]]" + (nearest(key, known) or "; layers are [[layer]]")
    return f"a net has no field '{key}'" + (nearest(key, known) or f"; it has {', '.join(HEAD)}")


def _loads(text: str, label: str) -> dict[str, Any]:
    long = LONG_KEY.search(text)
    if long:
        line = text.count("\n", 0, long.start() + 1) + 1
        raise UsageError(f"{label}:{line}:1: a key has at most {MAX_KEY} parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UsageError(f"{label}: this is nested too deeply for a net") from None
    except ValueError as error:
        match = SYNTAX.match(str(error))
        if match is None:
            raise UsageError(f"{label}: this is not TOML: {_one_line(str(error))}") from error
        last = text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1
        line, column = (int(match[2]), int(match[3])) if match[2] else last
        raise UsageError(f"{label}:{line}:{column}: this is not TOML: {_one_line(match[1])}") from error


def _one_line(message: str) -> str:
    return " ".join(message.split())[:200]


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
