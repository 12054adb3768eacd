"""Memory for the compiled code, kept from one call to the next."""

from __future__ import annotations

import contextlib
import math
import mmap
from threading import Lock
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from unrolled.cells import Cell

_MOST = 16
_PAGE = 1 << 21  # bytes of a large page
_LINE = 16  # numbers of a line of the cache


def room(*shape: int) -> Tensor:
    """Return memory for float32 numbers, whatever is in it, and whatever torch's defaults are."""
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(False):
            return torch.empty(shape, dtype=torch.float32, device="cpu")
    return torch.empty(shape, dtype=torch.float32, device="cpu")


class Pool:
    """Pieces of memory that the unrolls of one cell take and give back.

    What the system hands out anew costs a page fault every 4 kB, which adds up; and in large pages the
    processor has fewer of them to look up.
    """

    def __init__(self) -> None:
        self._free: list[Tensor] = []
        self._lock = Lock()

    def take(self, *shape: int) -> Tensor:
        """Return a piece for so many numbers or a few more, in one row, whatever is in it."""
        size = math.prod(shape)
        is_large = 4 * size >= _PAGE
        if is_large:
            size = _in_pages(size)
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


class Store:
    """Memory that lasts and is read over and over: one piece after the other, in large pages.

    In pages of 4 kB numbers lie scattered: some sets of a cache get too many lines, and reading ahead
    stops at each border.
    """

    def __init__(self) -> None:
        self._left = room(0)

    def take(self, size: int) -> Tensor:
        """Return a piece for so many numbers, whatever is in it."""
        if size > len(self._left):
            self._left = _large(size)
        piece, self._left = self._left[:size], self._left[-(-size // _LINE) * _LINE :]
        return piece


def _large(size: int) -> Tensor:
    """Return memory for ``size`` numbers or more, in large pages where the system has them."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return room(size)
    size = _in_pages(size)
    memory = mmap.mmap(-1, 4 * size + _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a system without large pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    with torch.inference_mode(False):
        numbers = torch.frombuffer(memory, dtype=torch.float32)
    first = -numbers.data_ptr() % _PAGE // 4
    return numbers[first : first + size]


def _in_pages(size: int) -> int:
    """Return ``size`` numbers rounded up to whole pages."""
    return -(-4 * size // _PAGE) * _PAGE // 4


_POOLS: WeakKeyDictionary[Cell, Pool] = WeakKeyDictionary()


def pool_of(cell: Cell) -> Pool:
    """Return the pool of a cell; it goes with the cell."""
    return _POOLS.setdefault(cell, Pool())
