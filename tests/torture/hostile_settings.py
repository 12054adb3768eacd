"""Settings, nets, flags and environment variables as nobody should write them, also where a run is used.

Each is told in one line a mistake, with file, line and column, or is taken; nothing raises, nothing takes
long or much memory. What failed once is kept in ``regressions/settings``.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import io
import os
import random
import re
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from .children import MEGABYTES, SECONDS, Done, in_child
from .models import trained, workshop
from .mutations import NUMBERS, STRINGS, mutated
from .seeds import ENDINGS, OWN, Seed, of_kind
from .trials import Trial, Wrong

COUNTS = {"settings": 2_000, "net": 3_400, "singa": 1_600, "caffe": 1_500}
"""How many files of each kind are made."""
FLAGS, VARIABLES, IN_USE, DATA = 1_000, 500, 1_000, 600
REGRESSIONS = Path(__file__).parent / "regressions" / "settings"
LONGEST = 2_000
"""Characters of a line that says what is wrong."""
A_SECOND_FOR = 40_000
"""Bytes of a net that is taken for which its work may take a second more."""
TEXT = "one two three four five\n" * 40
KINDS = {ending: kind for kind, ending in ENDINGS.items() if kind != "settings"}


def trials() -> Iterable[Trial]:
    """Yield a trial a file, a trial a set of flags or variables, and what failed before."""
    for kind, count in COUNTS.items():
        found = of_kind(kind)
        for number in range(count):
            seed = found[number % len(found)]
            yield Trial(f"{kind} {seed.name} {number}", partial(_mutation, seed))
    for number in range(FLAGS):
        yield Trial(f"flags {number}", _flags)
    for number in range(VARIABLES):
        yield Trial(f"variables {number}", _variables)
    for number in range(IN_USE):
        yield Trial(f"use {number}", _use)
    for number in range(DATA):
        yield Trial(f"data {number}", _data)
    for path in sorted(REGRESSIONS.iterdir()):
        yield Trial(f"regression {path.name}", partial(_again, path))


def _mutation(seed: Seed, folder: Path, draw: random.Random) -> None:
    data, names = mutated(seed.text.encode(), draw)
    file = f"file{ENDINGS[seed.kind]}"
    (folder / file).write_bytes(data)
    try:
        survive([partial(command, words) for words in ways(seed.kind, file, draw)], folder, file)
    except Wrong as wrong:
        raise Wrong(f"{', '.join(names)}: {wrong}") from wrong


def _again(path: Path, folder: Path, draw: random.Random) -> None:
    """Read a file that was not survived once, in every way."""
    (folder / path.name).write_bytes(path.read_bytes())
    kind = "settings" if path.name.startswith("settings") else KINDS[path.suffix]
    survive([partial(command, words) for words in ways(kind, path.name)], folder, path.name)


def ways(kind: str, file: str, draw: random.Random | None = None) -> list[list[str]]:
    """Return commands that read a file, all that there are or one or two of them."""
    if kind == "settings":
        ask = ["train", "book.txt", "--recipe", f"./{file}", "--print-config"]
        found = [ask, [*ask, "--json"]]
    else:
        learn = ["train", file] if kind != "net" else ["train", "--net", file]
        found = [
            ["net", "show", file], ["net", "show", file, "--json", "--phase", "test"],
            ["net", "unroll", file, "--steps", "3"], ["net", "unroll", file, "--phase", "validation"],
            ["net", "draw", file, "-o", "net.svg"], ["net", "draw", file, "-o", "a.dot", "--partitions", "2"],
            ["net", "roll", file], [*learn, "--print-config"],
        ]  # fmt: skip
    return found if draw is None else draw.sample(found, min(2, len(found)))


def command(words: Sequence[str], variables: Sequence[tuple[str, str]] = ()) -> int:
    """Run the command line in this process."""
    from unrolled.cli.main import run

    os.environ.update(variables)
    return run(words)


def survive(works: Sequence[Callable[[], int]], folder: Path, file: str = "") -> None:
    """Raise Wrong unless each of some works ends as it should."""
    _companions(folder)
    size = (folder / file).stat().st_size if file else 10 * A_SECOND_FOR  # as flags may ask for 10,000 steps
    for again in reversed(range(3)):
        done = in_child(works, folder)
        if not again or all(one.seconds <= allowed(one, size) for one in done):
            break
    for work, one in zip(works, done, strict=True):
        words = work.args[0] if isinstance(work, partial) else ["work"]
        for fault in faults(one, file, size):
            raise Wrong(f"{shlex.join(words)[:200]}: {fault}")


def allowed(done: Done, size: int) -> float:
    """Return the seconds that some work may take: a net that is taken may have thousands of layers."""
    return SECONDS + (0 if done.code else size / A_SECOND_FOR)


def faults(done: Done, file: str = "", size: int = 0) -> Iterator[str]:
    """Yield what is wrong with how some work on a file of ``size`` bytes ended."""
    lines = done.err.rstrip("\n").split("\n") if done.err else []
    if done.code not in (0, 2, 3):
        yield f"exit code {done.code}: {' '.join(done.err.split())[-600:]}"
    if done.seconds > allowed(done, size):
        yield f"it took {done.seconds:.1f} s"
    if done.megabytes > MEGABYTES:
        yield f"it took {done.megabytes:.0f} MB"
    said = [line for line in lines if not line.startswith(WORDS)]
    if (done.code and not said) or (not done.code and said):
        yield f"exit code {done.code}, and said is {said}"
    for line in said:
        if not line.startswith("unrolled: "):
            yield f"a line that is no complaint: {line[:200]!r}"
        elif file and not is_placed(line, file):
            yield f"a complaint without line and column: {line[:300]!r}"
    for line in lines:
        if not line.isprintable() or len(line) > LONGEST:
            yield f"a line that no terminal should see: {line[:300]!r}"


WORDS = ("note: ", "measuring ", "The page is ")
"""How lines begin that are no complaint."""
NOWHERE = (r"a (net's|settings) file has at most", r"wanted a file of at most [\d,]+ bytes")
"""What is said of a file that is not read."""


def is_placed(line: str, file: str) -> bool:
    """Tell whether a complaint names a place in the file, or is one that can't."""
    said = line.removeprefix("unrolled: ").removeprefix("./")
    if re.match(rf"{re.escape(file)}:\d+:\d+: ", said) or said.startswith("--"):
        return True
    return any(re.match(pattern, said.removeprefix(f"{file}: ")) for pattern in NOWHERE)


