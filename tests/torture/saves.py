"""Every operation on the disk that a training does: killed there, failing there, without power from there on.

A training is told in operations: open, write, fsync, rename, unlink, rmdir, mkdir, symlink, truncate. In each
story every operation is met once by each fault; then the run is resumed, and must end as if nothing had
happened.
"""

from __future__ import annotations

import json
import random
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

from unrolled.errors import DamagedError
from unrolled.runs import Run
from unrolled.runs.checkpoint import read_checkpoint

from .disk import MANNERS, Disk
from .faults import GROWING, KILLED, Fault, Operation, Shim
from .runs import TINY, book, check_equal, cli, fingerprint, fork, last_line, tidy_words, updates
from .trials import Trial, Wrong

EVENTS = shlex.split(
    "--max-updates 6 --report-every 1 --validate-every 3 --sample-every 4 --checkpoint-every 2 --lr 0.01"
)
"""The first save, later ones, one that drops an old one, a new best, the last: 0, 2, 3, 4 and 6."""


DAMAGED = 100
"""To how many bytes a checkpoint's weights are cut in a story that begins with damage."""

CODES = {"killed": {KILLED}, "cut short": {KILLED}, "SIGTERM": {0, 143, -15}}
"""What a training may end with, by the kind of the fault; others may end well, failed or refused."""


@dataclass(frozen=True)
class Story:
    """A folder to begin with, in which ``runs/run`` is the run, and what is then done."""

    name: str
    prepare: Callable[[Path], None]
    words: Callable[[Path], list[str]]


def _train(folder: Path) -> list[str]:
    return ["train", str(folder / "book.txt"), "--run", str(_run(folder)), *TINY, *EVENTS]


def _resume(folder: Path) -> list[str]:
    return ["resume", str(_run(folder)), "--quiet"]


def _run(folder: Path) -> Path:
    return folder / "runs" / "run"


def _nothing(folder: Path) -> None:
    """Leave nothing but the text."""


def _interrupted(folder: Path) -> None:
    """Leave a run that a signal ended between a report and the validation that belonged to it."""
    log = Shim(folder)
    seen = [0]
    real = log.meet

    def meet(operation: Operation, do: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        seen[0] += operation.name == "write" and operation.path.endswith("metrics.jsonl")
        if seen[0] == 3 and log.fault is None:
            log.fault = Fault("SIGTERM", len(log.log))
        return real(operation, do, half)

    log.meet = meet  # type: ignore[method-assign]
    _do(folder, _train(folder), log, wanted=143)


def _damaged(folder: Path) -> None:
    """Leave a run whose newest checkpoint is damaged, and what a killed save left."""
    _do(folder, [word if word != "6" else "4" for word in _train(folder)])
    checkpoints = _run(folder) / "checkpoints"
    weights = checkpoints / "4" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:DAMAGED])
    for name in (".5.1", ".dropped-2"):
        shutil.copytree(checkpoints / "4", checkpoints / name)
    shutil.copytree(checkpoints / "3", checkpoints / "damaged-4")


STORIES = (
    Story("a new run", _nothing, _train),
    Story("a resume after a signal", _interrupted, _resume),
    Story("a resume after damage", _damaged, lambda folder: [*_resume(folder), "--max-updates", "6"]),
)


def _do(folder: Path, words: Sequence[str], shim: Shim | None = None, wanted: int | None = 0) -> int:
    """Run the command line in a child with the shim, where there is one; Wrong for another exit code."""

    def action() -> int:
        (shim or Shim(folder)).install()
        return cli(*words)

    code = fork(action, folder / "said")
    said = tidy_words(folder / "said")
    if wanted is not None and code != wanted:
        raise Wrong(f"exit {code} in place of {wanted}: {last_line(said)}")
    return code


@dataclass(frozen=True)
class Told:
    """A story as it goes when nothing happens."""

    before: Path
    """The folder at its beginning."""
    log: list[Operation]
    saved: list[tuple[int, int]]
    """After how many operations which checkpoint was said to be saved."""
    end: dict[str, Any]
    """The fingerprint at its end."""


@cache
def told(story: Story) -> Told:
    """Do a story once; what is there before and after lies in a folder that goes with this process."""
    before = Path(tempfile.mkdtemp(dir=_lasting()))
    book(before / "book.txt")
    (before / "runs").mkdir()
    story.prepare(before)
    folder = before.with_name(f"{before.name}-done")
    shutil.copytree(before, folder, symlinks=True)
    log = folder / "log.json"

    def action() -> int:
        shim, saved, save = Shim(folder / "runs").install(), [], Run.save

        def noted(*given: Any, **named: Any) -> Path:
            place = save(*given, **named)
            saved.append((len(shim.log), int(place.name)))
            return place

        with mock.patch.object(Run, "save", noted):
            code = cli(*story.words(folder))
        log.write_text(json.dumps([[asdict(operation) for operation in shim.log], saved]))
        return code

    code = fork(action, folder / "said")
    if code:
        raise Wrong(f"{story.name}: exit {code}: {last_line(tidy_words(folder / 'said'))}")
    operations, saved = json.loads(log.read_text())
    return Told(before, [Operation(**entry) for entry in operations], saved, fingerprint(_run(folder)))


