"""A network of two maps over input and state laid side by side: one to the output, one to the next state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unrolled.cells.base import Cell


class ConcatRNN(Cell):
    """``h' = tanh([x, h] W_h + b_h)``, ``y = [x, h] W_y + b_y``: output and state are two things.

    It is the third architecture of the counting example ("rnn3"), whose first two stack ordinary RNNs.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.xh_to_h = nn.Linear(input_size + hidden_size, hidden_size)
        self.xh_to_y = nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Take x [B, D] and h [B, H]; return y [B, H] and the next h."""
        xh = torch.cat([x, h], dim=-1)
        return self.xh_to_y(xh), torch.tanh(self.xh_to_h(xh))
