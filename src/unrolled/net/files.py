"""Nets from files: TOML, SINGA's ``.conf``, Caffe's ``.prototxt``, and functions of Python files."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

from unrolled.cells import Cell
from unrolled.cells.user import run_file
from unrolled.errors import LoadError, NetError, OwnCellError, UsageError, nearest
from unrolled.net.check import check
from unrolled.net.schedule import schedule
from unrolled.net.spec import PHASES, Spec
from unrolled.net.toml_form import parse, placed, to_toml

MAX_BYTES = 1_000_000
ENDINGS = (".toml", ".conf", ".prototxt")

__all__ = ["MAX_BYTES", "Loaded", "read_net", "to_toml"]


@dataclass(frozen=True)
class Loaded:
    """A net that was read from a file."""

    spec: Spec
    """The net."""
    notes: tuple[str, ...] = ()
    """A line for each thing of the file that is read but not followed, or done otherwise."""
    tables: Mapping[str, Any] = field(default_factory=dict)
    """What else a TOML file holds: tables of settings, ``about`` and ``recipe``, untouched."""
    where: Callable[[str, str], str] | None = field(default=None, repr=False, compare=False)
    """Return ``file:line:column`` of a setting, by its table and name; None where tables have no file."""
    job: Any = None
    """What an importer found in its file, data and training included; None for TOML and Python."""
    cells: Mapping[str, type[Cell]] = field(default_factory=dict)
    """The classes of cells that a Python function's net uses, by the names that the spec gives them."""
    locate: Callable[[NetError, str | None], UsageError] = field(
        default=lambda error, phase: error, repr=False, compare=False
    )
    """Return an error of this net, in a phase, with file, line and column."""

    @contextmanager
    def telling(self, phase: str | None = None) -> Iterator[None]:
        """Tell every NetError that is raised inside with its place in the file::

        with loaded.telling():
            net = Net(loaded.spec)
        """
        try:
            yield
        except NetError as error:
            raise self.locate(error, phase) from error
        except OwnCellError as error:
            at = self.locate(NetError(str(error), error.layer, "cell"), phase)
            raise OwnCellError(str(at), error.layer) from error


def read_net(path: str | Path) -> Loaded:
    """Read a net from a ``.toml``, ``.conf`` or ``.prototxt`` file, or from ``PATH.py:FUNCTION``.

    Only the last runs code: naming it is asking for it. The function takes nothing and returns a Spec or a
    NetBuilder. UsageError, as ``file:line:column: what``, for anything wrong.
    """
    place, colon, function = str(path).rpartition(":")
    if colon and place.endswith(".py"):
        return _from_function(place, function)
    file = Path(path)
    if file.suffix == ".py":
        raise UsageError(f"{path}: name the function that returns the net too, {path}:FUNCTION")
    if file.suffix not in ENDINGS:
        raise UsageError(f"{path}: a net's file ends in {', '.join(ENDINGS)}, or is PATH.py:FUNCTION")
    check_file(file)
    if file.suffix == ".toml":
        return _from_toml(file)
    return _from_singa(file) if file.suffix == ".conf" else _from_caffe(file)


def shipped() -> dict[str, Path]:
    """Return the shipped nets, the files in the folders of ``recipes``, as ``folder/name``."""
    folder = Path(str(resources.files("unrolled") / "recipes"))
    files = sorted(file for file in folder.glob("*/*") if file.suffix in ENDINGS)
    return {f"{file.parent.name}/{file.stem}": file for file in files}


def find_net(name: str) -> str:
    """Return what ``read_net`` reads for a shipped net's name; anything else stays as it is."""
    return str(shipped().get(name, name))


def check_file(path: Path) -> None:
    """Raise UsageError unless there is a regular file of at most 1 MB; it is not opened."""
    try:
        found = path.exists()
        size = path.stat().st_size if found else 0
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from error
    if not found:
        near = _near_file(path)
        raise UsageError(f"{path}: there is no such file{near}")
    if not path.is_file():
        raise UsageError(f"{path}: a net is read from a regular file")
    if size > MAX_BYTES:
        raise UsageError(f"{path}: a net's file has at most {MAX_BYTES:,} bytes, this has {size:,}")