@cache
def _lasting() -> Path:
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="torture-saves-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def trials() -> Iterator[Trial]:
    """Yield every operation of every story with every fault that it can meet."""
    for story in STORIES:
        for number, operation in enumerate(told(story).log):
            name = f"{story.name}, operation {number} ({_words(operation)})"
            for kind in Fault.KINDS:
                if _can(operation, kind):
                    yield Trial(f"{name}: {kind}", partial(_fault, story, Fault(kind, number)))
            for manner in MANNERS:
                yield Trial(f"{name}, then no power: {manner}", partial(_no_power, story, number, manner))


def _words(operation: Operation) -> str:
    return f"{operation.name} {Path(operation.path).name.lstrip('.').split('.')[0]}"


def _can(operation: Operation, kind: str) -> bool:
    if kind == "cut short":
        return len(operation.data) > 1
    return not kind.startswith("ENOSPC") or operation.name in GROWING


def _begin(story: Story, folder: Path) -> None:
    shutil.copytree(told(story).before, folder, symlinks=True, dirs_exist_ok=True)


def _fault(story: Story, fault: Fault, folder: Path, draw: random.Random) -> None:
    """Meet a fault, look, go on."""
    _begin(story, folder)
    shim = Shim(folder / "runs", fault)
    code = _do(folder, story.words(folder), shim, wanted=None)
    allowed = CODES.get(fault.kind, {0, 1, 2})
    said = tidy_words(folder / "said")
    if code not in allowed:
        raise Wrong(f"exit {code}, wanted one of {sorted(allowed)}: {last_line(said)}")
    if code == 1 and "resume" not in said:
        raise Wrong(f"exit 1 without a word of what to do: {last_line(said)}")
    if KILLED in allowed:
        _check_newest(folder, _newest(story, fault.at, sure=False))
    elif code:
        _check_newest(folder, None)
    _go_on(story, folder)


def _no_power(story: Story, number: int, manner: str, folder: Path, draw: random.Random) -> None:
    """Lose power after an operation, look, go on."""
    found = told(story)
    disk = Disk(found.before / "runs")
    disk.replay(found.log[: number + 1])
    shutil.copy(found.before / "book.txt", folder)
    disk.lose_power(folder / "runs", manner, draw)
    _check_newest(folder, _newest(story, number, sure=True))
    _go_on(story, folder)


def _go_on(story: Story, folder: Path) -> None:
    """Do what somebody does who knows nothing: the same again, or resume where there is a run by now."""
    run, words = _run(folder), story.words(folder)
    if words[0] == "train" and (run / "config.toml").is_file():
        words = _resume(folder)
    _do(folder, words)
    check_equal(fingerprint(run), told(story).end)


def _newest(story: Story, number: int, *, sure: bool) -> int | None:
    """Return the newest checkpoint that must be there after an operation; None where none need be.

    ``sure`` asks for those only that were said to be saved, which a loss of power must leave.
    """
    found = told(story)
    there = list(updates(_run(found.before)))
    if story.prepare is _damaged:
        there.remove(4)
    for done, operation in enumerate(found.log[: number + 1], start=1):
        target = Path(operation.other)
        if operation.name == "rename" and Path(operation.path).name in map(str, there):
            there.remove(int(Path(operation.path).name))
        elif operation.name == "rename" and target.parent.name == "checkpoints" and target.name.isdigit():
            there += [int(target.name)] * (not sure)
        there += [update for at, update in found.saved if at == done]
    return max(there, default=None)


def _check_newest(folder: Path, least: int | None) -> None:
    """Raise Wrong unless the newest committed checkpoint can be loaded, and is no older than ``least``."""
    there = updates(_run(folder))
    if least is not None and (not there or there[0] < least):
        raise Wrong(f"checkpoint {least} was lost, the newest is {there[0] if there else 'none'}")
    if there and least is not None:
        newest = _run(folder) / "checkpoints" / str(there[0])
        weights = newest / "model.safetensors"
        if weights.is_file() and weights.stat().st_size == DAMAGED:
            return  # it was damaged before the story began
        try:
            read_checkpoint(newest)
        except DamagedError as error:
            raise Wrong(f"the newest committed checkpoint can't be loaded: {error}") from error
