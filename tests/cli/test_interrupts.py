from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

LOSING = """
import time, sys
from unrolled.cli import main, using
class Deaf:
    def __del__(self):
        print("deaf", flush=True)
        time.sleep(20)
def sample(*rest):
    Deaf()
    print("awake", flush=True)
    while True:
        time.sleep(0.01)
using.sample = sample
main()
"""
FAILING = """
import time
from unrolled.cli import main, using
from unrolled.errors import LoadError
def sample(*rest):
    print("deaf", flush=True)
    try:
        time.sleep(20)
    except KeyboardInterrupt as error:
        raise {error}("pop from an empty stack") from error
using.sample = sample
main()
"""

ENDING = """
import atexit, time
from unrolled.cli import main, using
@atexit.register
def tidy():
    print("deaf", flush=True)
    time.sleep(20)
using.sample = lambda *rest: None
main()
"""

PASSING = """
from unrolled.cli import main, using
def sample(*rest):
    try:
        import slow
    except KeyboardInterrupt:
        print("passed over")
using.sample = sample
main()
"""


def pressed(code: str, environment: dict[str, str], when: bytes = b"deaf") -> tuple[int, str]:
    """Press Ctrl-C once, as soon as a program says ``when``; return its exit code and stderr."""
    command = [sys.executable, "-c", code, "sample", "run"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == when
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        return process.returncode, said.decode()


def test_an_interrupt_that_python_could_give_to_nobody_is_raised_again(environment: dict[str, str]) -> None:
    code, said = pressed(LOSING, environment)
    assert code == 130 and said.splitlines()[-1] == "unrolled: interrupted"
    assert "Exception ignored" in said, "the first was not lost, so nothing was tested"


@pytest.mark.parametrize("error", ["LoadError", "RuntimeError", "ImportError", "OSError"])
def test_an_interrupt_that_a_library_made_an_error_of_is_still_one(
    error: str, environment: dict[str, str]
) -> None:
    assert pressed(FAILING.replace("{error}", error), environment) == (130, "unrolled: interrupted\n")


def test_an_interrupt_that_an_import_would_pass_over_ends_the_process(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "slow.py").write_text("print('deaf', flush=True)\nimport time\ntime.sleep(20)\n")
    known = environment.get("PYTHONPATH", "")
    environment = {**environment, "PYTHONPATH": f"{tmp_path}{os.pathsep}{known}"}
    assert pressed(PASSING, environment) == (130, "unrolled: interrupted\n")


def test_an_interrupt_while_the_command_line_is_read_in_is_one_line(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    (tmp_path / "cyclopts.py").write_text("print('deaf', flush=True)\nimport time\ntime.sleep(20)\n")
    known = environment.get("PYTHONPATH", "")
    environment = {**environment, "PYTHONPATH": f"{tmp_path}{os.pathsep}{known}"}
    code = "from unrolled.cli import main; main()"
    assert pressed(code, environment) == (130, "unrolled: interrupted\n")


def test_an_interrupt_while_python_tidies_up_ends_it_at_once(environment: dict[str, str]) -> None:
    assert pressed(ENDING, environment) == (130, "")
