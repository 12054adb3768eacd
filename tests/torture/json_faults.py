"""What can be wrong with the JSON and TOML of a run."""

from __future__ import annotations

import json
import random
from typing import Any

from .models import CHECKPOINT, Content, Files, sealed

JSON = ("config.json", "state.json")
BIG = 10**400
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 255, 256, 2**31, 2**63, -(2**63), 10**30, BIG, 0.5, -0.0, 1e308,
    float("nan"), float("inf"), float("-inf"), "", " ", "x", "0", "\ud800", "\x00", "a\nb", "é" * 300,
    "x" * 5000,
    "../../etc/passwd", "/etc/x.py:Y", "evil.py:Evil", "./evil.py:Evil", "os:system", "cuda", "float16",
    "float64", "int64", "byte", "char", "word", [], {}, [[]], [None], [0], ["a"], ["a", "a"], [{}],
    {"a": 1}, {"units": "char", "symbols": ["a"]}, {"units": "byte"},
    {"units": "word", "symbols": ["a", "b"]},
)  # fmt: skip
"""What a field is replaced by."""


def field(outer: Files, inner: Files, draw: random.Random) -> None:
    """One field holds something else, or is gone, or there twice; the manifest is true, mostly."""
    name = draw.choice(("config.json", "config.json", "state.json", "manifest.json"))
    table = json.loads(_bytes(inner[name]))
    if name == "state.json" and draw.random() < 0.5:
        table |= {"position": _mutated(table["position"], draw)}
    else:
        table = _mutated(table, draw)
    inner[name] = json.dumps(table).encode()
    if name != "manifest.json" and draw.random() < 0.9:
        sealed(inner)


def fields(outer: Files, inner: Files, draw: random.Random) -> None:
    """Several fields at once, in both tables."""
    for name in JSON:
        table = json.loads(_bytes(inner[name]))
        for _ in range(draw.randint(1, 3)):
            table = _mutated(table, draw)
        inner[name] = json.dumps(table).encode()
    sealed(inner)


def text(outer: Files, inner: Files, draw: random.Random) -> None:
    """A whole file is JSON of a kind that readers stumble over, or none at all."""
    name = draw.choice((*JSON, "manifest.json"))
    plain = _bytes(inner[name])
    inner[name] = draw.choice(_texts())(plain)
    if name != "manifest.json":
        sealed(inner)


def journal(outer: Files, inner: Files, draw: random.Random) -> None:
    """A journal's line is something else, or comes after those that the checkpoint remembers."""
    name = draw.choice([name for name in outer if name.endswith(".jsonl")])
    lines = _bytes(outer[name]).splitlines(keepends=True)
    place = draw.randrange(len(lines))
    if draw.random() < 0.6:
        lines.append(lines[place])
        place = len(lines) - 1
    made = draw.choice(
        (
            lambda line: json.dumps(_mutated(json.loads(line), draw)).encode() + b"\n",
            lambda line: draw.choice(_texts())(line.strip()).replace(b"\n", b" ") + b"\n",
            lambda line: bytes(draw.randrange(256) for _ in range(len(line))),
            lambda line: b"",
            lambda line: line * 2,
        )
    )
    lines[place] = made(lines[place])
    outer[name] = b"".join(lines)


def settings(outer: Files, inner: Files, draw: random.Random) -> None:
    """The run's config.toml says something else."""
    import tomllib

    import tomli_w

    plain = _bytes(outer["config.toml"])
    if draw.random() < 0.7:
        table = tomllib.loads(plain.decode())
        for _ in range(draw.randint(1, 2)):
            table = _mutated(table, draw)
        try:
            outer["config.toml"] = tomli_w.dumps(table).encode("utf-8", "surrogatepass")
        except (TypeError, ValueError, RecursionError):
            outer["config.toml"] = b"x = " + b"[" * 10_000
        return
    begin = draw.randrange(len(plain))
    made = (
        plain[:begin],
        plain[:begin] + bytes(draw.randrange(256) for _ in range(8)) + plain[begin:],
        b"x = " + b"[" * 100_000,
        b"x = " + b"{a=" * 10_000,
        ".".join("a" * 3000).encode() + b" = 1",
        b"x = " + b"9" * 100_000,
        b"x = 1979-05-27T07:32:00\n" + plain,
        plain * 2,
        b"\xff\xfe" + plain,
        plain.replace(b"=", b"= 1 #"),
        b"\x00" * 100,
    )
    outer["config.toml"] = draw.choice(made)


