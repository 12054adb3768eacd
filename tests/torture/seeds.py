"""Every example of settings and nets in the repository: shipped files, blocks of docs, inputs of tests."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN = Path(__file__).parent / "seeds"
BLOCK = re.compile(r"^```toml\n(.*?)^```", re.S | re.M)


@dataclass(frozen=True)
class Seed:
    """A file's text; ``kind`` is what reads it: settings, net, singa or caffe."""

    name: str
    kind: str
    text: str


ENDINGS = {"settings": ".toml", "net": ".toml", "singa": ".conf", "caffe": ".prototxt"}
"""Of each kind the ending of its files."""


@functools.cache
def seeds() -> tuple[Seed, ...]:
    """Return all that there are, each text once."""
    found: dict[str, Seed] = {}
    for name, text in [*_files(), *_docs(), *_tests()]:
        kind = _kind(text)
        if kind is not None:
            found.setdefault(text, Seed(name, kind, text))
    return tuple(found.values())


def of_kind(kind: str) -> tuple[Seed, ...]:
    """Return the seeds of a kind."""
    return tuple(seed for seed in seeds() if seed.kind == kind)


def _files() -> Iterator[tuple[str, str]]:
    shipped = Path(str(resources.files("unrolled") / "recipes"))
    for folder in (shipped, ROOT / "examples", ROOT / "benchmarks", OWN):
        for path in sorted(folder.rglob("*")):
            if path.suffix in ENDINGS.values():
                yield f"{folder.name}/{path.relative_to(folder)}", path.read_text(encoding="utf-8")


def _docs() -> Iterator[tuple[str, str]]:
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for number, block in enumerate(BLOCK.findall(path.read_text(encoding="utf-8"))):
            yield f"{path.name} {number}", block


def _tests() -> Iterator[tuple[str, str]]:
    """Yield the texts in the tests' sources that are nets."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        for node in texts:
            text = node.value
            if isinstance(text, str) and len(text) > 60 and ("[[layer]]" in text or "layer {" in text):
                yield f"{path.stem} {node.lineno}", text


def _kind(text: str) -> str | None:
    if "[[layer]]" in text:
        return "net"
    if re.search(r"^\[(data|net|training)\]|^recipe = ", text, re.M):
        return "settings"
    if re.search(r"\btype: ?k[A-Z]", text):
        return "singa"
    return "caffe" if re.search(r"""\btype: ?["'][A-Z]""", text) else None
