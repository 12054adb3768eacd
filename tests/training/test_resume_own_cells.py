"""A run of a net whose function brings cells of the user's along is used and resumed by naming one again."""

from __future__ import annotations

import hashlib
import runpy
from pathlib import Path
from typing import Any

import pytest

import unrolled
from unrolled.cells import load_cell
from unrolled.cli.main import run as command
from unrolled.errors import CellError, Interrupted, UsageError
from unrolled.runs import Run
from unrolled.settings import resolve
from unrolled.training import Listener
from unrolled.training.api import train_with
from unrolled.training.lesson_files import lesson_of

fingerprint = runpy.run_path(str(Path(__file__).with_name("fingerprint.py")))["fingerprint"]

LEAKY = """
import torch
import unrolled

class {name}(unrolled.Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, h):
        h = {keep} * h + 0.1 * torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
        return h, h
"""
BUILD = """
from unrolled.net.builder import Copy, Label, Linear, NetBuilder, OneHot, Recurrent, SoftmaxLoss, Text

def build():
    net = NetBuilder("own")
    net.text = Text()
    net.label = Label(net.text.all)
    net.ids = Copy(net.text.all)
    net.seen = OneHot(net.ids)
    net.a = Recurrent(net.seen, cell={first}, hidden=4)
    net.b = Recurrent(net.a, cell={second}, hidden=5)
    net.logits = Linear(net.b, size="vocab")
    net.loss = SoftmaxLoss(net.logits, net.label)
    return net
"""
ONE, TWO = (LEAKY.format(name=name, keep=keep) for name, keep in (("Leaky", 0.9), ("Slow", 0.99)))
SETTINGS = {
    "lanes": 3, "window": 9, "max_updates": 20, "checkpoint_every": 6, "sample_every": 7, "sample_length": 9,
    "validate_every": 8,
}  # fmt: skip


class Crash(Exception):
    """Stands for kill -9: nothing after it is saved."""


class CrashAt(Listener):
    def __init__(self, update: int) -> None:
        self.when = update

    def planned(self, plan: Any) -> None:
        if self.when == 0:
            raise Crash

    def updated(self, update: int, epoch: float, nats: float) -> None:
        if update == self.when:
            raise Crash


def train(text: Path, run: Path, listener: Listener | None = None) -> Run:
    """Train as ``train TEXT --net own.py:build`` does."""
    lesson, tables = lesson_of([str(text)], "own.py:build")
    return train_with(resolve(None, {}, SETTINGS, tables).settings, lesson, run, listener or Listener())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("update", [0, 13])
def test_a_run_of_a_net_with_cells_of_its_own_goes_on_when_one_is_named(
    update: int, text: Path, here: Path
) -> None:
    Path("own.py").write_text(ONE + TWO + BUILD.format(first="Leaky", second="Slow"), encoding="utf-8")
    straight = train(text, here / "straight")
    for name, cell in (("by-name", "own.py:Leaky"), ("by-class", load_cell("own.py:Slow").cls)):
        with pytest.raises(Crash):
            train(text, here / name, CrashAt(update))
        assert Run(here / name).was_never_saved == (update == 0)
        with pytest.raises(UsageError, match=r"name it too: --cell .*own\.py:Leaky"):
            unrolled.resume(here / name)
        unrolled.resume(here / name, cell=cell)
        assert fingerprint(here / name) == fingerprint(straight.directory)


def test_such_a_run_names_its_cell_and_keeps_a_copy_of_the_source(text: Path, here: Path) -> None:
    source = (
        "# -*- coding: latin-1 -*-\n# Gedächtnis\n" + ONE + TWO + BUILD.format(first="Leaky", second="Slow")
    )
    Path("own.py").write_bytes(source.replace("\n", "\r\n").encode("latin-1"))
    run = Run(train(text, here / "run").directory)
    assert run.source.cell == f"{here / 'own.py'}:Leaky" and run.words.endswith(f" --cell {run.source.cell}")
    assert run.source.cell_sha256 == hashlib.sha256(Path("own.py").read_bytes()).hexdigest()
    assert (run.directory / "cell.py.txt").read_text(encoding="utf-8") == source
    assert command(["sample", "run", "--cell", "own.py:Leaky", "--length", "5"]) == 0
    assert command(["net", "show", "run", "--cell", "own.py:Slow"]) == 0


def test_a_signal_says_how_such_a_run_goes_on(text: Path, here: Path) -> None:
    Path("own.py").write_text(ONE + BUILD.format(first="Leaky", second="'gru'"), encoding="utf-8")

    class Stop(Listener):
        def updated(self, update: int, epoch: float, nats: float) -> None:
            import signal

            if update == 5:
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"unrolled resume .*run --cell .*own\.py:Leaky"):
        train(text, here / "run", Stop())


def test_cells_of_several_files_come_along_with_the_file_that_imports_them(text: Path, here: Path) -> None:
    Path("one_of_two.py").write_text(ONE, encoding="utf-8")
    Path("two_of_two.py").write_text(TWO, encoding="utf-8")
    brought = "from one_of_two import Leaky\nfrom two_of_two import Slow as Lazy\n"
    Path("own.py").write_text(brought + BUILD.format(first="Leaky", second="Lazy"), encoding="utf-8")
    straight = train(text, here / "straight")
    assert straight.source.cell == "own.py:Leaky"
    with pytest.raises(Crash):
        train(text, here / "broken", CrashAt(13))
    unrolled.resume(here / "broken", cell="own.py:Leaky")
    assert fingerprint(here / "broken") == fingerprint(straight.directory)


def test_cells_that_no_name_could_bring_back_are_refused_before_anything_is_made(
    text: Path, here: Path
) -> None:
    hidden = "def make():\n" + "\n".join(f"    {line}" for line in ONE.splitlines()) + "\n    return Leaky\n"
    Path("own.py").write_text(hidden + BUILD.format(first="make()", second="'gru'"), encoding="utf-8")
    with pytest.raises(CellError, match=r"no file has all of this net's cells \(Leaky\).*own\.py"):
        train(text, here / "run")
    assert not (here / "run").exists()


def test_a_run_that_did_not_note_the_cells_of_its_net_goes_on_too(
    text: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own.py").write_text(ONE + BUILD.format(first="Leaky", second="'gru'"), encoding="utf-8")
    straight = train(text, here / "straight")
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr("unrolled.training.api.own_cell_of", lambda cells, place, own: own)
        train(text, here / "broken", CrashAt(13))
    assert Run(here / "broken").source.cell is None
    with pytest.raises(UsageError, match=r"name it too: --cell .*own\.py:Leaky"):
        unrolled.resume(here / "broken")
    unrolled.resume(here / "broken", cell="own.py:Leaky")
    assert fingerprint(here / "broken") == fingerprint(straight.directory)
