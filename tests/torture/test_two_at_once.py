"""A short form of the family, and that it finds what is wrong."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from unrolled.runs import model, run

from . import two_at_once
from .trials import Row, try_all

SEED = 7


def tried(folder: Path, part: str, limit: int | None = None) -> Row:
    trials = [trial for trial in two_at_once.trials() if part in trial.name]
    return try_all("two_at_once", trials, SEED, folder, limit=limit)


@pytest.mark.parametrize(
    ("part", "limit"),
    [("two trainings", 3), ("two resumes", 2), ("process", 4), ("the lock", 6), ("a checkpoint is", 24)],
)
def test_one_trains_and_the_others_are_told_or_read_what_is_whole(
    part: str, limit: int, tmp_path: Path
) -> None:
    assert tried(tmp_path, part, limit).failures == []


def test_a_run_that_is_held_by_nobody_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "held", lambda directory, say: nullcontext())
    assert tried(tmp_path, "a process that was killed").failures


def test_a_reader_that_takes_a_vanished_checkpoint_for_damaged_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_identity", lambda folder: (0, 0))
    assert tried(tmp_path, "a checkpoint is dropped").failures
