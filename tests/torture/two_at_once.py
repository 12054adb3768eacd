"""Two processes on one run: the second writer is refused, readers see whole checkpoints or are told."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import unrolled
from unrolled.errors import LoadError, UsageError
from unrolled.runs import Checkpoint, Run, checkpoint, files, tensors
from unrolled.runs.checkpoint import read_checkpoint
from unrolled.training import Listener

from .runs import TINY, book, check_equal, cli, fingerprint, fork, last_line, spawn, tidy_words, updates, wait
from .trials import Trial, Wrong

EVENTS = ["--max-updates", "6", "--report-every", "1", "--validate-every", "3", "--checkpoint-every", "2"]
GARBAGE = (
    b"",
    b"\0" * 64,
    b"99999999999999999999999",
    b"-1",
    b"0",
    b"\xff\xfe\xfa",
    b"12 monkeys",
    b"\xd9\xa3",
)
READERS = ("sample", "eval", "inspect", "report")


def trials() -> Iterator[Trial]:
    """Yield every pair of processes that is tried."""
    for number in range(20):
        yield Trial(f"two trainings into one directory, {number}", _two_trainings)
        yield Trial(f"two trainings without a directory, {number}", _two_without)
        yield Trial(f"two resumes at once, {number}", _two_resumes)
        yield Trial(f"readers beside a training, {number}", _readers)
    for verb in ("resume", "train", "from Python"):
        yield Trial(f"a second process: {verb}", partial(_refused, verb))
    yield Trial("a process that was killed", _killed)
    for alive in (True, False):
        yield Trial(
            f"a child keeps the lock open, its parent {'ends' if alive else 'is killed'}",
            partial(_child, alive),
        )
    for kind in ("symbolic link", "FIFO", "directory", "hard link", "socket"):
        yield Trial(f"the lock is a {kind}", partial(_odd_lock, kind))
    for number, words in enumerate(GARBAGE):
        yield Trial(f"the lock holds garbage, {number}", partial(_garbage, words))
    for number in range(20):
        yield Trial(f"the lock holds garbage that is drawn, {number}", partial(_garbage, None))
    for code in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO):
        yield Trial(
            f"a file system that answers a lock with {errno.errorcode[code]}", partial(_no_flock, code)
        )
    for code in (errno.EACCES, errno.EROFS, errno.ENOSPC):
        yield Trial(f"a lock that can't be opened: {errno.errorcode[code]}", partial(_no_lock, code))
    for verb in READERS:
        yield Trial(f"{verb} beside a training", partial(_verb, verb))
    for read in range(8):
        for what in ("dropped", "replaced", "damaged"):
            for path in ("", "last", "checkpoints/4"):
                name = f"a checkpoint is {what} before file {read} of {path or 'the run'} is read"
                yield Trial(name, partial(_while_read, read, what, path))


@cache
def _lasting() -> Path:
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="torture-two-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _straight() -> Path:
    """Return where runs lie that nothing disturbed: ``run`` of 6 updates, ``half`` of 4, which ``ended``."""
    folder = _lasting() / "straight"
    folder.mkdir()
    text = book(folder / "book.txt")
    for name, last in (("run", "6"), ("half", "4")):
        words = ["train", str(text), "--run", str(folder / name), *TINY, *EVENTS]
        words[words.index("--max-updates") + 1] = last
        code = fork(lambda words=words: cli(*words), folder / "said")  # type: ignore[misc]
        if code:
            raise Wrong(f"exit {code}: {last_line(tidy_words(folder / 'said'))}")
    shutil.copytree(folder / "half", folder / "ended", symlinks=True)
    fork(lambda: cli("resume", folder / "ended", "--max-updates", "6", "--quiet"), folder / "said")
    return folder


def _train(folder: Path, *more: str) -> list[str]:
    return ["train", str(_straight() / "book.txt"), *TINY, *EVENTS, *more]


def _half(folder: Path) -> Path:
    """Put a run of 4 updates, which can go on to 6, into a folder."""
    shutil.copytree(_straight() / "half", folder / "run", symlinks=True)
    return folder / "run"


def _at_once(folder: Path, draw: random.Random, *commands: list[str]) -> list[tuple[int, str]]:
    """Run commands in children that begin within some milliseconds; return exit codes and words."""
    children = []
    for number, words in enumerate(commands):
        delay = draw.random() * draw.choice([0.001, 0.02, 0.2])

        def action(words: list[str] = words, delay: float = delay) -> int:
            os.chdir(folder)
            time.sleep(delay)
            return cli(*words)

        children.append(spawn(action, folder / f"said{number}"))
    codes = [wait(child) for child in children]
    return [(code, tidy_words(folder / f"said{number}")) for number, code in enumerate(codes)]


def _check_refused(code: int, said: str, *words: str) -> None:
    line = last_line(said)
    if code != 2 or not all(word in line for word in words) or len(said.strip().splitlines()) != 1:
        raise Wrong(f"wanted exit 2 and a line with {words}, came {code}: {said.strip()!r}")


def _check_end(run: Path, like: str = "ended") -> None:
    check_equal(fingerprint(run), fingerprint(_straight() / like))


def _two_trainings(folder: Path, draw: random.Random) -> None:
    words = _train(folder, "--run", "run")
    found = sorted(_at_once(folder, draw, words, words))
    if [code for code, _ in found] != [0, 2]:
        raise Wrong(f"wanted one to train and one to be refused, came {found}")
    _check_refused(*found[1], "run")
    _check_end(folder / "run", "run")


def _two_without(folder: Path, draw: random.Random) -> None:
    found = _at_once(folder, draw, _train(folder), _train(folder))
    if [code for code, _ in found] != [0, 0]:
        raise Wrong(f"wanted both to train, came {found}")
    for name in ("book-001", "book-002"):
        _check_end(folder / "runs" / name, "run")


def _two_resumes(folder: Path, draw: random.Random) -> None:
    run = _half(folder)
    words = ["resume", str(run), "--max-updates", "6", "--quiet"]
    found = sorted(_at_once(folder, draw, words, words))
    if found[0][0] or found[1][0] not in (0, 2):
        raise Wrong(f"wanted one to go on and one to be refused or to come later, came {found}")
    if found[1][0] == 2:
        _check_refused(*found[1], "is being trained by")
    _check_end(run)


def _long(folder: Path) -> tuple[int, Path]:
    """Start a training without an end in a child; return its number and its run, when it holds it."""
    run = folder / "run"
    words = [*_train(folder, "--run", str(run))]
    words[words.index("--max-updates") + 1] = "1000000"
    child = spawn(lambda: cli(*words), folder / "trained")
    until = time.monotonic() + 60
    while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").stat().st_size:
        if time.monotonic() > until:
            raise Wrong("the training did not begin")
        time.sleep(0.005)
    return child, run


def _refused(verb: str, folder: Path, draw: random.Random) -> None:
    holder, run = _long(folder)
    try:
        if verb == "from Python":
            try:
                unrolled.resume(run)
            except UsageError as error:
                _check_refused(2, str(error), f"process {holder}")
            else:
                raise Wrong("it was not refused")
            return
        words = ["resume", str(run)] if verb == "resume" else _train(folder, "--run", str(run))
        code = fork(lambda: cli(*words), folder / "said")
        _check_refused(
            code, tidy_words(folder / "said"), f"process {holder}" if verb == "resume" else "not empty"
        )
    finally:
        os.kill(holder, signal.SIGTERM)
        code = wait(holder)
    if code != 143:
        raise Wrong(f"the holder ended with {code}: {last_line(tidy_words(folder / 'trained'))}")


def _killed(folder: Path, draw: random.Random) -> None:
    holder, run = _long(folder)
    os.kill(holder, signal.SIGKILL)
    wait(holder)
    there = updates(run)[0]
    code = fork(lambda: cli("resume", run, "--max-updates", str(there + 3)), folder / "said")
    said = tidy_words(folder / "said")
    told = [line for line in said.splitlines() if f"process {holder} ended" in line]
    if code or len(told) != 1:
        raise Wrong(f"exit {code}, said {said!r}")
    if (run / "lock").read_bytes():
        raise Wrong("the lock was left behind")


def _child(ends: bool, folder: Path, draw: random.Random) -> None:
    """Let a holder fork a child that lives on with the lock's file open."""
    run, number = _half(folder), folder / "child"

    def hold() -> int:
        with Run(run).locked():
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            number.write_text(str(child))
            if not ends:
                os.kill(os.getpid(), signal.SIGKILL)
        return 0

    holder = spawn(hold, folder / "held")
    wait(holder)
    try:
        code = fork(lambda: cli("resume", run, "--max-updates", "6", "--quiet"), folder / "said")
        said = tidy_words(folder / "said")
    finally:
        os.kill(int(number.read_text()), signal.SIGKILL)
    if not ends:
        _check_refused(code, said, f"process {holder}", "child")
        return
    if code:
        raise Wrong(f"exit {code}: {last_line(said)}")
    _check_end(run)


