"""The compiled sampling loop: a net's weights laid out for it, and the call that runs it."""

from __future__ import annotations

import ctypes
import functools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.cells import GatedCell, named_tensors
from unrolled.engines.native.compiler import BuildError, build
from unrolled.engines.native.generation import WEIGHTS, sampling_source
from unrolled.engines.native.memory import Store, room
from unrolled.engines.native.program import own_step
from unrolled.engines.native.tracing import trace
from unrolled.errors import CellError

_MOST_LAYERS = 64
_MOST_WIDTH = 1 << 16  # units of one row whose sums of whole numbers stay below 2^31
_FOLDED = 1 << 24  # numbers of a table up to which an embedding is taken in
_LARGE = 1 << 16  # words of weights a step for which a second thread may pay
_TELLING = 1 << 20  # words of weights a call from which its time tells something
_TRIED = 48  # calls after which the other number of threads is tried again

Ints = NDArray[np.int64]
Singles = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Straight:
    """A net that is one line: an embedding or one-hot ids, recurrent layers, a linear output."""

    cells: tuple[GatedCell, ...]
    """The recurrent layers, in order."""
    output: Tensor
    """[H, V]."""
    output_bias: Tensor | None
    """[V]."""
    embedding: Tensor | None = None
    """[V, E]; without it the first cell reads ids."""
    embedding_bias: Tensor | None = None
    """[E]."""

    @property
    def num_ids(self) -> int:
        """V."""
        return self.output.shape[1]


@dataclass
class Lane:
    """One lane's part of a call; arrays are written where it says so."""

    state: Singles
    """Each layer's fields one after the other; written."""
    ids: Ints
    """[n]: what is fed, or room for what is drawn; −1 is no id."""
    logits: Singles
    """[n + 1, V], the first given where ids are drawn, the others written; or [V] for the last alone."""
    uniforms: Floats | None = None
    """[n] where ids are drawn."""
    choice: tuple[float, int, float, float] = (1.0, 0, 1.0, 0.0)
    """Temperature, top-k, top-p, min-p."""
    fresh: NDArray[np.bool_] | None = None
    """[n]: the state starts anew before that step."""
    tail: list[int] = field(default_factory=list)
    """The ids since the last boundary, at most as many as a boundary has; written."""


def misfit(straight: Straight) -> str | None:
    """Return why no form of the loop, compiled or not, fits this net, in words, or None."""
    for cell in straight.cells:
        kind: Any = type(cell)
        reason = own_step(kind)
        if reason is not None:
            return reason
        start = named_tensors(cell.initial_state(1)).values()
        if any(part.shape != (1, cell.hidden_size) for part in start):
            return f"{kind.__name__} starts from a state of another shape"
    parts = _parts(straight)
    odd = next((p for p in parts if p.dtype != torch.float32 or p.device.type != "cpu"), None)
    if odd is not None:
        return f"it runs float32 on a CPU, the net is {odd.dtype} on {odd.device}"
    return "its weights were made in inference mode" if any(p.is_inference() for p in parts) else None


def why_not(straight: Straight, weights: str = "float32") -> str | None:
    """Return why the compiled loop can't run this net, in words, or None."""
    reason = misfit(straight)
    if reason is not None:
        return reason
    widest = max(max(cell.hidden_size, cell.input_size) for cell in straight.cells)
    if len(straight.cells) > _MOST_LAYERS or (weights == "int8" and widest > _MOST_WIDTH):
        return f"it runs at most {_MOST_LAYERS} layers, int8 of at most {_MOST_WIDTH} units"
    library = _library_of(straight, weights)
    return library if isinstance(library, str) else None


def _parts(straight: Straight) -> list[Tensor]:
    parts: list[Tensor | None] = [straight.output, straight.output_bias]
    parts += [straight.embedding, straight.embedding_bias]
    for cell in straight.cells:
        parts += [cell.x_to_gates, cell.h_to_gates, cell.bias, cell.h_bias, *cell.vector_parameters]
    return [part for part in parts if part is not None]


