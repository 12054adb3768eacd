"""What only a process of its own can show."""

from __future__ import annotations

import array
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import IO

import pytest

MAIN = [sys.executable, "-c", "from unrolled.cli import main; main()"]


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["sample", "--help"], ["--version"]])
def test_help_comes_without_torch_and_pydantic(environment: dict[str, str], words: list[str]) -> None:
    code = (
        "import sys; from unrolled.cli.main import run; code = run(sys.argv[1:]); "
        "heavy = {'torch', 'numpy', 'pydantic', 'unrolled.training'} & set(sys.modules); "
        "print('HEAVY', sorted(heavy), code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "HEAVY [] 0"


def test_a_reader_that_leaves_early_ends_a_sample_without_a_word(
    trained: Path, environment: dict[str, str]
) -> None:
    command = [*MAIN, "sample", str(trained), "--length", "100000000"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert len(process.stdout.read(50)) == 50
        process.stdout.close()
        assert process.wait(timeout=60) == 1
        assert process.stderr.read() == b""


def test_text_is_written_as_it_comes(trained: Path, environment: dict[str, str]) -> None:
    command = [*MAIN, "sample", str(trained), "--length", "100000000", "--prime", "the "]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.read(30).startswith(b"the ")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == b"unrolled: interrupted\n"


def waiting(pipe: IO[bytes]) -> int:
    """Return how many bytes lie in a pipe."""
    found = array.array("i", [0])
    fcntl.ioctl(pipe.fileno(), termios.FIONREAD, found)
    return found[0]


def test_an_interrupt_ends_a_sample_whose_reader_does_not_read(
    trained: Path, environment: dict[str, str]
) -> None:
    environment = {name: value for name, value in environment.items() if name != "PYTHONUNBUFFERED"}
    command = [*MAIN, "sample", str(trained), "--length", "100000000"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(1)
        held = -1
        while waiting(process.stdout) != held:  # until the pipe is full
            held = waiting(process.stdout)
            time.sleep(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == b"unrolled: interrupted\n"


def test_a_training_that_is_interrupted_saves_tells_how_to_go_on_and_exits_130_or_143(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "a.txt").write_text("the cat sat on the mat. " * 100)
    words = [
        "train",
        "a.txt",
        "--hidden",
        "5",
        "--lanes",
        "3",
        "--window",
        "4",
        "--max-updates",
        "1000000000",
        "--report-every",
        "10",
    ]
    for number, (sign, code) in enumerate([(signal.SIGINT, 130), (signal.SIGTERM, 143)]):
        run = tmp_path / f"run{number}"
        command = [*MAIN, *words, "--run", str(run), "--quiet"]
        process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        metrics = run / "metrics.jsonl"
        for _ in range(600):
            if metrics.exists() and metrics.stat().st_size:
                break
            time.sleep(0.05)
        process.send_signal(sign)
        _, said = process.communicate(timeout=60)
        assert process.returncode == code
        line = said.splitlines()[-1]
        update = int(line.split("update ")[1].split(";")[0])
        assert line.endswith(f"go on with: unrolled resume {run}") and len(said.splitlines()) == 1
        assert (run / "checkpoints" / str(update) / "manifest.json").is_file()
        assert json.loads(metrics.read_text().splitlines()[-1])["update"] <= update


def test_the_console_script_and_a_bare_call_show_help(environment: dict[str, str]) -> None:
    script = Path(sys.executable).with_name("unrolled")
    done = subprocess.run([str(script)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "train" in done.stdout and os.linesep in done.stdout


def test_the_end_of_a_process_looks_for_no_cycles_among_what_torch_imported(
    environment: dict[str, str],
) -> None:
    code = (
        "import atexit, gc, sys; from unrolled.cli.main import main; "
        "atexit.register(lambda: print('FROZEN', gc.get_freeze_count() > 0)); main(['--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "FROZEN True" and done.returncode == 0
