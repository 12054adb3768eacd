"""What can be wrong with a file of tensors."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from .models import Files, sealed

TENSORS = ("model.safetensors", "model.safetensors", "state.safetensors")
Head = dict[str, Any]


class Runs:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch marker",)


def raw(outer: Files, inner: Files, draw: random.Random) -> None:
    """The file's bytes are those of something else."""
    name = draw.choice(TENSORS)
    data = inner[name]
    assert isinstance(data, bytes)
    inner[name] = draw.choice(_RAW)(data, draw)
    sealed(inner)


def header(outer: Files, inner: Files, draw: random.Random) -> None:
    """The header says what the bytes are not."""
    name = draw.choice(TENSORS)
    data = inner[name]
    assert isinstance(data, bytes)
    size = struct.unpack("<Q", data[:8])[0]
    head, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    said = draw.choice(_HEADS)(head, body, draw)
    text = said if isinstance(said, bytes) else json.dumps(said).encode()
    inner[name] = struct.pack("<Q", len(text)) + text + body
    sealed(inner)


def values(outer: Files, inner: Files, draw: random.Random) -> None:
    """The tensors are whole, but not what the net wants."""
    import safetensors.torch
    import torch

    name = draw.choice(TENSORS)
    data = inner[name]
    assert isinstance(data, bytes)
    tensors = safetensors.torch.load(data)
    key = draw.choice(list(tensors))
    tensor = tensors[key].clone()
    changed: list[Callable[[], object]] = [
        lambda: tensor.flatten()[:1].fill_(float("nan")) if tensor.is_floating_point() else tensor.fill_(255),
        lambda: tensor.flatten()[-1:].fill_(float("inf")) if tensor.is_floating_point() else tensor.fill_(0),
        lambda: tensor.fill_(3e38) if tensor.dtype == torch.float32 else tensor.fill_(1),
        lambda: tensors.update({key: tensor.to(draw.choice(_DTYPES))}),
        lambda: tensors.update({key: tensor[None]}),
        lambda: tensors.update({key: tensor.flatten()}),
        lambda: tensors.update({key: torch.cat([tensor.flatten()] * 2)}),
        lambda: tensors.update({key: tensor.new_zeros(0)}),
        lambda: tensors.update({key: tensor.new_zeros(())}),
        lambda: tensors.update({key: tensor.new_zeros([1] * 60)}),
        lambda: tensors.pop(key),
        tensors.clear,
        lambda: tensors.update({f"{key}x": tensors.pop(key)}),
        lambda: tensors.update({"../x": torch.zeros(2), "": torch.zeros(1), "\n": torch.zeros(1)}),
        lambda: tensors.update({f"optimizer:{n}/step": torch.zeros(1) for n in range(3)}),
    ]
    draw.choice(changed)()
    if key in tensors and tensors[key].shape == tensor.shape and tensors[key].dtype == tensor.dtype:
        tensors[key] = tensor
    inner[name] = safetensors.torch.save({k: t.contiguous().clone() for k, t in tensors.items()})
    sealed(inner)


def many(outer: Files, inner: Files, draw: random.Random) -> None:
    """There are 100,000 tensors."""
    number = draw.choice((10_000, 100_000))
    head = {f"t{n}": {"dtype": "U8", "shape": [1], "data_offsets": [n, n + 1]} for n in range(number)}
    text = json.dumps(head).encode()
    inner[draw.choice(TENSORS)] = struct.pack("<Q", len(text)) + text + bytes(number)
    sealed(inner)


def _zip(data: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Runs()))
    return made.getvalue()


def _torch(data: bytes) -> bytes:
    import torch

    made = io.BytesIO()
    torch.save({"x": torch.zeros(3), "y": Runs()}, made)
    return made.getvalue()


def _with(head: Head, draw: random.Random, **fields: Any) -> Head:
    name = draw.choice([key for key in head if key != "__metadata__"])
    return {**head, name: {**head[name], **fields}}


def _offsets(head: Head, draw: random.Random, change: Callable[[int, int], list[Any]]) -> Head:
    name = draw.choice([key for key in head if key != "__metadata__"])
    return _with({name: head[name]}, draw, data_offsets=change(*head[name]["data_offsets"])) | {
        key: value for key, value in head.items() if key != name
    }


_DTYPES: Any = ()


def _fill_dtypes() -> None:
    global _DTYPES
    import torch

    _DTYPES = (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int64, torch.bool, torch.uint8)


