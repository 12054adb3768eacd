"""A cell of your own: a leaky integrator. One step is all there is to write.

unrolled train book.txt --cell leaky.py:Leaky
"""

import torch

import unrolled


class Leaky(unrolled.Cell):
    """h' = 0.9 h + 0.1 tanh([x, h] W + b)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x: torch.Tensor, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Take x [B, D] and h [B, H]; return the output and the next state."""
        h = 0.9 * h + 0.1 * torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
        return h, h
