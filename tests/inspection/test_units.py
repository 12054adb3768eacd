"""Units found by the machine: a planted one first, with the right words; none where nothing was learned."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled import unroll
from unrolled.cells import GRU, LSTM, RNN, GatedCell, MinGRU
from unrolled.errors import UsageError
from unrolled.inspection import controls
from unrolled.inspection.predicates import PREDICATES, from_function, from_regex
from unrolled.inspection.rules import depth
from unrolled.inspection.units import LEAST_BEYOND, find_units, units_of_span

from .writing import speech

Series = dict[str, NDArray[np.float32]]


def ids_of(symbols: list[str]) -> Tensor:
    return torch.from_numpy(np.unique(symbols, return_inverse=True)[1])


def states(cell: GatedCell, symbols: list[str]) -> NDArray[np.float32]:
    with torch.no_grad():
        return unroll(cell, ids_of(symbols)[:, None])[0][:, 0].numpy()


class Quoting(GatedCell):
    """Unit 3 is 1 inside quotes, turned over at each quotation mark; the others can't see it."""

    gates = ("turn", "n")
    vectors = ("knows",)

    @staticmethod
    def next_state(turn: Tensor, n: Tensor, knows: Tensor, state: Tensor) -> Tensor:
        turns = torch.sigmoid(turn)
        return knows * (state + turns * (1 - 2 * state)) + (1 - knows) * torch.tanh(n)


def quoting(symbols: list[str], seed: int) -> Quoting:
    torch.manual_seed(seed)
    quote, H = sorted(set(symbols)).index('"'), 11
    cell = Quoting(len(set(symbols)), H)
    with torch.no_grad():
        cell.knows.copy_(torch.eye(H)[3])
        cell.x_to_gates[:, 3], cell.h_to_gates[:, 3], cell.bias[3] = -20.0, 0.0, 0.0
        cell.x_to_gates[quote, 3] = 20.0
        cell.h_to_gates[3] = 0.0
    return cell


@pytest.mark.parametrize("seed", range(3))
def test_a_planted_unit_is_found_first_with_the_right_words(seed: int) -> None:
    symbols = speech(seed, 6000)
    cell = quoting(symbols, seed)
    found = find_units(
        {"lstm1.h": states(LSTM(cell.input_size, 7), symbols), "q.h": states(cell, symbols)}, symbols
    )
    best = found.found[0]
    assert (best.series, best.unit, best.predicate.name) == ("q.h", 3, "double-quotes")
    assert best.words == "unit 2/3: on inside double quotes, r = 1.00"
    assert best.beyond > 0.8 > best.threshold >= np.float32(LEAST_BEYOND)
    assert {finding.unit for finding in found.found} == {3}
    assert found.r["q.h"].shape == (11, len(PREDICATES)) and found.tries > 18


def test_a_unit_that_is_off_inside_and_a_number_have_words_of_their_own() -> None:
    symbols = speech(4, 6000)
    noise = np.random.default_rng(4).standard_normal((2, 6000, 5), np.float32)
    depths = depth("".join(symbols))
    noise[0, :, 1] -= 6 * depths
    noise[1, :, 2] += 6 * depths
    found = find_units({"a.h": noise[0], "a.c": noise[1], "b.h": noise[0, :, :1]}, symbols).found
    words = [finding.words for finding in found if finding.predicate.name == "depth"]
    assert sorted(word[: word.index(", r")] for word in words) == [
        "unit 1/1: falls with depth of brackets",
        "unit 1/2 (c): rises with depth of brackets",
    ]
    assert any(finding.words.startswith("unit 1/1: off inside ( ), r = −0.") for finding in found)


@pytest.mark.parametrize("seed", range(3))
def test_a_net_that_never_learned_has_no_unit_to_announce(seed: int) -> None:
    torch.manual_seed(seed)
    symbols = speech(seed + 50, 6000)
    nets = {f"{cls.__name__}.h": cls(len(set(symbols)), 48) for cls in (LSTM, GRU, RNN, MinGRU)}
    with torch.no_grad():
        nets["LSTM.h"].bias[48:96] = 1.0  # forget slowly, as training starts
    series = {name: states(cell, symbols) for name, cell in nets.items()}
    assert find_units(series, symbols, turns=100).found == ()


def test_without_the_control_for_the_last_symbols_such_a_net_would_be_announced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(1)
    symbols = speech(51, 6000)
    series = {"net.h": states(RNN(len(set(symbols)), 48), symbols)}
    assert find_units(series, symbols, turns=100).found == ()
    monkeypatch.setattr(controls, "beyond", lambda values, told: values)
    monkeypatch.setattr(controls, "random_units", lambda ids: np.zeros((len(ids), 1), np.float32))
    assert len(find_units(series, symbols, turns=100).found) > 10