def _companions(folder: Path) -> None:
    """Write what files name: a text, its vocabulary, and settings to start from."""
    for name in ("book.txt", "input.txt"):
        (folder / name).write_text(TEXT, encoding="utf-8")
    (folder / "vocab.txt").write_text("".join(sorted(set(TEXT))), encoding="utf-8")
    (folder / "base.toml").write_bytes((OWN / "base.toml").read_bytes())
    warm(folder)


@functools.cache
def _settings() -> tuple[list[str], list[str]]:
    from dataclasses import fields

    from unrolled.settings import GROUPS

    every = [field for group in GROUPS.values() for field in fields(group)]
    return [f.name for f in every if f.type != "bool"], [f.name for f in every if f.type == "bool"]


def _value(draw: random.Random) -> str:
    """Return what somebody may type; no argument holds a NUL, and none here names a place outside."""
    made = draw.choice((*NUMBERS, *STRINGS, "1,2,3", "1,", ",", "=", "a=b", "0.5,nan", "9" * 30, "\udcff"))
    return made.replace("\0", "").replace("\ud800", "\udc80")[:100_000]


def _flags(folder: Path, draw: random.Random) -> None:
    names, switches = _settings()
    value, file = _value(draw), draw.choice(("patterns/rows", "everything.toml"))
    (folder / "everything.toml").write_bytes((OWN / "everything.toml").read_bytes())
    flag = draw.choice(names).replace("_", "-")
    switch = draw.choice(switches).replace("_", "-")
    train = ["train", "book.txt", "--print-config"]
    commands = [
        [*train, f"--{flag}", value], [*train, f"--{flag}={value}"], [*train, f"--{switch}={value}"],
        [*train, "--recipe", value], [*train, "--net", value], ["train", "--net", file, f"--{flag}", value],
        [*train, value], [*train, f"--{value}"], [value, "x"], ["net", value], ["data", "vocab", value],
        ["net", "show", file, "--phase", value], ["net", "show", file, "--vocab", value],
        ["net", "show", file, "--cell", value], ["net", "show", value],
        ["net", "unroll", file, "--steps", value], ["net", "unroll", file, "--partitions", value],
        ["net", "draw", file, "--steps", value], ["net", "draw", file, "-o", f"{value}.svg"],
        ["net", "draw", file, "-o", value], ["net", "roll", file, "-o", f"{value}.toml"],
        *([verb, "nowhere", f"--{name}", value] for verb, names in VERBS.items() for name in names),
        ["data", "vocab", "book.txt", "--units", value],
    ]  # fmt: skip
    chosen = [words for words in draw.sample(commands, 4) if not _starts(words)]
    survive([partial(command, words) for words in chosen], folder)


