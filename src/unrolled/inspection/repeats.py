"""Repetition: how much of a text stood in it before, and whether it ends in a loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from unrolled.data.vocab import code_points
from unrolled.errors import UsageError
from unrolled.inspection.copies import NGRAM
from unrolled.inspection.spans import Block
from unrolled.net import Net
from unrolled.sample import Choice, Stream, Streams, default_prime

TEMPERATURES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
"""The temperatures that repetition is measured at, where nobody says."""

TIMES = 3
"""How often a text must say the same at its end for that to be a loop."""


@dataclass(frozen=True)
class Loop:
    """What a text repeats at its end: ``period`` characters, again and again from ``begin`` on."""

    period: int
    begin: int
    length: int

    @property
    def times(self) -> float:
        """How often it is said."""
        return self.length / self.period


@dataclass(frozen=True)
class Repetition:
    """How repetitive a text is.

    ``share`` is that of its n-grams that begin earlier in it too: 0 where no ``ngram`` characters in a row
    come twice, near 1 in a loop, None in a text shorter than ``ngram``. Copies that overlap count.
    """

    ngram: int
    share: float | None
    loop: Loop | None


@dataclass(frozen=True)
class AtTemperature:
    """A text sampled at a temperature, and how repetitive it is."""

    temperature: float
    text: str
    repetition: Repetition


def repetition(text: str, *, ngram: int = NGRAM) -> Repetition:
    """Measure the repetition of a text. It replaces this loop, for each of the text's n-grams::

        ngram in ngrams_before

    N-grams are compared by a hash of 64 bits.
    """
    if ngram < 1:
        raise UsageError(f"ngram: wanted 1 or more, came {ngram}")
    count = len(text) - ngram + 1
    if count < 1:
        return Repetition(ngram, None, final_loop(text, ngram))
    hashes = Block(code_points(text), 0, len(text), ngram).of(ngram)
    return Repetition(ngram, 1 - len(np.unique(hashes)) / count, final_loop(text, ngram))


def final_loop(text: str, least: int = NGRAM) -> Loop | None:
    """Return the loop of the shortest period that the text ends in; None if it ends in none.

    What repeats must stand there at least 3 times, and be at least ``least`` characters in all: three dots
    are no loop. The last time may be cut short: a loop begins where the period first holds.
    """
    points = code_points(text)[::-1]
    for period in _periods(text):
        needed = max((TIMES - 1) * period, least - period)
        if any(_differ(points, period, count) for count in (min(64, needed), needed)):
            continue
        differ = points[period:] != points[:-period]
        length = period + (int(differ.argmax()) if differ.any() else len(differ))
        return Loop(period, len(text) - length, length)
    return None


def repetition_by_temperature(
    model: Net,
    temperatures: Sequence[float] = TEMPERATURES,
    length: int = 2000,
    seed: int = 0,
    *,
    prime: str | None = None,
    ngram: int = NGRAM,
) -> list[AtTemperature]:
    """Sample ``length`` symbols at each temperature, all from the same seed, and measure their repetition.

    Temperature 0 takes the likeliest symbol each time, so that a net whose state returns loops forever.
    """
    if model.vocab is None or not model.writes_text:
        raise UsageError("repetition is measured in a text that a net writes by itself; this one writes none")
    start = model.vocab.encode(default_prime(model) if prime is None else prime).tolist()
    streams = Streams(Stream(model, Choice(temperature), seed=seed) for temperature in temperatures)
    ids = streams.prime([start] * len(temperatures)).take(length)
    texts = [model.vocab.decode(drawn) for drawn in ids]
    return [
        AtTemperature(temperature, text, repetition(text, ngram=ngram))
        for temperature, text in zip(temperatures, texts, strict=True)
    ]


def _periods(text: str) -> Iterator[int]:
    """Yield the periods that a text's last two characters allow, the shortest first."""
    last = text[-2:]
    place = len(text) - 2
    first = max(0, place - len(text) // TIMES)
    while len(last) == 2 and (at := text.rfind(last, first, place + 1)) >= 0:
        yield len(text) - 2 - at
        place = at


def _differ(points: npt.NDArray[np.uint32], period: int, count: int) -> bool:
    """Tell whether the first ``count`` characters are not, or not all there, those ``period`` later."""
    return not np.array_equal(points[period : period + count], points[:count])
