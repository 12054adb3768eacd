"""Numbers as a page takes them: few bytes each, and none that JSON can't say."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def eighths(values: NDArray[np.float32], scales: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return values [T, N] as multiples of ``scales`` [N] / 127, whole numbers in −127 … 127."""
    steps = np.where(scales > 0, scales, 1) / np.float32(127)
    return np.clip(np.rint(values / steps), -127, 127).astype(np.int8)


def in_threes(rows: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return rows [N, T] with zeros after each: of base64, three bytes in four signs, none shares one."""
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 3)))


def plain(values: Iterable[float], digits: int = 5) -> list[float | None]:
    """Return numbers rounded to ``digits`` significant digits, None for what is none."""
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values]


def smallest(ids: NDArray[np.int64], count: int) -> NDArray[np.unsignedinteger]:
    """Return ids below ``count`` in the narrowest of 1, 2 and 4 bytes, little-endian."""
    kind = np.min_scalar_type(max(count - 1, 0))
    return ids.astype(kind.newbyteorder("<"))
