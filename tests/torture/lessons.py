"""Small trainings of every kind of net, and the runs of them that nothing disturbed."""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .runs import book, fingerprint, updates
from .server import server
from .trials import Wrong

PER_EPOCH, EPOCHS = 33, 2
LAST = PER_EPOCH * EPOCHS

COMMON = shlex.split(
    "--lanes 3 --window 7 --threads 1 --quiet --report-every 1 --checkpoint-every 9 --sample-every 13 "
    "--sample-length 6"
)
NETS = {
    "rnn": "--cell rnn --layers 2 --hidden 5 --engine torch",
    "lstm": "--cell lstm --layers 2 --hidden 5 --dropout 0.3 --engine native",
    "gru": "--cell gru --layers 1 --hidden 6 --embedding 4 --embedding-dropout 0.2 --engine native",
    "own-cell": "--cell {home}/my.py:Leaky --layers 2 --hidden 5 --dropout 0.2",
    "spec": "--net {home}/stack.toml",
    "delays": "--net {home}/delays.toml",
}
OPTIMIZERS = {
    "sgd": "--optimizer sgd --momentum 0.9 --lr 0.1",
    "adam": "--optimizer adam --lr 0.01",
}
SCHEDULES = {
    "step": "--schedule step --decay-every 10 --decay-unit update --decay-factor 0.8",
    "cosine": "--schedule cosine --warmup 5",
}

CELL = '''"""A leaky integrator."""

import torch

import unrolled


class Leaky(unrolled.Cell):
    """h' = 0.9 h + 0.1 tanh([x, h] W + b)."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, h):
        """Take x [B, D] and h [B, H]."""
        h = 0.9 * h + 0.1 * torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
        return h, h
'''
TEXT_NET = """
[[layer]]
name = "text"
type = "text"

[[layer]]
name = "label"
type = "label"
sources = [{ source = "text", kind = "all" }]

[[layer]]
name = "logits"
type = "linear"
sources = ["last"]
size = "vocab"

[[layer]]
name = "loss"
type = "softmax-loss"
sources = ["logits", "label"]
"""
STACK = (
    TEXT_NET
    + """
[[layer]]
name = "x"
type = "embedding"
sources = [{ source = "text", kind = "all" }]
width = 4

[[layer]]
name = "first"
type = "recurrent"
sources = ["x"]
cell = "lstm"
hidden = 5

[[layer]]
name = "thin"
type = "dropout"
sources = ["first"]
ratio = 0.25

[[layer]]
name = "last"
type = "recurrent"
sources = ["thin"]
cell = "gru"
hidden = 6
"""
)
DELAYS = (
    TEXT_NET
    + """
[[layer]]
name = "ids"
type = "copy"
sources = [{ source = "text", kind = "all" }]

[[layer]]
name = "older"
type = "copy"
sources = [{ source = "ids", shift = 11, initial = { low = 0, high = 5, integer = true } }]

[[layer]]
name = "x"
type = "embedding"
sources = ["older"]
width = 3

[[layer]]
name = "hot"
type = "one-hot"
sources = ["ids"]

[[layer]]
name = "mix"
type = "linear"
sources = ["hot", "x", { source = "drop", shift = 2 }]
size = 6

[[layer]]
name = "drop"
type = "dropout"
sources = [{ source = "last", shift = 1 }]
ratio = 0.3

[[layer]]
name = "last"
type = "recurrent"
sources = ["mix"]
cell = "gru"
hidden = 5
"""
)


@functools.cache
def home() -> Path:
    """Return the folder of this process with the text, the cell, the nets and the undisturbed runs."""
    folder = Path(tempfile.mkdtemp(prefix="torture-lessons-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    book(folder / "book.txt")
    book(folder / "long.txt", 700)
    (folder / "my.py").write_text(CELL, encoding="utf-8")
    (folder / "stack.toml").write_text(STACK, encoding="utf-8")
    (folder / "delays.toml").write_text(DELAYS, encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Lesson:
    """What is trained, as flags."""

    net: str
    optimizer: str = "adam"
    schedule: str = "cosine"
    text: str = "book.txt"
    more: str = f"--epochs {EPOCHS}"

    def train(self, run: Path) -> list[str]:
        """Return the words that train it."""
        chosen = (NETS[self.net], OPTIMIZERS[self.optimizer], SCHEDULES[self.schedule], self.more)
        groups = [COMMON, *map(shlex.split, chosen)]
        flags: dict[str, list[str]] = {}
        for group in groups:
            flags |= _by_name(group)
        words = [word.format(home=home()) for name, values in flags.items() for word in (name, *values)]
        return ["train", str(home() / self.text), "--run", str(run), *words]

    def resume(self, run: Path, *more: str) -> list[str]:
        """Return the words that go on with it."""
        own = ["--cell", f"{home()}/my.py:Leaky"] if self.net == "own-cell" else []
        return ["resume", str(run), "--quiet", *own, *more]


def _by_name(words: Sequence[str]) -> dict[str, list[str]]:
    """Return flags with their values, of which there is none or one."""
    found: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            found[word] = []
        else:
            found[list(found)[-1]].append(word)
    return found


@functools.cache
def undisturbed(lesson: Lesson) -> dict[str, Any]:
    """Return the fingerprint of the run that nothing stopped."""
    name = hashlib.sha256(repr(lesson).encode()).hexdigest()[:12]
    run = home() / "runs" / name
    child = server().start(lesson.train(run), home() / f"{name}.txt")
    if child.wait():
        raise Wrong(f"the undisturbed run failed: {child.words[-300:]}")
    return exact(run)


def exact(run: Path) -> dict[str, Any]:
    """Return what must be equal: the last checkpoint, the best, the journals."""
    found = fingerprint(run)
    best = found["position"]["best_update"]
    if best in updates(run):
        weights = run / "checkpoints" / str(best) / "model.safetensors"
        found["best"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    if (run / "debug.jsonl").exists():
        found["debug.jsonl"] = (run / "debug.jsonl").read_text(encoding="utf-8")
    return found


def lines(run: Path, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    """Return a journal's whole lines."""
    path = run / name
    if not path.exists():
        return []
    parts: Sequence[bytes] = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(part) for part in parts]


def reached(run: Path) -> int:
    """Return the last update that the metrics tell of, 0 before the first."""
    path = run / "metrics.jsonl"
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 1500))
            whole = file.read().split(b"\n")[:-1]
    except OSError:
        return 0
    return int(json.loads(whole[-1])["update"]) if whole and whole[-1].startswith(b"{") else 0
