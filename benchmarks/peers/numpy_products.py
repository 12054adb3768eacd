"""Matrix-vector products in numpy, the embedding folded into a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peers import CHARS, LAYERS, SYMBOLS, not_installed

TEMPERATURE = 0.8


def build(work: dict[str, Any]) -> Callable[[], object]:
    """Return draws of an LSTM."""
    try:
        import numpy as np
    except ImportError:
        raise not_installed("numpy") from None
    random, H = np.random.default_rng(0), work["hidden"]

    def weights(*shape: int) -> Any:
        return random.uniform(-(H**-0.5), H**-0.5, shape).astype(np.float32)

    table, out, bias = weights(SYMBOLS, 4 * H), weights(SYMBOLS, H), weights(SYMBOLS)
    from_h = [weights(4 * H, H if layer == 0 else 2 * H) for layer in range(LAYERS)]
    biases = [weights(4 * H) for _ in range(LAYERS)]
    h, c = np.zeros((LAYERS, H), np.float32), np.zeros((LAYERS, H), np.float32)
    id_ = 0

    def draw() -> None:
        nonlocal id_
        for _ in range(CHARS):
            for layer in range(LAYERS):
                if layer == 0:
                    gates = table[id_] + from_h[0] @ h[0]
                else:
                    gates = biases[layer] + from_h[layer] @ np.concatenate([h[layer - 1], h[layer]])
                gates[2 * H : 3 * H] *= 2  # tanh(x) = 2 σ(2x) − 1: one call for all four
                i, f, g, o = np.split(1 / (1 + np.exp(-gates)), 4)
                c[layer] = f * c[layer] + i * (2 * g - 1)
                h[layer] = o * np.tanh(c[layer])
            logits = (out @ h[-1] + bias) / TEMPERATURE
            total = np.cumsum(np.exp(logits - logits.max()))
            id_ = int(np.searchsorted(total, random.random() * total[-1]))

    return draw
