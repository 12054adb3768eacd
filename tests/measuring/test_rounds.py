from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from unrolled.measuring.noise import Clocks
from unrolled.measuring.rounds import Manner, Round, Run, in_turns, timed, timing


def run_of(name: str, seconds: float, shares: Iterator[float | None], calls: list[tuple[str, int]]) -> Run:
    def run(repeats: int) -> Round:
        calls.append((name, repeats))
        return Round(seconds, 0.0 if len(calls) <= 4 else next(shares))

    return run


def test_works_take_turns_after_two_calls_of_each() -> None:
    calls: list[tuple[str, int]] = []
    runs = {name: run_of(name, 0.5, iter([0.0] * 9), calls) for name in ("a", "b")}
    in_turns(runs, Manner(rounds=3, seconds=0.1))
    assert [name for name, _ in calls] == ["a", "a", "b", "b"] + ["a", "b"] * 3


def test_a_short_work_is_called_several_times_a_round() -> None:
    calls: list[tuple[str, int]] = []
    runs = {
        name: run_of(name, seconds, iter([0.0] * 9), calls) for name, seconds in (("a", 0.03), ("b", 0.4))
    }
    in_turns(runs, Manner(rounds=1, seconds=0.2))
    assert calls == [("a", 1), ("a", 1), ("b", 1), ("b", 1), ("a", 7), ("b", 1)]


def test_rounds_in_which_others_took_more_than_is_allowed_are_dropped_and_counted() -> None:
    rounds = [Round(1.0, 0.01), Round(9.0, 0.081), Round(2.0, 0.08), Round(3.0, 0.0), Round(8.0, 0.5)]
    found = timing(rounds, Manner(rounds=5))
    assert found.seconds == (1.0, 2.0, 3.0) and found.median == 2.0
    assert (found.dropped, found.noisy, found.foreign) == (2, False, 0.01)


def test_turns_go_on_until_every_work_has_enough_clean_rounds() -> None:
    calls: list[tuple[str, int]] = []
    shares = {"a": iter([0.0, 0.9, 0.0, 0.9, 0.0, 0.0]), "b": iter([0.0] * 6)}
    runs = {name: run_of(name, 1.0, found, calls) for name, found in shares.items()}
    found = in_turns(runs, Manner(rounds=3, patience=4))
    assert (len(found["a"].seconds), found["a"].dropped) == (3, 2)
    assert (len(found["b"].seconds), found["b"].dropped) == (5, 0)


def test_patience_ends_and_then_the_least_disturbed_rounds_count_and_it_is_said() -> None:
    calls: list[tuple[str, int]] = []
    shares = iter([0.5, 0.2, 0.9, 0.3, 0.04, 0.8])
    seconds = iter([9.0, 9.0, 5.0, 2.0, 9.0, 3.0, 1.0, 8.0])

    def run(repeats: int) -> Round:
        calls.append(("a", repeats))
        return Round(next(seconds), 0.0 if len(calls) <= 2 else next(shares))

    found = in_turns({"a": run}, Manner(rounds=3, patience=2))["a"]
    assert len(calls) == 2 + 6
    assert (sorted(found.seconds), found.dropped, found.noisy) == ([1.0, 2.0], 4, True)
    assert found.to_dict()["noisy"] is True and found.foreign == pytest.approx(0.12)


def test_rounds_of_unknown_share_count_and_the_share_stays_unknown() -> None:
    found = timing([Round(1.0, None), Round(2.0, None), Round(4.0, None)], Manner(rounds=3))
    assert (found.seconds, found.foreign, found.dropped, found.noisy) == ((1.0, 2.0, 4.0), None, 0, False)


def test_quartiles_are_those_of_the_rounds_that_count() -> None:
    found = timing([Round(float(n), 0.0) for n in (5, 1, 2, 4, 3)], Manner(rounds=5))
    assert found.quartiles == (2.0, 4.0)
    assert timing([Round(7.0, 0.0)], Manner(rounds=1)).quartiles == (7.0, 7.0)


def clock(*readings: Clocks) -> Callable[[], Clocks]:
    return iter(readings).__next__


def test_a_round_is_timed_by_the_wall_or_by_the_time_of_its_own_process() -> None:
    calls: list[int] = []
    readings = Clocks(1.0, 10.0, 3.0), Clocks(7.0, 14.0, 4.5)
    found = timed(lambda: calls.append(1), clock(*readings))(3)
    assert found.seconds == 2.0 and found.foreign is not None and found.foreign > 0
    assert timed(lambda: calls.append(1), clock(*readings), own_time=True)(3).seconds == 0.5
    assert len(calls) == 6
