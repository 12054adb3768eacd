"""What is written in the diary by nets that are no plain language models."""

from __future__ import annotations

from pathlib import Path

import torch

import unrolled
from unrolled.data import HDF5Batches
from unrolled.net.builder import GRU, Copy, Label, Linear, NetBuilder, OneHot, SoftmaxLoss, Text
from unrolled.net.files import read_net
from unrolled.training.lesson_files import lesson_of


def test_a_text_net_that_needs_its_labels_trains_without_a_diary(tmp_path: Path) -> None:
    text = tmp_path / "book.txt"
    text.write_text("the cat sat on the mat. " * 40, encoding="utf-8")
    net = NetBuilder("forced")
    net.text = Text()
    net.label = Label(net.text.all)
    net.before = Copy(net.label.shift(1))
    net.seen = OneHot(net.before)
    net.gru1 = GRU(net.seen, hidden=7)
    net.logits = Linear(net.gru1, size="vocab")
    net.loss = SoftmaxLoss(net.logits, net.label)
    run = unrolled.train(
        text, net=net.spec(), run=tmp_path / "run", lanes=3, window=9, max_updates=12, sample_every=5
    )
    assert list(run.samples.lines()) == [] and run.updates()[0] == 12


def test_a_net_of_numbers_alone_trains_without_a_diary(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    h5py = __import__("h5py")
    rows = torch.randn(30, 4, generator=torch.Generator().manual_seed(1))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = rows.numpy(), (rows @ torch.ones(4, 2)).numpy()
    (tmp_path / "list.txt").write_text("a.h5\n", encoding="utf-8")
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "d" type: "HDF5Data" top: "x" top: "y" hdf5_data_param { source: "list.txt" '
        'batch_size: 7 } }\nlayer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" '
        'inner_product_param { num_output: 2 } }\nlayer { name: "loss" type: "EuclideanLoss" bottom: "ip" '
        'bottom: "y" top: "loss" }\n',
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    lesson, tables = lesson_of(["net.prototxt"], None)
    assert lesson.hdf5 and tables is not None and tables[1]["data"]["lanes"] == 7
    assert len(HDF5Batches("list.txt", ["x", "y"], 7)) == 5
    assert read_net("net.prototxt").spec == lesson.spec
    from unrolled.cli.main import run

    words = ["train", "net.prototxt", "--run", "run", "--max-updates", "60", "--lr", "0.1", "--quiet"]
    assert run([*words, "--sample-every", "5", "--report-every", "10"]) == 0
    found = unrolled.Run("run")
    losses = [line["nats"] for line in found.metrics.lines()]
    assert losses[-1] < losses[0] / 50 and list(found.samples.lines()) == []