VERBS = {
    "sample": (
        "temperature",
        "top-k",
        "top-p",
        "min-p",
        "seed",
        "length",
        "count",
        "weights",
        "input",
        "cell",
    ),
    "eval": ("lanes", "window", "weights", "cell"),
    "inspect": ("length", "longest", "regex", "predicate", "megabytes", "output"),
    "resume": ("epochs", "max-updates", "text", "device", "engine", "cell"),
    "bench": ("sizes", "cells", "engines", "precision", "cell"),
}
"""Flags of verbs that want a run, which isn't there, or that measure."""
USES: dict[str, dict[str, str]] = {
    "sample": {},
    "eval": {},
    "inspect": {"output": "page.html", "length": "90", "longest": "9"},
    "resume": {"max-updates": "14"},
    "report": {"output": "report.html"},
    "bench": {"sizes": "3x2x3", "cells": "rnn", "engines": "naive", "rounds": "1"},
}
"""Uses of a run, or of the machine, that are soon done, with the flags that make them so."""
LONG = ("length", "count", "longest", "epochs", "max-updates", "rounds", "threads", "sizes")
"""Flags that may ask for what is sound and takes long."""
LONG_WORK = 3
"""The largest number for one of those."""


def _use(folder: Path, draw: random.Random) -> None:
    """Use a run that is there, with one flag as nobody should write it."""
    kind = draw.choice(("lstm", "bytes", "examples"))
    shutil.copytree(trained(kind), folder / "run", symlinks=True)
    text = str(workshop() / ("rows.jsonl" if kind == "examples" else "book.txt"))
    given = {"eval": ["run", text], "inspect": ["run", text], "bench": []}
    works = []
    for verb in draw.sample(list(USES), 2):
        flags = dict(USES[verb])
        if kind == "examples" and verb == "sample":
            flags["input"] = '{"in": ["a"]}'
        flag = draw.choice((*VERBS.get(verb, ()), *flags, "json"))
        value = _value(draw) if draw.random() < 0.5 else draw.choice(NUMBERS)
        if flag not in LONG or _is_short(value):
            flags[flag] = value
        said = [f"--{name}={word}" for name, word in flags.items()]
        works.append(partial(command, [verb, *given.get(verb, ["run"]), *said]))
    survive(works, folder)


def _data(folder: Path, draw: random.Random) -> None:
    """Let a model read a text, or examples, as nobody should write them."""
    kind = draw.choice(("lstm", "bytes", "examples", "examples"))
    file = "rows.jsonl" if kind == "examples" else "book.txt"
    data, names = mutated((workshop() / file).read_bytes(), draw)
    mine = f"mine{Path(file).suffix}"
    (folder / mine).write_bytes(data)
    words = ["eval", str(trained(kind)), mine, *draw.choice(([], ["--skip-unseen"], ["--lanes", "2"]))]
    try:
        survive([partial(command, words)], folder)
    except Wrong as wrong:
        raise Wrong(f"{', '.join(names)}: {wrong}") from wrong


def _is_short(value: str) -> bool:
    for read in (float, partial(int, base=0)):
        with contextlib.suppress(ValueError):
            number = read(value)
            return not number > LONG_WORK or number >= 2**64
    return not set("x,") & set(value)  # of sizes


def _starts(words: Sequence[str]) -> bool:
    """Tell whether a command could go on to train, where its flag happens to be right."""
    return words[0] in ("train", "bench") and "--print-config" not in words


def _variables(folder: Path, draw: random.Random) -> None:
    names, switches = _settings()
    found = []
    for _ in range(draw.choice((1, 1, 3))):
        name = draw.choice([*names, *switches, "CACHE_", "HIDEN", "", "é"]).upper()
        found.append((f"UNROLLED_{name}", _value(draw)))
    recipe = draw.choice(([], ["--recipe", "demo"], ["--net", "patterns/rows"]))
    survive([partial(command, ["train", "book.txt", *recipe, "--print-config"], found)], folder)


@functools.cache
def _warmed() -> list[bool]:
    return []


def warm(folder: Path) -> None:
    """Read good files once in this process, so that children find imported what they need."""
    if _warmed():
        return
    for path in OWN.iterdir():
        kind = "settings" if path.name == "base.toml" else KINDS[path.suffix]
        told = io.StringIO()
        with contextlib.chdir(folder), contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            Path(path.name).write_bytes(path.read_bytes())
            for words in ways(kind, path.name):
                command(words)
    _warmed().append(True)
    gc.collect()
    gc.freeze()  # what a child never collects, it never copies
