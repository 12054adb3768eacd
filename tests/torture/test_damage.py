from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest

from unrolled.runs import checkpoint, config

from . import damage
from .trials import Trial, try_all


def test_some_of_every_damage_is_refused_told_or_means_nothing(tmp_path: Path) -> None:
    trials = list(damage.trials())
    assert len(trials) > 10_800
    flips = [trial for trial in trials[-60:] if trial.name.startswith("lstm-flip")]
    chosen = random.Random(4).sample(
        [t for t in trials if t.name.startswith("lstm-") and "flip" not in t.name], 5
    )
    row = try_all("damage", [*chosen, *flips], 7, tmp_path)
    assert row.tried == 35 and not row.failures


def test_the_family_finds_hashes_that_nobody_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "_hashed", lambda path, data, manifest: data)
    trials = [trial for trial in damage.trials() if "examples-swap-checkpoints-model" in trial.name]
    row = try_all("damage", trials, 1, tmp_path)
    assert row.failures and "model is another" in row.failures[0]


def test_the_family_finds_settings_that_are_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_unsealed", lambda path, data: data.partition(b"\n")[2])
    trials = [Trial(f"lr-{n}", partial(damage.look, "lstm", _change_the_rate, [])) for n in range(2)]
    row = try_all("damage", trials, 1, tmp_path)
    assert row.failures and "settings is another" in row.failures[0]


def _change_the_rate(run: Path, draw: random.Random) -> list[str]:
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace("\nlr = 0", "\nlr = 1"))
    return ["config.toml"]
