"""K14 and K15: the five patterns, and fixed data read one step after the other, from their files."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import unrolled
from unrolled.answering import answers, generate, set_temperature
from unrolled.cli.main import run as command
from unrolled.data import TASKS, Batches, Examples, write_jsonl
from unrolled.net import Net
from unrolled.net.files import read_net

FOLDER = Path(unrolled.__file__).parent / "recipes" / "patterns"
RUNS: dict[str, unrolled.Run] = {}
FRESH_SEED = 987
"""Of examples that no training has seen."""


def learned(name: str, where: Any, *flags: str) -> unrolled.Run:
    """Train a shipped pattern from the command line, once."""
    if name not in RUNS:
        place = where.mktemp(name) / "run"
        words = ["train", "--net", str(FOLDER / f"{name}.toml"), "--run", str(place), "--quiet", *flags]
        with contextlib.redirect_stdout(io.StringIO()):
            assert command(words) == 0
        RUNS[name] = unrolled.Run(place)
    return RUNS[name]


def last_validation(run: unrolled.Run) -> dict[str, Any]:
    return [line for line in run.metrics.lines() if line["kind"] == "validation"][-1]


def answered(run: unrolled.Run, task: str, count: int = 60, **more: Any) -> tuple[list[Any], list[Any]]:
    """Return what the net says to new examples, and the examples."""
    rows = TASKS[task](count, FRESH_SEED)
    net = run.load()
    return answers(net, rows, **more), rows


@pytest.mark.parametrize(
    "name", ["one-to-one", "one-to-many", "many-to-one", "many-to-many", "in-step", "tags", "rows"]
)
def test_K14_a_pattern_is_a_file_that_says_what_it_is(name: str) -> None:
    loaded = read_net(FOLDER / f"{name}.toml")
    assert loaded.spec.name == name and loaded.tables["about"]
    assert loaded.tables["data"]["task"] in TASKS


def test_K14_one_to_one_plain_layers_learn_two_arcs(tmp_path_factory: Any) -> None:
    run = learned("one-to-one", tmp_path_factory)
    assert last_validation(run)["accuracy"] > 0.98
    found, rows = answered(run, "points", 200)
    assert sum(said == [row["arc"]] for said, row in zip(found, rows, strict=True)) > 195


def test_K14_one_to_many_a_digit_becomes_its_name_up_to_the_stop(tmp_path_factory: Any) -> None:
    run = learned("one-to-many", tmp_path_factory)
    assert last_validation(run)["exact"] == 1.0
    net = run.load()
    set_temperature(net, 0)
    found = answers(net, [{"digit": digit} for digit in range(10)], longest=12)
    assert found == ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def test_K14_a_longest_length_ends_what_would_go_on_and_drawing_differs_from_the_likeliest(
    tmp_path_factory: Any,
) -> None:
    net = learned("one-to-many", tmp_path_factory).load()
    set_temperature(net, 0)
    assert answers(net, [{"digit": 3}], longest=3) == ["thr"]
    set_temperature(net, 3.0)
    wild = [answers(net, [{"digit": 3}], longest=9, seed=seed)[0] for seed in range(8)]
    assert len(set(map(str, wild))) > 3
    assert wild[0] == answers(net, [{"digit": 3}], longest=9, seed=0)[0]


def test_K14_many_to_one_a_string_of_any_length_is_classified(tmp_path_factory: Any) -> None:
    run = learned("many-to-one", tmp_path_factory)
    assert last_validation(run)["accuracy"] > 0.98
    found, rows = answered(run, "first-letters", 300)
    assert sum(said == [row["first"]] for said, row in zip(found, rows, strict=True)) > 290


def test_K14_many_to_many_the_encoders_state_starts_a_decoder_that_writes_backwards(
    tmp_path_factory: Any,
) -> None:
    run = learned("many-to-many", tmp_path_factory)
    assert last_validation(run)["exact"] > 0.9
    net = run.load()
    set_temperature(net, 0)
    rows = TASKS["reversed-strings"](100, FRESH_SEED)
    found = answers(net, rows, longest=30)
    assert sum(said == row["source"][::-1] for said, row in zip(found, rows, strict=True)) > 85


def test_K14_in_step_sums_go_on_right_at_lengths_never_trained(tmp_path_factory: Any) -> None:
    run = learned("in-step", tmp_path_factory)
    assert last_validation(run)["exact"] > 0.98
    net = run.load()
    generator = torch.Generator().manual_seed(FRESH_SEED)
    inputs, sums = unrolled.data.binary_addition(100, 7, generator)
    logits, _ = net({"bits": inputs.float()})
    assert inputs.shape[0] == 101  # the longest that it was trained on is 10
    assert torch.equal(logits["logits"].argmax(-1), sums.long().reshape(101, 7))


def test_K14_in_step_each_symbol_gets_its_tag(tmp_path_factory: Any) -> None:
    run = learned("tags", tmp_path_factory)
    found, rows = answered(run, "tagged")
    assert sum(said == row["tags"] for said, row in zip(found, rows, strict=True)) > 57


def test_K15_a_drawn_digit_is_read_row_by_row(tmp_path_factory: Any) -> None:
    run = learned("rows", tmp_path_factory)
    assert last_validation(run)["accuracy"] > 0.95


def test_K14_the_examples_may_come_from_a_file_and_a_run_resumes_with_it(tmp_path: Path) -> None:
    rows = TASKS["reversed-strings"](300, 5)
    write_jsonl(rows, tmp_path / "words.jsonl")
    words = ["--net", str(FOLDER / "many-to-many.toml"), "--quiet", "--sample-every", "0"]
    with contextlib.redirect_stdout(io.StringIO()):
        for name, updates in (("whole", 14), ("half", 7)):
            train = ["train", str(tmp_path / "words.jsonl"), "--run", str(tmp_path / name), *words]
            assert command([*train, "--max-updates", str(updates), "--schedule", "constant"]) == 0
        assert command(["resume", str(tmp_path / "half"), "--max-updates", "14", "--quiet"]) == 0
    whole, half = (unrolled.load(tmp_path / name).weights() for name in ("whole", "half"))
    assert all(torch.equal(whole[name], half[name]) for name in whole)


def test_K14_an_answer_is_printed_for_each_input(tmp_path_factory: Any, capsys: Any) -> None:
    run = learned("one-to-many", tmp_path_factory)
    asked = ["sample", str(run.directory), "--input", '{"digit": 7}', "--input", '{"digit": 1}']
    assert command([*asked, "--temperature", "0"]) == 0
    assert capsys.readouterr().out == "seven\none\n"
    assert command([*asked[:4], "--json", "--temperature", "0"]) == 0
    assert json.loads(capsys.readouterr().out) == {"input": {"digit": 7}, "answer": "seven"}


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "this net answers examples; give one: --input '{...}' with digit"),
        (["--input", "7"], "--input: wanted a JSON object with digit, came '7'"),
        (["--input", "{}"], "rows[0]: wanted a field 'digit', came none"),
    ],
)
def test_K14_a_wrong_input_is_one_line(
    words: list[str], complaint: str, tmp_path_factory: Any, capsys: Any
) -> None:
    run = learned("one-to-many", tmp_path_factory)
    assert command(["sample", str(run.directory), *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("unrolled: ") and complaint[:25] in said and said.count("\n") == 1


def test_padded_steps_of_a_batch_change_neither_loss_nor_gradients(tmp_path_factory: Any) -> None:
    net = learned("many-to-many", tmp_path_factory).load().double()
    rows = TASKS["reversed-strings"](5, 3)
    examples = Examples.from_rows(rows, net.fields)
    (batch,) = Batches(examples, 5, shuffle=False)
    together, _ = net.judge(batch.inputs, lengths=batch.lengths)
    together.total.backward()
    gradients = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    alone = sum((_loss_alone(net, row) for row in rows), torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(together.total, alone, rtol=1e-12, atol=1e-12)
    alone.backward()
    assert gradients
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-9, atol=1e-11)


def _loss_alone(net: Net, row: dict[str, Any]) -> torch.Tensor:
    (batch,) = Batches(Examples.from_rows([row], net.fields), 1)
    score, _ = net.judge(batch.inputs)
    return score.total


def test_generation_ends_in_each_lane_at_its_own_stop(tmp_path_factory: Any) -> None:
    net = learned("one-to-many", tmp_path_factory).load()
    set_temperature(net, 0)
    field = next(field for field in net.fields if field.name == "name")
    together = generate(net, {"digit": torch.tensor([[3, 1, 6]])}, longest=20, stop=field.size)
    alone = [generate(net, {"digit": torch.tensor([[d]])}, longest=20, stop=field.size)[0] for d in (3, 1, 6)]
    assert together == alone and [len(lane) for lane in together] == [5, 3, 3]