def _odd_lock(kind: str, folder: Path, draw: random.Random) -> None:
    run, precious = _half(folder), folder / "thesis.txt"
    precious.write_text("years of work")
    lock = run / "lock"
    lock.unlink(missing_ok=True)
    if kind == "symbolic link":
        lock.symlink_to(precious)
    elif kind == "hard link":
        lock.hardlink_to(precious)
    elif kind == "FIFO":
        os.mkfifo(lock)
    elif kind == "directory":
        lock.mkdir()
    else:
        os.mknod(lock, 0o140600)
    code = fork(lambda: cli("resume", run, "--max-updates", "6"), folder / "said", 60)
    _check_refused(code, tidy_words(folder / "said"), "lock", "remove it")
    if precious.read_text() != "years of work":
        raise Wrong("what the lock was a link to was written over")


def _garbage(words: bytes | None, folder: Path, draw: random.Random) -> None:
    run = _half(folder)
    (run / "lock").write_bytes(draw.randbytes(draw.randint(1, 5000)) if words is None else words)
    code = fork(lambda: cli("resume", run, "--max-updates", "6", "--quiet"), folder / "said")
    if code:
        raise Wrong(f"exit {code}: {last_line(tidy_words(folder / 'said'))}")
    _check_end(run)


def _no_flock(code: int, folder: Path, draw: random.Random) -> None:
    run = _half(folder)

    def action() -> int:
        with mock.patch.object(fcntl, "flock", side_effect=OSError(code, os.strerror(code))):
            return cli("resume", run, "--max-updates", "6")

    found = fork(action, folder / "said")
    said = " ".join(tidy_words(folder / "said").split())
    if found or "can't be locked" not in said:
        raise Wrong(f"exit {found}: {said[-300:]}")
    _check_end(run)