def card(outer: Files, inner: Files, draw: random.Random) -> None:
    """The card, which nobody reads but people, is anything or gone; names that nobody knows lie beside it."""
    inner["README.md"] = bytes(draw.randrange(256) for _ in range(50))
    if draw.random() < 0.5:
        del inner["README.md"]
    inner["sitecustomize.py"] = inner["unrolled.py"] = b"open('marker', 'w')\n"
    inner["evil.pth"] = b"import os; open('marker', 'w')\n"


def _bytes(content: Content) -> bytes:
    assert isinstance(content, bytes)
    return content


def _texts() -> list[Any]:
    big = b"9" * 5000
    deep = 10_000
    return [
        lambda plain: b"",
        lambda plain: b"[" * deep + b"]" * deep,
        lambda plain: b'{"a":' * deep + b"1" + b"}" * deep,
        lambda plain: plain.rstrip()[:-1] + b', "format": ' + b"[" * deep + b"]" * deep + b"}",
        lambda plain: plain.rstrip()[:-1] + b', "format": ' + big + b"}",
        lambda plain: plain.rstrip()[:-1] + b', "format": 1e999}',
        lambda plain: plain.rstrip()[:-1] + b', "format": -1}',
        lambda plain: plain.rstrip()[:-1] + b', "format": NaN}',
        lambda plain: plain.rstrip()[:-1] + b', "layers": [], "layers": Infinity}',
        lambda plain: plain.rstrip()[:-1] + b', "x": "\\ud800", "\\udfff": 1}',
        lambda plain: plain.rstrip()[:-1] + b"," + plain.lstrip()[1:],
        lambda plain: b"\xef\xbb\xbf" + plain,
        lambda plain: plain.decode().encode("utf-16"),
        lambda plain: plain.decode().encode("utf-32"),
        lambda plain: plain.replace(b" ", b"\x00"),
        lambda plain: plain + plain,
        lambda plain: b"[" + plain + b"]",
        lambda plain: b"null",
        lambda plain: b"1",
        lambda plain: b'"x"',
        lambda plain: b"{}",
        lambda plain: b"[" + b"{}," * 1_500_000 + b"1]",
        lambda plain: b'{"layers":[' + b"[]," * 1_500_000 + b"1]}",
        lambda plain: b'{"a":"' + b"x" * 30_000_000 + b'"}',
        lambda plain: b'{"a":[' + b'"ab",' * 4_000_000 + b"1]}",
        lambda plain: b"{" + b",".join(b'"%d":0' % n for n in range(300_000)) + b"}",
        lambda plain: b"\x80\x04\x95",
        lambda plain: b"\xff" * 1000,
    ]


def _mutated(tree: Any, draw: random.Random) -> Any:
    """Return a copy of a tree of lists and dicts in which one place is otherwise."""
    copy = json.loads(json.dumps(tree, default=str))
    places = list(_places(copy))
    if not places:
        return draw.choice(VALUES)
    within, key = draw.choice(places)
    match draw.randrange(8):
        case 0:
            del within[key]
        case 1 if isinstance(within, dict):
            within[draw.choice(("x", "", "format", "cell", "unroll", "initial", "\ud800"))] = draw.choice(
                VALUES
            )
        case 1:
            within.insert(key, draw.choice(VALUES))
        case 2:
            other, there = draw.choice(places)
            within[key] = json.loads(json.dumps(other[there]))
        case 3 if isinstance(within[key], int | float) and not isinstance(within[key], bool):
            within[key] = draw.choice((within[key] + 1, -within[key], within[key] * 10**9, str(within[key])))
        case 4:
            within[key] = [within[key]]
        case _:
            within[key] = draw.choice(VALUES)
    return copy


def _places(tree: Any) -> Any:
    if isinstance(tree, dict):
        for key in list(tree):
            yield tree, key
            yield from _places(tree[key])
    elif isinstance(tree, list):
        for place in range(len(tree)):
            yield tree, place
            yield from _places(tree[place])


FAULTS = ((30, field), (10, fields), (6, text), (12, journal), (8, settings), (1, card))

assert set(JSON) < set(CHECKPOINT)
