"""Nets and vocabularies that no training would have written, in a checkpoint whose hashes hold."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from .models import Content, Files, sealed

Config = dict[str, Any]


def net(outer: Files, inner: Files, draw: random.Random) -> None:
    """The net is absurd."""
    _changed(inner, lambda config: draw.choice(_NETS)(config, draw))


def own_cell(outer: Files, inner: Files, draw: random.Random) -> None:
    """A layer's cell is a file of code beside the model, or anywhere; it must not be run unasked."""
    code = b"open('marker', 'w')\nimport unrolled\nclass Evil(unrolled.Cell):\n    pass\n"
    for files in (outer, inner):
        files["evil.py"] = code
        files["cell.py.txt"] = code
    named = draw.choice(
        (
            "evil.py:Evil",
            "./run/evil.py:Evil",
            "run/checkpoints/12/evil.py:Evil",
            "/etc/x.py:Y",
            "evil:Evil",
            ":",
            "a:b:c",
        )
    )

    def change(config: Config) -> None:
        for layer in config["layers"]:
            if layer["type"] == "recurrent":
                layer["cell"] = named

    _changed(inner, change)
    plain = outer["config.toml"]
    assert isinstance(plain, bytes)
    if draw.random() < 0.5 and b"[own_cell]" not in plain:
        outer["config.toml"] = plain + f'\n[own_cell]\nname = "{named}"\n'.encode()


def vocab(outer: Files, inner: Files, draw: random.Random) -> None:
    """The vocabulary is huge, or has one symbol twice, or what is no symbol."""

    def change(config: Config) -> None:
        made = draw.choice(_VOCABS)(draw)
        fields = config.get("fields") or []
        if config["vocab"] is None and fields:
            draw.choice(fields)["vocab"] = made
        else:
            config["vocab"] = made

    _changed(inner, change)


def _changed(inner: Files, change: Callable[[Config], object]) -> None:
    plain: Content = inner["config.json"]
    assert isinstance(plain, bytes)
    config = json.loads(plain)
    change(config)
    inner["config.json"] = json.dumps(config).encode()
    sealed(inner)


def _layer(config: Config, draw: random.Random, **fields: Any) -> None:
    draw.choice(config["layers"]).update(fields)


def _recurrent(config: Config, draw: random.Random, **fields: Any) -> None:
    draw.choice([layer for layer in config["layers"] if layer["type"] == "recurrent"]).update(fields)


def _row(config: Config, number: int, kind: str, **fields: Any) -> None:
    """Put a chain of layers in the middle."""
    layers = config["layers"]
    last = next(layer["name"] for layer in layers if layer["type"] == "recurrent")
    for n in range(number):
        layers.append({"name": f"row{n}", "type": kind, "sources": [last], **fields})
        last = f"row{n}"


def _circle(config: Config, shift: int) -> None:
    layers = [layer for layer in config["layers"] if layer.get("sources")]
    first, last = layers[0], layers[-1]
    first["sources"] = [*first["sources"], {"source": last["name"], "shift": shift}]


