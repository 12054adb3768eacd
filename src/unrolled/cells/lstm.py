"""Long short-term memory."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, sigmoid, tanh

from unrolled.cells.gated import GatedCell


class LSTMState(NamedTuple):
    """What an LSTM carries: the output ``h`` and the memory ``c``, each [B, H]."""

    h: Tensor
    c: Tensor


class LSTM(GatedCell):
    """c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c').

    Hochreiter, Schmidhuber, Long short-term memory, 1997, with the forget gate of Gers, Schmidhuber,
    Cummins, Learning to forget, 2000.
    """

    gates = ("i", "f", "g", "o")
    State = LSTMState
    torch_kind = "LSTM"

    @staticmethod
    def next_state(i: Tensor, f: Tensor, g: Tensor, o: Tensor, state: LSTMState) -> LSTMState:
        """Forget, write, read."""
        c = sigmoid(f) * state.c + sigmoid(i) * tanh(g)
        return LSTMState(sigmoid(o) * tanh(c), c)
