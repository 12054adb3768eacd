from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from unrolled.cells import BUILT_IN
from unrolled.engines import ENGINES
from unrolled.measuring import comparison
from unrolled.measuring.rounds import Manner, Run, Timing

SMALL = ("--sizes", "5x3x4", "--engines", "torch,naive", "--threads", "1", "--device", "cpu")
SECONDS = {"naive": 0.6, "torch": 0.2, "native": 0.05}


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> list[Manner]:
    """Call each work once and let its engine's name say how long it took; return how it was asked for."""
    asked: list[Manner] = []

    def in_turns(runs: Mapping[str, Run], manner: Manner) -> dict[str, Timing]:
        asked.append(manner)
        for run in runs.values():
            run(1)
        return {name: Timing((SECONDS[name], SECONDS[name] * 2), 0.02, 3, False) for name in runs}

    monkeypatch.setattr(comparison, "in_turns", in_turns)
    return asked


def test_bench_prints_a_table_and_who_is_fastest(cli: Any, once: list[Manner]) -> None:
    said = cli("bench", *SMALL, "--cells", "gru,lstm", "--rounds", "4")
    assert said.code == 0 and said.err.splitlines()[0] == "measuring gru 5x3x4, train"
    head, first, *rest = said.out.splitlines()
    words = ["cell", "size", "work", "engine", "ms", "quartiles", "chars/s", "ratio", "dropped", "others"]
    assert head.split() == words
    assert first.split() == [
        "gru",
        "5x3x4",
        "train",
        "torch",
        "300.00",
        "250.00",
        "to",
        "350.00",
        "40",
        "3.00",
        "×",
        "3",
        "2.0%",
    ]
    assert len({line.index("5x3x4") for line in [first, *rest[:11]]}) == 1
    assert [line for line in rest if line.startswith("gru 5x3x4: torch trains fastest, 3.0 × naive")]
    assert {manner.rounds for manner in once} == {4}


def test_bench_as_json_has_data_on_stdout_and_words_on_stderr(cli: Any) -> None:
    said = cli("bench", *SMALL, "--cells", "lstm", "--json")
    assert len(said.out.splitlines()) == 1 and "measuring" in said.err
    assert {row["engine"] for row in said.json["rows"]} == {"torch", "naive"}
    assert {row["work"] for row in said.json["rows"]} == {"train", "sample", "sample 8"}
    assert said.json["threads"] == 1 and said.json["machine"]["torch"]


def test_a_cell_from_a_file_is_measured_alone_unless_others_are_named(cli: Any, here: Path) -> None:
    said = cli("bench", *SMALL, "--cell", "my.py:Leaky", "--json")
    assert {row["cell"] for row in said.json["rows"]} == {"my.py:Leaky"}
    assert said.json["left_out"] == [
        {"cell": "my.py:Leaky", "engine": "torch", "why": "torch has no kernel for Leaky"}
    ]
    table = cli("bench", *SMALL, "--cell", "my.py:Leaky", "--cells", "rnn").out
    assert "left out: torch for Leaky (torch has no kernel for Leaky)" in table
    assert table.splitlines()[-3].startswith("rnn 5x3x4: torch trains fastest")


def test_without_options_all_engines_run_three_cells_at_128(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[comparison.Plan] = []

    def noted(plan: comparison.Plan, told: Any) -> comparison.Report:
        plans.append(plan)
        return comparison.Report({}, 1, "naive")

    monkeypatch.setattr(comparison, "compare", noted)
    assert cli("bench").code == 0
    [plan] = plans
    assert dict(plan.cells) == {name: BUILT_IN[name] for name in ("lstm", "gru", "rnn")}
    assert [size.label for size in plan.sizes] == ["128"] and list(plan.engines) == list(ENGINES)


def test_disturbed_and_unknown_shares_are_said(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for share, told in ((0.4, "40.0% !"), (None, "?")):
        found = Timing((0.1,), share, 6, share is not None)
        monkeypatch.setattr(comparison, "in_turns", lambda runs, _, f=found: dict.fromkeys(runs, f))
        lines = cli("bench", *SMALL, "--cells", "rnn").out.splitlines()
        assert lines[1].endswith(told)
        wanted = "! other processes kept" if share else "what other processes did isn't known"
        assert lines[-1].startswith(wanted)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--cells", "lstn"], "there is no cell 'lstn'; .*did you mean 'lstm'\\?; yours goes to --cell"),
        (["--cells", ","], "--cells: wanted at least one"),
        (["--sizes", "12x"], "sizes: wanted 128, 512 or HIDDENxLANESxWINDOW"),
        (["--engines", "fast"], "there is no engine 'fast'"),
        (["--precision", "int8"], "precision: wanted one of"),
        (["--rounds", "0"], "rounds: wanted"),
        (["--rounds", "x"], "rounds"),
        (["--threads", "-2"], "threads: wanted"),
        (["--device", "tpu"], "device: wanted cpu, cuda"),
        (["--cell", "none.py:A"], "there is no file 'none.py'"),
        (
            ["--cell", "my.py:Leaky", "--engines", "torch"],
            "none of the engines asked for can run my.py",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(cli: Any, here: Path, words: list[str], problem: str) -> None:
    import re

    assert re.search(problem, cli("bench", *words).problem())
