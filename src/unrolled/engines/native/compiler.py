"""The system's C++ compiler: found on the PATH, run once for each source, its results kept in the cache.

::

    <cache>/native/<key>/{cell.so, cell.cc, entry.json}    key: source, flags, compiler, processor

An entry is put in place by one rename, under a lock, so that no process takes away what another has just
found whole. entry.json holds the library's SHA-256: one that is damaged is never loaded, it is built again.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unrolled.data.cache import build_folder, cache_folder, key_of, read_record, writable, write_record
from unrolled.errors import TextError

try:
    import fcntl
except ImportError:  # not on every system; there the rename alone has to do
    fcntl = None  # type: ignore[assignment]

COMPILERS = ("c++", "g++", "clang++")
"""Their names, in the order in which they are looked for."""

FLAGS = ("-std=c++17", "-O3", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-fno-exceptions", "-fno-rtti")
"""Never one that lets the compiler reorder or contract float mathematics."""

MORE_FLAGS = "UNROLLED_CXXFLAGS"
"""The environment variable with flags that follow all others, of the compiler and the linker alike."""

# Tried in turn: what a compiler or the loader refuses is left out. Without -fopenmp it is one thread.
_WAYS = (("-march=native", "-fopenmp"), ("-march=native",), ("-fopenmp",), ())
_SECONDS = 120


class BuildError(Exception):
    """Why there is no library, in words."""


@dataclass(frozen=True)
class Compiler:
    """A compiler on the PATH."""

    path: str
    """Its file."""
    version: str
    """What it says of itself."""


def find_compiler() -> Compiler:
    """Return the first compiler on the PATH; ``BuildError`` where there is none."""
    for name in COMPILERS:
        path = shutil.which(name)
        if path is not None:
            return Compiler(path, _version(path))
    raise BuildError(f"there is no C++ compiler ({', '.join(COMPILERS)}) on the PATH")


def missing_compiler() -> str | None:
    """Return a line that says what is slower without a compiler and what to do; None where there is one."""
    try:
        find_compiler()
    except BuildError as error:
        return (
            f"{error}: PyTorch's kernels run rnn, lstm and gru, the plain loop every other cell, and both "
            "are slower. Install g++ or clang++ and nothing else has to be done"
        )
    return None


def build(source: str, ways: Sequence[Sequence[str]] = _WAYS) -> ctypes.CDLL:
    """Return the library compiled from ``source``, from the cache if it is there."""
    compiler, more, problem = find_compiler(), _more_flags(), ""
    try:
        folder = writable(cache_folder(), "native")
        _check_private(folder)
        for way in ((*way, *more) for way in ways):
            entry = folder / key_of(source, *FLAGS, *way, compiler.path, compiler.version, processor())
            try:
                return _library(entry, source, compiler, way, more)
            except _Refused as refused:
                problem = str(refused)
    except TextError as error:
        raise BuildError(str(error)) from None
    except OSError as error:
        raise BuildError(f"the cache for compiled cells failed: {error}") from None
    raise BuildError(f"{compiler.path} could not build it: {problem}")


def _more_flags() -> tuple[str, ...]:
    """Return the flags that the user adds."""
    words = os.environ.get(MORE_FLAGS, "")
    try:
        return tuple(shlex.split(words))
    except ValueError as error:
        raise BuildError(
            f"{MORE_FLAGS} must be flags as a shell takes them, came {words!r}: {error}"
        ) from None


@functools.cache
def processor() -> str:
    """Return what tells this kind of processor from others: its name and what it can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    told = [line for line in lines if line.split("\t")[0] in ("model name", "flags", "Features", "CPU part")]
    return "\n".join([platform.system(), platform.machine(), *(told or [platform.processor()])])


class _Refused(Exception):
    """What the compiler or the loader said."""


def _library(
    entry: Path, source: str, compiler: Compiler, way: Sequence[str], linked: Sequence[str]
) -> ctypes.CDLL:
    """Load the library of ``entry``; build it where it is missing or damaged."""
    if not _is_whole(entry):
        with _lock(entry.parent):
            if not _is_whole(entry):  # nobody else has built it meanwhile
                build_folder(entry, lambda work: _compile(work, source, compiler, way, linked))
    try:
        return ctypes.CDLL(str(entry / "cell.so"))
    except OSError as error:
        raise _Refused(str(error)) from None


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Let one process at a time build; one that dies lets go."""
    with (folder / "lock").open("ab") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_whole(entry: Path) -> bool:
    record = read_record(entry / "entry.json")
    try:
        return record is not None and record.get("library") == _sha256(entry / "cell.so")
    except OSError:
        return False


def _compile(work: Path, source: str, compiler: Compiler, way: Sequence[str], linked: Sequence[str]) -> None:
    """Fill the folder ``work``. OpenMP's library isn't linked: its functions are those torch has loaded."""
    (work / "cell.cc").write_text(source, "utf-8")
    _call([compiler.path, *FLAGS, *way, "-c", "cell.cc", "-o", "cell.o"], work)
    _call([compiler.path, "-shared", *linked, "cell.o", "-o", "cell.so"], work)
    (work / "cell.o").unlink()
    write_record(work / "entry.json", {"library": _sha256(work / "cell.so"), "flags": [*FLAGS, *way]})


def _call(command: Sequence[str], work: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=work, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise _Refused(f"it took more than {_SECONDS} seconds") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise _Refused((lines or done.stderr.splitlines() or [f"exit code {done.returncode}"])[0])


@functools.cache
def _version(path: str) -> str:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{path} does not run: {error}") from None
    return done.stdout


def _check_private(folder: Path) -> None:
    """Refuse a folder that others may write to: what is in it gets loaded and run."""
    status = folder.stat()
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        raise BuildError(
            f"{str(folder)!r} belongs to or can be written by somebody else; "
            "chmod 700 it, or set UNROLLED_CACHE"
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
