"""Trials spread over processes: what is counted, what is kept, and a process that dies."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .pool import Asked, chosen, pool
from .trials import Trial, Wrong


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let new processes find this package, as ``scripts/torture`` does."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))


def _well(folder: Path, draw: random.Random) -> None:
    (folder / "number").write_text(f"{draw.random()}", encoding="utf-8")


def _wrong(folder: Path, draw: random.Random) -> None:
    _well(folder, draw)
    raise Wrong("on purpose")


def _raising(folder: Path, draw: random.Random) -> None:
    raise ValueError("a fault of the trial's own")


def _deadly(folder: Path, draw: random.Random) -> None:
    os._exit(9)


def trials() -> Iterator[Trial]:
    """Yield what this file asks the pool for."""
    for number in range(7):
        yield Trial(f"ends well {number}", _well)
    for number in range(2):
        yield Trial(f"ends wrong {number}", _wrong)
    yield Trial("ends raising", _raising)
    yield Trial("deadly", _deadly)


def test_each_is_tried_once_and_what_failed_is_named_and_kept(tmp_path: Path) -> None:
    with pool(2, tmp_path) as processes:
        row = processes.try_all(Asked("test_pool", "ends", 3))
    assert (row.cases, row.tried, row.passed) == (10, 10, 7)
    assert sorted(failure.split(":")[0] for failure in row.failures) == [
        "ends raising", "ends wrong 0", "ends wrong 1",
    ]  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 3
    assert len(list(tmp_path.glob("*/number"))) == 2


def test_what_a_trial_draws_hangs_on_seed_and_name_and_not_on_the_process(tmp_path: Path) -> None:
    drawn = []
    for place, jobs in enumerate((1, 2)):
        with pool(jobs, tmp_path / str(place)) as processes:
            processes.try_all(Asked("test_pool", "wrong", 5))
        drawn.append(sorted(path.read_text() for path in tmp_path.glob(f"{place}/*/number")))
    assert drawn[0] == drawn[1] and len(set(drawn[0])) == 2


def test_a_process_that_dies_fails_its_trial_and_the_next_are_tried(tmp_path: Path) -> None:
    with pool(1, tmp_path) as processes:
        row = processes.try_all(Asked("test_pool", "", 3))
    assert (row.tried, row.passed) == (11, 7)
    assert [failure.split(":")[0] for failure in row.failures if "died" in failure] == ["deadly"]


def test_it_stops_at_the_limit_and_when_the_time_is_over(tmp_path: Path) -> None:
    with pool(1, tmp_path) as processes:
        assert processes.try_all(Asked("test_pool", "well", 3), limit=3).tried == 3
        assert processes.try_all(Asked("test_pool", "well", 3), until=time.monotonic()).tried == 1


def test_the_order_hangs_on_the_seed() -> None:
    orders = [[trial.name for trial in chosen(Asked("test_pool", "", seed))] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
