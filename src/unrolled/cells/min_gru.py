"""The minimal gated recurrent unit."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unrolled.cells.linear import LinearCell


class MinGRU(LinearCell):
    """h' = σ(z) h + (1 − σ(z)) n, where z and n = x W + b each; z keeps the old state, as the GRU's here.

    Feng, Tung, Ahmed, Bengio, Hajimirsadeghi, Were RNNs all we needed?, 2024: a GRU without its reset gate,
    whose gate and candidate see x alone; in the paper z is the new state's share. It is the plain form.
    The paper's other one works with logarithms, so that its scan may multiply them up, and for their sake
    makes every candidate positive; the scan here needs no logarithm, and candidates keep their sign.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.x_to_z = nn.Linear(input_size, hidden_size)
        self.x_to_n = nn.Linear(input_size, hidden_size)

    def coefficients(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return how much is kept, and what is added."""
        keep = torch.sigmoid(self.x_to_z(x))
        return keep, (1 - keep) * self.x_to_n(x)
