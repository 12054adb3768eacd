from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import unrolled
from unrolled.cli.main import run

TEXT = "the cat sat on the mat. a dog ate the hat, and ran.\n" * 12
CELL = """\
import torch
import unrolled


class Leaky(unrolled.Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, h):
        h = 0.9 * h + 0.1 * torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
        return h, h
"""
TINY = ["--hidden", "5", "--layers", "1", "--lanes", "3", "--window", "4", "--max-updates", "6"]


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The last line of stdout."""
        return json.loads(self.out.splitlines()[-1])

    def problem(self, code: int = 2) -> str:
        """Return the one line on stderr that says what is wrong."""
        assert self.code == code, self
        assert "Traceback" not in self.out + self.err
        lines = self.err.splitlines()
        problems = [line for line in lines if line.startswith("unrolled: ")]
        assert len(problems) == 1 and problems[0] == lines[-1], lines
        return problems[0].removeprefix("unrolled: ")


Cli = Callable[..., Said]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in this process."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder with a text and a cell of the user's own."""
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text(TEXT)
    Path("my.py").write_text(CELL)
    return tmp_path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small finished run, which no test may change."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "a.txt").write_text(TEXT)
    tiny = {"hidden": 5, "layers": 1, "lanes": 3, "window": 4, "max_updates": 6, "checkpoint_every": 3}
    unrolled.train(folder / "a.txt", run=folder / "run", **tiny)
    return folder / "run"


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    """Return a copy of the small run that a test may change."""
    import shutil

    shutil.copytree(trained, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


@pytest.fixture
def environment() -> dict[str, str]:
    """Return the environment of a command in a process of its own."""
    return {**os.environ, "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"}
