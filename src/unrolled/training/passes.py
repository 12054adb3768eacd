"""A pass over a window: forward to its loss and the next state, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import torch

from unrolled.data import Batch, Window
from unrolled.net import Score

Judge = Callable[[Any, Any], tuple[Score, Any]]
"""(window, state) -> (its score, the next state)."""


class Pass(Protocol):
    """A window that has been read."""

    score: Score
    """Of the whole window."""
    next_state: Any
    """Where the next window begins."""

    def backward(self) -> None:
        """Add the gradients of the mean over the window's targets to the parameters'."""


@dataclass(frozen=True)
class Piece:
    """Some successive steps of a window, or all of them."""

    window: Window | Batch
    counts: bool = True
    """Whether its targets are learned; otherwise gradients only reach back through it."""
    ends: bool = True
    """Whether the next window begins at its end."""

    def cut(self, length: int) -> list[Piece]:
        """Return it in pieces of ``length`` steps, the last one perhaps shorter."""
        assert isinstance(self.window, Window)
        T = len(self.window.inputs)
        return [
            Piece(
                self.window.part(begin, min(begin + length, T)),
                self.counts,
                self.ends and begin + length >= T,
            )
            for begin in range(0, T, length)
        ]


def pieces(window: Window | Batch) -> list[Piece]:
    """Cut a window where its targets begin to count and where the next window begins."""
    if isinstance(window, Batch) or not (window.context or window.overlap):
        return [Piece(window)]
    T = len(window.inputs)
    next_begins = T - window.overlap
    return [
        Piece(window.part(begin, end), begin >= window.context, end == next_begins)
        for begin, end in pairwise(sorted({0, window.context, next_begins, T}))
    ]


def summed(scores: Sequence[Score]) -> Score:
    """Return the score of all pieces together."""
    first, *others = scores
    total, count, correct = first.total, first.count, first.correct
    for score in others:
        total, count, correct = total + score.total, count + score.count, correct + score.correct
    return Score(total, count, correct)


class PlainPass:
    """All pieces in one graph."""

    def __init__(self, judge: Judge, pieces: Sequence[Piece], state: Any) -> None:
        self.next_state, scores = state, []
        for piece in pieces:
            score, state = judge(piece.window, state)
            if piece.counts:
                scores.append(score)
            if piece.ends:
                self.next_state = state
        self.score = summed(scores)

    def backward(self) -> None:
        """Run the graph backward."""
        torch.autograd.backward(self.score.total / max(1, self.score.count))
