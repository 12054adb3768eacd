"""The issue's list: bad input gets a clear line."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TINY = ["--hidden", "5", "--layers", "1", "--lanes", "3", "--window", "4", "--max-updates", "6"]
TEXTS: list[tuple[bytes, tuple[str, ...]]] = [
    (b"", ("at least 2 symbols", "is empty")),
    (b"a", ("2 distinct characters", "1 character")),
    (b"aaaaaaaaaaaaaaaaaaaaa", ("distinct", "a")),
    (b"abcab", ("has 5", "Give more text")),
    (b"\x7fELF\x02\x01\x01\x00\xff\xfe" * 20, ("byte 8", "line 1", "--units byte")),
    (b"abc\nde\n" * 9 + b"f\xc3(", ("byte 64", "0xC3", "line 19")),
    ("abc\n".encode("utf-16") * 9, ("UTF-16", "byte 0")),
]


@pytest.mark.parametrize(
    ("content", "words"),
    TEXTS,
    ids=["empty", "one character", "one symbol", "few", "binary", "invalid UTF-8", "UTF-16"],
)
def test_a_text_that_cannot_be_learned_from_is_one_line_and_leaves_no_run(
    cli: Any, here: Path, content: bytes, words: tuple[str, ...]
) -> None:
    Path("bad.txt").write_bytes(content)
    problem = cli("train", "bad.txt", *TINY).problem()
    assert all(word in problem for word in words), problem
    assert not Path("runs").exists()


def test_one_id_less_than_two_a_lane_is_too_few_and_says_how_many_lanes_will_do(cli: Any, here: Path) -> None:
    words = ["--hidden", "5", "--window", "4", "--max-updates", "1", "--split", "1"]
    Path("few.txt").write_text("abcde" * 11)
    problem = cli("train", "few.txt", *words, "--lanes", 28).problem()
    assert (
        problem == "28 lanes need at least 56 ids, the corpus has 55. Lower --lanes to 27 or give more text."
    )
    assert cli("train", "few.txt", *words, "--lanes", 27, "--quiet").code == 0


def test_a_directory_and_a_missing_file_are_named(cli: Any, here: Path) -> None:
    Path("folder").mkdir()
    assert "'folder' is a directory" in cli("train", "folder", *TINY).problem()
    problem = cli("train", "b.txt", *TINY).problem()
    assert "There is no file 'b.txt'; did you mean 'a.txt'?" in problem
    assert "There is no file" in cli("train", "a.txt", "nowhere/x", *TINY).problem()
    assert cli("train").problem().startswith("train needs a text")
    assert not Path("runs").exists()


def test_a_file_that_may_not_be_read_is_named(cli: Any, here: Path) -> None:
    Path("a.txt").chmod(0)
    if os.access("a.txt", os.R_OK):
        pytest.skip("this user may read everything")
    assert "permission denied" in cli("train", "a.txt", *TINY).problem()


@pytest.mark.parametrize("words", [["train", "pipe"], ["data", "vocab", "pipe"]])
def test_a_fifo_is_refused_and_never_waited_for(
    here: Path, environment: dict[str, str], words: list[str]
) -> None:
    os.mkfifo("pipe")
    code = "import sys; from unrolled.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "'pipe' is a FIFO" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stdout == ""


@pytest.mark.parametrize("flag", ["hidden", "layers", "lanes", "window"])
@pytest.mark.parametrize("value", ["0", "-3", "nan", "1.5", "", "x", str(10**30)])
def test_a_size_that_means_nothing_is_one_line(cli: Any, here: Path, flag: str, value: str) -> None:
    problem = cli("train", "a.txt", f"--{flag}", value).problem()
    assert problem.startswith(f"--{flag}: wanted ") and f"came '{value}'" in problem
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lr", "nan"], "--lr: wanted a finite number, came 'nan'"),
        (["--clip-norm", "inf"], "--clip-norm: wanted a finite number, came 'inf'"),
        (["--epochs", "-1"], "--epochs: wanted 0 or more, came '-1'"),
        (["--optimizer", "adm"], "--optimizer: wanted 'sgd', 'nesterov', 'adagrad'"),
        (["--recipe", "char-rn"], "there is no recipe 'char-rn'; did you mean 'char-rnn'?"),
        (["--hiden", "3"], "--hiden"),
        (["--engine", "tourch"], "there is no engine 'tourch'; there are"),
        (["--device", "gpu"], "device: wanted cpu, cuda, cuda:1 ... or auto, came 'gpu'"),
        (["--device", "cuda:99"], "device: cuda:99 was asked for"),
    ],
)
def test_a_setting_that_means_nothing_is_one_line(cli: Any, here: Path, words: list[str], said: str) -> None:
    assert said in cli("train", "a.txt", *words).problem()


def test_every_wrong_setting_gets_a_line_of_its_own(cli: Any, here: Path) -> None:
    Path("bad.toml").write_text("[net]\nhiden = 7\n[training]\nlr = nan\n[extra]\n")
    said = cli("train", "a.txt", "--recipe", "bad.toml", "--lanes", "0")
    assert (said.code, said.out) == (2, "")
    assert sorted(said.err.splitlines()) == [
        "unrolled: --lanes: wanted more than 0, came '0'",
        "unrolled: bad.toml:2:1: net.hiden is unknown; did you mean 'hidden'?",
        "unrolled: bad.toml:4:1: lr: wanted a finite number, came nan",
        "unrolled: bad.toml:5:1: 'extra' is no table of settings",
    ]


@pytest.mark.parametrize(
    "words", [["--hidden", "1000000"], ["--hidden", str(2**31 - 1)], ["--window", "2000000000"]]
)
def test_a_net_beyond_memory_is_estimated_and_never_allocated(cli: Any, here: Path, words: list[str]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    problem = cli("train", "a.txt", *words).problem()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
    assert "lower --hidden" in problem and words[1] in problem
    assert "of memory to train" in problem or "larger than any machine's memory" in problem
    assert not Path("runs").exists()


def test_a_directory_in_use_is_not_written_into(cli: Any, here: Path, copied: Path) -> None:
    before = sorted(path.name for path in copied.iterdir())
    problem = cli("train", "a.txt", *TINY, "--run", copied).problem()
    assert "is not empty" in problem and f"unrolled resume {copied}" in problem
    assert sorted(path.name for path in copied.iterdir()) == before
    assert "is a file" in cli("train", "a.txt", *TINY, "--run", "a.txt").problem()


@pytest.mark.parametrize(("flag", "value"), [("--epochs", "0"), ("--max-updates", "-4"), ("--epochs", "x")])
def test_resume_refuses_an_end_that_means_nothing(cli: Any, copied: Path, flag: str, value: str) -> None:
    assert flag in cli("resume", copied, flag, value).problem()


def test_an_unknown_verb_and_an_unknown_flag_are_one_line(cli: Any) -> None:
    assert "trian" in cli("trian").problem()
    assert "--jsn" in cli("info", "--jsn").problem()
    assert "--run requires an argument" in cli("sample").problem()


def test_a_text_is_byte_material_with_units_byte(cli: Any, here: Path) -> None:
    Path("bad.txt").write_bytes(bytes(range(256)) * 3)
    assert cli("train", "bad.txt", *TINY, "--units", "byte", "--quiet", "--run", "r").code == 0
    assert cli("sample", "r", "--length", 20, "--seed", 1).code == 0


def test_a_name_longer_than_any_file_has_is_wrong_usage(cli: Any, here: Path) -> None:
    assert cli("net", "show", "x" * 1000).problem().endswith("File name too long")
