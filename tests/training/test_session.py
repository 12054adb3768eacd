from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

import unrolled
from unrolled.engines.native import compiler, layers
from unrolled.errors import Interrupted, NonFiniteError, SaveError, SettingsError, TextError, UsageError
from unrolled.runs import Run, checkpoint
from unrolled.settings import TrainingSettings
from unrolled.training import Listener, learner, session
from unrolled.training.environment import process_settings
from unrolled.training.stop import stop_flag


class Notes(Listener):
    """Remember what was said, and do something after an update."""

    def __init__(self, when: int = -1, action: Any = None) -> None:
        self.when, self.action = when, action
        self.notices: list[str] = []
        self.entries: list[dict[str, Any]] = []

    def updated(self, update: int, epoch: float, nats: float) -> None:
        if update == self.when:
            self.action()

    def reported(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)

    def said(self, message: str) -> None:
        self.notices.append(message)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return run.newest(print)[1].model


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_training_learns_and_the_metrics_say_so(text: Path, small: dict[str, Any], tmp_path: Path) -> None:
    notes = Notes()
    run = unrolled.train(
        text, run=tmp_path / "run", listener=notes, **{**small, "hidden": 24, "lr": 0.02, "epochs": 6}
    )
    train = [e for e in notes.entries if e["kind"] == "train"]
    validation = [e for e in notes.entries if e["kind"] == "validation"]
    assert train[0]["nats"] > 2.5 and train[-1]["nats"] < 1.2
    assert validation[-1]["nats"] < validation[0]["nats"]
    assert list(run.metrics.lines()) == notes.entries
    assert set(train[0]) == {
        "kind", "update", "epoch", "nats", "bits_per_char", "accuracy", "lr", "grad_norm", "chars_per_second",
        "seconds",
    }  # fmt: skip


def test_the_train_loss_of_a_report_is_the_mean_over_the_targets_since_the_last(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    notes = Notes()
    losses: list[tuple[float, int]] = []
    real = learner.Learner.learn

    def spy(self: Any, window: Any, lr: float) -> Any:
        found = real(self, window, lr)
        losses.append((found.total, found.count))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner.Learner, "learn", spy)
        unrolled.train(text, run=tmp_path / "run", listener=notes, **small)
    reports = [e for e in notes.entries if e["kind"] == "train"]
    for number, entry in enumerate(reports):
        part = losses[number * 5 : number * 5 + 5]
        assert entry["nats"] == pytest.approx(sum(t for t, _ in part) / sum(c for _, c in part), rel=1e-12)


def test_validation_diary_and_checkpoints_leave_training_as_it_would_be(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    quiet = {"validate_every": 1000, "sample_every": 0, "checkpoint_every": 1000}
    busy = {"validate_every": 1, "sample_every": 1, "checkpoint_every": 1}
    runs = [
        unrolled.train(text, run=tmp_path / name, **{**small, "dropout": 0.5, "max_updates": 20, **more})
        for name, more in (("quiet", quiet), ("busy", busy))
    ]
    assert same(weights(runs[0]), weights(runs[1]))


def test_the_seed_decides_everything_and_the_callers_random_state_is_left_alone(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**small, "dropout": 0.5, "max_updates": 10}
    torch.manual_seed(77)
    expected = torch.rand(3)
    torch.manual_seed(77)
    first = unrolled.train(text, run=tmp_path / "a", **settings)
    assert torch.equal(torch.rand(3), expected)
    second = unrolled.train(text, run=tmp_path / "b", **settings)
    third = unrolled.train(text, run=tmp_path / "c", **{**settings, "seed": 9})
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(third))