_fill_dtypes()
_RAW: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    lambda data, draw: b"",
    lambda data, draw: data[: draw.randrange(len(data))],
    lambda data, draw: data[: draw.randrange(9)],
    lambda data, draw: data + b"\x00" * draw.choice((1, 8, 100_000)),
    lambda data, draw: data + data,
    lambda data, draw: pickle.dumps(Runs(), draw.randrange(6)),
    lambda data, draw: _zip(data),
    lambda data, draw: _torch(data),
    lambda data, draw: bytes(draw.randrange(256) for _ in range(200)),
    lambda data, draw: (
        struct.pack("<Q", draw.choice((2**64 - 1, 2**63, 2**40, 2**32, 100_000_001))) + data[8:]
    ),
    lambda data, draw: struct.pack("<Q", 0) + data[8:],
    lambda data, draw: struct.pack("<Q", 2) + b"{}" + data[8:],
    lambda data, draw: struct.pack("<Q", 50_000_000) + b"[" * 50_000_000,
    lambda data, draw: struct.pack("<Q", 30_000_000) + b'{"a":' + b" " * 29_999_993 + b"1}",
    lambda data, draw: data[:8] + bytes(draw.randrange(256) for _ in range(100)) + data[108:],
)
_HEADS: tuple[Callable[[Head, bytes, random.Random], Any], ...] = (
    lambda h, b, draw: _offsets(h, draw, lambda i, j: [i, j + 1]),
    lambda h, b, draw: _offsets(h, draw, lambda i, j: [i + 4, j + 4]),
    lambda h, b, draw: _offsets(h, draw, lambda i, j: [0, j - i]),
    lambda h, b, draw: _offsets(h, draw, lambda i, j: [j, i]),
    lambda h, b, draw: _offsets(h, draw, lambda i, j: [-i - 4, j]),
    lambda h, b, draw: _offsets(h, draw, lambda i, j: [len(b), len(b) + j - i]),
    lambda h, b, draw: _offsets(h, draw, lambda i, j: [i + 2**63, j + 2**63]),
    lambda h, b, draw: _offsets(h, draw, lambda i, j: [i + 0.5, j + 0.5]),
    lambda h, b, draw: _offsets(h, draw, lambda i, j: [str(i), str(j)]),
    lambda h, b, draw: _offsets(h, draw, lambda i, j: [i]),
    lambda h, b, draw: _offsets(h, draw, lambda i, j: []),
    lambda h, b, draw: _with(h, draw, shape=[10**10]),
    lambda h, b, draw: _with(h, draw, shape=[2**32, 2**32]),
    lambda h, b, draw: _with(h, draw, shape=[2**63, 2]),
    lambda h, b, draw: _with(h, draw, shape=[-1, 5]),
    lambda h, b, draw: _with(h, draw, shape=[2.5]),
    lambda h, b, draw: _with(h, draw, shape=["5"]),
    lambda h, b, draw: _with(h, draw, shape=[0, 10**18]),
    lambda h, b, draw: _with(h, draw, shape=[1] * 100_000),
    lambda h, b, draw: _with(h, draw, shape=None),
    lambda h, b, draw: _with(h, draw, shape=10**30),
    lambda h, b, draw: _with(
        h, draw, dtype=draw.choice(("F64", "I8", "F8_E4M3", "F4", "C64", "BOOL", "X", "", None, 3))
    ),
    lambda h, b, draw: _with(h, draw, x=[[[[]]]]),
    lambda h, b, draw: {
        **h,
        "__metadata__": draw.choice(({}, {"a": "b"}, {"a": 1}, [], None, "x", {"a": None})),
    },
    lambda h, b, draw: {**h, "__metadata__": {str(n): "x" * 100 for n in range(100_000)}},
    lambda h, b, draw: {},
    lambda h, b, draw: [],
    lambda h, b, draw: {**h, "z" * 100_000: next(iter(h.values()))},
    lambda h, b, draw: {key: draw.choice((None, 1, "x", [], {})) for key in h},
    lambda h, b, draw: json.dumps(h).encode()[:-1] + b"," + json.dumps(h).encode()[1:],
    lambda h, b, draw: b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    lambda h, b, draw: json.dumps(h).encode().replace(b"F32", b"F\\ud800"),
    lambda h, b, draw: json.dumps(h).encode() + b" " * 1000,
    lambda h, b, draw: json.dumps(h).encode() + b"\x00",
    lambda h, b, draw: b" " + json.dumps(h).encode(),
)

FAULTS = ((6, raw), (10, header), (8, values), (1, many))
