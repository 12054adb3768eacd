"""Run the words: every python, sh, console and toml block of README.md, CONTRIBUTING.md and docs/*.md.

``python`` blocks of one page share one namespace. ``sh`` blocks hold commands, ``console`` blocks
commands after ``$`` and what they print, where ``...`` stands for anything. ``toml`` blocks are files of
settings or nets, which must be valid. ``text`` blocks are for eyes only. Each page has a folder of its own
with a ``book.txt`` and the examples in it; trainings have 32 units and end after 20 updates, unless a
snippet says otherwise.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import random
import shlex
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

ROOT = Path(__file__).parent


def book(num_chars: int = 6000) -> str:
    """Return a text of English-like sentences, the same each time."""
    words = random.Random(1)
    things = ["river", "house", "light", "stone", "garden", "morning", "winter", "letter", "window"]
    deeds = ["saw", "found", "kept", "followed", "remembered", "crossed", "opened", "left", "heard"]
    kinds = ["old", "small", "quiet", "bright", "long", "cold", "green"]
    text = ""
    while len(text) < num_chars:
        kind, thing, deed, other = (words.choice(which) for which in (kinds, things, deeds, things))
        text += f"The {kind} {thing} {deed} the {other}.{words.choice((' ', chr(10)))}"
    return text + "\n"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stand in a new folder with book.txt and the examples, where trainings are short."""
    import torch

    folder = tmp_path_factory.mktemp("workshop")
    (folder / "book.txt").write_text(book(), encoding="utf-8")
    for example in (ROOT / "examples").glob("*.py"):
        shutil.copy(example, folder)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        patch.setenv("UNROLLED_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setenv("UNROLLED_MAX_UPDATES", "20")
        patch.setenv("UNROLLED_HIDDEN", "32")
        patch.setenv("UNROLLED_THREADS", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
        yield folder
        torch.set_num_threads(threads)


def as_script(namespace: dict[str, Any]) -> None:
    """Give a page's Python blocks a module of their own, as a script has, so that classes have a home."""
    module = types.ModuleType("page")
    module.__file__ = __file__
    sys.modules["page"] = module
    namespace["__name__"] = "page"


def run_commands(example: Example) -> None:
    """Run each command of a ``sh`` block; any that fails fails the test."""
    for command in commands(example.parsed.strip().splitlines()):
        code, printed = shell(command)
        assert code == 0, f"{command}\nexit code {code}\n{printed}"


def compare_console(example: Example) -> None:
    """Run each ``$ command`` of a ``console`` block and compare what it prints."""
    for part in ("\n" + example.parsed.strip("\n")).split("\n$ ")[1:]:
        lines = part.split("\n")
        taken = 1 + next(n for n, line in enumerate(lines) if not line.endswith("\\"))
        [command] = commands(lines[:taken])
        _, printed = shell(command)
        wanted = "\n".join(lines[taken:]).strip("\n")
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        same = doctest.OutputChecker().check_output(wanted + "\n", printed.strip("\n") + "\n", flags)
        assert same, f"{command}\nwanted:\n{wanted}\nprinted:\n{printed}"


def commands(lines: list[str]) -> list[str]:
    """Join continued lines; leave out comments and empty ones."""
    whole = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [line for line in whole if line.strip() and not line.lstrip().startswith("#")]


def shell(command: str) -> tuple[int, str]:
    """Run a command, a plain ``unrolled …`` in this process; return its exit code and what it printed."""
    words = shlex.split(command, comments=True)
    if words[0] != "unrolled" or set(command) & set("|<>&;`$*"):
        done = subprocess.run(
            ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        return done.returncode, done.stdout
    from unrolled.cli.main import run

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = run(words[1:])
    return code, printed.getvalue()


def check_settings(example: Example) -> None:
    """Resolve a ``toml`` block as a file of settings, or read it as a net."""
    from unrolled.net.files import read_net
    from unrolled.settings import resolve

    path = Path("snippet.toml")
    path.write_text(example.parsed, encoding="utf-8")
    if "[[layer]]" in example.parsed:
        read_net(path)
    else:
        resolve(str(path))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say once what was not tested for want of a compiler."""
    from unrolled.engines.native.compiler import missing_compiler

    note = missing_compiler()
    if note is not None:
        terminalreporter.write_line(note)


pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser(language="sh", evaluator=run_commands),
        CodeBlockParser(language="console", evaluator=compare_console),
        CodeBlockParser(language="toml", evaluator=check_settings),
    ],
    patterns=["README.md", "CONTRIBUTING.md", "docs/*.md"],
    setup=as_script,
    fixtures=["workshop"],
).pytest()
