from __future__ import annotations

import json
import pickle
import random
from functools import partial
from pathlib import Path

import pytest

from unrolled.runs import tables

from . import hostile_models, tensor_faults
from .models import Files, sealed
from .trials import Trial, try_all


def test_some_of_every_fault_is_survived(tmp_path: Path) -> None:
    trials = list(hostile_models.trials())
    assert len(trials) == 10_000
    kinds = {trial.name.split("-")[0]: trial for trial in trials[300:]}
    assert len(kinds) == len(hostile_models.FAULTS)
    row = try_all("hostile_models", [*kinds.values(), *trials[:6]], 3, tmp_path)
    assert row.tried >= 15 and not row.failures


def test_the_family_finds_a_reader_that_trusts_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "read_table", lambda path, data: json.loads(data))
    monkeypatch.setattr("unrolled.runs.checkpoint.read_table", lambda path, data: json.loads(data))
    assert try_all("hostile_models", _of("text", 12), 1, tmp_path).failures


def test_the_family_finds_a_reader_that_unpickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trusting(path: Path) -> bytes:
        data = path.read_bytes()
        if data.startswith(b"\x80"):
            pickle.loads(data)  # noqa: S301 - this is the fault to be found
        return data

    def pickled(outer: Files, inner: Files, draw: random.Random) -> None:
        inner["model.safetensors"] = pickle.dumps(tensor_faults.Runs())
        sealed(inner)

    trials = [Trial(f"pickle-{n}", partial(hostile_models.open_spoilt, pickled)) for n in range(4)]
    assert not try_all("hostile_models", trials, 1, tmp_path / "whole").failures
    monkeypatch.setattr("unrolled.runs.checkpoint.read_bytes", trusting)
    row = try_all("hostile_models", trials, 1, tmp_path / "broken")
    assert any("code was run" in failure for failure in row.failures)


def _of(kind: str, number: int) -> list[Trial]:
    return [trial for trial in hostile_models.trials() if trial.name.startswith(f"{kind}-")][:number]
