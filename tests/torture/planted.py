"""Numbers that are none, in every place: training ends with the step and the name, what is saved is whole.

They come from outside: a shim in the child, a cell of the user's, a file of data, a learning rate.
"""

from __future__ import annotations

import json
import random
import re
import shlex
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch

from unrolled.runs.checkpoint import read_checkpoint

from .lessons import LAST, Lesson, exact, home, lines, undisturbed
from .runs import check_equal, updates
from .server import Child, server
from .trials import Trial, Wrong

SCRIPT = Path(__file__).with_name("plant.py")
VALUES = ("nan", "inf", "-inf")
PLACES = {
    "loss": ("rnn", "own-cell", "delays"),
    "gradient": ("rnn", "gru", "spec"),
    "weight": ("lstm", "gru", "own-cell"),
    "lanes": ("rnn", "gru", "delays"),
    "optimizer": ("lstm", "own-cell"),
    "validation": ("gru", "delays"),
}
WHEN = (1, 17, 18, LAST)
NAMES = {
    "loss": r"loss", "gradient": r"gradient of \S+", "weight": r"the weight \S+",
    "lanes": r"the (state|lanes'|weight) |loss|gradient", "optimizer": r"the (state|weight) \S+",
    "validation": r"validation loss",
}  # fmt: skip


def refused(child: Child, name: str, earliest: int, latest: int) -> int:
    """Return the update that a failed training names; Wrong unless it fails in one line that names it all."""
    if child.wait() != 1:
        raise Wrong(f"exit code {child.code}, wanted 1: {child.words[-300:].strip()}")
    said = [line for line in child.words.splitlines() if line.startswith("unrolled: ")]
    found = re.search(r"update (\d+): .*", said[-1]) if len(said) == 1 else None
    if found is None or not re.search(name, found[0]):
        raise Wrong(f"the update and {name!r} are not named: {child.words[-300:].strip()}")
    if not earliest <= int(found[1]) <= latest:
        raise Wrong(f"update {found[1]} is named, wanted {earliest} to {latest}: {said[-1]}")
    return int(found[1])


def check_saved(run: Path, below: int) -> None:
    """Raise Wrong unless every checkpoint is finite and none above ``below``, and the metrics are numbers."""
    saved = updates(run)
    if not saved or saved[0] > below:
        raise Wrong(f"the checkpoints are {saved}, update {below} failed")
    for update in saved:
        found = read_checkpoint(run / "checkpoints" / str(update))
        for name, tensor in {**found.model, **found.state_tensors}.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise Wrong(f"checkpoint {update} has a {name} that is not finite")
    for line in lines(run):
        json.loads(json.dumps(line, allow_nan=False))


