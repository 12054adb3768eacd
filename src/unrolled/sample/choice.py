"""How the next id is drawn from the logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import UsageError


@dataclass(frozen=True)
class Choice:
    """How the next id is drawn from the logits: first temperature, then top-k, top-p and min-p."""

    temperature: float = 1.0
    """Logits are divided by it; 0 takes the likeliest id, ties going to the lowest."""
    top_k: int = 0
    """Keep the k likeliest ids; 0 keeps all."""
    top_p: float = 1.0
    """Keep the fewest likeliest ids whose probabilities sum to at least p (Holtzman et al. 2020)."""
    min_p: float = 0.0
    """Keep ids at least min_p times as likely as the likeliest (Nguyen et al. 2024)."""

    def __post_init__(self) -> None:
        rules = (
            ("temperature", 0 <= self.temperature < float("inf"), "a finite number, 0 or more"),
            ("top_k", self.top_k >= 0, "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "more than 0 and at most 1"),
            ("min_p", 0 <= self.min_p <= 1, "between 0 and 1"),
        )
        for name, holds, wanted in rules:
            if not holds:
                raise UsageError(f"{name}: wanted {wanted}, came {getattr(self, name)}")


Floats = NDArray[np.float64]
NO_ID = -1
"""The id that shows a net nothing: its one-hot row or embedding is zero."""


def draw(logits: Floats, uniform: float, choice: Choice) -> int:
    """Draw an id from logits [V] with one uniform number in [0, 1).

    The uniform number is inverted over the cumulative sum of float64 probabilities in the order of ids,
    so equal logits and an equal number give an equal id, whoever draws beside. The compiled loop draws
    in the same way; its exp may differ in the last bit, and so may an id whose border the number hits
    within some 1e-15.
    """
    if choice.temperature == 0:
        return int(np.argmax(logits))
    with np.errstate(over="ignore"):
        weights = np.exp((logits - logits.max()) / choice.temperature)
    if choice.top_k or choice.top_p < 1 or choice.min_p:
        weights = _truncated(weights, choice)
    total = np.cumsum(weights)
    place = int(np.searchsorted(total, uniform * total[-1], side="right"))
    return min(place, int(np.flatnonzero(weights)[-1]))


def _truncated(weights: Floats, choice: Choice) -> Floats:
    """Zero the weights [V] that top-k, top-p or min-p leave out; the likeliest always stays."""
    likeliest_first = np.argsort(-weights, kind="stable")
    keep = len(weights)
    if choice.top_k:
        keep = min(keep, choice.top_k)
    if choice.top_p < 1:
        shares = np.cumsum(weights[likeliest_first]) / np.cumsum(weights)[-1]
        keep = min(keep, int(np.searchsorted(shares, choice.top_p, side="left")) + 1)
    kept = np.zeros_like(weights)
    chosen = likeliest_first[:keep]
    kept[chosen] = weights[chosen]
    if choice.min_p:
        kept[kept < choice.min_p * weights[likeliest_first[0]]] = 0.0
    return kept


def log_softmax(logits: Floats) -> Floats:
    """Return log-probabilities [..., V] in nats, at temperature 1."""
    shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
