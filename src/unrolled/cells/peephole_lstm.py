"""Long short-term memory whose gates see the memory."""

from __future__ import annotations

from torch import Tensor, sigmoid, tanh

from unrolled.cells.gated import GatedCell
from unrolled.cells.lstm import LSTMState


class PeepholeLSTM(GatedCell):
    """c' = σ(f + p_f c) c + σ(i + p_i c) tanh(g), h' = σ(o + p_o c') tanh(c').

    Gers, Schmidhuber, Recurrent nets that time and count, 2000; Gers, Schraudolph, Schmidhuber, Learning
    precise timing with LSTM recurrent networks, 2002. A peephole is one weight a unit: the gates i and f
    look at the old memory, o at the new one.
    """

    gates = ("i", "f", "g", "o")
    vectors = ("p_i", "p_f", "p_o")
    State = LSTMState

    @staticmethod
    def next_state(
        i: Tensor, f: Tensor, g: Tensor, o: Tensor, p_i: Tensor, p_f: Tensor, p_o: Tensor, state: LSTMState
    ) -> LSTMState:
        """Forget, write, read, and look at the memory each time."""
        c = sigmoid(f + p_f * state.c) * state.c + sigmoid(i + p_i * state.c) * tanh(g)
        return LSTMState(sigmoid(o + p_o * c) * tanh(c), c)