def _no_lock(code: int, folder: Path, draw: random.Random) -> None:
    run, real = _half(folder), os.open

    def refuse(path: Any, *rest: Any, **more: Any) -> int:
        if str(path).endswith("/lock"):
            raise OSError(code, os.strerror(code), str(path))
        return real(path, *rest, **more)

    def action() -> int:
        with mock.patch.object(os, "open", refuse):
            return cli("resume", run, "--max-updates", "6")

    found = fork(action, folder / "said")
    _check_refused(found, tidy_words(folder / "said"), "lock", os.strerror(code))
    if fingerprint(run) != fingerprint(_straight() / "half"):
        raise Wrong("a run that was not held was changed")


def _verb(verb: str, folder: Path, draw: random.Random) -> None:
    """Use a run from the command line while it is trained, and saved at each update."""
    trainer, run = _saving(folder)
    text = str(_straight() / "book.txt")
    words = {
        "sample": ["sample", str(run), "--length", "20"],
        "eval": ["eval", str(run), text],
        "inspect": ["inspect", str(run), text, "--length", "300", "-o", str(folder / "page.html")],
        "report": ["report", str(run), "-o", str(folder / "report.html")],
    }[verb]
    try:
        for _ in range(4):
            code = fork(lambda: cli(*words), folder / "said")
            said = tidy_words(folder / "said")
            if code or "damaged" in said:
                raise Wrong(f"exit {code}: {last_line(said)}")
    finally:
        os.kill(trainer, signal.SIGKILL)
        wait(trainer)


