"""A user's cell, as a class or as PATH.py:NAME, and what a run remembers of it."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import decode_source
from pathlib import Path
from types import ModuleType

from unrolled.cells import NAMED, Cell
from unrolled.cells.user import load_cell, run_file
from unrolled.errors import CellError, nearest


@dataclass(frozen=True)
class OwnCell:
    """A cell class of the user's: ``name`` is PATH.py:NAME, ``source`` the file's text where there is one."""

    cls: type[Cell]
    name: str
    sha256: str | None
    source: str | None
    beside: Mapping[str, type[Cell]] = field(default_factory=dict)
    """All cells of the user's that its module holds, by their names there: a net may use several."""

    @property
    def classes(self) -> set[type[Cell]]:
        """The class and those beside it."""
        return {self.cls, *self.beside.values()}

    @property
    def cells(self) -> dict[str, type[Cell]]:
        """The classes under the names by which specs may ask for them."""
        found = {self.name: self.cls, self.name.rpartition(":")[2]: self.cls}
        for name, cls in self.beside.items():
            found.setdefault(f"{_source_file(cls) or '__main__'}:{cls.__name__}", cls)
            if name not in NAMED:
                found.setdefault(name, cls)
        return found


def own_cell(cell: str | type[Cell]) -> OwnCell | None:
    """Return the user's cell that is meant, or None for a built-in one; CellError for neither."""
    if isinstance(cell, str):
        if cell in NAMED:
            return None
        if ":" not in cell:
            known = ", ".join(NAMED)
            raise CellError(
                f"there is no cell '{cell}'{nearest(cell, NAMED)}; wanted one of {known}, or PATH.py:NAME"
            )
        loaded = load_cell(cell)
        module, _ = run_file(cell.rpartition(":")[0], "a cell")
        return OwnCell(loaded.cls, cell, loaded.sha256, loaded.source, _cells_in(module))
    if cell in NAMED.values():
        return None
    if not (isinstance(cell, type) and issubclass(cell, Cell)):
        raise CellError(f"wanted a class made from unrolled.Cell, came {cell!r}")
    path = _source_file(cell)
    data = path.read_bytes() if path else None
    source, digest = (
        (decode_source(data), hashlib.sha256(data).hexdigest()) if data is not None else (None, None)
    )
    beside = _cells_in(sys.modules.get(cell.__module__))
    return OwnCell(cell, f"{path or '__main__'}:{cell.__name__}", digest, source, beside)


def own_cell_of(cells: Mapping[str, type[Cell]], place: str, own: OwnCell | None) -> OwnCell | None:
    """Return the cell that brings all others of a net along when it is named again; None where there is none.

    ``cells`` come with the net, ``place`` is the file of the function that made it, ``own`` a cell that was
    named beside it. CellError where no file has all cells by name.
    """
    classes = list(dict.fromkeys([*cells.values(), *([own.cls] if own else [])]))
    if not cells or (own is not None and set(classes) <= own.classes):
        return own
    for cls in classes:
        found = own_cell(cls)
        if found is not None and found.beside.get(cls.__name__) is cls and set(classes) <= found.classes:
            return found
    for name, cls in _cells_in(run_file(place, "a net")[0]).items() if place else ():
        found = own_cell(f"{place}:{name}") if cls in classes else None
        if found is not None and set(classes) <= found.classes:
            return found
    names = ", ".join(dict.fromkeys(cls.__name__ for cls in classes))
    raise CellError(
        f"no file has all of this net's cells ({names}) at its top, so no --cell can bring them back; write "
        f"or import them there, in {place or 'one file'}"
    )


def _cells_in(module: ModuleType | None) -> dict[str, type[Cell]]:
    """Return the classes of cells that a module has, by their names there, but for the toolkit's."""
    return {
        name: value
        for name, value in (vars(module).items() if module is not None else ())
        if isinstance(value, type)
        and issubclass(value, Cell)
        and not value.__module__.startswith("unrolled.")
    }


def cell_name(cell: str | type[Cell]) -> str:
    """Return what the settings call a cell: a built-in's name, or PATH.py:NAME."""
    own = own_cell(cell)
    if own is not None:
        return own.name
    return cell if isinstance(cell, str) else next(name for name, cls in NAMED.items() if cls is cell)


def _source_file(cls: type) -> Path | None:
    try:
        path = Path(inspect.getsourcefile(cls) or "")
    except (TypeError, OSError):
        return None
    return path if path.is_file() else None
