from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unrolled
from unrolled.data import Batch, Window, Windows, reaching
from unrolled.errors import SettingsError, UsageError
from unrolled.net import Chain, Net, chain
from unrolled.net.files import find_net, read_net
from unrolled.settings import Settings, TrainingSettings, resolve
from unrolled.training import Listener
from unrolled.training.learner import Learner
from unrolled.training.lesson import chain_of
from unrolled.training.memory import estimate_memory

fingerprint = runpy.run_path(str(Path(__file__).with_name("fingerprint.py")))["fingerprint"]

V, LANES = 5, 3
IDS = torch.randint(V, (3 * 53 + 2 + 1,), generator=torch.Generator().manual_seed(2))
STARTS = [0, 9, 10, 11, 75, 80, 110]


def windows(length: int) -> Windows:
    """Return windows in lanes of 54, 54 and 53 targets."""
    return Windows(IDS, LANES, length, starts=STARTS)


def whole() -> Window:
    """Return the epoch as one window."""
    return windows(10_000)[0]


@pytest.mark.parametrize("before", [1, 4, 9, 10, 23, 500])
def test_a_window_reaches_back_over_the_steps_before_it_and_says_what_the_next_one_shares(
    before: int,
) -> None:
    all_windows, epoch = windows(10), whole()
    assert epoch.fresh is not None
    begins = 0
    for k in range(len(all_windows)):
        found, start = reaching(all_windows, k, before), max(0, 10 * k - before)
        end = 10 * k + len(all_windows[k].inputs)
        assert found.context == 10 * k - start and begins == start
        assert torch.equal(found.inputs, epoch.inputs[start:end])
        assert torch.equal(found.targets, epoch.targets[start:end])
        fresh = torch.zeros(end - start, LANES, dtype=torch.bool) if found.fresh is None else found.fresh
        assert torch.equal(fresh, epoch.fresh[start:end])
        assert found.lengths is None or found.lengths.tolist() == [54 - start, 54 - start, 53 - start]
        begins = start + len(found.inputs) - found.overlap
    assert begins == 54 and found.lengths is not None


def test_a_part_of_a_window_has_its_marks_and_lengths() -> None:
    x, fresh = torch.randn(9, 3, 2), torch.tensor([True, False, True])
    window = Window(x, x[..., :1], fresh, torch.tensor([9, 4, 0]))
    first, later = window.part(0, 5), window.part(5, 9)
    assert first.fresh is not None and later.fresh is not None and later.lengths is not None
    assert first.fresh[0].tolist() == fresh.tolist() and not first.fresh[1:].any() and not later.fresh.any()
    assert first.lengths is not None and first.lengths.tolist() == [5, 4, 0]
    assert later.lengths.tolist() == [4, 0, 0]
    assert torch.equal(later.inputs, x[5:]) and torch.equal(first.targets, x[:5, :, :1])


class Plain(nn.Module):
    """What the loop by hand trains: torch's own layers, with one bias as ours has."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(V, 6)
        self.out = nn.Linear(6, V)
        nn.init.zeros_(self.lstm.bias_hh_l0.requires_grad_(False))

    def forward(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, state = self.lstm(nn.functional.one_hot(x, V).to(self.out.weight.dtype), state)
        return self.out(y), state


def same_net(plain: Plain) -> Net:
    """Return ours with torch's weights."""
    net = Net(chain(Chain(outputs=V, cell="lstm", layers=1, hidden=6))).double()
    cell = net.cells["lstm1"]
    assert isinstance(cell, unrolled.LSTM)
    cell.load_torch(plain.lstm)
    with torch.no_grad():
        net.get_parameter("layers.logits.x_to_y").copy_(plain.out.weight.T)
        net.get_parameter("layers.logits.bias").copy_(plain.out.bias)
    return net


def grads_of(net: Net) -> list[Tensor]:
    """Return the gradients in the order and layout of torch's parameters."""
    found = [p.grad for p in net.parameters() if p.grad is not None]
    grads = [grad.T if grad.dim() == 2 else grad for grad in found]
    assert len(grads) == 5
    return grads