def _library_of(straight: Straight, weights: str) -> Any:
    kinds = tuple(dict.fromkeys(type(cell) for cell in straight.cells))
    return _library(kinds, tuple(cell.next_state for cell in kinds), weights)


@functools.cache
def _library(kinds: tuple[Any, ...], _: Any, weights: str) -> Any:
    """Return the library for nets of these cells, or a reason; ``_`` tells cells apart that were changed."""
    assert weights in WEIGHTS
    try:
        library = build(sampling_source(kinds, [trace(kind) for kind in kinds], weights))
    except (BuildError, CellError) as error:
        return str(error)
    for name in ("size_of_layer", "size_of_row", "size_of_loop", "room_to_run", "draw_one", "same"):
        getattr(library, name).restype = ctypes.c_int64
    for name in ("room_for_panels", "room_for_table", "room_for_units", "width", "output_width"):
        function = getattr(library, name)
        function.restype = ctypes.c_int64
        function.argtypes = [ctypes.c_int64] * (3 if name.endswith(("panels", "table")) else 2)
    library.output_width.argtypes = [ctypes.c_int64]
    number, pointer = ctypes.c_int64, ctypes.c_void_p
    library.pack.argtypes = [number, number, pointer, number, number, pointer, pointer, pointer]
    library.fill_table.argtypes = [number, *[pointer] * 4, *[number] * 3, pointer]
    library.same.argtypes = [pointer, number]
    library.pack_output.argtypes = [pointer, *[number] * 4, pointer]
    for name, struct in (("layer", _Layer), ("row", _Row), ("loop", _Loop)):
        assert getattr(library, f"size_of_{name}")() == ctypes.sizeof(struct)
    return library


def _struct(name: str, **fields: str) -> Any:
    """Return a ctypes structure; each field is a list of names of one type."""
    types = {"numbers": ctypes.c_int64, "pointers": ctypes.c_void_p, "floats": ctypes.c_double}
    layout = [(n, types[kind.rstrip("_")]) for kind, names in fields.items() for n in names.split()]
    return type(name, (ctypes.Structure,), {"_fields_": layout})


_Layer = _struct(
    "Layer", numbers="kind D H rows", pointers="table x h x_zero h_zero x_scale h_scale vectors initial"
)
_Row = _struct(
    "Row",
    numbers="steps draws",
    pointers="state ids uniforms logits",
    numbers_="every",
    pointers_="fresh tail",
    numbers__="tail_size",
    floats="temperature top_p min_p",
    numbers___="top_k",
)
_Loop = _struct(
    "Loop",
    numbers="num_layers num_rows threads V E",
    pointers="layers embedding output output_bias boundary",
    numbers_="num_boundary",
    pointers_="rows scratch",
)


