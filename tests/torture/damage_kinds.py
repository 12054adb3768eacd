"""Ways to damage a run by its files as wholes, each with a name."""

from __future__ import annotations

import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

Damage = Callable[[Path, random.Random], list[str]]
Named = tuple[str, Damage]

CHECKPOINT_FILES = (
    "model.safetensors",
    "config.json",
    "state.safetensors",
    "state.json",
    "manifest.json",
    "README.md",
)
RUN_FILES = ("config.toml", "metrics.jsonl", "samples.jsonl", "lock")
NEWEST, BEFORE = "checkpoints/12", "checkpoints/8"
ALL = (*RUN_FILES, *(f"{folder}/{name}" for folder in (NEWEST, BEFORE) for name in CHECKPOINT_FILES))


def moved() -> Iterator[Named]:
    """Files and checkpoints of one run that changed places."""
    for one, other in itertools.combinations(CHECKPOINT_FILES, 2):
        yield f"swap-{one}-{other}", partial(_swap, f"{NEWEST}/{one}", f"{NEWEST}/{other}")
    for name in CHECKPOINT_FILES:
        yield f"swap-checkpoints-{name}", partial(_swap, f"{NEWEST}/{name}", f"{BEFORE}/{name}")
        yield f"older-{name}", partial(_copy, f"{BEFORE}/{name}", f"{NEWEST}/{name}")
    for one, other in itertools.combinations(RUN_FILES[:3], 2):
        yield f"swap-{one}-{other}", partial(_swap, one, other)
    yield "swap-checkpoints", partial(_swap, NEWEST, BEFORE)
    for number in (0, 9, 13, 99, 10**17):
        yield f"rename-newest-{number}", partial(_rename, NEWEST, f"checkpoints/{number}")
        yield f"rename-before-{number}", partial(_rename, BEFORE, f"checkpoints/{number}")
    for name in ("012", "-1", "1e3", "12 ", "٣", "1" * 30):
        yield f"rename-before-{name}", partial(_rename, BEFORE, f"checkpoints/{name}")


def replaced() -> Iterator[Named]:
    """Files that are gone, empty, longer, or something else than a file."""
    for name in (
        *ALL,
        NEWEST,
        BEFORE,
        "checkpoints",
        "last",
        "best",
        "checkpoints/12/extra",
        "checkpoints/.13.77",
    ):
        for what, change in _INSTEAD.items():
            yield f"{what}-{name}", partial(_instead, name, change)
    for name in ALL:
        for what, more in (
            ("byte", b"x"),
            ("newline", b"\n"),
            ("zeros", b"\0" * 1000),
            ("line", b'{"a": 1}\n'),
        ):
            yield f"append-{what}-{name}", partial(_append, name, more)
        yield f"zero-block-{name}", partial(_zero, name)
        yield (
            f"double-{name}",
            lambda run, draw, name=name: _append(name, (run / name).read_bytes(), run, draw),
        )


def changed(others: tuple[Path, Path]) -> Iterator[Named]:
    """Files and checkpoints of another run."""
    for number, other in enumerate(others):
        for name in ALL:
            yield f"other-{number}-{name}", partial(_from, other, name, name)
        yield f"other-{number}-checkpoint", partial(_from, other, NEWEST, NEWEST)
        yield f"other-{number}-checkpoints", partial(_from, other, "checkpoints", "checkpoints")
        yield f"other-{number}-later", partial(_from, other, NEWEST, "checkpoints/16")
        for pair in (("model.safetensors", "config.json"), ("state.safetensors", "state.json")):
            yield f"other-{number}-{pair[0]}-pair", partial(_pair, other, pair)


def _swap(one: str, other: str, run: Path, draw: random.Random) -> list[str]:
    aside = run / "aside"
    (run / one).rename(aside)
    (run / other).rename(run / one)
    aside.rename(run / other)
    return [one, other]


def _copy(one: str, other: str, run: Path, draw: random.Random) -> list[str]:
    shutil.copy(run / one, run / other)
    return [other]


def _rename(one: str, other: str, run: Path, draw: random.Random) -> list[str]:
    (run / one).rename(run / other)
    return [one, other]


def _instead(name: str, change: Callable[[Path], object], run: Path, draw: random.Random) -> list[str]:
    path = run / name
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    change(path)
    return [name]


def _append(name: str, more: bytes, run: Path, draw: random.Random) -> list[str]:
    with (run / name).open("ab") as file:
        file.write(more)
    return [name]


def _zero(name: str, run: Path, draw: random.Random) -> list[str]:
    data = (run / name).read_bytes()
    begin = draw.randrange(max(1, len(data) - 512))
    end = min(len(data), begin + 512)
    (run / name).write_bytes(data[:begin] + bytes(end - begin) + data[end:])
    return [name]


def _from(other: Path, name: str, to: str, run: Path, draw: random.Random) -> list[str]:
    path = run / to
    if path.is_dir():
        shutil.rmtree(path)
    if (other / name).is_dir():
        shutil.copytree(other / name, path)
    else:
        shutil.copy(other / name, path)
    return [to]


def _pair(other: Path, names: tuple[str, str], run: Path, draw: random.Random) -> list[str]:
    for name in names:
        shutil.copy(other / NEWEST / name, run / NEWEST / name)
    return [NEWEST]


def _nested(path: Path) -> None:
    (path / "a").mkdir(parents=True)
    (path / "a" / "b").write_bytes(b"x")


_INSTEAD: dict[str, Callable[[Path], object]] = {
    "remove": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "directory": lambda path: path.mkdir(),
    "tree": _nested,
    "pipe": os.mkfifo,
    "link-to-nothing": lambda path: path.symlink_to("nowhere"),
    "link-to-itself": lambda path: path.symlink_to(path.name),
    "link-to-zero": lambda path: path.symlink_to("/dev/zero"),
    "link-up": lambda path: path.symlink_to(".."),
}
