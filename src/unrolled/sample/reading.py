"""A text read by the sampling loop, to see what its weights cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from unrolled.net import Net
from unrolled.sample.native import loop_of


class Reader:
    """Read the windows of a text one after the other, with the weights that a stream would have.

    It is the loop that samples, fed with the text in place of its own draws; float64 on the way from logits
    to log-probabilities. UsageError where the net or the machine can't have these ``weights``.
    """

    def __init__(self, net: Net, weights: str) -> None:
        self._loop = loop_of(net, weights)
        self._start = self._loop.own(net.initial_state(1))
        self._states: list[Any] = []

    def read(self, ids: Any, fresh: Any = None, lengths: Any = None) -> list[Any]:
        """Read ids [T, B]; return each lane's logits [n, V] after its n real steps, float32.

        ``fresh`` [T, B] marks where a lane starts anew, ``lengths`` [B] how many steps are real.
        """
        T, B = ids.shape
        self._states = self._states or [self._start.copy() for _ in range(B)]
        stops = [T] * B if lengths is None else [int(n) for n in lengths]
        given = [np.asarray(ids)[:n, b] for b, n in enumerate(stops)]
        marks = [None if fresh is None else np.asarray(fresh)[:n, b] for b, n in enumerate(stops)]
        return [lane.logits[1:] for lane in self._loop.read(self._states, given, marks)]
