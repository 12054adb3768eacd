"""A short form of the family, and that it finds what is wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unrolled.runs import checkpoint, files, journal, run

from . import saves
from .trials import Row, try_all

SEED = 7


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    saves.told.cache_clear()
    yield
    saves.told.cache_clear()


def tried(folder: Path, part: str, limit: int) -> Row:
    return try_all("saves", [t for t in saves.trials() if part in t.name], SEED, folder, limit=limit)


def test_a_run_survives_what_happens_at_an_operation_on_the_disk(tmp_path: Path) -> None:
    for kind in (": killed", ": cut short", ": EIO", ": ENOSPC", "no power: only", "no power: any"):
        assert tried(tmp_path / kind, kind, 2).failures == []


def test_a_name_that_is_not_synced_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (files, checkpoint, journal, run):
        monkeypatch.setattr(module, "sync_directory", lambda path: None)
    assert tried(tmp_path, "then no power: only what was synced", 8).failures


def test_a_checkpoint_that_is_written_in_its_place_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = checkpoint.write_checkpoint

    def in_place(folder: Path, *found: Any) -> None:
        real(folder.with_name(".elsewhere"), *found)
        folder.mkdir()
        for entry in folder.with_name(".elsewhere").iterdir():
            shutil.copyfile(entry, folder / entry.name)
        shutil.rmtree(folder.with_name(".elsewhere"))

    monkeypatch.setattr(run, "write_checkpoint", in_place)
    assert tried(tmp_path, "a new run, operation 6", 12).failures
