from __future__ import annotations

import hashlib
import json
import os
import runpy
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import unrolled
from unrolled.errors import DamagedError, Interrupted, UsageError
from unrolled.net import Spec
from unrolled.net.builder import GRU, Label, Linear, NetBuilder, OneHot, SoftmaxLoss, Text
from unrolled.runs import checkpoint as checkpoints
from unrolled.training import Listener, resuming, session

fingerprint = runpy.run_path(str(Path(__file__).with_name("fingerprint.py")))["fingerprint"]

CELL = """
import torch
import unrolled

class Leaky(unrolled.Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, h):
        noise = torch.rand_like(h) if self.training else 0.5
        h = 0.9 * h + 0.1 * torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)) + 0.1 * noise)
        return h, h
"""


class Crash(Exception):
    """Stands for kill -9: nothing after it is saved."""


class At(Listener):
    """Do something after an update."""

    def __init__(self, update: int, action: Callable[[], None]) -> None:
        self.when, self.action = update, action
        self.notices: list[str] = []

    def updated(self, update: int, epoch: float, nats: float) -> None:
        if update == self.when:
            self.action()

    def said(self, message: str) -> None:
        self.notices.append(message)


def crash() -> None:
    raise Crash


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


VARIANTS: dict[str, dict[str, Any]] = {
    "lstm with dropout, sgd with momentum, steps": {
        "dropout": 0.3, "optimizer": "sgd", "momentum": 0.5, "lr": 0.1, "schedule": "step", "decay_every": 1,
    },
    "gru, adam, cosine with warm-up": {"cell": "gru", "schedule": "cosine", "warmup": 5},
    "rnn, rmsprop, clipped by element": {"cell": "rnn", "optimizer": "rmsprop", "clip_value": 0.5},
    "embedding, adamw, documents": {
        "embedding": 5,
        "embedding_dropout": 0.2, "optimizer": "adamw", "weight_decay": 0.1, "boundary": "line",
    },
    "adagrad": {"optimizer": "adagrad"},
    "adadelta": {"optimizer": "adadelta", "lr": 1.0},
    "adamax in float64": {"optimizer": "adamax", "precision": "float64"},
    "peephole lstm, documents": {"cell": "peephole-lstm", "boundary": "line"},
    "min-gru by scan, documents": {"cell": "min-gru", "boundary": "line", "dropout": 0.2},
    "min-lstm by scan, an embedding": {"cell": "min-lstm", "embedding": 5, "forget_bias": 1.0},
    "the naive engine, bytes": {"engine": "naive", "units": "byte", "window": 19},
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_killed_twice_and_resumed_equals_one_never_stopped(
    variant: str, text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**small, **VARIANTS[variant]}
    straight = unrolled.train(text, run=tmp_path / "straight", **settings)
    broken = tmp_path / "broken"
    with pytest.raises(Crash):
        unrolled.train(text, run=broken, listener=At(14, crash), **settings)
    with pytest.raises(Crash):
        unrolled.resume(broken, listener=At(35, crash))
    unrolled.resume(broken)
    assert fingerprint(broken) == fingerprint(straight.directory)


@pytest.mark.parametrize("stop", [terminate, interrupt])
@pytest.mark.parametrize("updates", [(1, 2), (13, 26), (39, 40), (43, 44)])
def test_a_run_stopped_by_a_signal_and_resumed_equals_one_never_stopped(
    stop: Callable[[], None], updates: tuple[int, int], text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**small, "dropout": 0.4}
    straight = unrolled.train(text, run=tmp_path / "straight", **settings)
    broken = tmp_path / "broken"
    with pytest.raises(Interrupted, match="unrolled resume") as caught:
        unrolled.train(text, run=broken, listener=At(updates[0], stop), **settings)
    assert caught.value.exit_code == (143 if stop is terminate else 130)
    with pytest.raises(Interrupted):
        unrolled.resume(broken, listener=At(updates[1], stop))
    unrolled.resume(broken)
    assert fingerprint(broken) == fingerprint(straight.directory)


@pytest.mark.parametrize("busy", ["evaluate", "diary_entry"])
def test_a_signal_during_validation_or_sampling_is_obeyed_and_loses_nothing(
    busy: str, text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = unrolled.train(text, run=tmp_path / "straight", **small)
    real, calls = getattr(session, busy), []

    def once(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            terminate()
        return real(*args, **kwargs)

    monkeypatch.setattr(session, busy, once)
    broken = tmp_path / "broken"
    with pytest.raises(Interrupted):
        unrolled.train(text, run=broken, **small)
    due = checkpoints.read_state(broken / "last")[1]["position"]["due"]
    assert due and due[0] == {"evaluate": "validate", "diary_entry": "sample"}[busy]
    unrolled.resume(broken)
    assert not checkpoints.read_state(broken / "last")[1]["position"]["due"]
    assert fingerprint(broken) == fingerprint(straight.directory)


def test_a_users_cell_that_draws_random_numbers_resumes_exactly(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    cell = tmp_path / "leaky.py"
    cell.write_text(CELL, encoding="utf-8")
    name = f"{cell}:Leaky"
    straight = unrolled.train(text, run=tmp_path / "straight", cell=name, **small)
    broken = tmp_path / "broken"
    with pytest.raises(Crash):
        unrolled.train(text, run=broken, cell=name, listener=At(21, crash), **small)
    with pytest.raises(UsageError, match="--cell"):
        unrolled.resume(broken)
    unrolled.resume(broken, cell=name)
    assert fingerprint(broken) == fingerprint(straight.directory)


def test_without_the_carried_lane_states_a_resume_would_differ(
    text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = unrolled.train(text, run=tmp_path / "straight", **small)
    broken = tmp_path / "broken"
    with pytest.raises(Crash):
        unrolled.train(text, run=broken, listener=At(20, crash), **small)
    shutil.copytree(broken, tmp_path / "intact", symlinks=True)
    real = checkpoints.read_state

    def zeroed(folder: Path) -> Any:
        tensors, state = real(folder)
        return {k: torch.zeros_like(t) if k.startswith("lanes:") else t for k, t in tensors.items()}, state

    monkeypatch.setattr(checkpoints, "read_state", zeroed)
    unrolled.resume(broken)
    monkeypatch.undo()
    unrolled.resume(tmp_path / "intact")
    assert fingerprint(tmp_path / "intact") == fingerprint(straight.directory)
    assert fingerprint(broken)["model.safetensors"] != fingerprint(straight.directory)["model.safetensors"]


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    straight = unrolled.train(text, run=tmp_path / "straight", **small)
    broken = tmp_path / "broken"
    with pytest.raises(Crash):
        unrolled.train(text, run=broken, listener=At(30, crash), **small)
    newest = max(int(p.name) for p in (broken / "checkpoints").iterdir())
    file = broken / "checkpoints" / str(newest) / "state.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    listener = At(-1, crash)
    unrolled.resume(broken, listener=listener)
    assert any(str(file) in notice and "instead" in notice for notice in listener.notices)
    assert (broken / "checkpoints" / f"damaged-{newest}").is_dir()
    found, wanted = fingerprint(broken), fingerprint(straight.directory)
    assert found == wanted


def test_a_finished_run_goes_on_when_its_end_is_moved(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    short = unrolled.train(text, run=tmp_path / "short", **{**small, "max_updates": 24, "epochs": 0})
    long = unrolled.train(text, run=tmp_path / "long", **{**small, "max_updates": 40, "epochs": 0})
    unrolled.resume(short.directory, max_updates=40)
    names = ("model.safetensors", "state.safetensors")
    assert {n: fingerprint(short.directory)[n] for n in names} == {
        n: fingerprint(long.directory)[n] for n in names
    }


def test_a_signal_in_the_events_of_the_last_update_leaves_a_run_that_a_resume_finishes(
    text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**small, "max_updates": 26, "epochs": 0}
    straight = unrolled.train(text, run=tmp_path / "straight", **settings)
    real, calls = session.evaluate, []

    def second(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            terminate()
        return real(*args, **kwargs)

    monkeypatch.setattr(session, "evaluate", second)
    with pytest.raises(Interrupted):
        unrolled.train(text, run=tmp_path / "broken", **settings)
    unrolled.resume(tmp_path / "broken")
    state = checkpoints.read_state(tmp_path / "broken" / "last")[1]
    assert state["position"]["due"] == [] and state["position"]["validation_nats"] is not None
    assert fingerprint(tmp_path / "broken") == fingerprint(straight.directory)
    calls.append(1)
    unrolled.resume(tmp_path / "broken")
    assert fingerprint(tmp_path / "broken") == fingerprint(straight.directory)


def test_a_second_signal_quits_at_once(text: Path, small: dict[str, Any], tmp_path: Path) -> None:
    def twice() -> None:
        interrupt()
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        unrolled.train(text, run=tmp_path / "run", listener=At(20, twice), **small)
    assert unrolled.Run(tmp_path / "run").updates()[0] == 16


def test_an_end_that_has_passed_is_refused_and_the_run_is_as_it_was(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    run = unrolled.train(text, run=tmp_path / "run", **small)
    before = (run.directory / "config.toml").read_bytes()
    for end in ({"max_updates": 10}, {"epochs": 1}, {"max_updates": 0}):
        with pytest.raises(UsageError, match=r"later one|more than 0"):
            unrolled.resume(run.directory, **end)
    with pytest.raises(UsageError):
        unrolled.resume(run.directory, max_updates=3_000_000_000)
    with pytest.raises(UsageError):
        unrolled.resume(run.directory, device="quantum")
    assert (run.directory / "config.toml").read_bytes() == before


def test_a_catalog_text_is_written_again_when_the_cache_was_cleared(
    small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    settings = {**small, "max_updates": 20, "epochs": 0}
    with pytest.raises(Crash):
        unrolled.train("counting", run=tmp_path / "run", listener=At(10, crash), **settings)
    shutil.rmtree(tmp_path / "cache")
    assert unrolled.resume(tmp_path / "run").updates()[0] == 20


def test_a_changed_text_is_refused_and_a_moved_one_is_found(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Crash):
        unrolled.train(text, run=run, listener=At(10, crash), **small)
    moved = tmp_path / "elsewhere.txt"
    text.rename(moved)
    with pytest.raises(UsageError, match="--text"):
        unrolled.resume(run)
    text.write_text(moved.read_text(encoding="utf-8").replace("cat", "dog"), encoding="utf-8")
    with pytest.raises(UsageError, match="not the text"):
        unrolled.resume(run)
    unrolled.resume(run, text=[moved])
    assert unrolled.Run(run).source.text == (str(moved),)


def test_a_resume_elsewhere_says_what_keeps_it_from_being_identical(
    text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Crash):
        unrolled.train(text, run=tmp_path / "run", listener=At(10, crash), **small)
    real = resuming.environment
    monkeypatch.setattr(resuming, "environment", lambda *a: {**real(*a), "threads": 97})
    listener = At(-1, crash)
    unrolled.resume(tmp_path / "run", listener=listener)
    assert [n for n in listener.notices if n.startswith("not bit-identical because threads was")]


def test_a_resume_with_another_engine_says_that_it_is_not_identical(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(Crash):
        unrolled.train(text, run=tmp_path / "run", listener=At(10, crash), **{**small, "engine": "torch"})
    listener = At(-1, crash)
    run = unrolled.resume(tmp_path / "run", engine="naive", listener=listener)
    [note] = [n for n in listener.notices if n.startswith("not bit-identical")]
    assert "because engines was" in note and "'torch'" in note and "'naive'" in note
    assert run.settings.training.engine == "naive"


def test_what_a_killed_process_left_behind_is_cleared(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Crash):
        unrolled.train(text, run=run, listener=At(20, crash), **small)
    half = run / "checkpoints" / ".24.4711"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "upd')
    unrolled.resume(run)
    straight = unrolled.train(text, run=tmp_path / "straight", **small)
    assert not half.exists()
    assert fingerprint(run) == fingerprint(straight.directory)


def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_when_it_is_resumed(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    straight = unrolled.train(text, run=tmp_path / "straight", **small)
    run = unrolled.train(text, run=tmp_path / "run", **small)
    for update in run.updates():
        shutil.rmtree(run.checkpoints / str(update))
    for name in ("last", "best"):
        (run.directory / name).unlink(missing_ok=True)
    said: list[str] = []

    class Heard(Listener):
        def said(self, message: str) -> None:
            said.append(message)

    unrolled.resume(run.directory, listener=Heard())
    assert any("begins at its beginning" in message for message in said)
    assert fingerprint(run.directory) == fingerprint(straight.directory)


def test_a_run_that_begins_when_it_is_resumed_has_the_vocabulary_that_was_given(tmp_path: Path) -> None:
    settings = {"hidden": 5, "lanes": 1, "window": 2, "split": (1.0,), "max_updates": 4}
    straight = unrolled.train("hello", run=tmp_path / "straight", **settings)
    run = unrolled.train("hello", run=tmp_path / "run", **settings)
    for update in run.updates():
        shutil.rmtree(run.checkpoints / str(update))
    for name in ("last", "best"):
        (run.directory / name).unlink(missing_ok=True)
    unrolled.resume(run.directory)
    assert fingerprint(run.directory) == fingerprint(straight.directory)
    assert unrolled.load(run.directory).vocab == unrolled.load(straight.directory).vocab


@pytest.mark.parametrize("event", ["validate", "sample"])
def test_an_event_that_a_training_can_not_have_is_refused_where_it_is_due(
    event: str, text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    given: dict[str, Any] = {} if event == "validate" else {"net": silent_net()}
    few = {**small, "epochs": 0, "max_updates": 8, "split": [1.0], "validate_every": 0}
    run = unrolled.train(text, run=tmp_path / "run", **few, **given)
    make_due(run.checkpoints / "8", event)
    before = fingerprint(run.directory)
    with pytest.raises(DamagedError, match=rf"state\.json: due can't hold '{event}'"):
        unrolled.resume(run.directory, max_updates=16)
    assert fingerprint(run.directory) == before
    make_due(run.checkpoints / "8", "report")
    assert unrolled.resume(run.directory, max_updates=16).updates()[0] == 16


def make_due(folder: Path, event: str) -> None:
    """Write a checkpoint, with true hashes, in which an event is due."""
    state, manifest = (json.loads((folder / name).read_text()) for name in ("state.json", "manifest.json"))
    state["position"]["due"] = [event]
    (folder / "state.json").write_text(json.dumps(state))
    manifest["state.json"] = hashlib.sha256((folder / "state.json").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def silent_net() -> Spec:
    """Return a net over a text that can't go on by itself."""
    net = NetBuilder()
    net.text = Text()
    net.label = Label(net.text.all)
    net.seen = OneHot(net.label.shift(1))
    net.h = GRU(net.seen, hidden=4)
    net.logits = Linear(net.h, size="vocab")
    net.loss = SoftmaxLoss(net.logits, net.label)
    return net.spec()
