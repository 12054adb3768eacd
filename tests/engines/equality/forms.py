"""Other forms of the compiled code, each in a process: narrower vectors, none, and with sanitizers."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import unrolled

from .cases import Case, Row, Verdict

HERE = Path(__file__).parent
FAMILIES = ("grid", "cells", "invented", "ends", "company", "scratch")


@dataclass(frozen=True)
class Form:
    """Flags that make another form of the same source."""

    name: str
    flags: str
    lanes: int
    """Numbers in one vector; 0 where any will do."""
    small: int
    """Cases of each family."""
    preload: tuple[str, ...] = ()
    """Libraries to load before Python."""


ON_X86 = (
    Form("avx2", "-mavx2 -mfma -mno-avx512f", 8, 60),
    Form("portable", "-march=x86-64", 4, 60),
)
SANITIZED = Form(
    "sanitized",
    "-fsanitize=address,undefined -fno-omit-frame-pointer -g1 -O1",
    0,
    60,
    ("libasan.so", "libubsan.so", "libstdc++.so.6"),
)


def forms() -> list[Form]:
    """Return those that this machine can run."""
    return [*(ON_X86 if platform.machine() in ("x86_64", "AMD64") else ()), SANITIZED]


def run_form(form: Form, seed: int, families: Sequence[str] = FAMILIES) -> list[Row]:
    """Run a small version of the families in another form; a row for each, and one for the form itself."""
    command = [sys.executable, "-m", "equality", "--json", "--seed", str(seed), "--limit", str(form.small)]
    done = subprocess.run(
        [*command, *(word for name in families for word in ("--family", name))],
        env=_environment(form),
        capture_output=True,
        text=True,
        check=False,
    )
    row, told = Row(form.name, cases=1), json.loads(done.stdout or "{}") if done.returncode < 2 else {}
    row.take("runs", Verdict(wrong=_problem(form, done, told)))
    return [row, *(_row(form, part) for part in told.get("rows", []))]


def _row(form: Form, told: dict[str, Any]) -> Row:
    return Row(**{**told, "family": f"{form.name}: {told['family']}", "total": Verdict(**told["total"])})


def _environment(form: Form) -> dict[str, str]:
    source = Path(unrolled.__file__).parents[1]
    return {
        **os.environ,
        "UNROLLED_CXXFLAGS": form.flags,
        "PYTHONPATH": os.pathsep.join([str(source), str(HERE.parent)]),
        "LD_PRELOAD": ":".join(_library(name) for name in form.preload),
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def _library(name: str) -> str:
    compiler = next(path for path in map(shutil.which, ("c++", "g++", "clang++")) if path)
    asked = [compiler, f"-print-file-name={name}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def _problem(form: Form, done: subprocess.CompletedProcess[str], told: dict[str, Any]) -> str | None:
    """Return what the process or a sanitizer complained about."""
    complaints = [
        line for line in done.stderr.splitlines() if "runtime error:" in line or "Sanitizer:" in line
    ]
    if complaints:
        return "; ".join(dict.fromkeys(complaints[:20]))
    if not told:
        return f"exit code {done.returncode}: " + " / ".join(done.stderr.splitlines()[-3:])
    if form.lanes and told["lanes"] != form.lanes:
        return f"its vectors hold {told['lanes']} numbers, not {form.lanes}"
    return None


def compiling() -> Iterator[Case]:
    """The cache: two processes at once, damage, a compiler that fails, a cache that takes no files."""
    yield Case("tests of the compiler", _compiling)


def _compiling() -> Verdict:
    test = HERE.parent / "native" / "test_compiler.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(test)], capture_output=True, text=True, check=False
    )
    return Verdict(wrong=None if done.returncode == 0 else " / ".join(done.stdout.splitlines()[-5:]))
