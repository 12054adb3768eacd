"""Unrolled itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from peers import CHARS, LAYERS, SYMBOLS, Missing
from unrolled.cells import load_cell
from unrolled.errors import UnrolledError
from unrolled.measuring import works

assert (works.SYMBOLS, works.CHARS, works.Size(1, 1, 1).layers) == (SYMBOLS, CHARS, LAYERS)


def build(work: dict[str, Any]) -> Callable[[], object]:
    """Return an update or draws of a net; ``cell`` may be PATH.py:NAME."""
    torch.set_num_threads(work["threads"])
    torch.manual_seed(0)
    size = works.Size(work["hidden"], work.get("lanes", 1), work.get("window", 1))
    precision, cell = work.get("precision", "float32"), work["cell"]
    weights = work.get("weights", "float32")
    embedding = work.get("reads", "embedding") == "embedding"
    case = works.Case(cell, size, work.get("engine", "native"), precision, embedding=embedding)
    try:
        net = works.net_of(case, {cell: load_cell(cell).cls} if ":" in cell else None)
        net.engines()
        if work["do"] == "train":
            return works.update_of(net, case)
        if "streams" in work:
            return works.draws_of_several(net, work["streams"])
        return works.draws_of(net, weights)
    except UnrolledError as error:
        raise Missing(f"{error}") from error