def by_hand(net: Plain, ids: Tensor, window: int, reach: int, lr: float) -> list[list[Tensor]]:
    """Train by truncated BPTT(window, reach) on ids [N + 1, B], one epoch; return each update's gradients."""
    N, told = len(ids) - 1, []
    saved: dict[int, Any] = {0: None}
    weights = [parameter for parameter in net.parameters() if parameter.requires_grad]
    for begin in range(0, N, window):
        end = min(begin + window, N)
        start = max(0, begin - (reach - window))
        logits, state = [], saved[start]
        for t in range(start, end):
            out, state = net(ids[t : t + 1], state)
            logits.append(out[0])
            saved[t + 1] = tuple(part.detach() for part in state)
        new = torch.stack(logits[begin - start :])
        loss = nn.functional.cross_entropy(new.flatten(0, 1), ids[begin + 1 : end + 1].flatten())
        told.append(list(torch.autograd.grad(loss, weights)))
        with torch.no_grad():
            for weight, grad in zip(weights, told[-1], strict=True):
                weight -= lr * grad
    return told


@pytest.mark.parametrize(("window", "reach"), [(10, 10), (10, 13), (10, 20), (7, 24), (1, 12), (10, 400)])
@pytest.mark.parametrize("recompute", [False, True])
def test_updates_are_those_of_a_loop_by_hand(window: int, reach: int, recompute: bool) -> None:
    torch.manual_seed(3)
    ids, theirs = torch.randint(V, (116, LANES)), Plain().double()
    ours = same_net(theirs)
    cut = [slice(t, min(t + window, 115)) for t in range(0, 115, window)]
    rows = [Window(ids[at], ids[1:][at], None, None) for at in cut]
    learner = Learner(ours, TrainingSettings(optimizer="sgd", clip_norm=0, reach=reach, recompute=recompute))
    for k, expected in enumerate(by_hand(theirs, ids, window, reach, 0.5)):
        learned = learner.learn(reaching(rows, k, reach - window), 0.5)
        assert learned.count == rows[k].targets.numel()
        for grad, wanted in zip(grads_of(ours), expected, strict=True):
            assert (grad - wanted).norm() <= 1e-10 * wanted.norm()


def test_a_gradient_is_that_of_the_explicit_unroll_with_documents_and_lengths() -> None:
    torch.manual_seed(3)
    net = Net(chain(Chain(outputs=V, cell="gru", layers=2, hidden=6))).double()
    learner = Learner(net, TrainingSettings(optimizer="sgd", clip_norm=0, reach=24))
    for k in range(len(windows(10))):
        window, state = reaching(windows(10), k, 14), learner.state
        targets = window.targets.clone()
        targets[: window.context] = -1
        marks: dict[str, Any] = {"fresh": window.fresh, "lengths": window.lengths}
        score, _ = net.judge(window.inputs, targets, state, **marks)
        explicit = torch.autograd.grad(score.total / score.count, list(net.parameters()))
        learned = learner.learn(window, 0.3)
        assert learned.count == score.count == (targets != -1).sum()
        for parameter, wanted in zip(net.parameters(), explicit, strict=True):
            assert parameter.grad is not None
            assert (parameter.grad - wanted).norm() <= 1e-12 * wanted.norm()


def test_recomputed_far_gradients_are_the_plain_ones_to_the_bit_with_dropout() -> None:
    found = []
    for recompute in (False, True):
        torch.manual_seed(3)
        net = Net(chain(Chain(outputs=V, cell="gru", layers=2, hidden=6, dropout=0.3)))
        net.engine = "naive"
        ids = torch.randint(V, (3 * 260,), generator=torch.Generator().manual_seed(4))
        settings = TrainingSettings(reach=190, recompute=recompute, epochs=1)
        unrolled.fit(net, Windows(ids, 3, 80, starts=[0, 100, 300, 301]), settings)
        found.append(net.weights())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


class Crash(Exception):
    """Stands for kill -9: nothing after it is saved."""


class CrashAt(Listener):
    def __init__(self, update: int) -> None:
        self.when = update

    def updated(self, update: int, epoch: float, nats: float) -> None:
        if update == self.when:
            raise Crash


