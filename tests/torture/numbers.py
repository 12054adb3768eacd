"""Numbers: the same command twice, numbers that are none, and every draw."""

from __future__ import annotations

import hashlib
import random
import shlex
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

from . import drawing, planted
from .lessons import exact, home
from .runs import check_equal
from .server import Child, Fresh, server
from .trials import Trial, Wrong

ENGINES = ("naive", "torch", "native")
THREADS = (1, 2, 3)
LOCALES = ("C", "C.UTF-8", "POSIX")
WIDE = shlex.split(
    "--cell lstm --layers 2 --hidden 70 --embedding 9 --dropout 0.2 --lanes 40 --window 25 --quiet "
    "--max-updates 6 --report-every 2 --validate-every 3 --sample-every 4 --sample-length 9 --deterministic"
)
"""Large enough that products are shared between threads."""


def done(child: Child) -> str:
    """Return what a child said; Wrong where it failed."""
    if child.wait():
        raise Wrong(f"exit code {child.code}: {child.words[-300:].strip()}")
    return child.words


def twice(engine: str, threads: int, folder: Path, draw: random.Random) -> None:
    """Train and sample, in two processes that differ in all that must not matter."""
    found = []
    for number in range(2):
        own = folder / f"{number}"
        own.mkdir()
        flags = [*WIDE, "--engine", engine, "--threads", str(threads)]
        words = ["train", str(home() / "long.txt"), "--run", str(own / "run"), *flags]
        around = {"PYTHONHASHSEED": str(draw.randrange(1 << 32)), "LC_ALL": draw.choice(LOCALES)}
        if number:
            done(Fresh(words, folder / "fresh.txt", around, own))
        else:
            done(server().start(words, folder / "forked.txt"))
        sample = ["sample", str(own / "run"), "--length", "300", "--seed", str(7), "--temperature", "0.9"]
        said = done(server().start(sample, folder / f"sample{number}.txt"))
        found.append({**exact(own / "run"), "sample": hashlib.sha256(said.encode()).hexdigest()})
    check_equal(*found)


UNDETERMINED = '''"""A cell with an operation that has no deterministic form."""

import torch

import unrolled


class Putting(unrolled.Cell):
    """h' = tanh([x, h] W + b), copied in an order of the machine's choice."""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, h):
        """Take x [B, D] and h [B, H]."""
        h = torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
        places = torch.arange(h.numel()).view_as(h)
        return torch.zeros_like(h).put_(places, h), h
'''


def undetermined(folder: Path, draw: random.Random) -> None:
    """Demand determinism of an operation that has none: one line; without the demand it trains."""
    cell = folder / "putting.py"
    cell.write_text(UNDETERMINED, encoding="utf-8")
    flags = [
        "--layers",
        "1",
        "--hidden",
        "5",
        "--lanes",
        "3",
        "--window",
        "7",
        "--threads",
        "1",
        "--quiet",
        "--max-updates",
        "3",
    ]
    for demand, code in (([], 0), (["--deterministic"], 2)):
        run = folder / f"run{code}"
        words = ["train", str(home() / "book.txt"), "--run", str(run), "--cell", f"{cell}:Putting"]
        child = server().start([*words, *flags, *demand], folder / f"said{code}.txt")
        if child.wait() != code:
            raise Wrong(f"exit code {child.code}, wanted {code}: {child.words[-300:].strip()}")
    if "put_" not in child.words or "deterministic" not in child.words or child.words.count("\n") > 1:
        raise Wrong(f"the operation is not named in one line: {child.words[-300:].strip()}")


def trials() -> Iterator[Trial]:
    """Yield all."""
    for engine, threads in product(ENGINES, THREADS):
        yield Trial(f"twice the same on {engine}, {threads} threads", partial(twice, engine, threads))
    yield Trial("--deterministic of what has no such form", undetermined)
    yield from planted.trials()
    yield from drawing.trials()
