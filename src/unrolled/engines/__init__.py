"""Ways to run a cell over time, in the order in which ``auto`` tries them, fastest first."""

from __future__ import annotations

from unrolled.engines.base import Engine, Request
from unrolled.engines.naive import NAIVE
from unrolled.engines.native.engine import NATIVE
from unrolled.engines.parallel_scan import SCAN
from unrolled.engines.torch_kernels import TORCH

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (SCAN, NATIVE, TORCH, NAIVE)}

__all__ = ["ENGINES", "NAIVE", "NATIVE", "SCAN", "TORCH", "Engine", "Request"]
