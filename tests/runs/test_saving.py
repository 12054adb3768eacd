from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from unrolled.data import Vocab
from unrolled.errors import LoadError, UsageError
from unrolled.runs import Checkpoint, Journal, Run, Source, check_unused, checkpoint, claim_run_directory
from unrolled.runs import journal as journals
from unrolled.runs.checkpoint import read_checkpoint
from unrolled.settings import Settings

SOURCE = Source(("book.txt",), "00")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", Settings(), SOURCE)


def holding(number: float) -> Checkpoint:
    return Checkpoint({"a": torch.full((2, 3), number)}, {}, {}, {"number": number})


def broken(*given: Any, **named: Any) -> Any:
    raise OSError(errno.EIO, os.strerror(errno.EIO), str(given[0]))


class Seen:
    """A file that remembers what is written to it."""

    def __init__(self, file: Any, written: list[bytes]) -> None:
        self.file, self.written = file, written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))
        self.file.write(data)


def seen_by(written: list[bytes], write_again: Any) -> Any:
    return lambda journal, file: write_again(journal, Seen(file, written))


def number_in(run: Run, update: int) -> Any:
    return read_checkpoint(run.checkpoints / str(update)).state["number"]


def test_a_checkpoint_whose_name_cannot_be_synced_is_not_there(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.save(1, holding(1), None)
    real = checkpoint.sync_directory
    monkeypatch.setattr(
        checkpoint, "sync_directory", lambda p: broken(p) if p == run.checkpoints else real(p)
    )
    with pytest.raises(OSError):
        run.save(2, holding(2), None)
    assert run.updates() == [1] and not list(run.checkpoints.glob(".*"))


def test_a_replacement_that_fails_half_way_leaves_the_old_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.save(1, holding(1), None)
    real = Path.rename
    monkeypatch.setattr(
        Path, "rename", lambda self, to: broken(self) if self.name == ".1.new" else real(self, to)
    )
    with pytest.raises(OSError):
        run.save(1, holding(2), None, replace=True)
    assert number_in(run, 1) == 1
    monkeypatch.undo()
    run.save(1, holding(3), None, replace=True)
    assert number_in(run, 1) == 3


def test_an_old_checkpoint_that_cannot_be_dropped_is_no_missed_save(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for update in (1, 2):
        run.save(update, holding(update), None)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_drop", broken)
        run.save(3, holding(3), None)
    assert run.updates() == [3, 2, 1]
    run.save(4, holding(4), None)
    assert run.updates() == [4, 3]


def test_the_best_that_is_there_stays_where_the_best_of_all_could_not_be_written(run: Run) -> None:
    run.save(1, holding(1), 1)
    for update in (2, 4, 5):
        run.save(update, holding(update), 3)
    assert run.updates() == [5, 4, 1] and (run.directory / "best").resolve().name == "1"


def test_a_line_that_was_written_by_half_is_taken_away_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, real = Journal(tmp_path / "lines.jsonl"), Path.open
    journal.append({"n": 1})

    class Half:
        def __init__(self, path: Path) -> None:
            self.file = real(path, "ab", buffering=0)

        def __enter__(self) -> Half:
            return self

        def __exit__(self, *rest: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> None:
            self.file.write(data[:4])
            broken(journal.path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, *rest: Half(self))
        patch.setattr(os, "truncate", broken)
        for number in (2, 3):
            with pytest.raises(OSError):
                journal.append({"n": number})
    journal.append({"n": 4})
    assert [line["n"] for line in journal.lines()] == [1, 2, 3, 4]


def test_a_directory_with_no_more_than_the_beginning_of_a_run_can_become_one(tmp_path: Path) -> None:
    place = tmp_path / "run"
    (place / "checkpoints").mkdir(parents=True)
    (place / "cell.py.txt").write_text("x = 1")
    (place / ".config.toml.99").write_text("[net")
    (place / "lock").write_text("99")
    with pytest.raises(LoadError, match="train again with --run"):
        Run(place)
    check_unused(place)
    Run.create(place, Settings(), SOURCE)
    with pytest.raises(UsageError, match="not empty"):
        check_unused(place)
    other = tmp_path / "other"
    (other / "checkpoints" / "4").mkdir(parents=True)
    with pytest.raises(UsageError, match="not empty"):
        check_unused(other)


def test_a_run_that_was_never_saved_says_so(run: Run) -> None:
    assert run.was_never_saved
    (run.checkpoints / ".1.99").mkdir()
    assert run.was_never_saved
    (run.checkpoints / "damaged-1").mkdir()
    assert not run.was_never_saved


def test_a_vocabulary_that_was_given_is_remembered(tmp_path: Path) -> None:
    vocab = Vocab("char", ("b", "\n", "a", '"', "\\", "é", "\x07", "𝄞"))
    Run.create(tmp_path / "run", Settings(), Source(("book.txt",), "00", vocab=vocab))
    assert Run(tmp_path / "run").source.vocab == vocab


def test_a_number_that_is_claimed_is_no_other_runs(tmp_path: Path) -> None:
    found = [claim_run_directory("book", tmp_path / "runs") for _ in range(3)]
    assert [place.name for place in found] == ["book-001", "book-002", "book-003"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="file"):
        claim_run_directory("book", tmp_path / "file")


@pytest.mark.parametrize("kind", ["a file", "a link to nothing"])
def test_what_bears_a_checkpoints_number_but_is_none_is_set_aside_by_its_save(run: Run, kind: str) -> None:
    run.save(2, holding(2), None)
    if kind == "a file":
        (run.checkpoints / "4").write_text("not a checkpoint")
    else:
        (run.checkpoints / "4").symlink_to("nowhere")
    run.save(4, holding(4), None)
    assert run.updates() == [4, 2] and number_in(run, 4) == 4
    assert os.path.lexists(run.checkpoints / "damaged-4")


def test_a_resume_sets_aside_whatever_has_a_checkpoints_number_and_is_no_directory(run: Run) -> None:
    run.save(2, holding(2), None)
    for name in ("4", "04", "notes"):
        (run.checkpoints / name).write_text(name)
    run.tidy(2)
    there = {entry.name for entry in run.checkpoints.iterdir()}
    assert there == {"2", "damaged-4", "04", "notes"}


def test_a_save_writes_and_deletes_nothing_behind_a_link(run: Run, tmp_path: Path) -> None:
    other = Run.create(tmp_path / "other", Settings(), SOURCE)
    for update in (1, 2, 3):
        other.save(update, holding(update), 1)
    run.checkpoints.rmdir()
    run.checkpoints.symlink_to("../other/checkpoints")
    with pytest.raises(OSError, match="link"):
        run.save(9, holding(9), None)
    with pytest.raises(UsageError, match="link"), run.locked():
        pass
    assert other.updates() == [3, 2, 1] and not (run.directory / "lock").exists()
    assert run.updates() == [3, 2, 1]


def test_a_directory_whose_checkpoints_are_a_link_does_not_become_a_run(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").symlink_to("../empty")
    with pytest.raises(UsageError, match="not empty"):
        check_unused(tmp_path / "run")


def test_one_entry_that_the_disk_cannot_tell_of_hides_no_checkpoint(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for update in (2, 4):
        run.save(update, holding(update), None)
    broken_place, stat, rename = run.checkpoints / "4", os.stat, os.rename
    monkeypatch.setattr(os, "stat", lambda p, **k: broken(p) if p == broken_place else stat(p, **k))
    assert run.updates() == [2]
    said: list[str] = []
    assert run.newest(said.append)[0] == 2 and "4 is missing, or is no directory" in said[0]
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", lambda p, to: broken(p) if p == broken_place else rename(p, to))
        run.tidy(2)
    run.tidy(2)
    assert (run.checkpoints / "damaged-4").is_dir()


@pytest.mark.parametrize("most", [9, 1 << 20])
def test_what_a_failed_sync_may_have_lost_is_written_again_by_the_next(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "KEPT", most)
    lines = Journal(tmp_path / "lines.jsonl")
    written: list[bytes] = []
    for number in range(3):
        lines.append({"n": number})
    begin = lines.sync()

    def failing(handle: int) -> None:
        if most > 9:  # the disk gives back what it has in place of what was lost
            os.truncate(lines.path, begin)
            os.truncate(lines.path, begin + 2 * len(b'{"n": 3}\n'))
        broken(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        lines.append({"n": 3})
        lines.append({"n": 4})
        for _ in range(2):
            with pytest.raises(OSError):
                lines.sync()
    lines.append({"n": 5})
    monkeypatch.setattr(Journal, "_write_again", seen_by(written, Journal._write_again))
    assert lines.sync() == lines.size and written == [b'{"n": 3}\n{"n": 4}\n{"n": 5}\n']
    assert [line["n"] for line in lines.lines()] == [*range(6)]
    lines.append({"n": 6})
    assert lines.sync() == lines.size and len(written) == 1
