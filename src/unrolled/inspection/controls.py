"""What a unit must beat before it counts as a discovery: the last symbols, chance, and random nets.

A state and a predicate are slow: both stay the same for many symbols, so that two which have nothing to do
with each other correlate far more than shuffled ones do. Chance is therefore tried by turning the predicate
against the text in a circle, which leaves its own slowness as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]

SYMBOLS = 2
"""Last symbols whose knowledge is no discovery: any net that is fed them has it."""
LEAST_SEEN = 10
"""A context seen fewer times is told by its last symbol alone."""
RANDOM_UNITS = 512
"""Random units with fading memories, which a discovery must beat."""
LONGEST_MEMORY = 100.0
"""Steps after which the slowest random unit has forgotten to 1/e; the fastest forgets at once."""
NEAREST_TURN = 0.05
"""Least turn of a predicate, as a share of the text's length."""
TURNS_AT_ONCE = 20


def contexts(ids: Ids) -> Ids:
    """Return a number for the last ``SYMBOLS`` symbols at each position, [T], from 0 without a gap.

    Where these were seen fewer than ``LEAST_SEEN`` times, the number stands for one symbol fewer.
    """
    V = int(ids.max()) + 1
    told = level = _numbered(ids)
    for back in range(1, SYMBOLS):
        before = np.concatenate([np.full(min(back, len(ids)), V), ids[:-back]])
        level = _numbered(level * (V + 1) + before)
        seen = np.bincount(level)[level]
        told = _numbered(np.where(seen >= LEAST_SEEN, told.max() + 1 + level, told))
    return told


def _numbered(codes: Ids) -> Ids:
    numbers: Ids = np.unique(codes, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return numbers


def beyond(values: Floats, told: Ids) -> Floats:
    """Return values [T, N] less their mean in each context ``told`` [T]: what the context does not tell."""
    order = np.argsort(told, kind="stable")
    begins = np.flatnonzero(np.diff(told[order], prepend=-1))
    counts = np.diff(np.append(begins, len(told))).astype(np.float32)
    means = (np.add.reduceat(values[order], begins, axis=0) / counts[:, None]).astype(np.float32)
    return values - means[told]


def scaled(values: Floats) -> Floats:
    """Return values [T, N] with mean 0 and length 1 over time, so that a product is a correlation.

    What does not move is 0, and so is its correlation with anything.
    """
    values = values - values.mean(axis=0, dtype=np.float64).astype(np.float32)
    lengths = np.sqrt(np.square(values, dtype=np.float64).sum(axis=0))
    still = lengths <= 1e-6 * np.sqrt(len(values))
    return (values / np.where(still, np.inf, lengths).astype(np.float32)).astype(np.float32, copy=False)


def random_units(ids: Ids, seed: int = 0) -> Floats:
    """Return the states [T, N] of a net that never learned, fed with ids [T]: its memories fade evenly.

    ::

        h = h + a * (tanh(W h + x_to_h[id]) - h)    # a from 1 to 1 / LONGEST_MEMORY, one a unit

    The random reservoir of Jaeger, The echo state approach, 2001, with leaks of all lengths.
    """
    draw, N = np.random.default_rng(seed), RANDOM_UNITS
    x_to_h = draw.standard_normal((int(ids.max()) + 1, N), dtype=np.float32)
    h_to_h = draw.standard_normal((N, N), dtype=np.float32) * np.float32(0.5 / np.sqrt(N))
    leak = (1 / np.geomspace(1, LONGEST_MEMORY, N)).astype(np.float32)
    states, h = np.empty((len(ids), N), np.float32), np.zeros(N, np.float32)
    for t, symbol in enumerate(ids):
        h = h + leak * (np.tanh(h @ h_to_h + x_to_h[symbol]) - h)
        states[t] = h
    return states


def turned_maxima(units: Iterable[Floats], predicates: Floats, turns: int, seed: int = 0) -> Floats:
    """Return the largest |r| over all units of each predicate [K] when it is turned in a circle, [turns, K].

    ``units`` are arrays [T, H], ``predicates`` is [T, K], both of length at most 1 over time. Turns are drawn
    at random, none nearer than ``NEAREST_TURN`` of T to no turn at all.
    """
    T, K = predicates.shape
    nearest = max(1, round(NEAREST_TURN * T))
    offsets = np.random.default_rng(seed).integers(nearest, T - nearest, turns, endpoint=True)
    maxima = np.zeros((turns, K), np.float32)
    twice = np.concatenate([predicates, predicates])
    batches = [offsets[first : first + TURNS_AT_ONCE] for first in range(0, turns, TURNS_AT_ONCE)]
    for array in units:
        for batch, of_batch in enumerate(batches):
            turned = np.concatenate([twice[T - offset : 2 * T - offset] for offset in of_batch], axis=1)
            largest = np.abs(array.T @ turned).max(axis=0, initial=0).reshape(len(of_batch), K)
            rows = slice(batch * TURNS_AT_ONCE, batch * TURNS_AT_ONCE + len(of_batch))
            maxima[rows] = np.maximum(maxima[rows], largest)
    return maxima


def chance_thresholds(maxima: Floats, confidence: float) -> Floats:
    """Return for each predicate the |r| that chance stays below over all units and predicates together, [K].

    ``maxima`` [turns, K] are each the largest of many, so that a Gumbel distribution fits them; the one with
    the same median and 90 % quantile tells what is exceeded once in K / (1 − confidence) turns: Bonferroni's
    correction for K predicates, each by its own measure, so that neither a slow predicate nor one with a
    single odd turn hides the others. No limit is below the largest that was seen.
    """
    usual, high = np.quantile(maxima, [0.5, 0.9], axis=0)
    tail = 1 - (1 - confidence) / maxima.shape[1]
    steps = (_gumbel(tail) - _gumbel(0.5)) / (_gumbel(0.9) - _gumbel(0.5))
    limits: Floats = np.maximum(usual + steps * (high - usual), maxima.max(axis=0)).astype(np.float32)
    return limits


def _gumbel(share: float) -> float:
    """Return the quantile of the standard Gumbel distribution."""
    return float(-np.log(-np.log(share)))


def order_tells(ids: Ids, tries: int = 20, seed: int = 0) -> bool:
    """Return whether a symbol tells of the next one more than in any of ``tries`` shuffles of the text.

    Shuffled text has no quotes to be inside of, only quotation marks that happened.
    """
    draw, V = np.random.default_rng(seed), int(ids.max()) + 1
    shuffles = [_pair_entropy(draw.permutation(ids), V) for _ in range(tries)]
    return bool(_pair_entropy(ids, V) < min(shuffles) - 3 * float(np.std(shuffles)))


def _pair_entropy(ids: Ids, V: int) -> float:
    """Return the entropy of pairs of neighbours, in nats."""
    counts = np.unique(ids[:-1] * V + ids[1:], return_counts=True)[1] / max(len(ids) - 1, 1)
    return float(-(counts * np.log(counts)).sum())
