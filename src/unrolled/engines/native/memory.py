"""Memory for the compiled code, kept from one call to the next."""

from __future__ import annotations

import math
import mmap
from threading import Lock
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from unrolled.cells import Cell

_MOST = 16
_PAGE = 1 << 21
"""Bytes of a large page."""
_LARGE = getattr(mmap, "MADV_HUGEPAGE", None)
"""How to ask for large pages; None where the system has none."""


def room(*shape: int) -> Tensor:
    """Return memory for float32 numbers, whatever is in it, and whatever torch's defaults are."""
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False):
            return torch.empty(shape, dtype=torch.float32, device="cpu")
    return torch.empty(shape, dtype=torch.float32, device="cpu")


def _large(size: int) -> Tensor:
    """Return memory for ``size`` numbers in large pages: fewer for the processor to look up."""
    assert _LARGE is not None
    pages = mmap.mmap(-1, size * 4 + _PAGE)
    pages.madvise(_LARGE)
    with torch.inference_mode(False):
        whole = torch.frombuffer(pages, dtype=torch.float32)
        begin = -whole.data_ptr() % _PAGE // 4
        return whole[begin : begin + size]


class Pool:
    """Pieces of memory that the unrolls of one cell take and give back.

    What the system hands out anew costs a page fault every 4 kB, which adds up.
    """

    def __init__(self) -> None:
        self._free: list[Tensor] = []
        self._lock = Lock()

    def take(self, *shape: int) -> Tensor:
        """Return a piece for so many numbers or a few more, in one row, whatever is in it."""
        size = math.prod(shape)
        is_large = _LARGE is not None and size * 4 >= _PAGE
        if is_large:
            size = -(-size * 4 // _PAGE) * _PAGE // 4
        with self._lock:
            for place, piece in enumerate(self._free):
                if piece.numel() == size:
                    return self._free.pop(place)
        return _large(size) if is_large else room(size)

    def give(self, *pieces: Tensor) -> None:
        """Take back what nobody uses any more; the pieces that lay idle longest go."""
        with self._lock:
            self._free += [piece for piece in pieces if piece.numel()]
            del self._free[:-_MOST]


_POOLS: WeakKeyDictionary[Cell, Pool] = WeakKeyDictionary()


def pool_of(cell: Cell) -> Pool:
    """Return the pool of a cell; it goes with the cell."""
    return _POOLS.setdefault(cell, Pool())