@pytest.mark.parametrize("seed", range(2))
def test_a_planted_unit_is_not_announced_on_shuffled_text(seed: int) -> None:
    symbols = speech(seed + 7, 6000)
    shuffled = random.Random(seed).sample(symbols, len(symbols))
    cell = quoting(symbols, seed)
    of_shuffled = find_units({"q.h": states(cell, shuffled)}, shuffled, turns=100)
    assert of_shuffled.found == () and "tells nothing" in of_shuffled.note
    of_both = find_units({"q.h": states(cell, symbols)}, shuffled, turns=100)
    assert of_both.found == ()


def test_a_span_that_comes_in_one_half_only_is_left_out_and_said() -> None:
    symbols = speech(8, 4000)
    symbols[100:3000:50] = "#" * len(symbols[100:3000:50])
    mine = from_regex("hash", "#[a-z ]*"), from_regex("late", r"#(?=\w)[^!]*")
    values = mine[0](symbols)[:, None].astype(np.float32)
    values[2000:] = 0
    found = find_units(
        {"a.h": values}, symbols, [*mine, from_function("vowel", lambda t: [c in "ae" for c in t])]
    )
    assert found.found == ()
    assert found.left_out["vowel"] == "the last 2 symbols tell it"


def test_the_same_call_gives_the_same_findings() -> None:
    symbols = speech(9, 3000)
    series = {"q.h": states(quoting(symbols, 1), symbols)}
    first, second = find_units(series, symbols), find_units(series, symbols)
    assert first.found == second.found and np.array_equal(first.thresholds, second.thresholds)


def test_the_correlations_are_pearsons_on_the_held_out_part() -> None:
    symbols = speech(10, 2000)
    x = np.random.default_rng(10).standard_normal((2000, 3), np.float32)
    found = find_units({"a.h": x}, symbols, held_out=0.4, turns=100)
    names = [predicate.name for predicate in PREDICATES]
    for name in ("double-quotes", "word-position"):
        k = names.index(name)
        values = PREDICATES[k](symbols)[1200:].astype(np.float64)
        expected = [np.corrcoef(x[1200:, unit], values)[0, 1] for unit in range(3)]
        np.testing.assert_allclose(found.r["a.h"][:, k], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("series", "complaint"),
    [
        ({}, "one series or more, came none"),
        ({"a.h": np.zeros((7, 3))}, r"'a.h' must be \[600, H\], one row a symbol; came \[7, 3\]"),
        ({"a.h": np.full((600, 3), np.nan)}, "must be finite, came nan in unit 0 at position 0"),
    ],
)
def test_series_that_do_not_fit_are_one_line(series: Series, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        find_units(series, ["a"] * 600)


def test_a_text_too_short_or_a_wrong_share_is_one_line() -> None:
    series = {"a.h": np.zeros((300, 3), np.float32)}
    with pytest.raises(
        UsageError,
        match=r"two parts of a text with 200 symbols or more each .held_out 0.5., came a text of 300",
    ):
        find_units(series, ["a"] * 300)
    with pytest.raises(UsageError, match=r"held_out must lie between 0 and 1, came 1\.0"):
        find_units(series, ["a"] * 300, held_out=1.0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"turns": 99}, "confidence 0.99 needs 100 turns or more, came 99"),
        ({"confidence": 1.0}, "confidence must lie between 0 and 1, came 1.0"),
        ({"predicates": PREDICATES[:2] * 2}, "came 'double-quotes' twice"),
        ({"predicates": []}, "one or more, each with a name of its own; came none"),
    ],
)
def test_controls_that_do_not_fit_are_one_line(arguments: dict[str, object], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        find_units({"a.h": np.zeros((600, 3), np.float32)}, ["a"] * 600, **arguments)  # type: ignore[arg-type]


def test_units_of_a_span_are_those_on_there_and_off_elsewhere() -> None:
    x = np.random.default_rng(11).standard_normal((900, 6), np.float32)
    x[:, 5] = 4.0
    x[100:140, 2] += 5
    x[100:140, 4] -= 5
    x[300:340, 1] += 5
    best = units_of_span({"a.h": x[:, :3], "b.c": x[:, 3:]}, 100, 140)
    assert (best[0].series, best[0].layer, best[0].unit) == ("a.h", 1, 2)
    assert best[0].inside - best[0].outside == pytest.approx(5, abs=0.7)
    expected = (x[100:140, 2].mean() - np.delete(x[:, 2], slice(100, 140)).mean()) / x[:, 2].std()
    assert best[0].difference == pytest.approx(expected, rel=1e-4)
    assert all(unit.difference > 0 for unit in best)
    assert ("b.c", 1) not in [(unit.series, unit.unit) for unit in best]
    with pytest.raises(UsageError, match=r"a span must lie within 0 to 900 .* came 140 to 100"):
        units_of_span({"a.h": x}, 140, 100)
