from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from unrolled.cli.main import run
from unrolled.net import Net, Spec

TEXT = "int main(a) { for (a = 0; a < 10; a++) b[a] = a * 3; }\n" * 40
GATES = ("z_hx", "r_hx", "c_hx", "z_hh", "r_hh", "c_hh", "z_b", "r_b", "c_b")
UNIFORM = "init { type: kUniform low: -0.3 high: 0.3 }"

HEAD = """\
name: "tiny"
train_steps: 60
disp_freq: 20
train_one_batch { alg: kBPTT }
updater {
  type: kRMSProp
  rmsprop_conf { rho: 0.95 }
  clip_low: -5
  clip_high: 5
  learning_rate { type: kStep base_lr: 0.02 step_conf { gamma: 0.9 change_freq: 25 } }
}
neuralnet {
  unroll_len: 7
  layer {
    name: "data"
    type: kCharRNN
    unroll_len: 1
    char_rnn_conf { path: "input.txt" vocab_path: "vocab.txt" batchsize: 5 unroll_len: 7 }
  }
  layer {
    name: "onehot"
    type: kOneHot
    srclayers: "data"
    unroll_conn_type: kUnrollOneToAll
    onehot_conf { vocab_size: VOCAB }
  }
  layer {
    name: "label"
    type: kRNNLabel
    srclayers: "data"
    unroll_conn_type: kUnrollOneToAll
  }
"""
GRU = """\
  layer {
    name: "gru1"
    type: kGRU
    srclayers: "onehot"
    gru_conf { dim_hidden: 13 }
PARAMS
  }
"""
IP = """\
  layer {
    name: "ip1"
    type: kInnerProduct
    srclayers: "gru1"
    innerproduct_conf { num_output: VOCAB }
    param { name: "w" INIT }
    param { name: "b" INIT }
  }
"""
LOSS = """\
  layer {
    name: "loss"
    type: kSoftmaxLoss
    srclayers: ["ip1", "label"]
  }
}
"""
SAMPLING_HEAD = """\
name: "tiny-sample"
test_steps: 60
neuralnet {
  layer {
    name: "data"
    type: kRNNDummy
    rnn_dummy_conf { dynamic_srclayer: "argsort" shape: 1 integer: true low: 0 high: VOCAB }
  }
  layer { name: "onehot" type: kOneHot srclayers: "data" onehot_conf { vocab_size: VOCAB } }
"""
SAMPLING_TAIL = """\
  layer { name: "softmax" type: kSoftmax srclayers: "ip1" }
  layer { name: "argsort" type: kArgSort srclayers: "softmax" }
  layer { name: "output" type: kCharRNNOutput srclayers: "argsort" char_rnn_conf { vocab_path: "vocab.txt" } }
}
"""


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    def problem(self, code: int) -> str:
        """Return the one line on stderr that says what is wrong."""
        assert self.code == code, self
        assert "Traceback" not in self.out + self.err
        found = [line for line in self.err.splitlines() if line.startswith("unrolled: ")]
        assert len(found) == 1 and self.err.splitlines()[-1] == found[0], self.err
        return found[0].removeprefix("unrolled: ")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command in this process."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        return Said(run([str(argument) for argument in arguments]), *capsys.readouterr())

    return call


def write_jobs(folder: Path) -> Path:
    """Write a text, its vocabulary, a job that trains on it and one that samples; return the folder."""
    symbols = "".join(sorted(set(TEXT)))
    params = "\n".join(f'    param {{ name: "{name}" INIT }}' for name in GATES)
    net = (GRU + IP).replace("PARAMS", params)
    for name, job in (
        ("job.conf", HEAD + net + LOSS),
        ("job-sample.conf", SAMPLING_HEAD + net + SAMPLING_TAIL),
    ):
        (folder / name).write_text(job.replace("INIT", UNIFORM).replace("VOCAB", str(len(symbols))))
    (folder / "input.txt").write_text(TEXT)
    (folder / "vocab.txt").write_text(symbols)
    return folder


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a text, its vocabulary, job.conf and job-sample.conf."""
    monkeypatch.chdir(tmp_path)
    return write_jobs(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the jobs with a finished run of 120 updates, ``run``; no test may change it."""
    folder = write_jobs(tmp_path_factory.mktemp("jobs"))
    words = ["--run", str(folder / "run"), "--max-updates", "120", "--quiet"]
    assert run(["train", str(folder / "job.conf"), *words]) == 0
    return folder


@pytest.fixture
def drawn_net() -> Callable[[Spec], Net]:
    """Make a net of doubles whose parameters are all random, biases too."""

    def make(spec: Spec) -> Net:
        net, generator = Net(spec).double(), torch.Generator().manual_seed(7)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.6)
        return net

    return make
