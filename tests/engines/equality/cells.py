"""Cells that no engine has seen before: three made up by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, sigmoid, tanh

import unrolled


class TwoGates(unrolled.GatedCell):
    """Two gates and a relu: h' = σ(u) h + (1 − σ(u)) relu(n)."""

    gates = ("u", "n")

    @staticmethod
    def next_state(u: Tensor, n: Tensor, state: Tensor) -> Tensor:
        keep = sigmoid(u)
        return keep * state + (1 - keep) * torch.relu(n)


class Both(NamedTuple):
    h: Tensor
    c: Tensor


class FiveGates(unrolled.GatedCell):
    """Five gates, one of them split, and two states of which the second never sees a product.

    The slope of √m² is no number at 0, where only the padding of units is.
    """

    gates = ("a", "b", "e", "k", "m")
    split = ("k",)
    State = Both

    @staticmethod
    def next_state(a: Any, b: Any, e: Any, k_x: Any, k_h: Any, m: Any, state: Both) -> Both:
        c = sigmoid(b) * state.c + sigmoid(a) * tanh(k_x + sigmoid(e) * k_h)
        h = tanh(c) * tanh(torch.sqrt(m * m)) + 0.1 * state.h / (1 + state.h * state.h)
        return Both(h, c)


class Peepholes(unrolled.GatedCell):
    """The LSTM whose gates see its cell: Gers and Schmidhuber 2000."""

    gates = ("i", "f", "g", "o")
    vectors = ("p_i", "p_f", "p_o")
    State = Both

    @staticmethod
    def next_state(i: Any, f: Any, g: Any, o: Any, p_i: Any, p_f: Any, p_o: Any, state: Both) -> Both:
        c = sigmoid(f + p_f * state.c) * state.c + sigmoid(i + p_i * state.c) * tanh(g)
        return Both(sigmoid(o + p_o * c) * tanh(c), c)


MADE_UP: dict[str, Any] = {"two-gates": TwoGates, "five-gates": FiveGates, "peepholes": Peepholes}