_SIZES = (0, -1, 10**9, 2**31 - 1, 2**31, 10**12, 10**30, 1.5, "vocab", "h", None, [5], True)
_NETS: tuple[Callable[[Config, random.Random], object], ...] = (
    lambda c, draw: _recurrent(c, draw, hidden=draw.choice(_SIZES)),
    lambda c, draw: _layer(c, draw, size=draw.choice(_SIZES)),
    lambda c, draw: _layer(c, draw, width=draw.choice(_SIZES)),
    lambda c, draw: _layer(
        c, draw, unroll=draw.choice((0, 1, 2, 10**7, 10**8, -1, "n", "0", "a b", 1.5, []))
    ),
    lambda c, draw: c.update(unroll=draw.choice((0, 1, 2, 10**7, 10**8, -1, "n", "", 1.5, []))),
    lambda c, draw: _layer(c, draw, partition=draw.choice((0, 1, 2, -1, "x", None, 1.0))),
    lambda c, draw: _layer(c, draw, include=draw.choice((["train"], ["test"], ["x"], "train", 3, [3], [[]]))),
    lambda c, draw: _layer(
        c, draw, name=draw.choice(("", "..", "/", "a.b", "\n", "__class__", "h" * 9999, "é", 3, None))
    ),
    lambda c, draw: _layer(
        c, draw, type=draw.choice(("", "x", "eval", "text", "ids", "sample", "constant", [], None))
    ),
    lambda c, draw: _layer(
        c, draw, sources=draw.choice(([], ["?"], "h", [3], [[]], [{}], [{"source": 3}], None))
    ),
    lambda c, draw: _layer(
        c, draw, params=draw.choice(([{}], [3], "x", [{"role": "x_to_y"}], [{"role": 3}], None))
    ),
    lambda c, draw: _layer(c, draw, direction=draw.choice(("backward", "x", 3))),
    lambda c, draw: _recurrent(c, draw, bias=False),
    lambda c, draw: _recurrent(
        c, draw, cell=draw.choice(("rnn", "gru", "min-lstm", "linear", "", None, 3, []))
    ),
    lambda c, draw: _layer(
        c, draw, params=[{"role": r, "name": "one"} for r in ("x_to_y", "bias", "x_to_ifgo")]
    ),
    lambda c, draw: _layer(c, draw, params=[{"role": "bias", "share_from": "bias", "name": "bias"}]),
    lambda c, draw: _circle(c, 0),
    lambda c, draw: _circle(c, 1),
    lambda c, draw: _circle(c, 10_000),
    lambda c, draw: _circle(c, 10**9),
    lambda c, draw: _row(c, 300, "copy"),
    lambda c, draw: _row(c, 99_000, "copy"),
    lambda c, draw: _row(c, 1_000_000, "copy"),
    lambda c, draw: _row(c, 20_000, "activation", function="tanh"),
    lambda c, draw: _row(c, 2_000, "linear", size=3),
    lambda c, draw: _row(c, 2_000, "recurrent", cell="lstm", hidden=3),
    lambda c, draw: _row(c, 1, "linear", size=10**9),
    lambda c, draw: _row(c, 3, "reshape", size=[2**31 - 1, 2**31 - 1]),
    lambda c, draw: c["layers"].append({"name": "c", "type": "constant", "size": 10**9, "value": 1.0}),
    lambda c, draw: c["layers"].extend(
        {"name": "same", "type": "copy", "sources": ["same"]} for _ in range(2)
    ),
    lambda c, draw: c["layers"].extend([c["layers"][-1]] * 90_000),
    lambda c, draw: c["layers"][-1].update(sources=["h"] * 100_000),
    lambda c, draw: c["layers"].append(
        {"name": "wide", "type": "concat", "sources": [draw.choice(c["layers"])["name"]] * 50_000}
    ),
    lambda c, draw: c["layers"].reverse(),
    lambda c, draw: draw.shuffle(c["layers"]),
    lambda c, draw: c["layers"].clear(),
    lambda c, draw: c["layers"].pop(draw.randrange(len(c["layers"]))),
    lambda c, draw: c.update(
        boundary=draw.choice(("file", "blank-line", "x", 3, [], "a" * 99_999, "regex:(", ""))
    ),
    lambda c, draw: c.update(dtype=draw.choice(("float64", "float16", "bfloat16", "int8", [], None, ""))),
)
_VOCABS: tuple[Callable[[random.Random], Any], ...] = (
    lambda draw: {"units": "char", "symbols": [chr(n) for n in range(0x20, 0x10F000)]},
    lambda draw: {"units": "char", "symbols": [*map(chr, range(0x20, 0x10000)), " "]},
    lambda draw: {"units": "char", "symbols": [*map(chr, range(0x20, 0xD800)), chr(0xD7FF)]},
    lambda draw: {"units": "char", "symbols": ["a", "a"]},
    lambda draw: {"units": "char", "symbols": ["\ud800", "\udfff", "\x00"]},
    lambda draw: {"units": "char", "symbols": ["ab"]},
    lambda draw: {"units": "char", "symbols": [1, None]},
    lambda draw: {"units": "char", "symbols": [[]]},
    lambda draw: {"units": "char", "symbols": {}},
    lambda draw: {"units": "char", "symbols": []},
    lambda draw: {"units": "char"},
    lambda draw: {"units": "byte", "symbols": ["a"]},
    lambda draw: {"units": "byte"},
    lambda draw: {"units": []},
    lambda draw: {"symbols": ["a"]},
    lambda draw: {"units": "word", "symbols": [str(n) for n in range(300_000)]},
    lambda draw: {"units": "word", "symbols": [*map(str, range(100_000)), "7"]},
    lambda draw: {"units": "word", "symbols": ["x" * 3_000_000]},
    lambda draw: {"units": "word", "symbols": ["\ud800", ""]},
    lambda draw: [],
    lambda draw: "abc",
    lambda draw: 3,
)

FAULTS = ((25, net), (5, own_cell), (6, vocab))
