"""The controls against noise that looks like a discovery."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unrolled.inspection import controls


def slow(seed: int, T: int, N: int, memory: float) -> NDArray[np.float32]:
    """Return N signals of −1 and 1 that turn over about every ``memory`` steps, [T, N]."""
    turns = np.random.default_rng(seed).random((T, N)) < 1 / memory
    return controls.scaled((1.0 - 2.0 * (np.cumsum(turns, axis=0) % 2)).astype(np.float32))


def test_a_plain_shuffle_announces_noise_where_turning_does_not() -> None:
    T, H, tries, turns = 2000, 20, 60, 100
    by_shuffle = by_turning = 0
    for seed in range(tries):
        units, predicate = slow(seed, T, H, 60.0), slow(seed + 1000, T, 1, 60.0)
        largest = np.abs(units.T @ predicate).max()
        draw = np.random.default_rng(seed)
        shuffles = np.concatenate([draw.permutation(predicate) for _ in range(turns)], axis=1)
        by_shuffle += largest > np.quantile(np.abs(units.T @ shuffles).max(axis=0), 0.95)
        turned = controls.turned_maxima([units], predicate, turns)
        by_turning += largest > controls.chance_thresholds(turned, 0.95)[0]
    assert by_shuffle > 0.9 * tries
    assert by_turning < 0.15 * tries


def test_a_slow_predicate_does_not_hide_what_a_fast_one_finds() -> None:
    T = 3000
    units = slow(3, T, 30, 50.0)
    predicates = np.concatenate([slow(4, T, 1, 2.0), slow(5, T, 1, 200.0)], axis=1)
    fast, slowly = controls.chance_thresholds(controls.turned_maxima([units], predicates, 200), 0.99)
    assert 3 * fast < slowly < 1


def test_turned_maxima_are_those_of_rolled_predicates_over_all_units() -> None:
    units, predicates = [slow(6, 500, 3, 9.0), slow(7, 500, 5, 9.0)], slow(8, 500, 2, 7.0)
    maxima = controls.turned_maxima(units, predicates, 27, seed=1)
    offsets = np.random.default_rng(1).integers(25, 475, 27, endpoint=True)
    every = np.concatenate(units, axis=1)
    expected = [np.abs(every.T @ np.roll(predicates, offset, axis=0)).max(axis=0) for offset in offsets]
    np.testing.assert_allclose(maxima, expected, atol=1e-6)


def test_contexts_are_the_last_two_symbols_and_one_where_two_are_rare() -> None:
    ids = np.array([0, 1, 2] * 20 + [2, 1, 0], np.int64)
    told = controls.contexts(ids)
    assert len(set(told[3:60].tolist())) == 3
    pairs = {tuple(ids[t - 1 : t + 1]) for t in range(3, 60)}
    for pair in pairs:
        where = [t for t in range(1, len(ids)) if tuple(ids[t - 1 : t + 1]) == pair]
        assert len({int(told[t]) for t in where}) == 1
    assert not set(told[60:].tolist()) & set(told[3:60].tolist())
    assert set(told.tolist()) == set(range(told.max() + 1))


def test_what_a_context_tells_is_taken_out_of_whatever_depends_on_it_alone() -> None:
    draw = np.random.default_rng(9)
    ids = draw.integers(0, 4, 3000)
    told = controls.contexts(ids)
    values = draw.standard_normal((3000, 2), np.float32)
    values[:, 0] = draw.standard_normal(told.max() + 1).astype(np.float32)[told]
    left = controls.beyond(values, told)
    assert np.abs(left[:, 0]).max() < 1e-5 and left[:, 1].std() > 0.9
    means = [left[told == context].mean(axis=0) for context in range(told.max() + 1)]
    assert np.abs(means).max() < 1e-5


def test_random_units_forget_after_one_step_or_after_a_hundred() -> None:
    ids = np.random.default_rng(10).integers(0, 5, 900)
    other = ids.copy()
    other[400] = (other[400] + 1) % 5
    gap = np.abs(controls.random_units(ids) - controls.random_units(other))
    assert gap[:400].max() == 0 and gap[400, 0] > 0.01
    kept = gap[500] / gap[400]
    assert kept[-20:].mean() > 0.1 > 0.001 > kept[0]


def test_the_order_of_shuffled_text_tells_nothing() -> None:
    text = np.array([ord(c) - 32 for c in "the cat saw that the rat ate the hat " * 40], np.int64)
    assert controls.order_tells(text)
    shuffled = [controls.order_tells(np.random.default_rng(seed).permutation(text)) for seed in range(30)]
    assert not any(shuffled)


def test_what_does_not_move_correlates_with_nothing() -> None:
    still = controls.scaled(np.full((50, 1), 1e6, np.float32))
    assert np.array_equal(still, np.zeros((50, 1), np.float32))
