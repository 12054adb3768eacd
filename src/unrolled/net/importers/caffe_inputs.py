"""Caffe's layers through which values come into a net."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from unrolled.data.hdf5 import HDF5Batches
from unrolled.errors import UsageError
from unrolled.net.importers.caffe_blobs import (
    UNKNOWN,
    Blob,
    Dims,
    Input,
    Phase,
    features_of,
    name_of,
    shown,
    size,
)
from unrolled.net.importers.schema import Record


class Unknown(NamedTuple):
    """What is known of a top of unknown shape: its rows, and why not more."""

    rows: int = UNKNOWN
    reason: str = ""


NOTHING = Unknown()


def _source(p: Phase, r: Record, index: int, dims: Dims | None, unknown: Unknown = NOTHING) -> None:
    """Make a top that comes from outside."""
    top = r["top"][index]
    lead = 2 if p.recurrent and top not in p.static else 1
    if dims is not None and len(dims) < lead:
        raise r.error(
            f"'{top}' {shown(dims)} needs the axes {'[T × N × ...]' if lead == 2 else '[N × ...]'}",
            "top",
            index,
        )
    source = Input(name_of(r, index), r, top, dims, lead, p.length(lead), reason=unknown.reason)
    p.keep(r, source)
    known = dims or (unknown.rows, UNKNOWN)[:lead]
    blob = Blob(source.name, known, lead, features_of(source) if dims else (), source)
    p.put(r, blob, index)
    if top == "cont" and lead == 2 and (dims is None or len(dims) == 2):
        source.reads = "marks"
    elif lead == 2 and p.steps is None:
        p.steps = known[0]


def input_data(p: Phase, r: Record) -> None:
    """Values from outside, of shapes that the file gives."""
    for index, dims in enumerate(_shapes(r, "input_param")):
        _source(p, r, index, dims)


def _shapes(r: Record, block: str) -> list[Dims]:
    """Return a shape for each top: one for all, or one each."""
    given = [tuple(shape["dim"]) for shape in r[block]["shape"]]
    if len(given) not in (1, len(r["top"])):
        raise r[block].error(
            f"wanted one shape, or one for each of the {len(r['top'])} tops, came {len(given)}", "shape"
        )
    return given if len(given) > 1 else given * len(r["top"])


def hdf5_data(p: Phase, r: Record) -> None:
    """Data sets of HDF5 files, of the shapes that are given, or that stand in the files."""
    block = r["hdf5_data_param"]
    rows = block["batch_size"]
    found, reason = _shapes_in_files(p, r)
    for index, top in enumerate(r["top"]):
        dims = tuple(p.shapes[top]) if top in p.shapes else found.get(top)
        if dims is not None and (not dims or dims[0] != rows):
            raise block.error(
                f"batch_size is {rows}, and the shape given for '{top}' is {shown(dims)}", "batch_size"
            )
        _source(p, r, index, dims, Unknown(rows, reason))


def _shapes_in_files(p: Phase, r: Record) -> tuple[dict[str, Dims], str]:
    """Return the shapes of a batch's tops, or why they aren't known; whoever trains is told more of it."""
    block, tops = r["hdf5_data_param"], r["top"]
    if all(top in p.shapes for top in tops):
        return {}, ""
    here, there = Path(block["source"]), p.folder / block["source"]
    try:
        batches = HDF5Batches(here if here.is_file() else there, tops, block["batch_size"])
    except (UsageError, OSError, ValueError) as error:
        return {}, str(error)
    return {top: (block["batch_size"], *shape) for top, shape in batches.shapes.items()}, ""


def dummy_data(p: Phase, r: Record) -> None:
    """A constant."""
    block, tops = r["dummy_data_param"], len(r["top"])
    fillers = block["data_filler"]
    if len(fillers) not in (0, 1, tops):
        raise block.error(
            f"wanted one data_filler, or one for each of the {tops} tops, came {len(fillers)}", "data_filler"
        )
    for index, dims in enumerate(_shapes(r, "dummy_data_param")):
        filler = fillers[index if len(fillers) > 1 else 0] if fillers else None
        if filler is not None and filler["type"] != "constant":
            raise filler.error("only constant DummyData has a counterpart; take an Input layer", "type")
        value = filler["value"] if filler else 0.0
        lead = 2 if p.recurrent and r["top"][index] not in p.static else 1
        if len(dims) < lead:
            raise r.error(f"'{r['top'][index]}' {shown(dims)} has too few axes, wanted {lead}", "top", index)
        features = dims[lead:] or (1,)
        settings = {"size": size(features)} | ({"value": value} if value else {})
        p.add(r, name_of(r, index), "constant", (), settings, lead=lead)
        p.put(r, Blob(name_of(r, index), dims, lead, features, value=value), index)
