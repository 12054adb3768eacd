"""Small nets of random weights that read a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import unrolled
from unrolled.data import Vocab
from unrolled.net import Chain, Net, chain

VOCAB = Vocab.of("abc de\nfgh ij\n")
MakeNet = Callable[..., Net]


class Leaky(unrolled.Cell):
    """A cell that is no gated one."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Leak a tenth."""
        h = 0.9 * h + 0.1 * torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
        return h, h


@pytest.fixture
def make_net() -> MakeNet:
    """Return what makes a chain over a vocabulary of 12 chars."""

    def make(cell: str = "lstm", *, layers: int = 2, hidden: int = 7, seed: int = 0, **sizes: Any) -> Net:
        torch.manual_seed(seed)
        spec = chain(Chain(len(VOCAB), cell=cell, layers=layers, hidden=hidden, **sizes))
        net = Net(spec, VOCAB, {"Leaky": Leaky})
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(3)
        return net

    return make
