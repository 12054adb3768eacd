"""A run that reads HDF5 files, two lists of them, goes on with both and with what they held."""

from __future__ import annotations

import runpy
from pathlib import Path

import h5py
import pytest
import torch

import unrolled
from unrolled.cli.main import run as command
from unrolled.errors import UsageError
from unrolled.runs import Run

fingerprint = runpy.run_path(str(Path(__file__).with_name("fingerprint.py")))["fingerprint"]

NET = """
layer { name: "d" type: "HDF5Data" top: "x" top: "y" include { phase: TRAIN }
  hdf5_data_param { source: "train.list" batch_size: 7 } }
layer { name: "d" type: "HDF5Data" top: "x" top: "y" include { phase: TEST }
  hdf5_data_param { source: "test.list" batch_size: 7 } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "y" top: "loss" }
"""


def write(path: Path, count: int, seed: int) -> None:
    rows = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = rows.numpy(), (rows @ torch.ones(4, 2)).numpy()


@pytest.fixture
def began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a run of a net with two lists of files, trained for 10 updates."""
    monkeypatch.chdir(tmp_path)
    for number, (name, count) in enumerate({"a": 20, "b": 11, "v": 13}.items()):
        write(tmp_path / f"{name}.h5", count, number)
    Path("train.list").write_text("a.h5\nb.h5\n", encoding="utf-8")
    Path("test.list").write_text("v.h5\n", encoding="utf-8")
    Path("net.prototxt").write_text(NET, encoding="utf-8")
    words = ["train", "net.prototxt", "--run", "run", "--max-updates", "10", "--validate-every", "4"]
    assert command([*words, "--quiet"]) == 0
    return Run("run")


def refused(run: Run, text: list[str] | None, match: str) -> None:
    before = fingerprint(run.directory), (run.directory / "config.toml").read_bytes()
    with pytest.raises(UsageError, match=match):
        unrolled.resume(run.directory, max_updates=20, text=text)
    assert (fingerprint(run.directory), (run.directory / "config.toml").read_bytes()) == before


def test_a_list_that_is_left_out_or_added_is_refused(began: Run) -> None:
    for text in (["train.list"], ["train.list", "test.list", "test.list"]):
        refused(began, text, f"reads 2 lists of HDF5 files.*names {len(text)}")
    unrolled.resume(began.directory, max_updates=20, text=["train.list", "test.list"])
    kinds = [line["update"] for line in began.metrics.lines() if line["kind"] == "validation"]
    assert kinds[-1] > 10


def test_validation_files_that_changed_or_were_learned_from_are_refused(began: Run) -> None:
    refused(began, ["train.list", "train.list"], "is not the text")
    refused(began, ["test.list", "train.list"], "is not the text")
    write(Path("v.h5"), 13, 9)
    refused(began, None, "is not the text")


def test_a_file_that_went_from_training_to_validation_is_noticed(began: Run) -> None:
    Path("train.list").write_text("a.h5\n", encoding="utf-8")
    Path("test.list").write_text("b.h5\nv.h5\n", encoding="utf-8")
    refused(began, None, "is not the text")
