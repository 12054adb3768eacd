"""An inspection: what is gathered, and what is chosen for a page."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import unrolled
from unrolled.errors import LoadError, UsageError
from unrolled.inspection.inspecting import Inspection, inspect
from unrolled.inspection.pages.choice import best_of_each, passage_begins, ranked, typical_passage
from unrolled.inspection.pages.numbers import eighths, plain, smallest
from unrolled.inspection.predicates import PREDICATES
from unrolled.inspection.units import Finding, Findings

from .conftest import MakeNet

TEXT = "abc de\nfgh ij\nab ab\n" * 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> unrolled.Run:
    folder = tmp_path_factory.mktemp("inspecting")
    (folder / "book.txt").write_text(TEXT)
    tiny = {"hidden": 5, "layers": 2, "lanes": 3, "window": 7, "max_updates": 3, "split": (0.5, 0.5)}
    return unrolled.train(folder / "book.txt", run=folder / "run", **tiny)


def test_an_inspection_is_of_the_second_part_of_the_runs_text(run: unrolled.Run) -> None:
    found = inspect(run, length=500, longest=40)
    assert "".join(found.recording.symbols) == TEXT[600:1100]
    assert found.title == "run" and dict(found.facts)["updates"] == "3"
    assert dict(found.facts)["text"] == "validation text of book.txt, the first 500 of 600 symbols"
    assert found.memory is not None and found.memory.window == 7 and found.memory.context[-1] == 40
    assert [gate.layer for gate in found.saturation] == ["lstm1"] * 3 + ["lstm2"] * 3
    assert found.picture.startswith("<svg") and found.notes == ()


def test_the_numbers_are_those_of_the_parts(run: unrolled.Run) -> None:
    found = inspect(run.directory, TEXT[:420].encode(), longest=0)
    model = run.load()
    assert model.vocab is not None
    alone = unrolled.record(model, model.vocab.encode(TEXT[:420]))
    assert all(np.array_equal(alone.series[name], values) for name, values in found.recording.series.items())
    assert found.memory is None and dict(found.facts)["text"] == "the text given, all 420 symbols"


def test_of_a_ruler_shorter_than_the_window_nothing_is_said_about_the_window(run: unrolled.Run) -> None:
    memory = inspect(run, length=300, longest=7).memory
    assert memory is not None and memory.window is None and "window" not in memory.sentence


def test_a_checkpoint_is_named_with_its_update_and_has_no_text_of_its_own(run: unrolled.Run) -> None:
    checkpoint = run.checkpoints / "3"
    assert inspect(checkpoint, TEXT[:50].encode(), longest=0).title == "run, update 3"
    with pytest.raises(UsageError, match="a checkpoint alone has no validation text"):
        inspect(checkpoint)
    with pytest.raises(LoadError, match="no run or checkpoint"):
        inspect(run.directory / "absent")


@pytest.mark.parametrize("length", [0, -2, True, 1.5])
def test_a_length_that_is_none_is_refused(run: unrolled.Run, length: int) -> None:
    with pytest.raises(UsageError, match="length: wanted 1 symbol or more"):
        inspect(run, length=length)


def test_what_is_done_is_said_on_the_way(run: unrolled.Run) -> None:
    heard: list[str] = []
    inspect(run, length=250, longest=9, say=heard.append)
    assert [line.split()[0] for line in heard] == ["reading", "holding", "measuring"]


def test_one_symbol_read_by_one_unit_has_a_page_too(make_net: MakeNet) -> None:
    found = Inspection.of(unrolled.record(make_net(layers=1, hidden=1), [1]))
    assert found.findings is None and len(found.notes) == 1 and "<title>" in found.page()


@pytest.mark.parametrize("weight", ["bias", "x_to_y"])
def test_a_net_that_ran_away_has_no_page(make_net: MakeNet, weight: str) -> None:
    net = make_net(layers=1, hidden=3)
    with torch.no_grad():
        next(p for name, p in net.named_parameters() if weight in name).fill_(torch.nan)
    recording = unrolled.record(net, [1, 2, 0, 1])
    with pytest.raises(UsageError, match=r"on: the net ran away; give an earlier checkpoint"):
        Inspection.of(recording)


def finding(series: str, unit: int, place: int, r: float) -> Finding:
    return Finding(series, 1, unit, PREDICATES[place], r, r, 0.45)


def test_the_best_of_each_fact_comes_first_then_its_own_parts_then_states_before_gates(
    make_net: MakeNet,
) -> None:
    recording = unrolled.record(make_net(layers=2, hidden=4), [1, 2, 3, 4, 5, 6, 7] * 5)
    found = (finding("lstm2.c", 3, 0, 0.9), finding("lstm2.h", 1, 0, 0.8), finding("lstm1.i", 2, 6, -0.7))
    beyond = {name: np.zeros((4, 2), np.float32) for name in recording.series}
    beyond["lstm1.c"][1, 1], beyond["lstm2.f"][0, 0] = -0.4, 0.43
    findings = Findings(found, beyond, beyond, np.zeros(2, np.float32), PREDICATES[:2])
    assert [(one.series, one.unit) for one in best_of_each(findings)] == [("lstm2.c", 3), ("lstm1.i", 2)]
    order = ranked(recording, findings)
    assert order[:2] == [("lstm2.c", 3), ("lstm1.i", 2)]
    assert order[2:8] == [("lstm2.h", 3), *((f"lstm2.{gate}", 3) for gate in "ifgo"), ("lstm1.h", 2)]
    assert order[12] == ("lstm2.h", 1) and order[13] == ("lstm1.c", 1)
    rest = order[14:]
    states = [name.endswith((".h", ".c")) for name, _ in rest]
    assert states == sorted(states, reverse=True) and rest[states.index(False)] == ("lstm2.f", 0)
    assert len(order) == len(set(order)) == 2 * 6 * 4


def test_a_passage_is_one_that_correlates_as_the_whole_does() -> None:
    draw = np.random.default_rng(2)
    truth = np.repeat(draw.integers(0, 2, 300), 10).astype(np.float32)
    values = truth + draw.normal(0, 0.3, 3000).astype(np.float32)
    values[2000:2300] = 1 - truth[2000:2300]  # of this part nobody should think that it is typical
    begin, end = typical_passage(values, truth, 0.86, np.arange(0, 3000, 50))
    assert begin >= 1500 and end - begin == 300 and not 1800 < begin < 2250
    assert np.corrcoef(values[begin:end], truth[begin:end])[0, 1] == pytest.approx(0.86, abs=0.03)


def test_where_nothing_changes_the_passage_is_the_first_of_the_second_half() -> None:
    assert typical_passage(np.ones(900, np.float32), np.ones(900, np.float32), 0.9, np.arange(900)) == (
        450,
        750,
    )
    assert typical_passage(np.ones(11, np.float32), np.ones(11, np.float32), 0.9, np.arange(11)) == (5, 11)


def test_passages_begin_with_lines_or_anywhere_if_there_are_few() -> None:
    lines = passage_begins(list("ab\ncd\n" * 300))
    assert len(lines) > 20 and all(begin % 3 == 0 for begin in lines)
    assert passage_begins(list("a" * 1000)).tolist() == list(range(0, 1000, 100))


def test_numbers_are_kept_to_one_part_in_254_of_a_units_largest() -> None:
    draw = np.random.default_rng(0)
    values = (draw.standard_normal((50, 3)) * [1, 100, 0]).astype(np.float32)
    scales = np.abs(values).max(axis=0)
    back = eighths(values, scales).astype(np.float32) * scales / 127
    assert (np.abs(back - values) <= scales / 253.9).all()
    assert plain([1.23456789, float("nan"), float("inf"), -0.00012345678], 3) == [1.23, None, None, -0.000123]
    assert [smallest(np.array([0, 1]), count).dtype.str for count in (2, 256, 257, 70_000)] == [
        "|u1",
        "|u1",
        "<u2",
        "<u4",
    ]