def _saving(folder: Path) -> tuple[int, Path]:
    """Start a training that saves at each update; what it saved is in ``folder/saved``, a hash a line."""
    run, saved = folder / "run", folder / "saved"

    class Saved(Listener):
        def saved(self, place: Path) -> None:
            with saved.open("a") as file:
                file.write(f"{_hash(read_checkpoint(place).model)}\n")

    def action() -> int:
        torch.set_num_threads(1)
        with mock.patch.object(os, "fsync"):
            unrolled.train(
                _straight() / "book.txt", run=run, hidden=5, lanes=3, window=7, threads=1, engine="torch",
                max_updates=100_000, checkpoint_every=1, validate_every=5, report_every=1, listener=Saved(),
            )  # fmt: skip
        return 0

    trainer = spawn(action, folder / "trained")
    until = time.monotonic() + 60
    while not (run / "best").exists():
        if time.monotonic() > until:
            raise Wrong(f"the training did not begin: {tidy_words(folder / 'trained')}")
        time.sleep(0.005)
    return trainer, run


def _hash(weights: dict[str, torch.Tensor]) -> str:
    import hashlib

    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].numpy().tobytes())
    return digest.hexdigest()


def _readers(folder: Path, draw: random.Random) -> None:
    """Load the run and its links over and over while it saves; each load is a checkpoint that was saved."""
    trainer, run = _saving(folder)
    loaded = []
    try:
        for _ in range(60):
            path = run / draw.choice(["", "", "last", "best"])
            loaded.append(_hash(unrolled.load(path).weights()))
            list(Run(run).metrics.lines())
            old = run / "checkpoints" / str(draw.choice([*updates(run), 1]))
            try:
                loaded.append(_hash(unrolled.load(old).weights()))
            except LoadError as error:
                if "dropped" not in str(error) and "no run or checkpoint" not in str(error):
                    raise Wrong(f"{old}: {error}") from error
    finally:
        time.sleep(0.05)
        os.kill(trainer, signal.SIGTERM)
        wait(trainer)
    if strange := set(loaded) - set((folder / "saved").read_text().split()):
        raise Wrong(f"{len(strange)} of {len(loaded)} loads were of weights that were never saved")


def _while_read(read: int, what: str, path: str, folder: Path, draw: random.Random) -> None:
    """Change the newest checkpoint before one of its files is read: dropped by two saves, or replaced."""
    run = Run(_half(folder))
    _, whole = run.newest(print)
    reads, real = [0], files.read_regular
    target = run.checkpoints / "4"

    def other(number: float) -> Checkpoint:
        weights = {name: torch.full_like(tensor, number) for name, tensor in whole.model.items()}
        return Checkpoint(weights, whole.config, whole.state_tensors, whole.state, whole.card)

    def change() -> None:
        if what == "dropped":
            (run.directory / "best").unlink()  # which is kept
            for update in (5, 6):
                run.save(update, other(update), best=None)
        elif what == "replaced":
            run.save(4, other(7.0), best=None, replace=True)
        else:
            (target / "model.safetensors").write_bytes(b"torn")

    def reading(file: Path, *rest: Any, **more: Any) -> bytes:
        if reads[0] == read:
            change()
        reads[0] += 1
        return real(file, *rest, **more)

    said: list[str] = []
    with ExitStack() as patched:
        for module in (checkpoint, tensors):
            patched.enter_context(mock.patch.object(module, "read_regular", reading))
        patched.enter_context(mock.patch.object(os, "fsync"))
        found = _loaded(run.directory / path, said.append)
    _check_read(
        what, path, found, said, {_hash(w) for w in (whole.model, *(other(n).model for n in (5, 6, 7.0)))}
    )


def _loaded(path: Path, say: Callable[[str], None]) -> str | LoadError:
    from unrolled.runs.model import load_checkpoint

    try:
        return _hash(load_checkpoint(path, None, say).weights())
    except LoadError as error:
        return error


def _check_read(what: str, path: str, found: str | LoadError, said: list[str], known: set[str]) -> None:
    if isinstance(found, LoadError):
        allowed = (what == "damaged" and path) or (what == "dropped" and path == "checkpoints/4")
        if not allowed or (what == "dropped") != ("dropped" in str(found)):
            raise Wrong(f"it was not loaded: {found}")
    elif what != "damaged" and (said or found not in known):
        raise Wrong(f"said {said}, weights {'known' if found in known else 'that were never saved'}")
