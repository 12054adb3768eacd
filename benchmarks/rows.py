"""The rows of the table of bars: who is compared with whom, doing what, and what is asked of Unrolled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers import CHARS

OURS, BF16, INT8 = "unrolled", "unrolled, bf16", "unrolled, int8"
OWN = f"{Path(__file__).parent / 'own_lstm.py'}:OwnLSTM"
SIZES: dict[str, dict[str, int]] = {
    "512": {"hidden": 512, "lanes": 100, "window": 100},
    "128": {"hidden": 128, "lanes": 50, "window": 50},
}
STREAMS = 64


@dataclass(frozen=True)
class Contender:
    """One that takes part in a row."""

    label: str
    peer: str
    """A module of ``peers``."""
    work: dict[str, Any]
    library: str
    """Whose matrix products it runs on."""
    place: str = "torch"
    """The process: those of one runtime share it."""
    chars: int = CHARS
    """Characters that one call reads or draws."""


@dataclass(frozen=True)
class Bar:
    """What is asked: ``ours`` is at least ``floor`` times as fast as the fastest of ``against``."""

    name: str
    ours: str
    against: tuple[str, ...]
    floor: Mapping[int, float]
    """By the number of threads."""
    goal: float | None = None


@dataclass(frozen=True)
class Row:
    """Contenders that run in turns."""

    name: str
    contenders: tuple[Contender, ...]
    bars: tuple[Bar, ...]
    about: str = ""
    options: Mapping[str, float] = field(default_factory=dict)
    """Other values for the manner of timing."""


def rows(reads: str = "embedding") -> Iterator[Row]:
    """Return all rows; nets read ids through an embedding, or one-hot."""
    for size in SIZES:
        for cell in ("lstm", "gru", "rnn"):
            yield _training(cell, size, reads)
    for size in SIZES:
        yield _own_cell(size)
    for size in SIZES:
        yield _sampling(size)
    yield _streams()
    for size in reversed(SIZES):
        yield _loop(size)


def _both(floor: float) -> dict[int, float]:
    return {1: floor, 2: floor}


_TRAINING = {
    "512": {"lstm": (1.4, 1.8), "gru": (2.8, 3.5), "rnn": (2.6, 3.5)},
    "128": {"lstm": (1.5, 2.2), "gru": (2.7, 4.0), "rnn": (2.3, 4.0)},
}
_BF16 = {"lstm": (2.3, 3.3), "gru": (5.0, 6.5), "rnn": (4.7, 6.5)}


def _training(cell: str, size: str, reads: str) -> Row:
    work = {"do": "train", "cell": cell, "reads": reads, **SIZES[size]}
    chars = work["lanes"] * work["window"]

    def contender(label: str, peer: str, library: str, place: str = "torch", **more: Any) -> Contender:
        return Contender(label, peer, {**work, **more}, library, place, chars)

    contenders = [
        contender(OURS, "ours", "its own"),
        contender("torch.nn", "torch_nn", "oneDNN and MKL"),
        contender("torch.nn without oneDNN", "torch_nn", "MKL", without_onednn=True),
        contender("torch.nn, larger malloc thresholds", "torch_nn", "oneDNN and MKL", "large malloc"),
        contender(BF16, "ours", "its own", precision="bf16"),
        contender("torch.nn, autocast bfloat16", "torch_nn", "oneDNN", precision="bf16"),
    ]
    if reads == "embedding":
        contenders += [
            contender("JAX lax.scan", "jax_scan", "XLA", "jax"),
            contender("Keras 3 on JAX", "keras_jax", "XLA", "keras"),
        ]
    floor, goal = _TRAINING[size][cell]
    least = 1.2 if (cell, size) == ("rnn", "128") else 1.6
    bars = [
        Bar(f"{cell} {size}, float32 against torch.nn", OURS, ("torch.nn",), _both(floor), goal),
        Bar(
            f"{cell} {size}, float32 against the best of JAX and Keras",
            OURS,
            ("JAX lax.scan", "Keras 3 on JAX"),
            _both(least),
            2.0,
        ),
    ]
    if size == "512":
        floor, goal = _BF16[cell]
        name = f"{cell} {size}, bfloat16 against torch.nn float32"
        bars.append(Bar(name, BF16, ("torch.nn",), _both(floor), goal))
    about = f"{cell.upper()}, 2 × {size}, {work['lanes']} lanes × {work['window']} steps, a whole update"
    return Row(f"train/{cell}/{size}", tuple(contenders), tuple(bars), about)


def _own_cell(size: str) -> Row:
    work = {"do": "train", **SIZES[size]}
    chars = work["lanes"] * work["window"]
    built_in = Contender("built-in LSTM", "ours", {**work, "cell": "lstm"}, "its own", chars=chars)
    own = Contender("the LSTM from a user's file", "ours", {**work, "cell": OWN}, "its own", chars=chars)
    contenders, name = [built_in, own], f"a user's LSTM {size}"
    bars = [Bar(f"{name} against the built-in LSTM", own.label, (built_in.label,), _both(0.9), 1.0)]
    if size == "128":
        naive = {**work, "cell": OWN, "engine": "naive"}
        loop = Contender("the same as an eager Python loop", "ours", naive, "MKL", chars=chars)
        contenders.append(loop)
        bars.append(Bar(f"{name} against the same as an eager loop", own.label, (loop.label,), _both(10), 20))
    about = f"an LSTM from a user's file, 2 × {size}, a whole update"
    return Row(f"own/{size}", tuple(contenders), tuple(bars), about)


_SAMPLING = {"512": ({1: 2.5, 2: 5.0}, None), "128": ({1: 12.0, 2: 18.0}, 25.0)}
_INT8 = {"512": ({1: 2.3, 2: 3.5}, 4.0), "128": ({1: 12.0, 2: 12.0}, 15.0)}


def _sampling(size: str) -> Row:
    work = {"do": "sample", "cell": "lstm", "hidden": int(size)}
    contenders = (
        Contender(OURS, "ours", work, "its own"),
        Contender(INT8, "ours", {**work, "weights": "int8"}, "its own"),
        Contender("nn.LSTM", "torch_nn", work, "oneDNN and MKL"),
        Contender("nn.LSTMCell", "torch_nn", {**work, "by": "cells"}, "MKL"),
        Contender("ONNX Runtime", "onnx_runtime", work, "MLAS", "onnxruntime"),
        Contender("ONNX Runtime, int8", "onnx_runtime", {**work, "weights": "int8"}, "MLAS", "onnxruntime"),
        Contender("numpy", "numpy_products", work, "OpenBLAS", "numpy"),
        Contender("JAX, one jitted scan", "jax_scan", work, "XLA", "jax"),
    )
    floor, goal = _SAMPLING[size]
    floor8, goal8 = _INT8[size]
    bars = (
        Bar(f"sampling {size}, float32 against LSTMCell", OURS, ("nn.LSTMCell",), floor, goal),
        Bar(f"sampling {size}, int8 against ONNX Runtime", INT8, ("ONNX Runtime, int8",), floor8, goal8),
    )
    return Row(f"sample/{size}", contenders, bars, f"LSTM, 2 × {size}, one stream")


def _streams() -> Row:
    work = {"do": "sample", "cell": "lstm", "hidden": 512}
    one = Contender("one stream", "ours", work, "its own")
    together = {**work, "streams": STREAMS}
    many = Contender(f"{STREAMS} together", "ours", together, "its own", chars=STREAMS * CHARS)
    name = f"{STREAMS} streams together against {STREAMS} times one, 512"
    bar = Bar(name, many.label, (one.label,), _both(4), 8)
    return Row("streams/512", (one, many), (bar,), "LSTM, 2 × 512, streams sampled together")


def _loop(size: str) -> Row:
    work = {"do": "train", "cell": "lstm", **SIZES[size]}
    chars = work["lanes"] * work["window"]
    bare = Contender("the bare step", "ours", work, "its own", chars=chars)
    whole = Contender("unrolled train", "train_command", work, "its own", chars=chars)
    name = f"`unrolled train` {size}, data and logging included, against the bare step"
    bar = Bar(name, whole.label, (bare.label,), _both(0.95), 0.98)
    about = f"LSTM, 2 × {size}: the command, from its metrics, and the step alone"
    return Row(f"loop/{size}", (bare, whole), (bar,), about, {"seconds": 2.0, "rounds": 5})
