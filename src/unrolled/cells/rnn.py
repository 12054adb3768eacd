"""The plain recurrent cells, tanh and relu."""

from __future__ import annotations

import torch
from torch import Tensor

from unrolled.cells.gated import GatedCell


class RNN(GatedCell):
    """h' = tanh(x W + h U + b). Elman, Finding structure in time, 1990."""

    gates = ("h",)
    torch_kind = "RNN_TANH"

    @staticmethod
    def next_state(h: Tensor, state: Tensor) -> Tensor:
        """Squash the one pre-activation."""
        return torch.tanh(h)


class ReluRNN(GatedCell):
    """h' = max(0, x W + h U + b). Le, Jaitly, Hinton, A simple way to initialize recurrent networks, 2015."""

    gates = ("h",)
    torch_kind = "RNN_RELU"

    @staticmethod
    def next_state(h: Tensor, state: Tensor) -> Tensor:
        """Cut the one pre-activation at zero."""
        return torch.relu(h)
