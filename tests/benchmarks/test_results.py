from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from unrolled.measuring.rounds import Timing

FACTS = {
    "processor": "A Fast One", "family": "25-17", "processors": 2, "features": ["avx2"], "torch": "2.13.0",
    "libraries": ["MKL"],
}  # fmt: skip
Modules = dict[str, ModuleType]


def measured(benchmarks: Modules, name: str, seconds: dict[str, float], threads: int = 1, **more: Any) -> Any:
    """Return an entry of a row of the table with these times."""
    [row] = [row for row in benchmarks["rows"].rows() if row.name == name]
    timings = {label: Timing((time,), 0.01, 2, more.get("noisy", False)) for label, time in seconds.items()}
    return benchmarks["results"].entry(row, timings, more.get("missing", {}), threads)


def test_every_bar_is_in_the_table_once_with_the_floors_of_the_project(benchmarks: Modules) -> None:
    rows = list(benchmarks["rows"].rows())
    bars = {bar.name: bar for row in rows for bar in row.bars}
    assert len({row.name for row in rows}) == len(rows)
    assert len(bars) == sum(len(row.bars) for row in rows) == 6 + 6 + 3 + 3 + 4 + 1 + 2
    assert bars["gru 512, float32 against torch.nn"].floor == {1: 2.8, 2: 2.8}
    assert bars["rnn 128, float32 against the best of JAX and Keras"].floor[1] == 1.2
    assert bars["sampling 128, float32 against LSTMCell"].floor == {1: 12.0, 2: 18.0}
    for row in rows:
        labels = {one.label for one in row.contenders}
        assert all({bar.ours, *bar.against} <= labels for bar in row.bars)


def test_a_bar_compares_with_the_fastest_of_those_that_are_there(benchmarks: Modules) -> None:
    times = {"unrolled": 0.1, "torch.nn": 0.15, "JAX lax.scan": 0.3, "Keras 3 on JAX": 0.17}
    entry = measured(benchmarks, "train/lstm/512", times, missing={"unrolled, bf16": "not in this version"})
    against_torch, against_scan = entry["bars"]
    assert (against_torch["ratio"], against_torch["met"]) == (pytest.approx(1.5), True)
    assert (against_scan["against"], against_scan["met"]) == ("Keras 3 on JAX", True)
    assert entry["contenders"]["unrolled"]["chars_per_second"] == pytest.approx(100 * 100 / 0.1)
    slower = measured(benchmarks, "train/lstm/512", {**times, "unrolled": 0.11}, noisy=True)
    assert slower["bars"][0]["met"] is False and slower["bars"][0]["noisy"] is True
    assert any("MISSED" in line for line in benchmarks["results"].lines(slower))
    assert any("left out: not in this version" in line for line in benchmarks["results"].lines(entry))


def test_a_bar_without_its_peers_is_left_open(benchmarks: Modules) -> None:
    entry = measured(benchmarks, "train/rnn/128", {"unrolled": 0.1, "torch.nn": 0.5})
    assert [bar["bar"] for bar in entry["bars"]] == ["rnn 128, float32 against torch.nn"]


@pytest.fixture
def folder(benchmarks: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(benchmarks["results"], "FOLDER", tmp_path / "results")
    return tmp_path / "results"


def test_a_row_measured_anew_replaces_itself_and_leaves_other_rows_and_machines(
    benchmarks: Modules, folder: Path
) -> None:
    results = benchmarks["results"]
    first = measured(benchmarks, "own/512", {"built-in LSTM": 0.5, "the LSTM from a user's file": 0.5})
    other = measured(benchmarks, "own/512", {"built-in LSTM": 0.3, "the LSTM from a user's file": 0.3}, 2)
    path = results.save(first, FACTS, {"float32": 100.0})
    results.save(other, FACTS, {})
    results.save(first, {**FACTS, "gpu": "A GPU 9"}, {})
    again = measured(benchmarks, "own/512", {"built-in LSTM": 0.4, "the LSTM from a user's file": 0.5})
    assert results.save(again, FACTS, {}) == path
    kept = json.loads(path.read_text())
    assert kept["rows"]["own/512"]["1"]["contenders"]["built-in LSTM"]["seconds"] == 0.4
    assert kept["rows"]["own/512"]["2"]["contenders"]["built-in LSTM"]["seconds"] == 0.3
    assert kept["gflops"] == {"1": {"float32": 100.0}}
    assert {found.name for found in folder.iterdir()} == {
        "a-fast-one-25-17-2-processors.json",
        "a-gpu-9.json",
    }


def test_the_page_shows_bars_and_every_number_of_each_machine(benchmarks: Modules, folder: Path) -> None:
    results, page = benchmarks["results"], benchmarks["page"]
    labels = {"built-in LSTM": 0.4, "the LSTM from a user's file": 0.5}
    results.save(measured(benchmarks, "own/512", labels), FACTS, {"float32": 100.0})
    results.save(measured(benchmarks, "own/512", {**labels, "built-in LSTM": 0.5}, 2), FACTS, {})
    results.save_table("Long windows", ["T", "MB"], [["1,000", "300"]], FACTS)
    text = page.page(folder)
    assert "## A Fast One, 2 processors\n" in text
    assert "| a user's LSTM 512 against the built-in LSTM | 0.9 | 1 | 0.80, **missed** | 1.00, met |" in text
    assert "| own/512 | 1 | built-in LSTM | 400 | 400 to 400 | 1 (2) | 1.0% |" in text
    assert "100 GFLOP/s in float32" in text
    assert "### Long windows\n\n| T | MB |\n| --- | --- |\n| 1,000 | 300 |\n" in text
    assert text == page.page(folder)


def test_the_page_in_the_repository_is_that_of_the_results_beside_it(benchmarks: Modules) -> None:
    page = benchmarks["page"]
    assert page.PAGE.read_text(encoding="utf-8") == page.page()
