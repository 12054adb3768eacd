from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MODULES = ("rows", "results", "page", "gpu", "workers", "peers")


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """Import the benchmarks' modules as their scripts do, and forget them afterwards."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in [name for name in sys.modules if name.partition(".")[0] in MODULES]:
        monkeypatch.delitem(sys.modules, name)
    found = {name: importlib.import_module(name) for name in MODULES}
    for name in [name for name in sys.modules if name.partition(".")[0] in MODULES]:
        monkeypatch.setitem(sys.modules, name, sys.modules[name])
    return found
