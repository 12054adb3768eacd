"""What several families need: a tiny training, the command line in a forked child, and what must be equal."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shlex
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from unrolled.runs.checkpoint import committed

from .trials import Wrong

WORDS = ("the", "cat", "sat", "on", "a", "mat", "and", "saw", "rats", "of", "Ned's", "hats;", "'la", "la'")
CLOCKS = ("seconds", "chars_per_second", "learning_seconds")
"""What differs between two runs that are equal."""

TINY = shlex.split(
    "--hidden 5 --lanes 3 --window 7 --dropout 0.25 --threads 1 --engine torch --quiet --sample-length 6"
)
"""Flags of a training that takes next to no time."""


def book(path: Path, lines: int = 25) -> Path:
    """Write a text that is the same each time."""
    draw = random.Random(5)
    path.write_text("\n".join(" ".join(draw.choices(WORDS, k=7)) for _ in range(lines)), encoding="utf-8")
    return path


@cache
def warm() -> None:
    """Train once in this process, so that all that a training imports is there in every forked child."""
    with tempfile.TemporaryDirectory() as folder:
        text = book(Path(folder) / "book.txt")
        flags = ["--max-updates", "1", "--validate-every", "1", "--sample-every", "1"]
        if cli("train", text, "--run", f"{folder}/run", *TINY, *flags) or cli(
            "resume", f"{folder}/run", "--quiet"
        ):
            raise Wrong("the tiny training does not even run")


def fork(action: Callable[[], int], said: Path, seconds: float = 120) -> int:
    """Run ``action`` in a forked child whose stdout and stderr go to the file ``said``; return its exit code.

    A signal that ended it comes back as a negative number. Wrong where it hangs. The child must compute
    with one thread: those of its parent are not there.
    """
    return wait(spawn(action, said), seconds)


def spawn(action: Callable[[], int], said: Path) -> int:
    """Begin what ``fork`` does; return the child's number."""
    warm()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be_the_child(action, said)
    return child


def wait(child: int, seconds: float = 120) -> int:
    """Wait for a child; return its exit code, or minus the signal that ended it. Wrong where it hangs."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise Wrong(f"it hung: no end after {seconds:.0f} s")


def _be_the_child(action: Callable[[], int], said: Path) -> None:
    code = 99
    try:
        handle = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        code = action()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 98
    except BaseException:  # noqa: BLE001 - whatever it is, the parent must hear of it
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def cli(*words: str | Path) -> int:
    """Run the command line in this process; return its exit code."""
    import torch

    from unrolled.cli.main import run

    torch.set_num_threads(1)
    return run([str(word) for word in words])


def tidy_words(said: Path) -> str:
    """Return what a child said; Wrong where it is a traceback."""
    words = said.read_text(encoding="utf-8", errors="replace")
    if "Traceback" in words:
        raise Wrong(f"a traceback: {' '.join(words.split())[-400:]}")
    return words


def updates(run: Path) -> list[int]:
    """Return the committed checkpoints of a run, the newest first."""
    return committed(run / "checkpoints")


def fingerprint(run: Path) -> dict[str, Any]:
    """Return what must be equal: hashes of the newest tensors, its place, the journals without clocks."""
    newest = run / "checkpoints" / str(updates(run)[0])
    found: dict[str, Any] = {"update": newest.name}
    for name in ("model.safetensors", "state.safetensors"):
        found[name] = hashlib.sha256((newest / name).read_bytes()).hexdigest()
    position = json.loads((newest / "state.json").read_text(encoding="utf-8"))["position"]
    found["position"] = _without_clocks(position)
    for name in ("metrics.jsonl", "samples.jsonl"):
        lines = (run / name).read_text(encoding="utf-8").splitlines()
        found[name] = [_without_clocks(json.loads(line)) for line in lines]
    return found


def _without_clocks(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name not in CLOCKS}


def check_equal(came: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise Wrong that names what differs between two fingerprints."""
    differs = [name for name in wanted if came.get(name) != wanted[name]]
    if differs:
        raise Wrong(f"not bit-identical: {', '.join(differs)}")


def last_line(words: str) -> str:
    """Return the last line of what was said."""
    lines: Sequence[str] = words.strip().splitlines()
    return lines[-1] if lines else ""
