"""The gated recurrent unit."""

from __future__ import annotations

from torch import Tensor, sigmoid, tanh

from unrolled.cells.gated import GatedCell


class GRU(GatedCell):
    """h' = (1 − σ(z)) tanh(n_x + σ(r) n_h) + σ(z) h; z keeps the old state, r works after the product.

    Cho et al., Learning phrase representations using RNN encoder-decoder, 2014, in the form of
    ``torch.nn.GRU``: n_h = h U_n + b has a bias of its own, since r multiplies it.
    """

    gates = ("r", "z", "n")
    split = ("n",)
    torch_kind = "GRU"

    @staticmethod
    def next_state(r: Tensor, z: Tensor, n_x: Tensor, n_h: Tensor, state: Tensor) -> Tensor:
        """Mix the old state with a candidate."""
        keep = sigmoid(z)
        return (1 - keep) * tanh(n_x + sigmoid(r) * n_h) + keep * state
