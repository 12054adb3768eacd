"""JSON that anybody may have written: strict, and bounded before it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unrolled.errors import DamagedError, UsageError, one_line

MOST_BYTES, MOST_VALUES = 32 << 20, 2_000_000
"""More than any vocabulary and net need, and few enough to be read in a second."""

Json = dict[str, Any]


def table_bytes(data: Mapping[str, Any], what: str) -> bytes:
    """Return a table as JSON of ASCII; UsageError where ``read_table`` would not take it back."""
    made = (json.dumps(data, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode()
    if len(made) > MOST_BYTES or _values(made) > MOST_VALUES:
        raise UsageError(
            f"{what} has {len(made):,} bytes, a checkpoint takes {MOST_BYTES:,}; "
            "take a smaller vocabulary or net"
        )
    return made


def read_table(path: Path, data: bytes) -> Json:
    """Return the table that ``data``, the bytes of the file ``path``, hold; DamagedError for anything else.

    What ``table_bytes`` never writes is refused: a key that is there twice, a number that is not finite.
    """
    try:
        value = parsed(data)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: it is not JSON ({one_line(error, 100)})") from error
    if not isinstance(value, dict):
        raise DamagedError(f"{path} is damaged: it holds no table")
    return value


def parsed(data: bytes) -> Any:
    """Return what JSON of ASCII says; ValueError or RecursionError where it is not, or too much."""
    if len(data) > MOST_BYTES or _values(data) > MOST_VALUES:
        raise ValueError("it is too long")
    return json.loads(
        data.decode("ascii"), object_pairs_hook=_once, parse_constant=_finite, parse_float=_finite
    )


def _values(data: bytes) -> int:
    """Return about how many values there are, and never fewer."""
    return sum(data.count(sign) for sign in (b",", b"[", b"{"))


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no finite number")
    return value
