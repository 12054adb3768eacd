"""S14 to S16, and a job from training to sampling, as SINGA's users run one: from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import unrolled
from unrolled.cells import from_named_tensors, load_cell
from unrolled.data import Windows
from unrolled.net import Net

Cli = Callable[..., Any]

GRU_LAYER = 'type: kGRU\n    srclayers: "onehot"\n    gru_conf { dim_hidden: 13 }'
DROPOUT = """\
  layer {
    name: "drop"
    type: kDropout
    srclayers: "gru1"
    dropout_conf { dropout_ratio: 0.4 }
  }
  layer {
    name: "ip1"
    type: kInnerProduct
    srclayers: "drop"
"""
LEAKY = """\
from pathlib import Path

import torch
import unrolled

Path("imported").touch()


class Leaky(unrolled.Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, h):
        h = 0.7 * h + 0.3 * torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
        return h, h
"""


def edit(path: str, *changes: tuple[str, str]) -> None:
    """Change a file as a user would with an editor; each old text must be there once."""
    text = Path(path).read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    Path(path).write_text(text)


def with_dropout() -> None:
    ip1 = '  layer {\n    name: "ip1"\n    type: kInnerProduct\n    srclayers: "gru1"\n'
    edit("job.conf", (ip1, DROPOUT))


def with_user_cell() -> None:
    """Put the user's cell in the GRU's place."""
    Path("my.py").write_text(LEAKY)
    text = Path("job.conf").read_text()
    begin = text.index(GRU_LAYER)
    user = 'user_type: "my.py:Leaky"\n    srclayers: "onehot"\n    [my_conf] { dim_hidden: 13 }\n  }'
    Path("job.conf").write_text(text[:begin] + user + text[text.index("\n  }", begin) + len("\n  }") :])


def stored(run: str) -> dict[str, Tensor]:
    """Return all tensors of a run's newest checkpoint: weights, optimizer, lanes, random states."""
    _, checkpoint = unrolled.Run(run).newest(pytest.fail)
    assert checkpoint.state_tensors and checkpoint.model
    return {**checkpoint.model, **{f"state {name}": t for name, t in checkpoint.state_tensors.items()}}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


def lines_of(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def spoken(net: Net, first: int, length: int, remembers: bool = True) -> str:
    """Step the cell by hand from an id, each likeliest id fed back."""
    cell, out = net.cells["gru1"], net.layers["ip1"]
    id_, h, said = first, cell.initial_state(1), []
    for _ in range(length):
        with torch.no_grad():
            y, h = cell.step(torch.tensor([id_]), h)
            id_ = int(out(y)[0].argmax())
        said.append(id_)
        h = h if remembers else cell.initial_state(1)
    assert net.vocab is not None
    return net.vocab.decode(said)


# Training and sampling


def test_S14_a_job_file_trains_and_learns_more_than_how_often_each_character_comes(trained: Path) -> None:
    run = unrolled.Run(trained / "run")
    reports = [line for line in run.metrics.lines() if line["kind"] == "train"]
    assert [line["update"] for line in reports] == [20, 40, 60, 80, 100, 120]
    assert [line["lr"] for line in reports] == pytest.approx(
        [0.02 * 0.9 ** ((n - 1) // 25) for n in range(20, 121, 20)]
    )
    text = (trained / "input.txt").read_text()
    counts = torch.tensor([text.count(symbol) for symbol in sorted(set(text))], dtype=torch.float64)
    share = counts / counts.sum()
    assert reports[-1]["nats"] < 0.5 * float(-(share * share.log()).sum()) < reports[0]["nats"]
    assert run.settings.training.optimizer == "rmsprop" and run.settings.data.lanes == 5
    assert 'name = "tiny"' in (trained / "run" / "config.toml").read_text()


def test_S13_a_sampling_job_says_what_stepping_its_net_by_hand_says(trained: Path, cli: Cli) -> None:
    asked = ["sample", trained / "job-sample.conf", "--model", trained / "run", "--seed"]
    said = cli(*asked, 3, "--length", 40)
    assert said.code == 0 and len(said.out) == 41 and said.out.endswith("\n")
    net = unrolled.load(trained / "run")
    ids = range(len(net.vocab))
    assert said.out[:-1] in [spoken(net, first, 40) for first in ids]
    assert said.out[:-1] not in [spoken(net, first, 40, remembers=False) for first in ids]
    assert cli(*asked, 3, "--length", 40).out == said.out
    others = {cli(*asked, seed, "--length", 40).out for seed in range(9)}
    assert len(others) > 3 and others <= {spoken(net, first, 40) + "\n" for first in ids}
    assert len(cli(*asked, 3).out) == 61 and cli(*asked, 3).out.startswith(said.out[:-1])


def test_S13_a_sampling_job_begins_with_an_id_drawn_anew_for_each_seed(trained: Path, cli: Cli) -> None:
    net = unrolled.load(trained / "run")
    begun = {first: spoken(net, first, 1) for first in range(len(net.vocab))}
    asked = ["sample", trained / "job-sample.conf", "--model", trained / "run", "--length", 1, "--seed"]
    found = {cli(*asked, seed).out[:1] for seed in range(60)}
    assert len(found) > 8 and found <= set(begun.values())


def test_a_sampling_job_without_a_model_is_one_line_and_exit_2(jobs: Path, cli: Cli) -> None:
    assert cli("sample", "job-sample.conf").problem(2) == (
        "job-sample.conf: whose weights? Name the run that was trained: --model RUN"
    )
    said = cli("train", "job-sample.conf").problem(2)
    assert said.startswith("job-sample.conf:1:1: this job trains on no text")


def test_a_sampling_job_whose_model_is_not_there_is_one_line_and_exit_3(jobs: Path, cli: Cli) -> None:
    assert "no-such" in cli("sample", "job-sample.conf", "--model", "no-such").problem(3)


@pytest.mark.parametrize(
    ("change", "layer", "sizes"),
    [
        (("dim_hidden: 13", "dim_hidden: 17"), "gru1", ("[25, 51]", "[25, 39]")),
        (('name: "ip1"', 'name: "ip2"'), "ip2", ("[13, 25]", "nothing")),
    ],
)
def test_a_sampling_job_whose_weights_do_not_fit_is_one_line_and_exit_3(
    change: tuple[str, str], layer: str, sizes: tuple[str, str], trained: Path, jobs: Path, cli: Cli
) -> None:
    edit("job-sample.conf", change)
    text = Path("job-sample.conf").read_text()
    Path("job-sample.conf").write_text(
        text.replace('srclayers: "ip1"', f'srclayers: "{layer}"') if layer == "ip2" else text
    )
    said = cli("sample", "job-sample.conf", "--model", trained / "run").problem(3)
    assert said.startswith("job-sample.conf: the model doesn't fit this job: ")
    assert layer in said and all(size in said for size in sizes)


def test_a_job_that_is_resumed_is_bit_identical_to_one_that_never_stopped(jobs: Path, cli: Cli) -> None:
    with_dropout()
    assert cli("train", "job.conf", "--run", "whole", "--quiet").code == 0
    assert cli("train", "job.conf", "--run", "half", "--max-updates", 23, "--quiet").code == 0
    first = stored("half")
    assert cli("resume", "half", "--max-updates", 60, "--quiet").code == 0
    assert_same(stored("half"), stored("whole"))
    assert not torch.equal(first["layers.ip1.x_to_y"], stored("whole")["layers.ip1.x_to_y"])
    timed = ("seconds", "chars_per_second")
    told = [
        [{k: v for k, v in line.items() if k not in timed} for line in lines_of(f"{run}/metrics.jsonl")]
        for run in ("whole", "half")
    ]
    assert told[0][-1] == told[1][-1] and told[0][0] == told[1][0]


# A recurrent layer of the user's own


def test_S15_a_user_type_is_refused_without_the_flag_that_names_its_file_which_is_never_run(
    jobs: Path, cli: Cli
) -> None:
    with_user_cell()
    assert "--cell my.py:Leaky" in cli("train", "job.conf", "--run", "run").problem(2)
    assert cli("net", "unroll", "job.conf").code == 0
    assert not Path("imported").exists() and not Path("run").exists()


def test_S15_a_user_type_trains_samples_and_resumes_with_the_flag(jobs: Path, cli: Cli) -> None:
    with_user_cell()
    flag = ("--cell", "my.py:Leaky")
    assert cli("train", "job.conf", "--run", "run", "--quiet", *flag).code == 0
    assert Path("imported").exists()
    run = unrolled.Run("run")
    reports = [line["nats"] for line in run.metrics.lines() if line["kind"] == "train"]
    assert reports[-1] < 0.85 * reports[0]
    said = cli("sample", "run", "--length", 30, "--seed", 2, *flag)
    assert said.code == 0 and set(said.out) <= set(Path("input.txt").read_text()) and len(said.out) >= 30
    Path("imported").unlink()
    assert "--cell my.py:Leaky" in cli("sample", "run").problem(2)
    assert "--cell my.py:Leaky" in cli("resume", "run", "--max-updates", 70).problem(2)
    assert not Path("imported").exists()
    assert cli("resume", "run", "--max-updates", 70, "--quiet", *flag).code == 0
    assert run.updates()[0] == 70


def test_S15_a_user_type_trains_to_what_the_same_cell_by_hand_gives(jobs: Path, cli: Cli) -> None:
    with_user_cell()
    assert cli("train", "job.conf", "--run", "run", "--quiet", "--cell", "my.py:Leaky").code == 0
    cls = load_cell("my.py:Leaky").cls
    net, cell = unrolled.load("run", cells={"my.py:Leaky": cls}), cls(25, 13)
    cell.load_state_dict(net.cells["gru1"].state_dict())
    W, b = net.layers["ip1"].x_to_y, net.layers["ip1"].bias
    assert net.vocab is not None
    ids, h = torch.as_tensor(net.vocab.encode("for (a = 0;")).long(), torch.zeros(1, 13)
    values, _ = net({"data": ids[:, None]})
    for t, id_ in enumerate(ids):
        h = 0.7 * h + 0.3 * torch.tanh(cell.xh_to_h(torch.cat([torch.eye(25)[int(id_)][None], h], dim=-1)))
        torch.testing.assert_close(values["ip1"][t], h @ W + b, rtol=1e-5, atol=1e-5)


# A summary of every layer and step


@pytest.fixture
def debugged(jobs: Path, cli: Cli) -> Path:
    """Train the same job, with dropout, without debug, with ``debug: true`` and with ``--debug``."""
    with_dropout()
    assert cli("train", "job.conf", "--run", "plain", "--quiet").code == 0
    assert cli("train", "job.conf", "--run", "flag", "--debug", "--quiet").code == 0
    edit("job.conf", ('name: "tiny"', 'name: "tiny"\ndebug: true'))
    assert cli("train", "job.conf", "--run", "job", "--quiet").code == 0
    return jobs


def test_S16_debug_writes_a_line_for_each_layer_and_step_forward_and_backward(debugged: Path) -> None:
    assert not Path("plain/debug.jsonl").exists()
    assert Path("job/debug.jsonl").read_text() == Path("flag/debug.jsonl").read_text()
    lines = lines_of("job/debug.jsonl")
    layers = ("gru1", "drop", "ip1", "loss")
    found = [(line["update"], line["layer"], line["step"]) for line in lines]
    assert found == [(n, layer, t) for n in (20, 40, 60) for layer in layers for t in range(7)]
    assert all(line["value"] > 0 and line["gradient"] > 0 for line in lines)


def test_S16_debug_changes_no_bit_of_the_training(debugged: Path) -> None:
    assert_same(stored("job"), stored("plain"))
    assert_same(stored("flag"), stored("plain"))


def test_S16_what_debug_writes_is_what_the_window_that_comes_next_gives_by_hand(debugged: Path) -> None:
    _, checkpoint = unrolled.Run("job").newest(pytest.fail)
    net, position = unrolled.load("job"), checkpoint.state["position"]
    windows = Windows(net.vocab.encode(Path("input.txt").read_text()), 5, 7)
    window = windows[position["window"]]
    lanes = {
        n.removeprefix("lanes:"): t for n, t in checkpoint.state_tensors.items() if n.startswith("lanes:")
    }
    values, _ = net({"data": window.inputs}, from_named_tensors(net.initial_state(5), lanes))
    wrong = values["ip1"].softmax(-1) - torch.nn.functional.one_hot(window.targets, 25)
    for line in lines_of("job/debug.jsonl"):
        if line["update"] == 60 and line["layer"] in ("gru1", "ip1"):
            mean = values[line["layer"]][line["step"]].detach().abs().mean()
            assert line["value"] == pytest.approx(float(mean), rel=1e-5)
        if line["update"] == 60 and line["layer"] == "ip1":
            assert line["gradient"] == pytest.approx(
                float(wrong[line["step"]].detach().abs().mean()), rel=1e-5
            )