class Packed:
    """A net's weights as the loop reads them. Later changes of the weights don't reach it."""

    def __init__(self, straight: Straight, weights: str = "float32") -> None:
        """Lay the weights out; ``why_not`` has been asked."""
        self.weights, self.num_ids = weights, straight.num_ids
        self._library = _library_of(straight, weights)
        self._kept: list[Tensor] = []  # what the structs point to
        self._store = Store()
        self._embedding: Tensor | None = None
        self._kinds = list(dict.fromkeys(type(cell) for cell in straight.cells))
        self._words = 0
        self._paces: dict[int, Pace] = {}
        with torch.no_grad():
            layers = [self._layer(n, cell, straight) for n, cell in enumerate(straight.cells)]
            self._layers = (_Layer * len(layers))(*layers)
            self.initial = self._flat([cell.initial_state(1) for cell in straight.cells])
            shown = self._embedding
            self._loop = _Loop(
                num_layers=len(layers),
                V=self.num_ids,
                E=0 if shown is None else shown.shape[1],
                layers=ctypes.addressof(self._layers),
                embedding=None if shown is None else shown.data_ptr(),
                **self._packed_output(straight),
            )

    @property
    def state_size(self) -> int:
        """How many numbers a lane's state has."""
        return len(self.initial)

    @staticmethod
    def _flat(states: Sequence[Any]) -> Singles:
        parts = [part.reshape(-1) for state in states for part in named_tensors(state).values()]
        found: Singles = torch.cat(parts).detach().numpy()
        return found

    def _keep(self, tensor: Tensor | None) -> int | None:
        """Return the address of a tensor that lives as long as this."""
        if tensor is None:
            return None
        self._kept.append(tensor.detach().contiguous())
        return self._kept[-1].data_ptr()

    def _layer(self, number: int, cell: GatedCell, straight: Straight) -> Any:
        kind, library = self._kinds.index(type(cell)), self._library
        layer = _Layer(kind=kind, D=cell.input_size, H=cell.hidden_size, rows=1)
        shown, table_rows = None, straight.num_ids + 1
        if number == 0 and straight.embedding is not None:
            shown = shown_rows(straight)
            if library.room_for_table(kind, table_rows, cell.hidden_size) > _FOLDED:
                self._embedding, shown = shown, None
        folds = number == 0 and (straight.embedding is None or shown is not None)
        layer.rows = table_rows if folds else 1
        layer.table = self._keep(self._table(kind, cell, shown, layer.rows))
        layer.h, layer.h_zero, layer.h_scale = self._panels(kind, 1, cell.h_to_gates, cell.hidden_size)
        if not folds:
            layer.x, layer.x_zero, layer.x_scale = self._panels(kind, 0, cell.x_to_gates, cell.hidden_size)
        width = library.width(kind, cell.hidden_size)
        layer.vectors = self._keep(_padded(cell.vector_parameters, cell.hidden_size, width))
        layer.initial = self._keep(torch.from_numpy(self._flat([cell.initial_state(1)])))
        return layer

    def _table(self, kind: int, cell: GatedCell, shown: Tensor | None, rows: int) -> Tensor:
        """Return the sums' starts: bias, and each id's part of x where rows > 1."""
        table = self._store.take(self._library.room_for_table(kind, rows, cell.hidden_size))
        W = cell.x_to_gates.detach().contiguous() if rows > 1 else None
        bias, h_bias = cell.bias.detach().contiguous(), cell.h_bias
        h_bias = None if h_bias is None else h_bias.detach().contiguous()
        inputs = [None if part is None else part.data_ptr() for part in (bias, h_bias, shown, W)]
        self._library.fill_table(kind, *inputs, rows, cell.input_size, cell.hidden_size, table.data_ptr())
        return table

    def _panels(self, kind: int, side: int, given: Tensor, H: int) -> list[int | None]:
        """Lay a weight [K, G·H] out; return where it is, and where int8's zeros and scales are."""
        given, K = given.detach().contiguous(), given.shape[0]
        panels = self._store.take(self._library.room_for_panels(kind, K, H))
        units, scaled = self._library.room_for_units(kind, H), self.weights == "int8"
        parts = [
            self._keep(part) for part in (panels, *([room(units), room(units)] if scaled else [None] * 2))
        ]
        self._words += len(panels)
        self._library.pack(kind, side, given.data_ptr(), K, H, *parts)
        return parts

    def _packed_output(self, straight: Straight) -> dict[str, int | None]:
        given, (H, V) = straight.output.detach(), straight.output.shape
        width = self._library.output_width(V)
        panels, bias = self._store.take(H * width), room(width).zero_()
        if straight.output_bias is not None:
            bias[:V] = straight.output_bias.detach()
        self._library.pack_output(given.data_ptr(), *given.stride(), H, V, panels.data_ptr())
        self._words += len(panels)
        return {"output": self._keep(panels), "output_bias": self._keep(bias)}

    def run(self, lanes: Sequence[Lane], boundary: Ints | None = None, threads: int | None = None) -> None:
        """Feed or draw each lane's ids. ``boundary`` are the ids after which a state starts anew.

        It gives each lane the same bits whatever the other lanes and the number of threads are.
        """
        lanes = sorted(lanes, key=lambda lane: -len(lane.ids))
        while lanes and not len(lanes[-1].ids):
            lanes.pop()
        if not lanes:
            return
        size = 0 if boundary is None else len(boundary)
        tails = np.zeros((len(lanes), size), np.int64)
        rows = (_Row * len(lanes))()
        for row, lane, tail in zip(rows, lanes, tails, strict=True):
            _fill_row(row, lane, tail)
        loop = _Loop.from_buffer_copy(self._loop)
        loop.num_rows, loop.rows = len(lanes), ctypes.addressof(rows)
        if boundary is not None:
            loop.boundary, loop.num_boundary = boundary.ctypes.data, size
        pace = None if threads else self._pace(len(lanes), len(lanes[0].ids))
        loop.threads = threads or (1 if pace is None else pace.choose())
        scratch = room(self._library.room_to_run(ctypes.byref(loop)))
        loop.scratch = scratch.data_ptr()
        begun = time.perf_counter()
        self._library.run(ctypes.byref(loop))
        if pace is not None:
            pace.note(loop.threads, len(lanes[0].ids), time.perf_counter() - begun)
        if size:
            for row, lane, tail in zip(rows, lanes, tails, strict=True):
                lane.tail[:] = tail[: row.tail_size].tolist()

    def compare(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> Callable[[], bool]:
        """Return what tells, sooner than torch, whether pairs of contiguous tensors have the same bits."""
        pieces = [number for a, b in pairs for number in (a.data_ptr(), b.data_ptr(), a.nbytes)]
        given, same = (ctypes.c_int64 * len(pieces))(*pieces), self._library.same
        return lambda: bool(same(given, len(pairs)))  # which keeps them where they are

    def _pace(self, num_lanes: int, steps: int) -> Pace | None:
        """Return who chooses the number of threads; None where one is enough."""
        most, step = min(torch.get_num_threads(), _cores()), self._words * num_lanes
        if most == 1 or step < _LARGE or step * steps < _TELLING:
            return None
        if num_lanes not in self._paces or self._paces[num_lanes].most != most:
            self._paces = {num_lanes: Pace(most)}
        return self._paces[num_lanes]


class Pace:
    """Choose between one thread and the most, by what took less time of late.

    Threads that walk together wait for each other at every step, so one whose core is taken by another
    process holds all of them up; then one thread alone is faster.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._seconds: dict[int, float] = {}  # a step, by the number of threads
        self._calls = 0

    def choose(self) -> int:
        """Return a number of threads: the faster one, at times the other, which may have become it."""
        self._calls += 1
        for threads in (self.most, 1):
            if threads not in self._seconds:
                return threads
        faster = min(self._seconds, key=self._seconds.__getitem__)
        return faster if self._calls % _TRIED else self.most + 1 - faster

    def note(self, threads: int, steps: int, seconds: float) -> None:
        """Take in what a call took."""
        now = seconds / steps
        self._seconds[threads] = (self._seconds.get(threads, now) + now) / 2


def _fill_row(row: Any, lane: Lane, tail: Ints) -> None:
    row.steps, row.draws = len(lane.ids), lane.uniforms is not None
    row.state, row.ids, row.logits = lane.state.ctypes.data, lane.ids.ctypes.data, lane.logits.ctypes.data
    row.every = lane.logits.ndim == 2
    if lane.uniforms is not None:
        row.uniforms = lane.uniforms.ctypes.data
        row.temperature, top_k, row.top_p, row.min_p = lane.choice
        row.top_k = min(top_k, lane.logits.shape[-1])  # a larger one may not fit
    if lane.fresh is not None:
        row.fresh = lane.fresh.ctypes.data
    if len(tail):
        row.tail, row.tail_size = tail.ctypes.data, len(lane.tail)
        tail[: len(lane.tail)] = lane.tail


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shown_rows(straight: Straight) -> Tensor:
    """Return what each id shows the first cell [V + 1, E], the first row for no id."""
    assert straight.embedding is not None
    rows = torch.cat([torch.zeros_like(straight.embedding[:1]), straight.embedding]).detach()
    return rows.contiguous() if straight.embedding_bias is None else rows + straight.embedding_bias.detach()


def _padded(vectors: Sequence[Tensor], H: int, width: int) -> Tensor | None:
    """Return the vectors [N, width], zero beyond H."""
    if not vectors:
        return None
    found = room(len(vectors), width).zero_()
    found[:, :H] = torch.stack([vector.detach() for vector in vectors])
    return found
