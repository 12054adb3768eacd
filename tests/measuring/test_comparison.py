from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from unrolled.cells import GRU, LSTM, Cell, ConcatRNN
from unrolled.engines import ENGINES
from unrolled.errors import SettingsError, UsageError
from unrolled.measuring import comparison
from unrolled.measuring.comparison import STREAMS, WORKS, Plan, compare
from unrolled.measuring.rounds import Manner, Run, Timing
from unrolled.measuring.works import CHARS, Size

SIZES = [Size(5, 3, 4), Size(7, 2, 6)]
SECONDS = {"naive": 0.6, "torch": 0.2, "native": 0.05}


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Call each work once and let its engine's name say how long it took; return who took turns with whom."""
    turns: list[list[str]] = []

    def in_turns(runs: Mapping[str, Run], manner: Manner) -> dict[str, Timing]:
        turns.append(list(runs))
        for run in runs.values():
            run(1)
        return {name: Timing((SECONDS[name],), 0.02, 1, False) for name in runs}

    monkeypatch.setattr(comparison, "in_turns", in_turns)
    return turns


def plan(cells: Mapping[str, type[Cell]], **more: Any) -> Plan:
    return Plan(cells, SIZES, **{"engines": ("torch", "naive"), **more})


def test_every_engine_cell_and_size_is_measured_at_every_work_in_turns(once: list[list[str]]) -> None:
    told: list[str] = []
    report = compare(plan({"lstm": LSTM, "gru": GRU}), told.append)
    rows = [(row.cell, row.size, row.work, row.engine) for row in report.measured]
    assert rows == [
        (cell, size, work, engine)
        for cell in ("lstm", "gru")
        for size in SIZES
        for work in WORKS
        for engine in ("torch", "naive")
    ]
    assert once == [["torch", "naive"]] * 12
    assert told[0] == "lstm 5x3x4, train" and len(told) == 12


def test_ratios_are_to_the_naive_loop_and_speeds_in_characters_a_second(once: list[list[str]]) -> None:
    report = compare(plan({"lstm": LSTM}))
    assert report.base == "naive"
    assert [row.ratio for row in report.measured] == [pytest.approx(3.0), 1.0] * 6
    speeds = {(row.size, row.work): row.chars_per_second for row in report.measured if row.engine == "torch"}
    assert speeds[SIZES[1], "train"] == pytest.approx(2 * 6 / 0.2)
    assert speeds[SIZES[1], "sample"] == pytest.approx(CHARS / 0.2)
    assert speeds[SIZES[1], f"sample {STREAMS}"] == pytest.approx(STREAMS * CHARS / 0.2)


def test_without_the_naive_loop_the_first_engine_is_the_base(once: list[list[str]]) -> None:
    report = compare(plan({"lstm": LSTM}, engines=("torch",)))
    assert report.base == "torch" and all(row.ratio == 1.0 for row in report.measured)


def test_an_engine_that_cannot_run_a_cell_is_left_out_with_its_reason(once: list[list[str]]) -> None:
    report = compare(plan({"concat-rnn": ConcatRNN}))
    assert report.left_out == [("concat-rnn", "torch", "torch has no kernel for ConcatRNN")]
    assert {row.engine for row in report.measured} == {"naive"}
    assert report.auto == {"concat-rnn": "naive"}


def test_a_cell_that_no_engine_can_run_is_a_one_line_error(once: list[list[str]]) -> None:
    with pytest.raises(UsageError, match=r"none of the engines .* concat-rnn \(not torch: .*\); add naive"):
        compare(plan({"concat-rnn": ConcatRNN}, engines=("torch",)))


def test_the_report_as_json_has_every_number(once: list[list[str]]) -> None:
    found = compare(plan({"lstm": LSTM}, threads=1)).to_dict()
    assert set(found) == {"machine", "threads", "base", "auto", "kernels", "rows", "left_out"}
    assert found["threads"] == 1 and found["kernels"] == []
    assert found["rows"][0] == {
        "cell": "lstm", "size": "5x3x4", "work": "train", "engine": "torch", "seconds": 0.2,
        "quartiles": [0.2, 0.2], "rounds": 1, "dropped": 1, "foreign": 0.02, "noisy": False,
        "chars_per_second": pytest.approx(60.0), "ratio": pytest.approx(3.0),
    }  # fmt: skip


def test_threads_and_random_numbers_of_the_process_are_left_as_they_were(once: list[list[str]]) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    compare(plan({"lstm": LSTM}, threads=2))
    assert torch.equal(torch.rand(4), wanted) and torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"engines": ("naiv",)}, "there is no engine 'naiv'; .*; did you mean 'naive'"),
        ({"precision": "float8"}, "precision: wanted one of float32, float64.*, came 'float8'"),
        ({"manner": Manner(rounds=0)}, "rounds: wanted a whole number from 1 to 1000, came 0"),
        ({"threads": -1}, "threads: wanted a whole number from 0 to 1024, came -1"),
    ],
)
def test_a_wrong_plan_is_a_one_line_error(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        plan({"lstm": LSTM}, **wrong)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a CUDA device")
def test_a_gpu_that_is_not_there_is_a_one_line_error() -> None:
    with pytest.raises(SettingsError, match="cuda was asked for"):
        compare(plan({"lstm": LSTM}, device="cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_on_a_gpu_the_kernels_of_its_library_are_told_too(
    once: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [{"kernel": "nn.LSTM"}]
    monkeypatch.setattr(comparison.kernels, "measure", lambda device, manner: few)
    report = compare(plan({"lstm": LSTM}, device="cuda"))
    assert report.kernels == few and "gpu" in report.machine


def test_all_engines_are_compared_where_none_is_named() -> None:
    assert Plan({"lstm": LSTM}, SIZES).engines == tuple(ENGINES)
