"""A compiled cell, called through ctypes."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unrolled.cells import GatedCell
from unrolled.engines.native.compiler import BuildError, build
from unrolled.engines.native.generation import slot_order, source_of
from unrolled.engines.native.tracing import trace
from unrolled.errors import CellError

_OWN = ("step", "preactivations", "_from_x", "_split_slices")
_NUMBERS = ("T", "B", "D", "H", "ids_count", "threads", "reverse", "keeps")


@dataclass(frozen=True)
class Program:
    """The functions of one cell class, and what is to be known of it to call them."""

    library: Any
    """The loaded library."""
    problem: Any
    """Its struct Problem, as a ctypes.Structure."""
    on_x: list[int]
    """The gates in the order of their slots on x's side."""
    on_h: list[int]
    """The same on h's side."""
    num_split: int
    """How many gates are split."""
    fields: int
    """How many tensors a state has."""
    lanes: int
    """Units in one vector."""

    @property
    def num_slots(self) -> int:
        """How many slices of pre-activations there are."""
        return len(self.on_x) + self.num_split

    @functools.cached_property
    def places(self) -> list[tuple[str, Any]]:
        """Problem's fields after its numbers, in their order: an array's type, or None for one tensor."""
        fields = self.problem._fields_[len(_NUMBERS) :]
        return [(name, None if kind is ctypes.c_void_p else kind) for name, kind in fields]

    def padded(self, size: int) -> int:
        """Return ``size`` rounded up to whole vectors."""
        return -(-size // self.lanes) * self.lanes

    def kept_row(self, size: int) -> int:
        """Return how many numbers a row keeps for the way back: its slots, and a gap."""
        return self.num_slots * self.padded(size) + self.lanes

    def pointer(self, problem: Any) -> Any:
        """Return what the functions of ``library`` take."""
        return ctypes.byref(problem)

    def fill(self, **values: Any) -> Any:
        """Return a Problem: numbers, tensors or lists of tensors by the names of its fields; None is null."""
        numbers = [values.get(name, 0) for name in _NUMBERS]
        places = [
            _address(values.get(name)) if kind is None else kind(*map(_address, values.get(name, ())))
            for name, kind in self.places
        ]
        return self.problem(*numbers, *places)


@functools.cache
def own_step(cell: Any) -> str | None:
    """Say what a class of gated cells does in its own way, which the compiled code would not; else None."""
    own = [name for name in _OWN if getattr(cell, name) is not getattr(GatedCell, name)]
    return f"{cell.__name__} has a {own[0]} of its own" if own else None


def program_of(cell: type[GatedCell], bf16: bool = False) -> Program | str:
    """Return the compiled form of ``cell``, compiling it at its first use; a reason where it can't be."""
    what: tuple[Any, ...] = (cell, bf16, cell.next_state, cell.gates, cell.split, cell.vectors)
    return _program(*what)


@functools.cache
def _program(cell: type[GatedCell], bf16: bool, *_: Any) -> Program | str:
    """Compile ``cell``; the other arguments are what a change of which makes it another cell."""
    try:
        library = build(source_of(cell, trace(cell), bf16))
    except (BuildError, CellError) as error:
        return str(error)
    fields = 1 if cell.State is None else len(cell.State._fields)
    problem = _problem(fields, len(cell.vectors))
    for name in ("lanes", "size_of_problem", "room_for_weights", "room_for_threads"):
        getattr(library, name).restype = ctypes.c_int64
    assert library.size_of_problem() == ctypes.sizeof(problem)
    on_x, on_h = slot_order(cell)
    return Program(library, problem, on_x, on_h, len(cell.split), fields, library.lanes())


def _problem(fields: int, vectors: int) -> Any:
    """Return the struct Problem of kernels.h for these counts."""
    pointer, parts = ctypes.c_void_p, ctypes.c_void_p * fields
    layout: list[tuple[str, Any]] = [(name, ctypes.c_int64) for name in _NUMBERS]
    layout += [
        (name, pointer) for name in ("ids", "x", "rows", "W", "U", "bias", "h_bias", "resets", "lengths")
    ]
    layout += [("vectors", pointer * (vectors + 1)), ("first", parts), ("initial", parts), ("y", pointer)]
    layout += [("last", parts), ("before", parts), ("kept", pointer), ("packed", pointer)]
    layout += [("scratch", pointer), ("d_y", pointer), ("d_last", parts), ("d_first", parts)]
    layout += [("d_initial", parts), ("d_vectors", pointer), ("d_sums", pointer), ("d_table", pointer)]
    layout += [(name, pointer) for name in ("d_x", "d_rows", "W_slots", "U_slots")]
    return type("Problem", (ctypes.Structure,), {"_fields_": layout})


def _address(tensor: Tensor | None) -> int | None:
    if tensor is None:
        return None
    assert tensor.is_contiguous()
    return tensor.data_ptr()