VARIANTS: dict[str, dict[str, Any]] = {
    "lstm with dropout, documents": {"reach": 23, "dropout": 0.3, "boundary": "line"},
    "whole windows before": {"reach": 27, "cell": "gru", "lanes": 30},
    "further than an epoch": {"reach": 10_000, "lanes": 20},
    "the naive engine, recomputed": {
        "window": 30,
        "reach": 100,
        "recompute": True,
        "engine": "naive",
        "lanes": 9,
    },
    "debugged": {"reach": 20, "debug": True, "lanes": 30},
}
"""Of 22 windows an epoch, or of 10 to 16."""


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_killed_twice_and_resumed_equals_one_never_stopped(
    variant: str, text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**small, "lanes": 14, "epochs": 2, **VARIANTS[variant], "checkpoint_every": 3}
    straight = unrolled.train(text, run=tmp_path / "straight", **settings)
    broken = tmp_path / "broken"
    with pytest.raises(Crash):
        unrolled.train(text, run=broken, listener=CrashAt(8), **settings)
    with pytest.raises(Crash):
        unrolled.resume(broken, listener=CrashAt(14))
    unrolled.resume(broken)
    assert fingerprint(broken) == fingerprint(straight.directory)


def test_reaching_back_changes_what_is_learned_and_not_what_is_read(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    found = []
    for reach in (0, 9, 18):
        run = unrolled.train(text, run=tmp_path / str(reach), **{**small, "epochs": 1, "reach": reach})
        found.append(fingerprint(run.directory))
    assert found[0] == found[1] and found[1]["model.safetensors"] != found[2]["model.safetensors"]
    assert [line["epoch"] for line in found[1]["metrics.jsonl"]] == [
        line["epoch"] for line in found[2]["metrics.jsonl"]
    ]


def test_fit_reaches_back_in_windows_of_its_own_and_in_lists_alike() -> None:
    histories = []
    for given in (windows(10), list(windows(10))):
        torch.manual_seed(1)
        net = Net(chain(Chain(outputs=V, layers=1, hidden=6)))
        settings = TrainingSettings(epochs=3, reach=25, report_every=1)
        histories.append(unrolled.fit(net, given, settings))
    assert histories[0] == histories[1]
    torch.manual_seed(1)
    near = unrolled.fit(
        Net(chain(Chain(outputs=V, layers=1, hidden=6))), windows(10), TrainingSettings(epochs=3)
    )
    assert near[-1]["nats"] != histories[0][-1]["nats"]


def test_fit_learns_floats_to_which_only_new_steps_count() -> None:
    torch.manual_seed(1)
    wave = torch.sin(torch.arange(401) / 5).reshape(-1, 1).double()
    net = Net(chain(Chain(inputs=1, outputs=1, cell="rnn", layers=1, hidden=5))).double()
    learner = Learner(net, TrainingSettings(reach=25))
    rows = Windows(wave[:-1], 4, 10, targets=wave[1:])
    assert [learner.learn(reaching(rows, k, 15), 0.01).count for k in range(10)] == [40] * 10


def test_a_reach_below_the_window_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"^--reach: wanted 0, or the 50 steps of a window or more, came 49$"
    ):
        resolve(flags={"reach": 49})
    for given in (windows(10), list(windows(10))):
        with pytest.raises(UsageError, match="reach: wanted 0, or the 10 steps of a window or more, came 9"):
            unrolled.fit(Net(chain(Chain(outputs=V))), given, TrainingSettings(reach=9))


def test_windows_that_cannot_be_reached_back_through_are_refused(tmp_path: Path) -> None:
    net = Net(chain(Chain(outputs=V)))
    rows = list(windows(10))
    rows[0] = rows[0]._replace(lengths=torch.tensor([10, 9, 10]))
    with pytest.raises(UsageError, match="Window 0 of the epoch has lengths, and window 1"):
        unrolled.fit(net, rows, TrainingSettings(reach=12))
    with pytest.raises(UsageError, match="examples are learned whole"):
        unrolled.fit(net, [Batch({}, {}, torch.arange(2))], TrainingSettings(reach=12))
    spec = read_net(find_net("patterns/tags")).spec
    with pytest.raises(UsageError, match="examples are learned whole"):
        unrolled.train((), net=spec, task="tagged", reach=100, run=tmp_path / "run")


def test_the_estimate_of_memory_knows_how_far_gradients_reach() -> None:
    def memory(**flags: Any) -> int:
        settings: Settings = resolve(flags=flags).settings
        return estimate_memory(chain_of(settings, 65), settings, {})[0]

    assert memory(window=50) == memory(window=50, reach=50) < memory(window=50, reach=200)
    assert memory(window=50, reach=200) == memory(window=200)
    assert memory(window=50, reach=2000, recompute=True) == memory(window=2000, recompute=True)
    with pytest.raises(SettingsError, match="lower --hidden, --lanes or --reach, or take --recompute"):
        memory(window=50, reach=10**8)
