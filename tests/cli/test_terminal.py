from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unrolled.cli.notes import LONGEST
from unrolled.cli.terminal import Terminal, Words

TINY = ["--hidden", "5", "--layers", "1", "--lanes", "3", "--window", "4", "--max-updates", "40"]
OFTEN = ["--report-every", "5", "--validate-every", "9", "--sample-every", "10", "--checkpoint-every", "20"]
MAIN = [sys.executable, "-m", "unrolled"]


class Full(io.StringIO):
    """A file on a disk that is full."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("is_terminal", [False, True])
def test_output_that_can_t_be_written_is_said_once_and_ends_nothing(
    is_terminal: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with Terminal(Words(file=Full(), force_terminal=is_terminal)) as terminal:
        terminal.said("one")
        terminal.text("two", "three")
        terminal.estimated(1, 2)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == ("note: the output can't be written (No space left on device); training goes on\n")


@pytest.mark.parametrize("words", [[], ["--json"]])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_training_whose_output_lies_on_a_full_disk_goes_on_to_its_end(
    words: list[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "a.txt").write_text("the cat sat on the mat. " * 100)
    command = [*MAIN, "train", "a.txt", "--run", "run", *TINY, *OFTEN, *words]
    with Path("/dev/full").open("wb") as full:
        streams: dict[str, Any] = {"stdout": full, "stderr": full if words else subprocess.PIPE}
        done = subprocess.run(command, env=environment, cwd=tmp_path, **streams)
    assert done.returncode == 1 and b"Traceback" not in (done.stderr or b"")
    assert (tmp_path / "run" / "checkpoints" / "40").is_dir()
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["kind"] for line in metrics.splitlines()].count("train") == 8


def test_a_training_goes_on_where_its_reader_goes_away(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "a.txt").write_text("the cat sat on the mat. " * 100)
    command = [*MAIN, "train", "a.txt", "--run", "run", *TINY, *OFTEN]
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert b"training goes on" in said and b"Traceback" not in said
    assert (tmp_path / "run" / "checkpoints" / "40").is_dir()


def test_signs_that_could_move_a_cursor_are_written_as_escapes_and_long_lines_are_cut() -> None:
    shown = io.StringIO()
    with Terminal(Words(file=shown)) as terminal:
        terminal.said("torch was \x1b]0;pwned\x07\x1b[2J")
        terminal.said("x" * 9999)
    first, second = shown.getvalue().splitlines()
    assert first == "note: torch was \\x1b]0;pwned\\x07\\x1b[2J"
    assert len(second) == LONGEST + len(" ...")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", [[], ["--help"], ["net", "show", "patterns/rows"]])
def test_a_full_disk_is_one_line(words: list[str], environment: dict[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*MAIN, *words], env=environment, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"unrolled: No space left on device\n")