def _near_file(path: Path) -> str:
    try:
        beside = [other.name for other in path.parent.iterdir() if other.suffix in ENDINGS]
    except OSError:
        return ""
    return nearest(path.name, beside)


def _from_toml(path: Path) -> Loaded:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    return from_toml(raw, str(path))


def from_toml(text: str | bytes, label: str) -> Loaded:
    """Read a net's TOML text; ``label`` is what errors call the file."""
    found = parse(text, label)

    def locate(error: NetError, phase: str | None) -> NetError:
        return placed(error, found.where(error.layer, error.field, phase))

    loaded = Loaded(found.spec, tables=found.tables, where=found.text.where, locate=locate)
    return _checked(loaded)


def _checked(loaded: Loaded) -> Loaded:
    with loaded.telling(first_phase(loaded.spec)):
        check_spec(loaded.spec)
    return loaded


def first_phase(spec: Spec) -> str:
    """Return the first phase that has layers: the one in which a net runs unless another is asked for."""
    return next((phase for phase in PHASES if spec.in_phase(phase).layers), PHASES[0])


def check_spec(spec: Spec) -> None:
    """Raise NetError, naming the layer, where a net makes no sense in its first phase; shapes aside."""
    phase = first_phase(spec)
    check(spec, phase)
    schedule(spec.in_phase(phase))


def _from_singa(path: Path) -> Loaded:
    from unrolled.net.importers.singa import read_job

    job = read_job(path)
    return Loaded(job.spec, tuple(job.notes), job=job, locate=lambda error, _: job.located(error))


def _from_caffe(path: Path) -> Loaded:
    from unrolled.net.importers.caffe import read_net as read_caffe

    found = read_caffe(path)
    return Loaded(found.spec, tuple(found.notes), job=found, locate=lambda error, _: found.located(error))


def _from_function(place: str, name: str) -> Loaded:
    module, _ = run_file(place, "a net")
    function = getattr(module, name, None)
    if function is None:
        known = [key for key, value in vars(module).items() if _is_own_function(module, value)]
        has = f"its functions are {', '.join(known)}" if known else "it has no function"
        raise UsageError(f"{place} has no {name}; {has}{nearest(name, known)}")
    if not callable(function):
        raise UsageError(f"{place}: {name} is no function; write def {name}() that returns the net")
    made = _call(function, place, name)
    loaded = Loaded(made) if isinstance(made, Spec) else _from_builder(made, f"{place}:{name}")
    label = f"{place}:{name}"
    loaded = Loaded(
        loaded.spec,
        cells=loaded.cells,
        locate=lambda error, _: NetError(f"{label}: {error}", error.layer, error.field),
    )
    return _checked(loaded)


def _is_own_function(module: ModuleType, value: Any) -> bool:
    return callable(value) and getattr(value, "__module__", "") == module.__name__


def _call(function: Callable[[], Any], place: str, name: str) -> Any:
    """Call a user's function; a mistake in it is told with its line there."""
    try:
        return function()
    except BaseException as error:
        if not isinstance(error, (Exception, SystemExit)):
            raise
        file = str(Path(place).expanduser().resolve())
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file
        ]
        where = f"{place}, line {lines[-1]}" if lines else f"{place}:{name}"
        message = " ".join(str(error).split())[:300]
        if isinstance(error, UsageError | LoadError):
            raise NetError(f"{where}: {message}") from error
        raise NetError(f"{where}: {type(error).__name__}: {message}") from error


def _from_builder(made: Any, label: str) -> Loaded:
    from unrolled.net.builder import NetBuilder

    if not isinstance(made, NetBuilder):
        raise NetError(f"{label} must return a Spec or a NetBuilder, came {type(made).__name__}")
    try:
        return Loaded(NetBuilder.spec(made), cells=NetBuilder.cells(made))
    except NetError as error:
        raise NetError(f"{label}: {error}", error.layer, error.field) from error
