"""Hostile model directories: whatever is in one, opening it ends in an answer or in one line, soon, in little
memory, and runs no code.

Each directory is a run with one checkpoint in which one thing is wrong; it is opened in a forked child with
limits, from Python and from the command line.
"""

from __future__ import annotations

import gc
import random
import warnings
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path

from . import json_faults, path_faults, spec_faults, tensor_faults
from .children import Done, in_child
from .models import KINDS, Files, lay_out, run_of, workshop
from .trials import Trial, Wrong

SECONDS, MEGABYTES = 1.0, 500.0
"""What opening may take, beyond what this process holds, which has torch imported."""
NUMBER = 10_000

Fault = Callable[[Files, Files, random.Random], None]
"""Spoils the files of a run, or those of its checkpoint."""

FAULTS: tuple[tuple[int, Fault], ...] = (
    *json_faults.FAULTS,
    *tensor_faults.FAULTS,
    *spec_faults.FAULTS,
    *path_faults.FAULTS,
)
"""How often each comes in a hundred or so, and what it does."""


def trials() -> Iterable[Trial]:
    """Every fault in turn, as often as it weighs."""
    chosen = [fault for weight, fault in FAULTS for _ in range(weight)]
    for number in range(NUMBER):
        fault = chosen[number % len(chosen)]
        yield Trial(f"{fault.__name__}-{number}", partial(open_spoilt, fault))


def open_spoilt(fault: Fault, folder: Path, draw: random.Random) -> None:
    """Make a run with one fault, and open it in two ways."""
    warm()
    kind = draw.choice(KINDS)
    outer, inner = run_of(kind)
    outer, inner = dict(outer), dict(inner)
    fault(outer, inner, draw)
    run = lay_out(outer, folder / "run")
    checkpoint = run / "checkpoints" / "12"
    if inner:
        lay_out(inner, checkpoint)
    names = sorted(draw.sample(list(WAYS), k=2), key=WORK.__contains__)  # what works takes memory too
    opened(folder, names, run, checkpoint)


def opened(folder: Path, names: list[str], run: Path, checkpoint: Path) -> list[Done]:
    """Open a run in these ways, in a child; return what each did, Wrong where it must not."""
    ways = [partial(WAYS[name], run, checkpoint) for name in names]
    done: list[Done] = []
    for again in (2, 1, 0):
        done = in_child(ways, folder)
        # The processor is shared with others, so a slow one is asked again.
        if not again or all(one.seconds < SECONDS for one in done):
            break
    for name, one in zip(names, done, strict=True):
        _check(name, one)
    if list(folder.rglob("*marker*")):
        raise Wrong("code was run")
    return done


def _check(way: str, done: Done) -> None:
    lines = done.err.splitlines()
    if done.code == 70 or "Traceback" in done.err:
        raise Wrong(f"{way}: a traceback: {' '.join(done.err.split())[-600:]}")
    if done.code not in (0, 1, 2, 3):
        raise Wrong(f"{way}: exit code {done.code}: {done.err[-300:]!r}")
    told = [line for line in lines if line.startswith("unrolled: ")]
    notes = [line for line in lines if line.startswith("note: ")]
    if len(told) != (done.code != 0) or len(told) + len(notes) != len(lines):
        raise Wrong(f"{way}: wanted one line, came {done.err[:600]!r} with exit code {done.code}")
    if max(map(len, lines), default=0) > 2000:
        raise Wrong(f"{way}: a line of {max(map(len, lines))} characters: {done.err[:200]!r}")
    works = way in WORK and done.code == 0
    if not works and (done.seconds >= SECONDS or done.megabytes >= MEGABYTES):
        raise Wrong(f"{way}: took {done.seconds:.2f} s and {done.megabytes:.0f} MB: {done.err[:200]!r}")


def _python(action: Callable[[], object]) -> int:
    """Do something from Python; tell an error as the command line does."""
    import sys

    from unrolled.errors import UnrolledError

    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        try:
            action()
        except UnrolledError as error:
            line = f"unrolled: {error}".encode(errors="backslashreplace").decode()
            print(line, file=sys.stderr)
            return error.exit_code
    return 0


def _load(path: Path) -> int:
    import unrolled

    return _python(lambda: unrolled.load(path))


def _run(run: Path, checkpoint: Path) -> int:
    import unrolled

    def look() -> None:
        found = unrolled.Run(run)
        repr(found), found._repr_html_()
        found.newest(lambda message: None)
        for journal in (found.metrics, found.samples):
            list(journal.lines())

    return _python(look)


def _resume(run: Path, checkpoint: Path) -> int:
    import unrolled

    return _python(lambda: unrolled.resume(run, max_updates=13))


def _command(*words: object) -> int:
    from unrolled.cli.main import run

    return run([str(word) for word in words])


WAYS: dict[str, Callable[[Path, Path], int]] = {
    "load-run": lambda run, checkpoint: _load(run),
    "load": lambda run, checkpoint: _load(checkpoint),
    "run": _run,
    "resume": _resume,
    "sample": lambda run, checkpoint: _command("sample", checkpoint, "--length", 3, "--seed", 1),
    "answer": lambda run, checkpoint: _command("sample", run, "--input", '{"in": ["a", "b"]}', "--seed", 1),
    "eval": lambda run, checkpoint: _command("eval", checkpoint, workshop() / "book.txt", "--lanes", 4),
    "inspect": lambda run, checkpoint: _command(
        "inspect", checkpoint, workshop() / "book.txt", "-o", run.parent / "p.html", "--length", 40
    ),
    "report": lambda run, checkpoint: _command("report", run, "-o", run.parent / "r.html"),
    "cli-resume": lambda run, checkpoint: _command("resume", run, "--max-updates", 13, "--quiet"),
}
"""The ways into a model, from Python and from the command line."""


WORK = ("resume", "cli-resume", "eval", "inspect", "report")
"""Ways that work with a net once it is open, for as long as a net takes that is large and sound."""


@cache
def warm() -> None:
    """Import here all that the ways import, so that a child's time and memory are its own."""
    import tempfile

    import torch

    torch.set_num_threads(1)
    for kind in KINDS:
        outer, inner = run_of(kind)
        with tempfile.TemporaryDirectory() as name:
            run = lay_out(outer, Path(name) / "run")
            checkpoint = lay_out(inner, run / "checkpoints" / "12")
            for way in WAYS.values():
                _quietly(partial(way, run, checkpoint))
    gc.collect()
    gc.freeze()  # what never is looked at again need not be copied into each child


def _quietly(work: Callable[[], int]) -> int:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return work()
