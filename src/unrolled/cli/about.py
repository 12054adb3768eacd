"""The verbs that tell: info, data list, data vocab."""

from __future__ import annotations

import json
import platform
import sys
from typing import Any


def info(as_json: bool) -> None:
    """Print versions, devices, and the engine of each cell with the reasons."""
    import torch

    from unrolled import __version__
    from unrolled.cells import NAMED
    from unrolled.data import cache_folder
    from unrolled.training.memory import free_memory, readable
    from unrolled.unrolling import choose_engine

    found: dict[str, Any] = {
        "unrolled": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "memory_free": readable(free_memory() or 0),
        "cache": str(cache_folder()),
        "engines": {},
    }
    for name, cls in NAMED.items():
        engine, reasons = choose_engine(cls(3, 4), torch.zeros(2, 1, 3))
        found["engines"][name] = {"engine": engine.name, "passed_over": reasons}
    found["engines"]["a cell of your own"] = {
        "engine": "naive",
        "passed_over": {"torch": "its kernels know the built-in cells only"},
    }
    if as_json:
        print(json.dumps(found))
        return
    for key, value in found.items():
        if key != "engines":
            shown = (", ".join(value) or "none") if isinstance(value, list) else value
            print(f"{key.replace('_', ' '):<12} {shown}")
    for name, choice in found["engines"].items():
        why = "; ".join(f"not {engine}: {reason}" for engine, reason in choice["passed_over"].items())
        print(f"{name}: {choice['engine']}{f' ({why})' if why else ''}")


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
