from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import unrolled

fingerprint = runpy.run_path(str(Path(__file__).with_name("fingerprint.py")))["fingerprint"]


def run_until(arguments: list[str], metrics: Path, updates: int, number: signal.Signals) -> int:
    """Start the command line, send it a signal when its metrics reach an update, return its exit code."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "unrolled", *arguments, "--quiet"], env=environment, stderr=subprocess.PIPE
    )
    while process.poll() is None:
        if metrics.exists() and metrics.read_text(encoding="utf-8").count('"kind": "train"') >= updates:
            process.send_signal(number)
            break
        time.sleep(0.001)
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_killed_from_outside_twice_leaves_a_run_that_ends_as_if_nothing_happened(
    number: signal.Signals, text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**small, "report_every": 1, "dropout": 0.2, "epochs": 8, "threads": 1}
    straight = unrolled.train(text, run=tmp_path / "straight", **settings)
    flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    broken = tmp_path / "broken"
    first = run_until(
        ["train", str(text), "--run", str(broken), *flags], broken / "metrics.jsonl", 19, number
    )
    second = run_until(["resume", str(broken)], broken / "metrics.jsonl", 37, number)
    assert (first, second) == ((-9, -9) if number == signal.SIGKILL else (143, 143))
    unrolled.resume(broken)
    assert fingerprint(broken) == fingerprint(straight.directory)
