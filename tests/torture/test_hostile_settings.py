"""The family of hostile settings, in short; and that it finds what it looks for."""

from __future__ import annotations

import importlib
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from . import hostile_settings
from .children import in_child
from .hostile_settings import faults, survive, trials
from .mutations import CHANGES, WHOLE, mutated
from .seeds import ENDINGS, of_kind
from .trials import Wrong, try_all

KINDS = [*ENDINGS, "flags", "variables", "use", "data"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_of_each_kind_are_survived(kind: str, tmp_path: Path) -> None:
    chosen = [trial for trial in trials() if trial.name.startswith(kind)]
    assert try_all(kind, chosen, 1, tmp_path, limit=8).failures == []


def test_what_failed_once_is_survived(tmp_path: Path) -> None:
    chosen = [trial for trial in trials() if trial.name.startswith("regression")]
    assert len(chosen) >= 15
    assert try_all("regressions", chosen, 1, tmp_path).failures == []


def test_there_are_ten_thousand_of_them_and_each_has_a_name() -> None:
    names = [trial.name for trial in trials()]
    assert len(set(names)) == len(names) >= 10_000
    assert all(of_kind(kind) for kind in ENDINGS)


@pytest.mark.parametrize("change", [*CHANGES, *WHOLE], ids=lambda change: change.__name__)
def test_a_change_hangs_on_its_generator_alone(change: Any) -> None:
    data = of_kind("net")[0].text.encode()
    made = [change(data, random.Random(5)) for _ in range(2)]
    assert made[0] == made[1]
    assert any(change(data, random.Random(seed)) != data for seed in range(9))
    assert isinstance(change(b"", random.Random(7)), bytes)


def test_a_file_is_mutated_by_what_is_told() -> None:
    data, names = mutated(b"lr = 1\n", random.Random(3))
    assert names and isinstance(data, bytes)


def read(folder: Path, text: str) -> None:
    (folder / "file.toml").write_text(text, encoding="utf-8")
    words = ["train", "book.txt", "--recipe", "./file.toml", "--print-config"]
    survive([lambda: hostile_settings.command(words)], folder, "file.toml")


def test_a_reader_that_raises_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(raw: bytes, label: str) -> Any:
        raise ZeroDivisionError(label)

    read(tmp_path, "[net]\nhidden = -1\n")
    monkeypatch.setattr("unrolled.settings.toml.read_toml", broken)
    with pytest.raises(Wrong, match=r"exit code 70: .*ZeroDivisionError"):
        read(tmp_path, "[net]\nhidden = -1\n")


def test_a_complaint_without_a_place_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unrolled.toml_text.TomlText.where", lambda self, *path: self.label)
    with pytest.raises(Wrong, match="a complaint without line and column"):
        read(tmp_path, "[net]\nhidden = -1\n")


def test_signs_that_move_a_cursor_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = importlib.import_module("unrolled.cli.main")
    monkeypatch.setattr(main, "printable", lambda text: text)
    with pytest.raises(Wrong, match="a line that no terminal should see"):
        read(tmp_path, '"\\u001b[31m" = 1\n')


def busy() -> int:
    ends_at = time.process_time() + 1.2
    while time.process_time() < ends_at:
        pass
    return 2


def greedy() -> int:
    return len(b"x" * 320_000_000) * 0


def silent() -> int:
    return 2


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (busy, "it took .* s$"),
        (greedy, "it took .* MB$"),
        (silent, "exit code 2, and said is"),
        (os.abort, "died"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_work_that_takes_too_much_or_says_nothing_is_found(work: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(Wrong, match=told):
        survive([work], tmp_path)


def test_a_child_tells_code_words_time_and_memory(tmp_path: Path) -> None:
    def says() -> int:
        print("ü", Path.cwd().name)
        return 3

    [done, other] = in_child([says, silent], tmp_path)
    assert (done.code, done.out, done.err, other.code) == (3, f"ü {tmp_path.name}\n", "", 2)
    assert done.seconds < 1 and list(faults(other)) == ["exit code 2, and said is []"]
