"""On a GPU: Unrolled's engines and the library's own kernels, as rows of results."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

LIBRARIES = {"torch": "cuDNN"}
"""What an engine's products run on; else cuBLAS."""
NUMBERS = ("seconds", "quartiles", "rounds", "dropped", "foreign", "noisy", "chars_per_second")


def entries(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each cell, size and work of a comparison's report."""
    found: dict[str, dict[str, Any]] = {}
    for row in report["rows"]:
        work, _, streams = row["work"].partition(" ")
        name = f"{work}/{row['cell']}/{row['size']}" + (f"/{streams}" if streams else "")
        label = f"unrolled, engine {row['engine']}"
        library = LIBRARIES.get(row["engine"], "cuBLAS")
        found.setdefault(name, {})[label] = {key: row[key] for key in NUMBERS} | {"library": library}
    for kernel in report["kernels"]:
        cell = kernel["kernel"].partition(",")[0].removeprefix("nn.").lower()
        name = f"train/{cell}/512"
        found.setdefault(name, {})[kernel["kernel"]] = {key: kernel[key] for key in NUMBERS} | {
            "library": "cuDNN"
        }
    for name, contenders in found.items():
        yield {
            "row": name,
            "about": "on a GPU",
            "threads": 0,
            "date": datetime.date.today().isoformat(),
            "contenders": contenders,
            "missing": {},
            "bars": [],
        }
