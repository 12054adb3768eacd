"""A net of Caffe's in one phase while it is read: its blobs so far, and the layers made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from unrolled.errors import UsageError, nearest
from unrolled.net.importers.schema import Record
from unrolled.net.spec import Edge, Layer, Param

Dims = tuple[int, ...]
UNKNOWN = 0
"""The number of lanes where only the data knows it."""


@dataclass
class Input:
    """A value from outside, and what the net turns out to read it as."""

    name: str
    record: Record
    top: str
    dims: Dims | None
    """Its shape in Caffe; None where only the data knows it."""
    lead: int
    unroll: int | None
    reads: str = ""
    """``numbers``, ``ids`` or ``marks``; empty as long as nothing reads it."""
    size: int = 0
    """How many different ids."""
    reason: str = ""
    """Why its shape is unknown."""

    def layer(self) -> Layer:
        """Return it as a layer of ours."""
        if self.reads == "marks":
            return Layer(self.name, "continues", unroll=self.unroll)
        if self.reads == "ids":
            return Layer(self.name, "ids", (), {"size": self.size}, unroll=self.unroll)
        if self.dims is None:
            raise self.unknown()
        return Layer(self.name, "floats", (), {"size": size(features_of(self))}, unroll=self.unroll)

    def unknown(self) -> UsageError:
        """Return the error that its shape must be given."""
        return self.record.error(
            f"the shape of '{self.top}' is needed, and it stands in HDF5 files: {self.reason}",
            "top",
            self.record["top"].index(self.top) if self.top in self.record["top"] else 0,
        )


@dataclass(frozen=True)
class Blob:
    """A blob: its shape in Caffe, and the layer of ours that gives it.

    ``dims`` begins with ``lead`` axes of batch, [N] or [T, N]. What follows lies in our layer's ``features``
    in the same order, though perhaps without the axes of size 1.
    """

    layer: str
    dims: Dims
    lead: int
    features: Dims
    input: Input | None = None
    value: float | None = None
    """What a constant is."""

    @property
    def wanted(self) -> Dims:
        """The axes after the batch's, as Caffe has them."""
        return self.dims[self.lead :]


