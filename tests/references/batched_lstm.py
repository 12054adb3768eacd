"""A batched LSTM in numpy, from the mathematics: forward and backward in time.

    a[t] = x[t] W + h[t-1] U + b                        packed i f g o along the last axis
    c[t] = σ(f) c[t-1] + σ(i) tanh(g)
    h[t] = σ(o) tanh(c[t])

x [T, B, D], states [B, H], W [D, 4H], U [H, 4H], b [4H]. Everything is float64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Weights(NamedTuple):
    """What is learned, or its gradient."""

    W: Array
    U: Array
    b: Array


class Tape(NamedTuple):
    """What forward keeps for backward; states have one entry more, the first."""

    x: Array
    h: Array
    c: Array
    gates: Array


def forward(x: Array, h: Array, c: Array, w: Weights) -> tuple[Array, Array, Tape]:
    """Return the outputs [T, B, H], the last c [B, H], and the tape."""
    hs, cs, gates = [h], [c], []
    for x_t in x:
        a = x_t @ w.W + hs[-1] @ w.U + w.b
        i, f, g, o = np.split(a, 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        cs.append(f * cs[-1] + i * g)
        hs.append(o * np.tanh(cs[-1]))
        gates.append(np.stack([i, f, g, o]))
    tape = Tape(x, np.stack(hs), np.stack(cs), np.stack(gates))
    return tape.h[1:], tape.c[-1], tape


def backward(
    d_y: Array, d_h: Array, d_c: Array, tape: Tape, w: Weights
) -> tuple[Array, Array, Array, Weights]:
    """Return the gradients for x, for the first h and c, and for the weights.

    ``d_y`` [T, B, H] is what comes from outside to each output, ``d_h`` and ``d_c`` to the last state.
    """
    d_x = np.zeros_like(tape.x)
    d_w = Weights(*(np.zeros_like(weight) for weight in w))
    for t in reversed(range(len(tape.x))):
        i, f, g, o = tape.gates[t]
        squashed = np.tanh(tape.c[t + 1])
        d_h = d_h + d_y[t]
        d_c = d_c + d_h * o * (1 - squashed**2)
        d_a = np.concatenate(
            [
                d_c * g * i * (1 - i),
                d_c * tape.c[t] * f * (1 - f),
                d_c * i * (1 - g**2),
                d_h * squashed * o * (1 - o),
            ],
            axis=-1,
        )
        d_x[t] = d_a @ w.W.T
        d_w = Weights(d_w.W + tape.x[t].T @ d_a, d_w.U + tape.h[t].T @ d_a, d_w.b + d_a.sum(axis=0))
        d_h, d_c = d_a @ w.U.T, d_c * f
    return d_x, d_h, d_c, d_w


def sigmoid(a: Array) -> Array:
    """Return 1 / (1 + e^-a)."""
    return np.asarray(1 / (1 + np.exp(-a)))
