"""A process that has torch imported and forks a child for each command line, so that none has to import it.

A child is as a new process is: signals as the system leaves them, no thread but one, a session of its own.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .runs import warm
from .trials import Wrong

TESTS = Path(__file__).parents[1]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@functools.cache
def cache_folder() -> str:
    """Return the folder of this process for compiled cells, away from the user's."""
    folder = tempfile.mkdtemp(prefix="torture-cache-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def surroundings(more: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a child: without the user's settings, importing this checkout."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("UNROLLED_")}
    paths = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS)])
    ours = {**ONE_THREAD, "PYTHONPATH": paths, "UNROLLED_CACHE": cache_folder()}
    return {**plain, **ours, **(more or {})}


class Child:
    """A command line under way."""

    def __init__(self, pid: int, said: Path) -> None:
        self.pid, self._said = pid, said
        self.code: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for the signal that ended it, or None while it runs."""
        raise NotImplementedError

    @property
    def words(self) -> str:
        """What it said, both streams."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    def queued(self) -> float:
        """Return for how many seconds it has waited for a processor that others had."""
        try:
            return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):  # not on every system, and not after its end
            return 0.0

    def signal(self, number: int) -> None:
        """Send a signal to it, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float = 120) -> int:
        """Return the exit code; Wrong where it hangs or leaves a traceback."""
        until = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                raise Wrong(f"it hung: no end after {seconds:.0f} s; it said {_short(self.words)}")
            time.sleep(0.001)
        if "Traceback" in self.words:
            raise Wrong(f"a traceback: {_short(self.words)}")
        assert self.code is not None
        return self.code


def _short(words: str) -> str:
    return " ".join(words.split())[-400:]


class Fresh(Child):
    """One in a Python of its own."""

    def __init__(
        self,
        words: Sequence[str],
        said: Path,
        more: dict[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        with said.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "unrolled", *words],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=surroundings(more), cwd=folder,
                start_new_session=True,
            )  # fmt: skip
        super().__init__(self._process.pid, said)

    def poll(self) -> int | None:
        """Return the exit code or None."""
        self.code = self._process.poll()
        return self.code


class Server:
    """Starts children; ``server()`` is the one that all trials share."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=surroundings(), text=True,
        )  # fmt: skip

    def ask(self, question: dict[str, Any]) -> Any:
        """Send a question, return the answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, words: Sequence[str], said: Path, more: dict[str, str] | None = None) -> Child:
        """Start a command line, or with ``python FILE`` a script, whose words go to ``said``."""
        said.touch()
        pid = self.ask({"words": list(words), "said": str(said), "environment": more or {}})
        return _Forked(self, pid, said)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


class _Forked(Child):
    def __init__(self, home: Server, pid: int, said: Path) -> None:
        super().__init__(pid, said)
        self._home = home

    def poll(self) -> int | None:
        if self.code is None:
            self.code = self._home.ask({"wait": self.pid})
        return self.code


@functools.cache
def server() -> Server:
    """Return the server, started when it is first asked for."""
    started = Server()
    atexit.register(started.close)
    return started


def serve() -> None:
    """Read questions from stdin until it ends; a forked child returns from here into its command line."""
    warm()
    gc.freeze()
    with os.fdopen(os.dup(1), "w") as answers:
        for line in iter(sys.stdin.readline, ""):
            asked = json.loads(line)
            if "wait" in asked:
                found, status = os.waitpid(asked["wait"], os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if found else None
            else:
                answer = os.fork()
                if answer == 0:
                    break
            print(json.dumps(answer), file=answers, flush=True)
        else:
            return
    _become(asked)


def _become(asked: dict[str, Any]) -> None:
    os.setsid()
    said = os.open(asked["said"], os.O_WRONLY | os.O_APPEND | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(said, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(asked["environment"])
    words = asked["words"]
    if words[0] == "python":
        import runpy

        sys.argv = words[1:]
        runpy.run_path(words[1], run_name="__main__")
        return
    from unrolled.cli.main import main

    main(words)


if __name__ == "__main__":
    serve()
