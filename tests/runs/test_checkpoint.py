from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import unrolled
from unrolled.data import Vocab
from unrolled.errors import DamagedError, LoadError, NewerFormatError, UnrolledError, UsageError
from unrolled.net import Chain, Net, chain
from unrolled.runs import Checkpoint, Journal, Run, Source, model_config, next_run_directory
from unrolled.runs.checkpoint import read_checkpoint, read_model, write_checkpoint
from unrolled.settings import Settings


def checkpoint(seed: int = 3) -> Checkpoint:
    torch.manual_seed(seed)
    net = Net(chain(Chain(outputs=4, cell="gru", layers=2, hidden=5)), Vocab.of("abc\n"))
    return Checkpoint(
        net.state_dict(),
        model_config(net),
        {"lanes:gru1": torch.randn(3, 5)},
        {"position": {"update": 7}},
        "# a card",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "run" / "checkpoints" / "7", checkpoint())
    return tmp_path / "run" / "checkpoints" / "7"


def test_a_checkpoint_comes_back_as_it_was_written(folder: Path) -> None:
    found, wanted = read_checkpoint(folder), checkpoint()
    assert all(torch.equal(found.model[name], tensor) for name, tensor in wanted.model.items())
    assert torch.equal(found.state_tensors["lanes:gru1"], wanted.state_tensors["lanes:gru1"])
    assert found.state == wanted.state and found.config["layers"] == wanted.config["layers"]
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md", "config.json", "manifest.json", "model.safetensors", "state.json", "state.safetensors",
    ]  # fmt: skip


def test_a_loaded_model_computes_what_the_saved_one_did(folder: Path) -> None:
    saved = Net(chain(Chain(outputs=4, cell="gru", layers=2, hidden=5)))
    saved.load_state_dict(checkpoint().model)
    ids = torch.randint(4, (6, 3))
    for path in (folder, folder.parent.parent):
        net = unrolled.load(path)
        assert net.vocab == Vocab.of("abc\n") and not net.training
        logits, state = net(ids, net.initial_state(3))
        assert torch.equal(logits, saved.eval()(ids)[0]) and set(state) == {"gru1", "gru2"}


FILES = ["model.safetensors", "config.json", "state.safetensors", "state.json", "manifest.json"]


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_noticed_or_means_nothing(name: str, folder: Path) -> None:
    intact = read_checkpoint(folder)
    file = folder / name
    data, draw = file.read_bytes(), random.Random(name)
    for _ in range(60):
        place, bit = draw.randrange(len(data)), 1 << draw.randrange(8)
        file.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
        try:
            found = read_checkpoint(folder)
        except UnrolledError as error:
            assert "\n" not in str(error) and str(folder) in str(error)
        else:
            assert all(torch.equal(found.model[k], v) for k, v in intact.model.items())
            assert (found.state, found.config) == (intact.state, intact.config)