class Phase:
    """The net of one phase: blobs by name, layers in order."""

    def __init__(
        self,
        phase: str,
        recurrent: bool,
        static: frozenset[str] = frozenset(),
        shapes: Mapping[str, Sequence[int]] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.phase, self.recurrent, self.static = phase, recurrent, static
        self.shapes, self.folder = shapes or {}, folder or Path()
        self.blobs: dict[str, Blob] = {}
        self.made: list[Layer | Input] = []
        self.records: dict[str, Record] = {}
        self.steps: int | None = None
        self.marks: str | None = None
        self.notes: list[str] = []
        self.shared: dict[str, tuple[Any, str]] = {}
        self.rates: dict[str, dict[str, float]] = {}
        self.reshaped: set[str] = set()

    # Reading a layer's bottoms.

    def bottom(self, r: Record, index: int) -> Blob:
        """Return a bottom; UsageError where no layer before gives it."""
        name = r["bottom"][index]
        if name not in self.blobs:
            phase = f" in phase {self.phase}" if self.phase else ""
            raise r.error(
                f"layer '{r['name']}' reads '{name}', which no layer before it gives{phase}"
                + nearest(name, self.blobs),
                "bottom",
                index,
            )
        blob = self.blobs[name]
        if blob.lead == 0:
            raise r.error(f"'{name}' is a loss or an accuracy; no layer reads on from it", "bottom", index)
        return blob

    def numbers(self, r: Record, index: int, like: Blob | None = None) -> Blob:
        """Return a bottom that is read as numbers; where its shape is unknown it is that of ``like``."""
        blob = self.bottom(r, index)
        if blob.input is None:
            return blob
        self.read_as(blob.input, "numbers", 0, r, index)
        if blob.input.dims is None and like is None:
            raise blob.input.unknown()
        if blob.input.dims is None and like is not None:
            blob.input.dims = like.dims
        assert blob.input.dims is not None
        return replace(blob, dims=blob.input.dims, features=features_of(blob.input))

    def ids(self, r: Record, index: int, size: int) -> Blob:
        """Return a bottom that is read as one of ``size`` ids a lane and step."""
        blob = self.bottom(r, index)
        name = r["bottom"][index]
        if blob.input is None:
            raise r.error(
                f"'{name}' is read as ids, and only a net's input gives such; make it an Input layer's top",
                "bottom",
                index,
            )
        self.read_as(blob.input, "ids", size, r, index)
        dims = blob.input.dims
        if dims is None:
            return replace(blob, dims=self.lead_dims(blob), features=())
        if prod(dims[blob.lead :]) != 1:
            raise r.error(
                f"'{name}' {shown(dims)} holds {prod(dims[blob.lead :])} ids for each lane; one is wanted",
                "bottom",
                index,
            )
        return replace(blob, dims=dims, features=())

    def lead_dims(self, blob: Blob) -> Dims:
        """Return the batch axes of a blob of unknown shape."""
        return (*blob.dims[:1], *(UNKNOWN,) * (blob.lead - 1))

    def read_as(self, source: Input, reads: str, size: int, r: Record, index: int) -> None:
        """Note what an input is read as; UsageError where it was read as something else before."""
        words = {"numbers": "numbers", "ids": f"one of {size} ids", "marks": "marks of where sequences go on"}
        if source.reads and (source.reads, source.size) != (reads, size):
            before = f"one of {source.size} ids" if source.reads == "ids" else words[source.reads]
            raise r.error(
                f"'{r['bottom'][index]}' is read as {words[reads]} here and as {before} before",
                "bottom",
                index,
            )
        source.reads, source.size = reads, size

    # Writing layers and tops.

    def add(
        self,
        r: Record,
        name: str,
        kind: str,
        sources: Sequence[Blob | Edge] = (),
        settings: Mapping[str, Any] | None = None,
        params: tuple[Param, ...] = (),
        lead: int = 1,
    ) -> None:
        """Add a layer of ours that reads blobs, with edges as they are or made here."""
        edges = tuple(Edge(source.layer) if isinstance(source, Blob) else source for source in sources)
        self.keep(r, Layer(name, kind, edges, settings or {}, params, self.length(lead)))

    def keep(self, r: Record, made: Layer | Input) -> None:
        """Keep a layer or an input, and where it came from."""
        if made.name in self.records:
            before = self.records[made.name]
            raise r.error(
                f"a layer '{made.name}' is in line {before.message.line} already; name one otherwise"
            )
        self.made.append(made)
        self.records[made.name] = r

    def length(self, lead: int) -> int | None:
        """Return how many copies a layer has: one, beside sequences, where it has no time axis."""
        return 1 if self.recurrent and lead == 1 else None

    def put(self, r: Record, blob: Blob, index: int = 0) -> None:
        """Give a top its blob."""
        if index >= len(r["top"]):
            return
        name = r["top"][index]
        if name in self.blobs and name not in r["bottom"]:
            raise r.error(
                f"'{name}' is the top of two layers; only its own reader may go over it", "top", index
            )
        self.blobs[name] = blob

    # Shapes.

    def shaped(self, r: Record, blob: Blob, features: Dims) -> Blob:
        """Return a blob with other axes in our layer, through a reshape layer where that is needed."""
        if blob.features == features:
            return blob
        what = "flat" if len(features) == 1 else "axes"
        # A step's number stays at the end of the name that it stands at.
        name = f"{blob.layer}_{what}" if blob.layer[0].isdigit() else f"{what}_{blob.layer}"
        if name not in self.reshaped:
            self.reshaped.add(name)
            self.add(r, name, "reshape", (blob,), {"shape": size(features)}, lead=blob.lead)
        return replace(blob, layer=name, features=features, input=None)

    def along(self, r: Record, blobs: Sequence[Blob], axis: int) -> tuple[list[Blob], int]:
        """Return blobs with axes such that one of them is Caffe's ``axis``, and that axis of our features."""
        if all(blob.features == blob.wanted for blob in blobs):
            return list(blobs), axis - blobs[0].lead
        flat = all(
            len(blob.features) == 1 and prod(blob.dims[blob.lead : axis]) * prod(blob.dims[axis + 1 :]) == 1
            for blob in blobs
        )
        if flat:
            return list(blobs), 0
        return [self.shaped(r, blob, blob.wanted) for blob in blobs], axis - blobs[0].lead

    def axis(self, r: Record, block: str, blob: Blob, field: str = "axis") -> int:
        """Return an axis that a layer's message names, counted from 0; UsageError for a batch axis."""
        axes = len(blob.dims)
        axis: int = r[block][field]
        if not -axes <= axis < axes:
            raise r[block].error(
                f"{field}: '{r['bottom'][0]}' {shown(blob.dims)} has no axis {axis}",
                field,
            )
        axis %= axes
        if axis < blob.lead:
            which = "axis 0 is the lanes'" if blob.lead == 1 else "axes 0 and 1 are the steps' and the lanes'"
            raise r[block].error(
                f"{field}: {which} here, and a layer works inside a lane and step; "
                f"wanted {blob.lead} or more, came {axis}",
                field,
            )
        return axis

    def joined(self, r: Record, count: int) -> list[Blob]:
        """Return all bottoms, read as numbers; UsageError where some have a time axis and others not."""
        blobs = [self.numbers(r, index) for index in range(count)]
        for index, blob in enumerate(blobs):
            if blob.lead != blobs[0].lead:
                raise r.error(
                    f"'{r['bottom'][index]}' and '{r['bottom'][0]}': one has a time axis and the other not; "
                    "only LSTM and RNN join such, by their static input",
                    "bottom",
                    index,
                )
        return blobs


def name_of(r: Record, index: int = 0) -> str:
    """Return what our layer for a top is called: as the layer, or as the top where there are several."""
    return str(r["name"] if len(r["top"]) < 2 else r["top"][index])


def features_of(source: Input) -> Dims:
    """Return the axes of an input of ours: at least one."""
    assert source.dims is not None
    return source.dims[source.lead :] or (1,)


def size(features: Dims) -> int | list[int]:
    """Return axes as a spec says them: one as a number."""
    return features[0] if len(features) == 1 else list(features)


def shown(dims: Dims) -> str:
    """Return a shape as words, ``[7 × 1 × 2]``."""
    return f"[{' × '.join(str(n) if n else '?' for n in dims)}]"


def check_same(r: Record, index: int, came: Dims, wanted: Dims, x: Blob, first: Blob) -> None:
    """Raise UsageError where a bottom's axes are not the first one's; an unknown one fits any."""
    fits = len(came) == len(wanted) and all(
        a == b or UNKNOWN in (a, b) for a, b in zip(came, wanted, strict=True)
    )
    if not fits:
        raise r.error(
            f"'{r['bottom'][index]}' {shown(x.dims)} does not fit '{r['bottom'][0]}' {shown(first.dims)}",
            "bottom",
            index,
        )
