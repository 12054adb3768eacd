"""Work done in forked children, with a clock and a memory that end, from a process that knows torch.

A fork has everything imported, so that what it needs is what the work needs, beyond the import of torch.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .trials import Wrong

MEGABYTES = 250
"""How much more memory than Python and torch, which take nearly as much, some work may hold."""
SECONDS = 1.0
"""How much of the processor some work may take, beyond the import of torch."""
PATIENCE = 30.0
"""Seconds by the clock after which a child is ended; others may be using the processor."""


@dataclass(frozen=True)
class Done:
    """What one piece of work did: its exit code, its words, processor time and growth of memory."""

    code: int
    out: str
    err: str
    seconds: float
    megabytes: float


def in_child(works: Sequence[Callable[[], int]], folder: Path) -> list[Done]:
    """Do works, each returns an exit code, one after the other in one forked child that stands in ``folder``.

    Raises Wrong where the child dies. What a work raises is its standard error, under code 70.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            _work(works, folder, writer)
        finally:
            os._exit(0)
    os.close(writer)
    told, late = _heard(reader)
    if late:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    done = [Done(**json.loads(line)) for line in told.splitlines()]
    if late or len(done) < len(works):
        way = f"took more than {PATIENCE:g} s" if late else f"died, {os.waitstatus_to_exitcode(status)}"
        raise Wrong(f"work {len(done) + 1} of {len(works)} {way}")
    return done


def _heard(reader: int) -> tuple[str, bool]:
    """Return all that a child tells, and whether it was still telling when the patience was over."""
    parts, ends_at = [], time.monotonic() + PATIENCE
    with open(reader, "rb", buffering=0) as told:
        while True:
            ready, _, _ = select.select([told], [], [], max(0.0, ends_at - time.monotonic()))
            part = told.read(1 << 20) if ready else None
            if not part:
                return b"".join(parts).decode(), not ready
            parts.append(part)


def _work(works: Sequence[Callable[[], int]], folder: Path, writer: int) -> None:
    os.chdir(folder)
    faulthandler.disable()  # what kills a child is told by whoever waits for it
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = size + 4 * MEGABYTES * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    base = _held()
    for work in works:
        done = _one(work, base)
        os.write(writer, json.dumps(asdict(done)).encode() + b"\n")


def _one(work: Callable[[], int], base: float) -> Done:
    """Do one work, its words in files, which the growth of memory does not count."""
    with Path("out").open("w+", encoding="utf-8") as out, Path("err").open("w+", encoding="utf-8") as err:
        for stream, number in ((out, 1), (err, 2)):
            os.dup2(stream.fileno(), number)
        began = time.process_time()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = work()
            except BaseException:  # noqa: BLE001 - whatever it is, it is what this is here to find
                traceback.print_exc(limit=-12)
                code = 70
        took = time.process_time() - began
        sys.stdout.flush()
        out.flush(), err.flush()
        grown = _held() - base
        said = [_beginning(stream.name) for stream in (out, err)]
        return Done(code, *said, took, grown)


def _beginning(name: str) -> str:
    with Path(name).open("rb") as file:
        return file.read(1 << 20).decode(errors="backslashreplace")


def _held() -> float:
    """Return the most memory that this process ever held, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