@pytest.mark.parametrize("name", FILES)
def test_every_cut_is_noticed(name: str, folder: Path) -> None:
    file = folder / name
    data = file.read_bytes()
    for size in range(0, len(data) - 1, max(1, len(data) // 40)):
        file.write_bytes(data[:size])
        with pytest.raises(DamagedError, match=str(folder)):
            read_checkpoint(folder)
    file.unlink()
    with pytest.raises(DamagedError, match="missing"):
        read_checkpoint(folder)


def test_files_of_another_checkpoint_are_noticed(folder: Path) -> None:
    other = folder.parent / "8"
    write_checkpoint(other, checkpoint(seed=4))
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(DamagedError, match=r"model\.safetensors is damaged"):
        read_model(folder)


def test_a_damaged_newest_checkpoint_is_passed_over_with_a_warning(folder: Path) -> None:
    write_checkpoint(folder.parent / "12", checkpoint(seed=4))
    (folder.parent / "12" / "model.safetensors").write_bytes(b"gone")
    with pytest.warns(UserWarning, match="using checkpoint 7 instead"):
        net = unrolled.load(folder.parent.parent)
    assert torch.equal(net.state_dict()["layers.logits.bias"], checkpoint().model["layers.logits.bias"])
    (folder / "model.safetensors").write_bytes(b"gone")
    with pytest.raises(DamagedError, match=r"no checkpoint in .* is usable"):
        unrolled.load(folder.parent.parent)


def rewritten(folder: Path, change: Any) -> Path:
    """Write the checkpoint again with something changed and every hash right."""
    intact = read_checkpoint(folder)
    model, config = dict(intact.model), json.loads(json.dumps(intact.config))
    change(model, config)
    target = folder.parent / str(9 + len(list(folder.parent.iterdir())))
    write_checkpoint(target, Checkpoint(model, config, intact.state_tensors, intact.state))
    return target


def test_a_newer_format_is_named_as_such(folder: Path) -> None:
    with pytest.raises(NewerFormatError, match="install a newer one"):
        read_model(rewritten(folder, lambda model, config: config.update(format=2)))


CHANGES: dict[str, Any] = {
    "holds a NaN": lambda model, config: model["layers.logits.bias"].fill_(float("nan")),
    "should be": lambda model, config: model.update({"layers.logits.bias": torch.zeros(9)}),
    "is absent": lambda model, config: model.pop("layers.logits.bias"),
    "should be absent": lambda model, config: model.update({"extra": torch.zeros(2)}),
    "the config says": lambda model, config: model.update({k: v.double() for k, v in model.items()}),
    "layer list": lambda model, config: config.update(layers=[{"name": "x"}]),
    "the unknown type": lambda model, config: config["layers"][0].update(type="quantum"),
    "no net that can be built": lambda model, config: config["layers"][1].update(hidden="many"),
}


@pytest.mark.parametrize("words", CHANGES)
def test_a_checkpoint_that_contradicts_itself_is_refused(words: str, folder: Path) -> None:
    with pytest.raises(UnrolledError, match=words) as caught:
        unrolled.load(rewritten(folder, CHANGES[words]))
    assert "\n" not in str(caught.value)


def test_giant_sizes_in_a_config_allocate_nothing(folder: Path) -> None:
    with pytest.raises(LoadError):
        unrolled.load(rewritten(folder, lambda model, config: config["layers"][1].update(hidden=10**7)))
    with pytest.raises(LoadError):
        unrolled.load(rewritten(folder, lambda model, config: config["layers"][1].update(hidden=10**15)))


def test_no_link_is_followed_out_of_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes((folder / "model.safetensors").read_bytes())
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(outside)
    with pytest.raises(DamagedError, match="no regular file"):
        unrolled.load(folder)


def test_places_without_a_model_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LoadError, match="no run or checkpoint"):
        unrolled.load(tmp_path / "nowhere")
    with pytest.raises(LoadError, match="holds no checkpoint"):
        unrolled.load(tmp_path / "empty")
    with pytest.raises(LoadError, match="is no run"):
        Run(tmp_path / "empty")


def test_a_run_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", Settings(), Source(("book.txt",), "00"))
    with (
        run.locked(),
        pytest.raises(UsageError, match="is being trained by process"),
        Run(run.directory).locked(),
    ):
        pytest.fail("two held it")
    with Run(run.directory).locked():
        pass


def test_a_run_keeps_its_settings_and_source(tmp_path: Path) -> None:
    source = Source(("a b.txt", "ü.txt"), "f" * 64, "my cell.py:Leaky", "0" * 64)
    Run.create(tmp_path / "run", Settings(), source)
    found = Run(tmp_path / "run")
    assert (found.settings, replace(found.source, run=None)) == (Settings(), source)
    (tmp_path / "run" / "config.toml").write_text("[net]\nhidden = 'x'\n")
    with pytest.raises(LoadError, match=r"config\.toml"):
        Run(tmp_path / "run")


def test_runs_are_numbered_after_the_text(tmp_path: Path) -> None:
    assert next_run_directory("war & peace", tmp_path) == tmp_path / "war-peace-001"
    (tmp_path / "book-007").mkdir()
    (tmp_path / "book-2-100").mkdir()
    assert next_run_directory("book", tmp_path).name == "book-008"


def test_a_journal_is_cut_back_and_refuses_to_invent_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "lines.jsonl")
    journal.append({"n": 1})
    size = journal.sync()
    journal.append({"n": 2, "text": "half\ud800 of a pair"})
    journal.cut(size)
    journal.append({"n": 3})
    assert [line["n"] for line in journal.lines()] == [1, 3]
    with pytest.raises(DamagedError, match="lines are missing"):
        journal.cut(10_000)
