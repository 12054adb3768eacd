"""A character-level vanilla RNN in numpy, from the mathematics: forward, backward in time, Adagrad.

    h[t] = tanh(h[t-1] W_hh + W_xh[id[t]] + b_h)        W_xh [V, H], W_hh [H, H]
    logits[t] = h[t] W_hy + b_y                         W_hy [H, V]
    loss = sum over t of -log softmax(logits[t])[target[t]]

One lane; ids are one-hot inputs, so their product with W_xh is a row of it. Everything is float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ids = NDArray[np.int64]


class VanillaRNN:
    """The weights by name, and what can be done with them."""

    def __init__(self, vocabulary: int, hidden: int, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.weights: dict[str, Array] = {
            "W_xh": draw.normal(size=(vocabulary, hidden)) * 0.5,
            "W_hh": draw.normal(size=(hidden, hidden)) * 0.5,
            "b_h": draw.normal(size=hidden) * 0.5,
            "W_hy": draw.normal(size=(hidden, vocabulary)) * 0.5,
            "b_y": draw.normal(size=vocabulary) * 0.5,
        }
        self.squares = {name: np.zeros_like(weight) for name, weight in self.weights.items()}

    def forward(self, ids: Ids, h: Array) -> tuple[Array, Array]:
        """Return the states [T + 1, H], the first one included, and the logits [T, V]."""
        w = self.weights
        states = [h]
        for token in ids:
            states.append(np.tanh(states[-1] @ w["W_hh"] + w["W_xh"][token] + w["b_h"]))
        h_all = np.stack(states)
        return h_all, h_all[1:] @ w["W_hy"] + w["b_y"]

    def loss(self, ids: Ids, targets: Ids, h: Array) -> float:
        """Return the summed cross-entropy in nats."""
        _, logits = self.forward(ids, h)
        return float(-np.log(softmax(logits))[np.arange(len(ids)), targets].sum())

    def backward(self, ids: Ids, targets: Ids, h: Array) -> tuple[dict[str, Array], Array, Array]:
        """Return the loss's gradient for each weight and for the first state, and the last state.

        d loss / d logits is softmax minus one-hot. Through tanh a gradient is multiplied by 1 − h². What
        reaches h[t] comes from the logits of step t and, through W_hh, from step t + 1.
        """
        w = self.weights
        states, logits = self.forward(ids, h)
        d_logits = softmax(logits)
        d_logits[np.arange(len(ids)), targets] -= 1
        d = {name: np.zeros_like(weight) for name, weight in w.items()}
        d["W_hy"] = states[1:].T @ d_logits
        d["b_y"] = d_logits.sum(axis=0)
        d_h = np.zeros_like(h)
        for t in reversed(range(len(ids))):
            d_h = d_h + w["W_hy"] @ d_logits[t]
            d_sum = d_h * (1 - states[t + 1] ** 2)
            d["W_xh"][ids[t]] += d_sum
            d["W_hh"] += np.outer(states[t], d_sum)
            d["b_h"] += d_sum
            d_h = w["W_hh"] @ d_sum
        return d, d_h, states[-1]

    def update(self, d: dict[str, Array], rate: float) -> None:
        """Take one Adagrad step: each weight's rate shrinks with the sum of its squared gradients."""
        for name, gradient in d.items():
            self.squares[name] += gradient**2
            self.weights[name] -= rate * gradient / (np.sqrt(self.squares[name]) + 1e-10)


def softmax(logits: Array) -> Array:
    """Return the probabilities along the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