def test_the_newest_two_checkpoints_and_the_best_are_kept(
    text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([3.0, 1.0, 2.0, 2.5, 2.25] + [4.0] * 50)
    real = session.evaluate
    monkeypatch.setattr(session, "evaluate", lambda *a, **k: type(real(*a, **k))(next(values), 0.5, 10))
    run = unrolled.train(
        text, run=tmp_path / "run", **{**small, "validate_every": 10, "checkpoint_every": 10}
    )
    assert (tmp_path / "run" / "best").resolve().name == "20"
    assert 20 in run.updates() and len(run.updates()) == 3
    assert (tmp_path / "run" / "last").resolve().name == str(run.updates()[0])


def test_patience_ends_training_after_so_many_validations_without_a_new_best(
    text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([2.0, 1.0, 1.5, 1.2, 1.1, 0.5])
    real = session.evaluate
    monkeypatch.setattr(session, "evaluate", lambda *a, **k: type(real(*a, **k))(next(values), 0.5, 10))
    run = unrolled.train(text, run=tmp_path / "run", **{**small, "validate_every": 5, "patience": 3})
    assert run.updates()[0] == 25


def test_a_validation_that_only_an_end_asked_for_does_not_count_for_patience(
    text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = session.evaluate
    values = {8: 1.0, 12: 1.5, 16: 0.9, 24: 0.8, 32: 1.2}
    seen: list[int] = []

    def planted(*words: Any, **named: Any) -> Any:
        return type(real(*words, **named))(values[seen[-1]], 0.5, 10)

    events = session.Session._events

    def watched(self: Any) -> list[str]:
        seen.append(self.at.update)
        return events(self)

    monkeypatch.setattr(session.Session, "_events", watched)
    monkeypatch.setattr(session, "evaluate", planted)
    patient = {**small, "epochs": 0, "validate_every": 8, "patience": 1, "max_updates": 12}
    run = unrolled.train(text, run=tmp_path / "run", **patient)
    assert unrolled.resume(run.directory, max_updates=40).updates()[0] == 32


def test_a_run_that_gave_up_says_so_and_does_not_go_on(
    text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = session.evaluate
    values = iter([1.0, 2.0, 3.0, 0.5])
    monkeypatch.setattr(session, "evaluate", lambda *a, **k: type(real(*a, **k))(next(values), 0.5, 10))
    heard = Notes()
    patient = {**small, "validate_every": 5, "patience": 2}
    run = unrolled.train(text, run=tmp_path / "run", listener=heard, **patient)
    [told] = [note for note in heard.notices if "patience" in note]
    assert told.startswith("2 validations in a row were no better") and "at update 15, for good" in told
    heard.notices.clear()
    assert unrolled.resume(run.directory, epochs=9, listener=heard).updates()[0] == 15
    assert told in heard.notices


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_the_process_was_told_to_ignore_stays_ignored(number: int) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with stop_flag() as stop:
            os.kill(os.getpid(), number)
            assert not stop()
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("planted", ["weight", "saturating", "gradient", "loss", "lanes"])
def test_a_value_that_is_not_finite_stops_training_and_is_named_and_the_last_checkpoint_is_good(
    planted: str, text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = learner.Learner.learn
    count = [0]

    def poisoned(self: Any, window: Any, lr: float) -> Any:
        count[0] += 1
        if count[0] == 18 and planted == "weight":
            next(iter(self.net.parameters())).data[0, 0] = float("nan")
        if count[0] == 18 and planted == "saturating":  # the loss stays finite, the gradient does not
            self.net.layers["lstm1"].h_to_ifgo.data[0, 0] = float("inf")
        if count[0] == 18 and planted == "gradient":
            self.net.layers["logits"].bias.register_hook(lambda g: g * float("inf"))
        if count[0] == 18 and planted == "lanes":
            self.state["lstm2"].h[-1, -1] = float("nan")
        if count[0] == 18 and planted == "loss":
            self.loss = lambda *a: learner.loss_for(window.targets)(a[0] * float("inf"), *a[1:])
        return real(self, window, lr)

    monkeypatch.setattr(learner.Learner, "learn", poisoned)
    with pytest.raises(NonFiniteError, match="update 18: ") as caught:
        unrolled.train(text, run=tmp_path / "run", **small)
    assert (
        caught.value.tensor
        == {
            "weight": "layers.lstm1.x_to_ifgo",
            "saturating": "layers.lstm1.h_to_ifgo",
            "gradient": "gradient of layers.logits.bias",
            "loss": "loss",
            "lanes": "lanes:lstm2.h",
        }[planted]
    )
    monkeypatch.undo()
    assert Run(tmp_path / "run").updates()[0] == 16
    unrolled.resume(tmp_path / "run")


def test_weights_that_stopped_being_finite_in_the_update_itself_are_never_saved(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(NonFiniteError):
        unrolled.train(
            text,
            run=tmp_path / "run",
            optimizer="sgd",
            lr=1e38,
            clip_norm=0.0,
            **{**small, "checkpoint_every": 1},
        )
    assert all(bool(torch.isfinite(t).all()) for t in weights(Run(tmp_path / "run")).values())


def full(*args: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_warned_of_and_training_goes_on(
    text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = unrolled.train(text, run=tmp_path / "straight", **small)
    real, calls = checkpoint.write_synced, []

    def sometimes(path: Path, data: bytes) -> None:
        calls.append(path)
        if 10 < len(calls) < 13:
            full()
        real(path, data)

    monkeypatch.setattr(checkpoint, "write_synced", sometimes)
    notes = Notes()
    run = unrolled.train(text, run=tmp_path / "run", listener=notes, **small)
    assert any("No space left" in notice and "try again" in notice for notice in notes.notices)
    assert same(weights(run), weights(straight))
    assert not list((tmp_path / "run" / "checkpoints").glob(".*"))


def test_the_third_checkpoint_missed_in_a_row_ends_training_with_the_last_one_intact(
    text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes(9, lambda: monkeypatch.setattr(checkpoint, "write_synced", full))
    with pytest.raises(SaveError, match="3 times in a row"):
        unrolled.train(text, run=tmp_path / "run", listener=notes, **small)
    monkeypatch.undo()
    assert Run(tmp_path / "run").updates()[0] == 8
    unrolled.resume(tmp_path / "run")


def test_metrics_that_a_full_disk_held_back_are_written_when_there_is_space(
    text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = unrolled.train(text, run=tmp_path / "straight", **small)
    run_directory = tmp_path / "run"
    real = Path.open

    def blocked(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if self.name == "metrics.jsonl" and mode == "ab":
            full()
        return real(self, mode, *args, **kwargs)

    notes = Notes(4, lambda: monkeypatch.setattr(Path, "open", blocked))
    freeing = Notes(12, lambda: monkeypatch.setattr(Path, "open", real))

    class Both(Listener):
        def updated(self, update: int, epoch: float, nats: float) -> None:
            notes.updated(update, epoch, nats)
            freeing.updated(update, epoch, nats)

        def said(self, message: str) -> None:
            notes.said(message)

    run = unrolled.train(text, run=run_directory, listener=Both(), **small)
    assert any("metrics.jsonl can't be written" in notice for notice in notes.notices)
    kept = [(e["kind"], e["update"]) for e in run.metrics.lines()]
    assert kept == [(e["kind"], e["update"]) for e in straight.metrics.lines()]


def test_a_last_checkpoint_that_cannot_be_written_is_an_error(
    text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes(20, lambda: monkeypatch.setattr(checkpoint, "write_synced", full))
    with pytest.raises(SaveError, match="the newest saved is update 16"):
        unrolled.train(
            text, run=tmp_path / "run", listener=notes, **{**small, "max_updates": 21, "epochs": 0}
        )


def test_a_validation_loss_that_is_not_finite_ends_training_and_is_in_no_journal(
    text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = session.evaluate
    monkeypatch.setattr(session, "evaluate", lambda *a, **k: type(real(*a, **k))(float("inf"), 0.5, 10))
    with pytest.raises(NonFiniteError, match="update 13: the validation loss is inf"):
        unrolled.train(text, run=tmp_path / "run", **small)
    assert "Infinity" not in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_a_weight_that_spoils_the_validation_loss_is_named(
    text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiling(net: unrolled.Net, *words: Any, **named: Any) -> Any:
        next(iter(net.parameters())).detach().fill_(float("nan"))
        return real(net, *words, **named)

    real = session.evaluate
    monkeypatch.setattr(session, "evaluate", spoiling)
    with pytest.raises(NonFiniteError, match="update 13: the weight ") as caught:
        unrolled.train(text, run=tmp_path / "run", **small)
    assert caught.value.tensor in str(caught.value)


def test_a_built_in_class_is_the_built_in_cell(text: Path, small: dict[str, Any], tmp_path: Path) -> None:
    run = unrolled.train(text, run=tmp_path / "run", cell=unrolled.GRU, **{**small, "max_updates": 3})
    assert run.source.cell is None and run.settings.net.cell == "gru"
    unrolled.load(run.directory)


def test_a_class_without_a_source_file_trains_and_samples(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    names: dict[str, Any] = {"unrolled": unrolled, "torch": torch, "__name__": "__main__"}
    exec(  # a class as a notebook makes it
        "class Echo(unrolled.Cell):\n"
        "    def step(self, x, h):\n"
        "        h = 0.5 * h + torch.nn.functional.pad(x, (0, h.shape[1] - x.shape[1]))\n"
        "        return h, h\n",
        names,
    )
    run = unrolled.train(text, run=tmp_path / "run", cell=names["Echo"], **{**small, "hidden": 40})
    assert len(run.sample(30, prime="the", seed=1)) == 30
    assert unrolled.load(run.directory, cells={"Echo": names["Echo"]}).num_parameters > 0
    with pytest.raises(UsageError, match="Echo"):
        unrolled.load(run.directory)


def test_an_engine_that_cannot_serve_makes_no_run(text: Path, small: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nope"):
        unrolled.train(text, run=tmp_path / "run", engine="nope", **small)
    assert not (tmp_path / "run").exists()


def test_a_run_directory_with_something_in_it_is_refused(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not empty"):
        unrolled.train(text, run=tmp_path / "run", **small)
    assert (tmp_path / "run" / "thesis.txt").read_text() == "years of work"


def test_a_net_beyond_the_machines_memory_is_refused_before_anything_is_allocated(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    for hidden in (3_000_000, 10**9):
        with pytest.raises(SettingsError, match="lower --hidden"):
            unrolled.train(text, run=tmp_path / "run", **{**small, "hidden": hidden})
    assert not (tmp_path / "run").exists()


def test_too_few_characters_for_the_lanes_make_no_run(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(TextError, match="Lower --lanes"):
        unrolled.train(text, run=tmp_path / "run", **{**small, "lanes": 5000})
    assert not (tmp_path / "run").exists()


def test_a_validation_part_too_small_for_the_lanes_is_read_in_fewer_and_that_is_said(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    notes = Notes()
    unrolled.train(
        text,
        run=tmp_path / "run",
        listener=notes,
        **{**small, "lanes": 40, "split": (0.98, 0.02), "max_updates": 5},
    )
    assert any("validation part" in notice and "lanes, not 40" in notice for notice in notes.notices)


def test_the_diary_depends_on_seed_and_update_alone(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    often = unrolled.train(text, run=tmp_path / "a", **{**small, "sample_every": 5})
    seldom = unrolled.train(text, run=tmp_path / "b", **{**small, "sample_every": 20, "sample_at": (7,)})
    by_update = {e["update"]: e["text"] for e in often.samples.lines()}
    for entry in seldom.samples.lines():
        assert entry["update"] == 7 or by_update[entry["update"]] == entry["text"]
    assert {e["update"] for e in seldom.samples.lines()} >= {7, 20, 40}


def test_every_line_of_the_journals_is_strict_json(text: Path, small: dict[str, Any], tmp_path: Path) -> None:
    run = unrolled.train(text, run=tmp_path / "run", **{**small, "max_updates": 30})
    for name in ("metrics.jsonl", "samples.jsonl"):
        for line in (run.directory / name).read_text(encoding="utf-8").splitlines():
            json.loads(line, parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))


def test_an_operation_without_a_deterministic_form_is_an_error_of_one_line_where_that_is_demanded() -> None:
    def put() -> None:
        torch.zeros(3).put_(torch.tensor([1]), torch.tensor([1.0]))

    with process_settings(TrainingSettings()):
        put()
    with (
        pytest.raises(SettingsError, match=r"^deterministic: .*, but put_ does .* implementation; leave"),
        process_settings(TrainingSettings(deterministic=True)),
    ):
        put()
    with pytest.raises(RuntimeError, match="another"), process_settings(TrainingSettings(deterministic=True)):
        raise RuntimeError("another")


class Unbuilt(unrolled.GatedCell):
    """A cell that nobody has compiled."""

    gates = ("a", "b")

    @staticmethod
    def next_state(a: torch.Tensor, b: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return torch.tanh(a) * torch.sigmoid(b) + 0.5 * state


def test_nothing_is_compiled_while_signals_are_kept_for_later(
    text: Path, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers.serves(torch.zeros(1))
    usual, met = signal.getsignal(signal.SIGTERM), []

    def refuse(*_: Any) -> Any:
        met.append(signal.getsignal(signal.SIGTERM) is usual)
        raise compiler.BuildError("no time")

    monkeypatch.setattr(compiler, "_library", refuse)
    unrolled.train(text, run=tmp_path / "run", **{**small, "cell": Unbuilt, "epochs": 1})
    assert met and all(met)


def test_a_signal_during_the_last_save_is_heard_when_everything_is_saved(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    class Late(Listener):
        def saved(self, checkpoint: Path) -> None:
            if checkpoint.name == "9":
                signal.raise_signal(signal.SIGTERM)

    short = {**small, "epochs": 0, "max_updates": 9}
    with pytest.raises(Interrupted, match="stopped at update 9; go on with: unrolled resume"):
        unrolled.train(text, run=tmp_path / "run", listener=Late(), **short)
    assert unrolled.resume(tmp_path / "run").updates()[0] == 9