def at(what: str, value: str, net: str, update: int, folder: Path, draw: random.Random) -> None:
    """Plant a value at an update; after that the run goes on from what is saved, as if nothing had been."""
    lesson, run = Lesson(net, "adam", draw.choice(("step", "cosine"))), folder / "run"
    script = str(SCRIPT)
    words = ["python", script, what, value, str(update), *lesson.train(run)]
    inside = what in ("loss", "gradient")
    validated = 33 * -(-update // 33)  # the end of the epoch
    at_the_save = dict.fromkeys(("optimizer", "weight"), update + 9)  # at the latest, where nothing reads it
    latest = {"validation": validated, **at_the_save}.get(what, update + (not inside))
    child = server().start(words, folder / "said.txt")
    child.wait()
    check_saved(run, LAST)
    failed = refused(child, NAMES[what], validated if what == "validation" else update, latest)
    check_saved(run, failed - (what in ("loss", "gradient", "validation")))
    child = server().start(lesson.resume(run), folder / "resumed.txt")
    if child.wait():
        raise Wrong(f"the resume failed: {child.words[-300:].strip()}")
    check_equal(exact(run), undisturbed(lesson))


SICK = '''"""Cells that give numbers that are none."""

import numpy as np
import torch

import unrolled

VALUE, CALL = float("{value}"), {call}


class Spoilt(torch.autograd.Function):
    """Hands x on, and the value back."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return grad * VALUE


class Sick(unrolled.Cell):
    """h' = tanh([x, h] W + b), until it is called the CALL-th time while it is trained."""

    calls = 0

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, h):
        """Take x [B, D] and h [B, H]."""
        h = torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
        Sick.calls += torch.is_grad_enabled()
        if Sick.calls == CALL and torch.is_grad_enabled():
            {how}
        return h, h
'''
HOWS = {
    "output": ("return h * VALUE, h", r"loss"),
    "state": ("return h, h * VALUE", r"the state lanes:\S+"),
    "gradient": ("return Spoilt.apply(h), h", r"gradient of \S+"),
}


def by_a_cell(how: str, value: str, folder: Path, draw: random.Random) -> None:
    """Train a cell of the user's that gives a value at one call."""
    update, window = draw.randrange(2, 30), 7
    line, name = HOWS[how]
    step = window - 1 if how == "state" else draw.randrange(window)  # of the last step only lanes carry it
    call = (update - 1) * window + step + 1
    cell = folder / "sick.py"
    cell.write_text(SICK.replace("{value}", value).replace("{call}", str(call)).replace("{how}", line))
    run = folder / "run"
    flags = shlex.split(
        "--layers 1 --hidden 5 --lanes 3 --window 7 --threads 1 --quiet --checkpoint-every 2 --epochs 1"
    )
    text = str(home() / "book.txt")
    words = ["train", text, "--run", str(run), "--cell", f"{cell}:Sick", *flags]
    child = server().start(words, folder / "said.txt")
    failed = refused(child, name, update, update + (how == "state"))
    check_saved(run, failed - 1)


def by_a_rate(optimizer: str, rate: str, folder: Path, draw: random.Random) -> None:
    """Train with a learning rate that no net survives."""
    lesson, run = Lesson(draw.choice(("rnn", "gru", "own-cell", "spec")), optimizer), folder / "run"
    words = lesson.train(run)
    words[words.index("--lr") + 1] = rate
    child = server().start(words, folder / "said.txt")
    failed = refused(child, r"the weight|loss|gradient|state|norm", 1, LAST)
    check_saved(run, failed)


FLOAT_NET = """
[data]
split = [0.75, 0.25]
shuffle = false

[[layer]]
name = "rows"
type = "floats"
size = 3

[[layer]]
name = "gru1"
type = "recurrent"
cell = "gru"
hidden = 5
sources = ["rows"]

[[layer]]
name = "digit"
type = "ids"
unroll = 1
exclude = ["test"]

[[layer]]
name = "logits"
type = "linear"
size = "digit"
unroll = 1
sources = [{ source = "gru1", kind = "last" }]

[[layer]]
name = "loss"
type = "softmax-loss"
unroll = 1
exclude = ["test"]
sources = ["logits", "digit"]
"""
ROWS = 40


def by_data(value: str, place: int, folder: Path, draw: random.Random) -> None:
    """Train on a file of examples in which one number is none, or too large."""
    run, data, net = folder / "run", folder / "rows.jsonl", folder / "net.toml"
    net.write_text(FLOAT_NET, encoding="utf-8")
    rows = [
        {"rows": [[draw.uniform(-1, 1) for _ in range(3)] for _ in range(4)], "digit": n % 2}
        for n in range(ROWS)
    ]
    told = [json.dumps(row) for row in rows]
    old = json.dumps(rows[place]["rows"][2][1])  # type: ignore[index]
    told[place] = told[place].replace(old, value)
    data.write_text("\n".join(told) + "\n", encoding="utf-8")
    flags = ["--lanes", "4", "--threads", "1", "--quiet", "--epochs", "2", "--checkpoint-every", "3"]
    words = ["train", str(data), "--net", str(net), "--run", str(run), *flags]
    child = server().start(words, folder / "said.txt")
    if child.wait() not in (1, 2):
        raise Wrong(f"exit code {child.code}, wanted 1 or 2: {child.words[-300:].strip()}")
    if not re.fullmatch(
        rf"unrolled: .*(rows\.jsonl:{place + 1}\b|update \d+: .*rows|validation).*\n", child.words
    ):
        raise Wrong(f"it does not name the place in one line: {child.words[-300:].strip()}")
    if run.exists():
        check_saved(run, LAST)


CAFFE = """
layer { name: "data" type: "HDF5Data" top: "x" top: "target"
  hdf5_data_param { source: "list.txt" batch_size: 4 } }
layer { name: "y" type: "InnerProduct" bottom: "x" top: "y"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "target" top: "loss" }
"""


def by_hdf5(top: str, value: str, folder: Path, draw: random.Random) -> None:
    """Train on an HDF5 file in which one number is none."""
    import h5py

    values = {"x": np.ones((ROWS, 5), np.float32), "target": np.ones((ROWS, 3), np.float32)}
    place = draw.randrange(ROWS)
    values[top][place, 1] = float(value)
    with h5py.File(folder / "a.h5", "w") as file:
        for name, numbers in values.items():
            file[name] = numbers
    (folder / "list.txt").write_text(f"{folder / 'a.h5'}\n", encoding="utf-8")
    net, run = folder / "net.prototxt", folder / "run"
    net.write_text(CAFFE, encoding="utf-8")
    flags = ["--threads", "1", "--quiet", "--epochs", "2", "--checkpoint-every", "1"]
    child = server().start(["train", str(net), "--run", str(run), *flags], folder / "said.txt")
    named = rf"unrolled: .*a\.h5.*row {place} of '{top}'.*\n"  # HDF5 counts from 0
    if child.wait() != 2 or not re.fullmatch(named, child.words):
        raise Wrong(f"it does not name file, row and data set in one line: {child.words[-300:].strip()}")
    if run.exists():
        check_saved(run, place // 4)


def trials() -> Iterator[Trial]:
    """Yield every place with every value, at several updates, with several nets."""
    for what, nets in PLACES.items():
        for value in VALUES:
            if what == "loss" and value == "-inf":
                continue
            for net in nets:
                for update in WHEN:
                    yield Trial(
                        f"{value} in the {what} of {net} at update {update}",
                        partial(at, what, value, net, update),
                    )
    for how in HOWS:
        for value in ("nan", "inf"):
            yield Trial(f"{value} in the {how} of a cell of the user's", partial(by_a_cell, how, value))
    for optimizer, rate in (("sgd", "1e38"), ("adam", "1e38")):
        yield Trial(f"{optimizer} with a learning rate of {rate}", partial(by_a_rate, optimizer, rate))
    for value in ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e39"):
        for place in (0, 17, ROWS - 1):
            yield Trial(f"{value} in line {place + 1} of a file of examples", partial(by_data, value, place))
    for top, value in product(("x", "target"), VALUES):
        yield Trial(f"{value} in an HDF5 file's {top}", partial(by_hdf5, top, value))
