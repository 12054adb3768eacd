"""Worker processes, and the works in them as things that can be run in turns."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers import Missing
from unrolled.measuring.rounds import Round, Run

WORKER = Path(__file__).parent / "worker.py"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Place:
    """What makes a process of its own necessary."""

    python: str = sys.executable
    large_malloc: bool = False
    name: str = ""
    """Two runtimes that must not share a process have different names."""


@dataclass
class Workers:
    """The processes that are running, one a place."""

    threads: int
    own_time: bool = False
    running: dict[Place, subprocess.Popen[str]] = field(default_factory=dict)
    built: dict[Place, int] = field(default_factory=dict)

    def build(self, place: Place, peer: str, work: dict[str, Any]) -> Run:
        """Build a work in its place; return what runs it there. ``Missing`` where it can't be had."""
        answer = self._ask(place, {"peer": peer, "work": work})
        if "missing" in answer:
            raise Missing(answer["missing"])
        number = self.built[place]
        self.built[place] += 1

        def run(repeats: int) -> Round:
            done = self._ask(place, {"run": number, "repeats": repeats})
            return Round(done["seconds"], done["foreign"])

        return run

    def forget(self) -> None:
        """Let go of all works; processes stay."""
        for place in self.running:
            self._ask(place, {"forget": True})
            self.built[place] = 0

    def end(self) -> None:
        """End all processes."""
        for process in self.running.values():
            assert process.stdin is not None and process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
            process.wait()
        self.running.clear()

    def _ask(self, place: Place, order: dict[str, Any]) -> dict[str, Any]:
        if place not in self.running:
            self.running[place], self.built[place] = _start(place, self.threads, self.own_time), 0
        process = self.running[place]
        assert process.stdin is not None and process.stdout is not None
        try:
            print(json.dumps(order), file=process.stdin, flush=True)
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise SystemExit(f"the worker for {order} ended with code {process.wait()}; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def workers(threads: int, own_time: bool = False) -> Iterator[Workers]:
    """Keep worker processes for a while."""
    found = Workers(threads, own_time)
    try:
        yield found
    finally:
        found.end()


def _start(place: Place, threads: int, own_time: bool) -> subprocess.Popen[str]:
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    words = [place.python, str(WORKER), "--threads", str(threads)]
    words += ["--large-malloc"] if place.large_malloc else []
    words += ["--own-time"] if own_time else []
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, env=environment)
