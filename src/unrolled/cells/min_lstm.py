"""The minimal long short-term memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from unrolled.cells.linear import LinearCell


class MinLSTM(LinearCell):
    """h' = f' h + i' g, with f' = σ(f) / (σ(f) + σ(i)), i' = σ(i) / (σ(f) + σ(i)); i, f, g = x W + b each.

    Feng, Tung, Ahmed, Bengio, Hajimirsadeghi, Were RNNs all we needed?, 2024: an LSTM whose gates see x
    alone, without output gate and second state, with the paper's normalised gates, which sum to one whatever
    the length. f' is made as σ(log σ(f) − log σ(i)), which is the same and divides by nothing. For the form
    see ``MinGRU``.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.x_to_i = nn.Linear(input_size, hidden_size)
        self.x_to_f = nn.Linear(input_size, hidden_size)
        self.x_to_g = nn.Linear(input_size, hidden_size)

    def coefficients(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return how much is kept, and what is added."""
        keep = torch.sigmoid(logsigmoid(self.x_to_f(x)) - logsigmoid(self.x_to_i(x)))
        return keep, (1 - keep) * self.x_to_g(x)
