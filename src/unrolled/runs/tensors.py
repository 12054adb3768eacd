"""Files of tensors that anybody may have written: looked at before they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from unrolled.errors import DamagedError, LoadError, UsageError, one_line
from unrolled.runs.files import read_regular
from unrolled.runs.tables import MOST_BYTES, parsed

MOST_TENSORS = 40_000
BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "F32": 32,
    "I64": 64,
    "F64": 64,
}
"""The number formats that a checkpoint has, and what a number takes."""

Tensors = dict[str, Tensor]


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as safetensors; what shares storage is written twice."""
    if len(tensors) > MOST_TENSORS:
        raise UsageError(
            f"a checkpoint takes {MOST_TENSORS:,} tensors, this net has {len(tensors):,}; take fewer layers"
        )
    separate, seen = {}, set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        if plain.untyped_storage().data_ptr() in seen:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        separate[name] = plain
    return safetensors.torch.save(separate)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file of tensors whose header makes sense; DamagedError for any other."""
    return read_regular(path, look=lambda file, size: _look(path, file, size))


def read_tensors(path: Path, data: bytes) -> Tensors:
    """Return the tensors in ``data``, the bytes of the file ``path``; DamagedError if there are none."""
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError, RuntimeError, KeyError, TypeError, OverflowError) as error:
        raise DamagedError(f"{path} is damaged: {one_line(error, 200)}") from error
    except MemoryError as error:
        raise LoadError(f"{path} is too large for this machine's memory") from error


def _look(path: Path, file: BinaryIO, size: int) -> None:
    """Raise DamagedError unless the header is short, and tells of tensors that fill the file."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, MOST_BYTES):
        raise DamagedError(f"{path} is damaged: its header of {length:,} bytes doesn't fit {size:,}")
    header = file.read(length)
    if header.count(b"data_offsets") > MOST_TENSORS:
        raise DamagedError(f"{path} is damaged: it has more than {MOST_TENSORS:,} tensors")
    try:
        told = parsed(header)
        end = _end_of(told)
    except (ValueError, TypeError, LookupError, RecursionError, AttributeError) as error:
        raise DamagedError(
            f"{path} is damaged: its header makes no sense ({one_line(error, 100)})"
        ) from error
    if 8 + length + end != size:
        raise DamagedError(
            f"{path} is damaged: its tensors end at byte {8 + length + end:,}, the file at {size:,}"
        )


def _end_of(header: Any) -> int:
    """Return where the tensors of a header end; ValueError and its like unless they lie side by side."""
    end = 0
    entries = [entry for name, entry in header.items() if name != "__metadata__"]
    for entry in sorted(entries, key=lambda entry: entry["data_offsets"][0]):
        begin, stop = entry["data_offsets"]
        if any(type(size) is not int or size < 0 for size in (begin, stop, *entry["shape"])):
            raise ValueError("sizes are whole numbers of at least 0")
        if begin != end or (stop - begin) * 8 != BITS[entry["dtype"]] * math.prod(entry["shape"]):
            raise ValueError(f"a tensor of shape {entry['shape']} can't lie from byte {begin} to {stop}")
        end = stop
    return end
