"""A run of a net that is no chain, stopped and resumed, equals one never stopped."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import unrolled
from unrolled.errors import UsageError
from unrolled.net import Edge, Layer, Spec
from unrolled.net.files import find_net, read_net
from unrolled.training import Listener

fingerprint = runpy.run_path(str(Path(__file__).with_name("fingerprint.py")))["fingerprint"]


class Crash(Exception):
    """Stands for kill -9: nothing after it is saved."""


class CrashAt(Listener):
    def __init__(self, update: int) -> None:
        self.when = update

    def updated(self, update: int, epoch: float, nats: float) -> None:
        if update == self.when:
            raise Crash


def delays() -> Spec:
    """Delay lines on ids, on numbers and in a loop; dropout in the loop; drawn first values; drawn ids."""
    drawn = {"low": 0, "high": 5, "integer": True}
    layers = [
        Layer("text", "text"),
        Layer("label", "label", (Edge("text", "all"),)),
        Layer("ids", "copy", (Edge("text", "all"),)),
        Layer("older", "copy", (Edge("ids", shift=11, initial=drawn),)),
        Layer("x", "embedding", (Edge("older"),), {"width": 3}),
        Layer("hot", "one-hot", (Edge("ids"),)),
        Layer("mix", "linear", (Edge("hot"), Edge("x"), Edge("drop", shift=2)), {"size": 6}),
        Layer("drop", "dropout", (Edge("h", shift=1),), {"ratio": 0.3}),
        Layer("h", "recurrent", (Edge("mix"),), {"cell": "gru", "hidden": 5}),
        Layer("logits", "linear", (Edge("h"), Edge("said", shift=3)), {"size": "vocab"}),
        Layer("choice", "sample", (Edge("first"),)),
        Layer("first", "linear", (Edge("h"),), {"size": "vocab"}),
        Layer("said", "one-hot", (Edge("choice"),)),
        Layer("loss", "softmax-loss", (Edge("logits"), Edge("label"))),
    ]
    return Spec(tuple(layers))


def shipped(name: str) -> Callable[[], Spec]:
    return lambda: read_net(find_net(name)).spec


SMALL = {
    "report_every": 5, "sample_every": 7, "sample_length": 8, "checkpoint_every": 8, "lanes": 7,
    "split": [0.9, 0.1],
}  # fmt: skip
TEXT = {"window": 9, "epochs": 2, "validate_every": 13, "boundary": "line"}
EXAMPLES = {"task": "reversed-strings", "examples": 200, "epochs": 2, "validate_every": 13}
RUNS: dict[str, tuple[Callable[[], Spec], dict[str, Any]]] = {
    "delay lines": (delays, TEXT),
    "delay lines, the naive engine": (delays, {**TEXT, "engine": "naive", "epochs": 1}),
    "examples in another order each epoch": (shipped("patterns/many-to-many"), EXAMPLES),
    "tags": (shipped("patterns/tags"), {**EXAMPLES, "task": "tagged"}),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_of_a_net_killed_and_resumed_equals_one_never_stopped(
    name: str, text: Path, tmp_path: Path
) -> None:
    make, more = RUNS[name]
    read, settings = text if "task" not in more else (), {**SMALL, **more}
    straight = unrolled.train(read, net=make(), run=tmp_path / "straight", **settings)
    broken = tmp_path / "broken"
    with pytest.raises(Crash):
        unrolled.train(read, net=make(), run=broken, listener=CrashAt(13), **settings)
    with pytest.raises(Crash):
        unrolled.resume(broken, listener=CrashAt(36))
    unrolled.resume(broken)
    assert fingerprint(broken) == fingerprint(straight.directory)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_whose_end_is_moved_equals_one_that_was_meant_to_be_so_long(
    name: str, text: Path, tmp_path: Path
) -> None:
    make, more = RUNS[name]
    read = text if "task" not in more else ()
    settings = {**SMALL, **more, "epochs": 0, "validate_every": 5}
    unrolled.train(read, net=make(), run=tmp_path / "long", max_updates=20, **settings)
    unrolled.train(read, net=make(), run=tmp_path / "moved", max_updates=10, **settings)
    unrolled.resume(tmp_path / "moved", max_updates=20)
    assert fingerprint(tmp_path / "moved") == fingerprint(tmp_path / "long")


def test_a_net_that_reads_the_future_is_refused_a_text_before_anything_is_written(
    text: Path, tmp_path: Path
) -> None:
    spec = delays()
    back = Layer("back", "recurrent", (Edge("hot"),), {"cell": "gru", "hidden": 2, "direction": "backward"})
    with pytest.raises(UsageError, match="'back' reads a whole sequence, and this one is read in windows"):
        unrolled.train(text, net=Spec((*spec.layers, back)), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
