"""The LSTM as a user would write it, in a file of their own: what a cell costs that is not built in."""

from typing import NamedTuple

from torch import Tensor, sigmoid, tanh

import unrolled


class OwnState(NamedTuple):
    """The output ``h`` and the memory ``c``, each [B, H]."""

    h: Tensor
    c: Tensor


class OwnLSTM(unrolled.GatedCell):
    """c' = σ(f) c + σ(i) tanh(g), h' = σ(o) tanh(c')."""

    gates = ("i", "f", "g", "o")
    State = OwnState

    @staticmethod
    def next_state(i: Tensor, f: Tensor, g: Tensor, o: Tensor, state: OwnState) -> OwnState:
        """Forget, write, read."""
        c = sigmoid(f) * state.c + sigmoid(i) * tanh(g)
        return OwnState(sigmoid(o) * tanh(c), c)
