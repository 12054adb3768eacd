"""Nets that are asked for what they cannot give: one line, exit 2, and no run left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

TAGGER = """\
name = "tagger"

[training]
optimizer = "rmsprop"
max_updates = 3
sample_every = 0

[data]
lanes = 3

[[layer]]
name = "word"
type = "ids"

[[layer]]
name = "tag"
type = "ids"

[[layer]]
name = "letter"
type = "one-hot"
sources = ["word"]

[[layer]]
name = "gru1"
type = "recurrent"
cell = "gru"
hidden = 4
sources = ["letter"]

[[layer]]
name = "logits"
type = "linear"
size = "tag"
sources = ["gru1"]
"""
LOSS = """
[[layer]]
name = "loss"
type = "softmax-loss"
sources = ["logits", "tag"]
"""
JOB = """\
name: "small"
train_steps: 2
debug: true
train_one_batch { alg: kBPTT }
updater { type: kRMSProp rmsprop_conf { rho: 0.9 } learning_rate { type: kFixed base_lr: 0.03 } }
neuralnet {
  unroll_len: 4
  layer { name: "data" type: kCharRNN unroll_len: 1
    char_rnn_conf { path: "a.txt" vocab_path: "vocab.txt" unroll_len: 4 batchsize: 3 } }
  layer { name: "onehot" type: kOneHot srclayers: "data" unroll_conn_type: kUnrollOneToAll
    onehot_conf { vocab_size: 16 } }
  layer { name: "gru1" type: kGRU srclayers: "onehot" gru_conf { dim_hidden: 5 } }
  layer { name: "ip1" type: kInnerProduct srclayers: "gru1" innerproduct_conf { num_output: 16 } }
  layer { name: "label" type: kRNNLabel srclayers: "data" unroll_conn_type: kUnrollOneToAll }
  layer { name: "loss" type: kSoftmaxLoss srclayers: "ip1" srclayers: "label" }
}
"""


@pytest.fixture
def files(here: Path) -> Path:
    Path("tagger.toml").write_text(TAGGER + LOSS)
    rows = [{"word": "abcab"[n % 3 :], "tag": "xyyxy"[n % 3 :]} for n in range(40)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = Path("a.txt").read_text()
    Path("vocab.txt").write_text("".join(sorted(set(text))))
    assert len(set(text)) == 16
    Path("job.conf").write_text(JOB)
    return here


def test_a_net_without_a_loss_is_refused_before_there_is_a_run(cli: Any, files: Path) -> None:
    Path("none.toml").write_text(TAGGER)
    problem = cli("train", "rows.jsonl", "--net", "none.toml", "--run", "run").problem()
    assert "no loss" in problem and "softmax-loss" in problem
    assert not Path("run").exists()


def test_a_job_without_a_loss_is_refused_before_there_is_a_run(cli: Any, files: Path) -> None:
    Path("none.conf").write_text("\n".join(line for line in JOB.splitlines() if '"loss"' not in line))
    assert "no loss" in cli("train", "none.conf", "--run", "run").problem()
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("initial", "told"),
    [
        ("7", "from 0 to 4"),
        ("0.5", "from 0 to 4"),
        ("{ low = 0, high = 6, integer = true }", "from 0 to 4"),
        ("{ low = -1, high = 3 }", "from 0 to 4"),
        ("{ low = 4, high = 1 }", "came 4 to 1"),
    ],
)
def test_first_ids_that_a_source_cannot_give_are_refused(
    cli: Any, here: Path, initial: str, told: str
) -> None:
    edge = f'sources = [{{ source = "x", shift = 1, initial = {initial} }}]'
    x = '[[layer]]\nname = "x"\ntype = "ids"\nsize = 5\n'
    Path("first.toml").write_text(f'{x}\n[[layer]]\nname = "before"\ntype = "copy"\n{edge}\n')
    problem = cli("net", "show", "first.toml").problem()
    assert problem.startswith("first.toml:9:") and told in problem


def test_a_job_among_texts_is_no_text(cli: Any, files: Path) -> None:
    assert "--net job.conf" in cli("train", "job.conf", "a.txt").problem()


def test_an_empty_vocabulary_file_is_refused(cli: Any, files: Path) -> None:
    Path("vocab.txt").write_text("")
    problem = cli("train", "job.conf").problem()
    assert problem.startswith("job.conf:9:") and "is empty" in problem


def test_more_made_examples_than_memory_holds_are_refused(cli: Any, files: Path) -> None:
    assert "1,000,000" in cli("train", "--net", "patterns/in-step", "--examples", 2**31 - 1).problem()


def test_a_built_in_cell_beside_a_nets_file_is_refused(cli: Any, files: Path) -> None:
    problem = cli("train", "rows.jsonl", "--net", "tagger.toml", "--cell", "lstm").problem()
    assert problem.startswith("--cell") and "'lstm'" in problem


@pytest.mark.parametrize(
    ("words", "origin"),
    [(["rows.jsonl", "--net", "tagger.toml"], "tagger.toml"), (["job.conf"], "job.conf")],
)
def test_print_config_shows_what_the_nets_file_sets(
    cli: Any, files: Path, words: list[str], origin: str
) -> None:
    said = cli("train", *words, "--print-config", "--json")
    found = json.loads(said.out)
    assert found["settings"]["training"]["optimizer"] == "rmsprop"
    assert found["settings"]["data"]["lanes"] == 3
    assert found["origin"]["optimizer"] == origin
    assert found["origin"]["beta1"] == "default"


def test_a_job_that_asks_for_debug_gets_its_journal(cli: Any, files: Path) -> None:
    assert cli("train", "job.conf", "--run", "run", "--quiet", "--report-every", 1).code == 0
    lines = [json.loads(line) for line in Path("run/debug.jsonl").read_text().splitlines()]
    assert {line["update"] for line in lines} == {1, 2} and "gru1" in {line["layer"] for line in lines}


@pytest.fixture
def answering(cli: Any, files: Path) -> Path:
    assert cli("train", "rows.jsonl", "--net", "tagger.toml", "--run", "run", "--quiet").code == 0
    return Path("run")


@pytest.mark.parametrize(
    "flag",
    [
        ["--prime", "a"],
        ["--stop", "x"],
        ["--skip-unseen"],
        ["--top-k", 2],
        ["--top-p", 0.5],
        ["--min-p", 0.1],
    ],
)
def test_what_only_texts_follow_is_refused_with_an_input(cli: Any, answering: Path, flag: list[Any]) -> None:
    problem = cli("sample", answering, "--input", '{"word": "ab"}', *flag).problem()
    assert problem.startswith(flag[0])


def test_an_input_that_is_left_out_is_asked_for_by_name_without_the_targets(
    cli: Any, answering: Path
) -> None:
    assert cli("sample", answering).problem().endswith("with word")


def test_an_answer_of_length_0_is_empty(cli: Any, files: Path) -> None:
    small = ["--examples", 20, "--max-updates", 1, "--run", "names", "--quiet"]
    assert cli("train", "--net", "patterns/one-to-many", *small).code == 0
    given = ["--input", '{"digit": 7}', "--input", '{"digit": 3}', "--length", 0]
    assert cli("sample", "names", *given).out == "\n\n"


def test_a_listing_says_whose_parameters_it_leaves_out(cli: Any, here: Path) -> None:
    Path("own.toml").write_text(
        '[[layer]]\nname = "x"\ntype = "floats"\nsize = 3\n[[layer]]\nname = "own"\ntype = "recurrent"\n'
        'cell = "mine.py:Mine"\nhidden = 4\nsources = ["x"]\n',
        encoding="utf-8",
    )
    said = cli("net", "unroll", "own.toml", "--steps", 2)
    assert "name it too: --cell mine.py:Mine" in said.err and said.err.count("\n") == 1
    assert said.out.count("#own") == 3


def test_a_cell_that_is_not_there_is_told_with_its_place(cli: Any, files: Path) -> None:
    Path("odd.toml").write_text((TAGGER + LOSS).replace('cell = "gru"', 'cell = "gruu"'))
    problem = cli("net", "show", "odd.toml").problem()
    assert problem.startswith("odd.toml:27:1: layer 'gru1': there is no cell 'gruu'") and "'gru'?" in problem
    Path("own.toml").write_text((TAGGER + LOSS).replace('cell = "gru"', 'cell = "my.py:Mine"'))
    assert cli("net", "show", "own.toml").problem().startswith("own.toml:27:1: this net uses the cell my.py:")


def test_a_name_in_a_job_moves_no_cursor_and_breaks_no_line(cli: Any, files: Path) -> None:
    Path("odd.conf").write_text(JOB.replace('srclayers: "gru1"', r'srclayers: "\033[2J\342\200\256x"'))
    problem = cli("net", "show", "odd.conf").problem()
    assert problem.isprintable() and r"\x1b[2J\u202ex" in problem


def test_settings_beside_a_nets_layers_are_told_with_their_place(cli: Any, files: Path) -> None:
    Path("odd.toml").write_text((TAGGER + LOSS).replace("lanes = 3", "lanes = 0\nlans = 3"))
    said = cli("train", "rows.jsonl", "--net", "odd.toml")
    assert said.code == 2 and said.err.splitlines() == [
        "unrolled: odd.toml:10:1: data.lans is unknown; did you mean 'lanes'?",
        "unrolled: odd.toml:9:1: lanes: wanted more than 0, came 0",
    ]


@pytest.mark.parametrize("digits", ["9" * 30, "0x" + "f" * 5000])
def test_a_number_that_no_message_could_show_is_refused(cli: Any, files: Path, digits: str) -> None:
    words = ("net", "unroll", "tagger.toml", "--partitions", digits)
    assert cli(*words).problem() == "wanted whole numbers of at most 64 bits, came a flag with a larger one"


def test_a_complaint_about_a_long_flag_is_cut(cli: Any, files: Path) -> None:
    problem = cli("net", "unroll", "tagger.toml", "--steps", "x" * 100_000).problem()
    assert problem.startswith("--steps: wanted a number") and problem.endswith(" ...") and len(problem) < 1600
