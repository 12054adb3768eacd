"""A user's cell, from a file that is named on purpose."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

from unrolled.cells.base import Cell
from unrolled.cells.gated import GatedCell, check_class
from unrolled.errors import CellError, UsageError, nearest


@dataclass(frozen=True)
class UserCell:
    """A cell class and the file that it came from."""

    cls: type[Cell]
    """The class."""
    path: Path
    """The file, absolute."""
    name: str
    """The class's name in the file."""
    sha256: str
    """Of the file's bytes, in hexadecimal."""
    source: str
    """The file's text, for reading."""


def load_cell(reference: str) -> UserCell:
    """Run the file of ``path.py:Name`` and return its cell class ``Name``.

    The same file is run once only, and again after it has changed. Two files of one name do not collide,
    ``sys.path`` stays as it is, and nothing is written beside the file.
    """
    place, colon, name = reference.rpartition(":")
    if not colon or not place or not name:
        raise UsageError(f"a cell from a file is written path.py:Name, came {reference!r}")
    module, data = run_file(place, "a cell")
    cls = _cell_class(module, place, name)
    path, sha256 = Path(str(module.__file__)), hashlib.sha256(data).hexdigest()
    return UserCell(cls, path, name, sha256, importlib.util.decode_source(data))


def run_file(place: str, what: str) -> tuple[ModuleType, bytes]:
    """Run a user's Python file that was named on purpose, to find ``what`` in it; return it and its bytes.

    UsageError where there is no such file, CellError with its line where it fails.
    """
    path = Path(place).expanduser().resolve()
    data = _read(path, place, what)
    code = _compile(data, path, place)
    return _module(code, path, place, hashlib.sha256(data).hexdigest()), data


def _read(path: Path, place: str, what: str) -> bytes:
    if not path.exists():
        raise UsageError(f"there is no file {place!r}; give the path of a Python file with {what}")
    if not path.is_file():
        raise UsageError(f"{place!r} is no regular file; give the path of a Python file with {what}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"cannot read {place!r}: {error.strerror}; give a Python file with {what}"
        ) from error


def _compile(data: bytes, path: Path, place: str) -> CodeType:
    try:
        return compile(data, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise CellError(f"{place}{line}: {error.msg}") from error
    except ValueError as error:
        raise CellError(f"{place}: this is no Python text: {error}") from error


def _module(code: CodeType, path: Path, place: str, sha256: str) -> ModuleType:
    """Run ``code`` as a module named after path and content; in ``sys.modules``, where dataclasses look."""
    stem, where = re.sub(r"\W", "_", path.stem), hashlib.sha256(str(path).encode()).hexdigest()
    name = f"unrolled_user_{stem}_{where[:12]}_{sha256[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, (Exception, SystemExit)):
            raise
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        message = (str(error).splitlines() or [""])[0]
        raise CellError(
            f"{place}, line {lines[-1] if lines else 1}: {type(error).__name__}: {message}"
        ) from error
    return module


def _cell_class(module: ModuleType, place: str, name: str) -> type[Cell]:
    cells = [
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Cell) and value.__module__ == module.__name__
    ]
    if not hasattr(module, name):
        has = (
            f"its cells are {', '.join(cells)}"
            if cells
            else "it has no cell, a class that inherits unrolled.Cell"
        )
        raise UsageError(f"{place} has no {name}; {has}{nearest(name, cells)}")
    found = getattr(module, name)
    if not isinstance(found, type) or not issubclass(found, Cell):
        raise CellError(f"{place}: {name} is no cell; write class {name}(unrolled.Cell)")
    if issubclass(found, GatedCell):
        check_class(found)
    return found
