"""The C library's allocator while a training runs."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# glibc's malloc.h: its numbers for mallopt, and the largest threshold it takes.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST = 32 << 20
_KEPT = 1 << 30


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let glibc keep for a while what is freed, instead of handing it back to the system.

    A window's tensors are freed and asked for again at every update, and what the system takes back meanwhile
    costs a page fault every 4 kB. Afterwards what is free goes back, and the thresholds stay at the largest
    that glibc itself moves them to. Other C libraries are left alone.
    """
    library = _glibc()
    if library is None:
        yield
        return
    for name, value in ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, _KEPT), (_TOP_PAD, _LARGEST)):
        library.mallopt(name, value)
    try:
        yield
    finally:
        library.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST)
        library.mallopt(_TOP_PAD, 128 << 10)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "gnu_get_libc_version") else None
    except (OSError, TypeError):  # a system whose C library can't be opened by no name
        return None
