"""A gated cell of your own: an LSTM whose input gate is what the forget gate leaves.

unrolled train book.txt --cell gated.py:Coupled
"""

from typing import NamedTuple

from torch import Tensor, sigmoid, tanh

import unrolled


class CoupledState(NamedTuple):
    """The output ``h`` and the memory ``c``, each [B, H]."""

    h: Tensor
    c: Tensor


class Coupled(unrolled.GatedCell):
    """c' = σ(f) c + (1 − σ(f)) tanh(g), h' = σ(o + p ∘ c') tanh(c'), with a peephole p.

    Coupled gates: Greff et al., LSTM: a search space odyssey, 2017.
    """

    gates = ("f", "g", "o")
    vectors = ("p",)
    State = CoupledState

    @staticmethod
    def next_state(f: Tensor, g: Tensor, o: Tensor, p: Tensor, state: CoupledState) -> CoupledState:
        """Forget a share, write what was freed, read; each argument is [B, H], ``p`` [H]."""
        keep = sigmoid(f)
        c = keep * state.c + (1 - keep) * tanh(g)
        return CoupledState(sigmoid(o + p * c) * tanh(c), c)
