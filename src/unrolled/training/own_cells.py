"""A user's cell, as a class or as PATH.py:NAME, and what a run remembers of it."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path

from unrolled.cells import NAMED, Cell
from unrolled.cells.user import load_cell
from unrolled.errors import CellError, nearest


@dataclass(frozen=True)
class OwnCell:
    """A cell class of the user's: ``name`` is PATH.py:NAME, ``source`` the file's text where there is one."""

    cls: type[Cell]
    name: str
    sha256: str | None
    source: str | None

    @property
    def cells(self) -> dict[str, type[Cell]]:
        """The class under the names by which specs may ask for it."""
        return {self.name: self.cls, self.name.rpartition(":")[2]: self.cls}


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
        return OwnCell(loaded.cls, cell, loaded.sha256, loaded.source)
    if cell in NAMED.values():
        return None
    if not (isinstance(cell, type) and issubclass(cell, Cell)):
        raise CellError(f"wanted a class made from unrolled.Cell, came {cell!r}")
    path = _source_file(cell)
    source = path.read_text(encoding="utf-8") if path else None
    digest = hashlib.sha256(source.encode()).hexdigest() if source is not None else None
    return OwnCell(cell, f"{path or '__main__'}:{cell.__name__}", digest, source)


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
