"""The verbs that tell: info, data list, data vocab."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator
from typing import Any


def info(as_json: bool) -> None:
    """Print versions, devices, and the engine of each cell with the reasons.

    Cells are compiled at their first use, so a line may take some seconds the first time.
    """
    facts = _facts()
    if as_json:
        print(json.dumps({**facts, "engines": dict(_engines())}))
        return
    for key, value in facts.items():
        shown = (", ".join(value) or "none") if isinstance(value, list) else value
        print(f"{key.replace('_', ' '):<12} {'none' if shown is None else shown}")
    for name, choice in _engines():
        why = "; ".join(f"not {engine}: {reason}" for engine, reason in choice["passed_over"].items())
        print(f"{name}: {choice['engine']}{f' ({why})' if why else ''}", flush=True)


def _facts() -> dict[str, Any]:
    """Return versions, what the machine has, and what would make it faster."""
    import torch

    from unrolled import __version__
    from unrolled.data import cache_folder
    from unrolled.engines.native.compiler import BuildError, find_compiler, missing_compiler
    from unrolled.training.memory import free_memory, readable

    try:
        compiler = find_compiler().version.splitlines()[0]
    except BuildError:
        compiler = None
    return {
        "unrolled": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "memory_free": readable(free_memory() or 0),
        "cache": str(cache_folder()),
        "compiler": compiler,
        "advice": missing_compiler(),
    }


def _engines() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the engine of each cell, and why each faster one is not it."""
    import torch

    from unrolled.cells import NAMED
    from unrolled.unrolling import choose_engine

    for name, cls in NAMED.items():
        engine, reasons = choose_engine(cls(3, 4), torch.zeros(2, 1, 3))
        yield name, {"engine": engine.name, "passed_over": reasons}
    engine, reasons = choose_engine(_gated_cell()(3, 4), torch.zeros(2, 1, 3))
    yield "a gated cell of your own", {"engine": engine.name, "passed_over": reasons}
    yield (
        "any other cell of your own",
        {
            "engine": "naive",
            "passed_over": {
                "scan": "it runs linear cells",
                "native": "it runs gated cells",
                "torch": "it knows its own three",
            },
        },
    )


def _gated_cell() -> type[Any]:
    """Return a cell as a user writes it."""
    import torch

    from unrolled.cells import GatedCell

    class Mixed(GatedCell):
        gates = ("z", "n")

        @staticmethod
        def next_state(z: torch.Tensor, n: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
            keep = torch.sigmoid(z)
            return keep * state + (1 - keep) * torch.tanh(n)

    return Mixed


def list_data(as_json: bool) -> None:
    """Print the catalog and the recipes."""
    from unrolled.data import catalog
    from unrolled.settings import recipes

    texts = [line._asdict() for line in catalog.describe()]
    if as_json:
        print(json.dumps({"texts": texts, "recipes": recipes()}, ensure_ascii=False))
        return
    print("Texts: unrolled train NAME")
    for text in texts:
        print(f"  {text['name']:<16} {text['about']} ({text['size']})")
    print("Recipes: unrolled train TEXT --recipe NAME")
    for name, about in recipes().items():
        print(f"  {name:<16} {about}")


def vocab(text: str, units: str, as_json: bool) -> None:
    """Print the vocabulary of a text: its characters in the order of their ids."""
    from unrolled.data import Corpus, catalog

    paths, known = catalog.resolve([text])
    found = Corpus.open(*paths, units=units, vocab=known).vocab  # type: ignore[arg-type]
    if as_json:
        print(json.dumps(found.to_dict(), ensure_ascii=False))
    elif found.units == "byte":
        print("every byte from 0 to 255")
    else:
        sys.stdout.write("".join(found.symbols))
