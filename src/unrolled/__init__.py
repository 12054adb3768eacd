"""Unrolled: you write one step, Unrolled runs it through time.

Importing this package touches no device and imports nothing heavy; each public name is fetched when
it is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Cell": "unrolled.cells",
    "GatedCell": "unrolled.cells",
    "LinearCell": "unrolled.cells",
    "RNN": "unrolled.cells",
    "ReluRNN": "unrolled.cells",
    "LSTM": "unrolled.cells",
    "LSTMState": "unrolled.cells",
    "GRU": "unrolled.cells",
    "PeepholeLSTM": "unrolled.cells",
    "MinGRU": "unrolled.cells",
    "MinLSTM": "unrolled.cells",
    "unroll": "unrolled.unrolling",
    "detach": "unrolled.unrolling",
    "Corpus": "unrolled.data",
    "Vocab": "unrolled.data",
    "Window": "unrolled.data",
    "Windows": "unrolled.data",
    "Chain": "unrolled.net",
    "Net": "unrolled.net",
    "chain": "unrolled.net",
    "NetBuilder": "unrolled.net.builder",
    "read_net": "unrolled.net.files",
    "TrainingSettings": "unrolled.settings",
    "Choice": "unrolled.sample",
    "Stream": "unrolled.sample",
    "Streams": "unrolled.sample",
    "text_pieces": "unrolled.sample",
    "answers": "unrolled.answering",
    "generate": "unrolled.answering",
    "Run": "unrolled.runs",
    "load": "unrolled.runs",
    "train": "unrolled.training",
    "resume": "unrolled.training",
    "fit": "unrolled.training",
    "evaluate": "unrolled.training",
    "inspect": "unrolled.inspection",
    "record": "unrolled.inspection",
    "Recording": "unrolled.inspection",
    "report": "unrolled.inspection.pages.report",
    "Listener": "unrolled.training",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'unrolled' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
