"""PyTorch's own RNN, LSTM and GRU kernels."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unrolled.engines.base import Request


class TorchEngine:
    """Run the built-in cells by torch's kernels."""

    name = "torch"

    def why_not(self, request: Request) -> str | None:
        """Not there yet."""
        return "it is not there yet"

    def run(self, request: Request) -> tuple[Tensor, Any]:
        """Not there yet."""
        raise NotImplementedError


TORCH = TorchEngine()
