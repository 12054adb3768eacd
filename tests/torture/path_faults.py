"""What can lie under a name where a file is expected."""

from __future__ import annotations

import json
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

from .models import CHECKPOINT, Content, Files, sealed

OUTER = ("config.toml", "metrics.jsonl", "samples.jsonl", "lock", "checkpoints", "last", "cell.py.txt")
INNER = (*CHECKPOINT, "manifest.json", "README.md")


def special(outer: Files, inner: Files, draw: random.Random) -> None:
    """A link, a pipe, a device, a socket, a directory, a file without end or without rights."""
    files, name = (outer, draw.choice(OUTER)) if draw.random() < 0.4 else (inner, draw.choice(INNER))
    plain = files.get(name, b"")
    assert isinstance(plain, bytes)
    files[name] = draw.choice(_KINDS)(plain, draw)
    if name == "checkpoints":
        inner.clear()


def gone(outer: Files, inner: Files, draw: random.Random) -> None:
    """One file or several are not there, or empty."""
    for _ in range(draw.randint(1, 3)):
        files, names = (outer, OUTER) if draw.random() < 0.3 else (inner, INNER)
        name = draw.choice(names)
        if draw.random() < 0.5:
            files.pop(name, None)
        elif name != "checkpoints":
            files[name] = b""
    if draw.random() < 0.5:
        sealed(inner)


def names(outer: Files, inner: Files, draw: random.Random) -> None:
    """The manifest or the journals' sizes name files outside; to nobody are these paths."""
    evil = draw.choice(
        ("../../../config.toml", "/etc/passwd", "..", ".", "", "/", "\x00", "a" * 5000, "con", "~")
    )
    manifest = inner["manifest.json"]
    assert isinstance(manifest, bytes)
    inner["manifest.json"] = json.dumps({**json.loads(manifest), evil: "0" * 64}).encode()
    state = inner["state.json"]
    assert isinstance(state, bytes)
    table = json.loads(state)
    table["journals"][evil] = draw.choice((0, 10, -1, 2**70, None, "x"))
    if draw.random() < 0.5:
        table["journals"]["metrics"] = draw.choice((0, 10, -1, 2**70, None, "x", 1.5, [], True))
    inner["state.json"] = json.dumps(table).encode()
    if draw.random() < 0.8:
        sealed(inner)


def texts(outer: Files, inner: Files, draw: random.Random) -> None:
    """The run's text is a pipe, a device, a directory, or somewhere where it never was."""
    import tomllib

    import tomli_w

    plain = outer["config.toml"]
    assert isinstance(plain, bytes)
    tables = tomllib.loads(plain.decode())
    tables["text"]["paths"] = draw.choice(
        (["/dev/zero"], ["/dev/stdin"], ["/dev/full"], ["pipe"], ["."], ["/"], [""], ["\x00"], ["x" * 9999],
         [], ["/proc/self/mem"], ["/etc/passwd"], ["a", "b"], ["~"], ["/dev/tty"], [".."])
    )  # fmt: skip
    tables["text"]["hdf5"] = draw.random() < 0.3
    outer["config.toml"] = tomli_w.dumps(tables).encode()


def _link(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def _aside(data: bytes, join: Callable[[Path, Path], object]) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        (path.parent / f"{path.name}.aside").write_bytes(data)
        join(path.parent / f"{path.name}.aside", path)

    return make


def _pipe_with_writer(path: Path) -> None:
    """Make a pipe that hangs on to whoever opens it."""
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _sparse(size: int) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return make


def _locked(data: bytes) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        path.write_bytes(data)
        path.chmod(0)

    return make


_KINDS: tuple[Callable[[bytes, random.Random], Content], ...] = (
    lambda data, draw: _pipe_with_writer,
    lambda data, draw: _link(draw.choice(("/dev/zero", "/dev/full", "/dev/stdin", "/dev/tty"))),
    lambda data, draw: _link(draw.choice(("/etc/passwd", "/proc/self/mem", "/proc/kmsg", "/proc/self/maps"))),
    lambda data, draw: _link(draw.choice(("nowhere", ".", "..", "/", "../../..", "a" * 255))),
    lambda data, draw: lambda path: path.symlink_to(path.name),
    lambda data, draw: _aside(data, lambda aside, path: path.symlink_to(aside)),
    lambda data, draw: _aside(data, lambda aside, path: os.link(aside, path)),
    lambda data, draw: lambda path: path.mkdir(),
    lambda data, draw: lambda path: (path / "a" / "b").mkdir(parents=True),
    lambda data, draw: _socket,
    lambda data, draw: _sparse(draw.choice((10**8, 3 * 10**9, 10**12))),
    lambda data, draw: _locked(data),
)

FAULTS = ((12, special), (4, gone), (4, names), (4, texts))
