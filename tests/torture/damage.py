"""Damage: a file of a run is cut, flipped, swapped, gone, or something else.

Whatever reads the run then refuses in one line that names the file, or uses the checkpoint before and says
so, or finds everything as it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

from .children import Done, in_child
from .damage_kinds import changed, moved, replaced
from .models import train, trained, workshop
from .trials import Trial, Wrong

FLIPS = 10_000
KINDS = ("lstm", "examples")
STEP = 1000
NEWEST, END = "12", "14"
"""The newest checkpoint of the runs, and where a resume ends."""

PAGE = "page.html"

Damage = Callable[[Path, random.Random], list[str]]
"""Damages a run; returns the names of which one must be told, or none where nothing may be told."""
Facts = dict[str, Any]


def trials() -> Iterable[Trial]:
    """Every cut of every file, the flips, and every way to confuse files."""
    for kind in KINDS:
        for name, size in _sizes(kind).items():
            for cut in range(0, size, STEP):
                yield _trial(kind, f"cut-{name}-at-{cut}", partial(_cut, name, cut), cut // STEP)
        for number, (told, damage) in enumerate([*moved(), *replaced(), *changed(_other(kind))]):
            yield _trial(kind, told, damage, number, ways=len(COMMANDS))
    for number in range(FLIPS):
        yield _trial(KINDS[number % 2], f"flip-{number}", _flip, number)


def _trial(kind: str, name: str, damage: Damage, number: int, ways: int = 0) -> Trial:
    """Look at everything in this process; now and then, or always, from the command line too."""
    commands = [way for place, way in enumerate(COMMANDS) if ways > place or number % (40 + place) == 7]
    return Trial(f"{kind}-{name}", partial(look, kind, damage, commands))


def look(kind: str, damage: Damage, commands: list[str], folder: Path, draw: random.Random) -> None:
    """Damage a run, and look at it in every way, and by these commands."""
    run = folder / "run"
    shutil.copytree(trained(kind), run, symlinks=True)
    names = damage(run, draw)
    with _patience():
        for view in VIEWS:
            _check(view, run, names, kind)
    for command in commands:
        _command(command, run, names, kind)


def _cut(name: str, size: int, run: Path, draw: random.Random) -> list[str]:
    os.truncate(run / name, size)
    return [name]


def _flip(run: Path, draw: random.Random) -> list[str]:
    """Flip a bit: of a file drawn by its size, or of any."""
    sizes = {name: size for name, size in _sizes_in(run).items() if size}
    weights = [size + 2000 for size in sizes.values()]
    [name] = draw.choices(list(sizes), weights)
    data = bytearray((run / name).read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    (run / name).write_bytes(data)
    return [name]


def _model(run: Path, say: Callable[[str], None]) -> Facts:
    from unrolled.runs.model import load_checkpoint

    net = load_checkpoint(run, _cells(), say)
    return {
        "weights": _tensors(net.weights()),
        "net": repr((net.spec, net.vocab, net.fields, net.boundary)),
    }


def _checkpoint(run: Path, say: Callable[[str], None]) -> Facts:
    import unrolled

    update, found = unrolled.Run(run).newest(say)
    tensors = {"model": _tensors(found.model), "state": _tensors(found.state_tensors)}
    return {"update": update, "config": found.config, "told": found.state, **tensors}


def _settings(run: Path, say: Callable[[str], None]) -> Facts:
    import unrolled

    found = unrolled.Run(run)
    found.newest(say)  # whose settings these are is seen where a checkpoint is used
    return {"settings": asdict(found.settings), "source": repr(found.source)}


def _journals(run: Path, say: Callable[[str], None]) -> Facts:
    import unrolled

    found = unrolled.Run(run)
    return {"metrics": list(found.metrics.lines()), "samples": list(found.samples.lines())}


VIEWS = {"model": _model, "checkpoint": _checkpoint, "settings": _settings, "journals": _journals}
"""What is to be seen of a run, in this process."""


def _check(view: str, run: Path, names: list[str], kind: str) -> None:
    """Look at a run; raise Wrong where that is neither as it was, nor as before, nor refused."""
    from unrolled.errors import UnrolledError

    said: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = VIEWS[view](run, said.append)
    except UnrolledError as error:
        _check_line(view, str(error), names)
        return
    intact, before = _known(view, kind, whole=True), _known(view, kind, whole=False)
    if found == intact or (view == "journals" and _begins_with(found, intact)):
        return
    if found != before or not said:
        raise Wrong(f"{view} is another, and what was said is {said}")
    for line in said:
        _check_line(view, line, names)


def _begins_with(found: Facts, intact: Facts) -> bool:
    """Tell whether journals hold what the checkpoint remembers; nothing is known of lines that come later."""
    return all(found[name][: len(lines)] == lines for name, lines in intact.items())


def _check_line(where: str, line: str, names: list[str]) -> None:
    if "\n" in line or len(line) > 2000 or not any(Path(name).name in line for name in names):
        raise Wrong(
            f"{where}: wanted a line that names {' or '.join(names) or 'nothing'}, came {line[:400]!r}"
        )


@cache
def _known(view: str, kind: str, whole: bool) -> Facts:
    """Return what is to be seen of a run that is whole, or that lacks its newest checkpoint."""
    run = workshop() / f"{kind}-known-{view}-{whole}"
    shutil.copytree(trained(kind), run, symlinks=True)
    if not whole:
        shutil.rmtree(run / "checkpoints" / NEWEST)
    return VIEWS[view](run, lambda message: None)


def _command(name: str, run: Path, names: list[str], kind: str) -> None:
    """Run a command in a child; what it prints and leaves must be as undamaged, or it refuses in one line."""
    before = _bytes_of(run)
    [done] = in_child([partial(COMMANDS[name], run, kind)], run.parent)
    problems = [line for line in done.err.splitlines() if line.startswith("unrolled: ")]
    if "Traceback" in done.err or done.code not in (0, 1, 2, 3) or len(problems) != (done.code != 0):
        raise Wrong(f"{name}: exit code {done.code}: {' '.join(done.err.split())[-600:]}")
    for line in problems:
        _check_line(name, line, names)
    if done.code and _bytes_of(run) != before:
        raise Wrong(f"{name} refused, and changed the run: {done.err[-300:]}")
    if not done.code:
        _check_done(name, done, run, names, kind)


def _check_done(name: str, done: Done, run: Path, names: list[str], kind: str) -> None:
    notes = [line for line in done.err.splitlines() if "instead" in line]
    for line in notes:
        _check_line(name, line, names)
    if name == "resume":
        came, wanted = fingerprint(run), _resumed(kind)
        if differs := [key for key in wanted if came.get(key) != wanted[key]]:
            raise Wrong(f"resume ended otherwise in {', '.join(differs)}, and said {done.err[-300:]!r}")
    elif name == "report":
        if done.code == 0 and not (run.parent / PAGE).stat().st_size:
            raise Wrong("report wrote an empty page")
    elif done.out != _printed(name, kind, whole=True) and not (
        notes and done.out == _printed(name, kind, whole=False)
    ):
        raise Wrong(f"{name} printed {done.out[:200]!r} and said {done.err[-300:]!r}")


def _run_command(*words: object) -> int:
    from unrolled.cli.main import run

    return run([str(word) for word in words])


def _sample(run: Path, kind: str) -> int:
    given = ("--input", '{"in": ["a", "b"]}') if kind == "examples" else ("--length", 9)
    return _run_command("sample", run, "--seed", 3, *given)


def _eval(run: Path, kind: str) -> int:
    return _run_command("eval", run, workshop() / ("rows.jsonl" if kind == "examples" else "book.txt"))


def _resume(run: Path, kind: str) -> int:
    return _run_command("resume", run, "--max-updates", END, "--json")


def _report(run: Path, kind: str) -> int:
    return _run_command("report", run, "-o", run.parent / PAGE)


COMMANDS = {"sample": _sample, "eval": _eval, "report": _report, "resume": _resume}
"""From the command line; what changes the run comes last."""


@cache
def _printed(name: str, kind: str, whole: bool) -> str:
    run = workshop() / f"{kind}-printed-{name}-{whole}"
    shutil.copytree(trained(kind), run, symlinks=True)
    if not whole:
        shutil.rmtree(run / "checkpoints" / NEWEST)
    [done] = in_child([partial(COMMANDS[name], run, kind)], workshop())
    return done.out


@cache
def _resumed(kind: str) -> Facts:
    run = workshop() / f"{kind}-resumed"
    shutil.copytree(trained(kind), run, symlinks=True)
    [done] = in_child([partial(_resume, run, kind)], workshop())
    if done.code:
        raise Wrong(f"the whole run does not resume: {done.err[-300:]}")
    return fingerprint(run)


def fingerprint(run: Path) -> Facts:
    """Return what must be equal after a resume: tensors, the place, and the journals without their clocks."""
    newest = run / "checkpoints" / END
    found: Facts = {
        name: hashlib.sha256((newest / name).read_bytes()).hexdigest()
        for name in ("model.safetensors", "state.safetensors")
    }
    found["position"] = _timeless(json.loads((newest / "state.json").read_bytes())["position"])
    for name in ("metrics.jsonl", "samples.jsonl"):
        found[name] = [_timeless(json.loads(line)) for line in (run / name).read_bytes().splitlines()]
    return found


def _timeless(entry: Facts) -> Facts:
    clocks = ("seconds", "chars_per_second", "learning_seconds")
    return {name: value for name, value in entry.items() if name not in clocks}


def _tensors(tensors: Any) -> dict[str, tuple[str, str, bytes]]:
    return {n: (str(t.dtype), str(t.shape), t.numpy().tobytes()) for n, t in tensors.items()}


def _cells() -> dict[str, Any]:
    return {}


def _other(kind: str) -> tuple[Path, Path]:
    """Return a run of another seed, and one of another kind."""
    return _seeded(kind), trained("bytes" if kind == "lstm" else "lstm")


@cache
def _seeded(kind: str) -> Path:
    run = workshop() / f"{kind}-seeded"
    train(kind, run, seed=5)
    return run


def _sizes(kind: str) -> dict[str, int]:
    return _sizes_in(trained(kind))


def _sizes_in(run: Path) -> dict[str, int]:
    """Return the sizes of a run's files by name, links left out."""
    return {
        str(path.relative_to(run)): path.stat().st_size
        for path in sorted(run.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def _bytes_of(run: Path) -> dict[str, bytes | str]:
    """Return everything that is in a run but its lock."""
    found: dict[str, bytes | str] = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file() and name != "lock":
            found[name] = path.read_bytes()
    return found


@contextmanager
def _patience(seconds: int = 30) -> Iterator[None]:
    """End with Wrong whatever waits for ever."""

    def ring(number: int, frame: object) -> None:
        raise Wrong(f"it hung for {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
