"""What SINGA's users could do, one test a requirement."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from unrolled.data import Vocab, Windows
from unrolled.net import Chain, Net, chain
from unrolled.sample import Choice, Stream, draw
from unrolled.settings import TrainingSettings, resolve
from unrolled.training.learner import Learner

TEXT = "int a; for (a = 0; a < 10; a++) { b[a] = a * 3; }\n" * 9
VOCAB = Vocab.of(TEXT)


def make_net(cell: str = "gru", hidden: int = 7) -> Net:
    torch.manual_seed(0)
    return Net(chain(Chain(len(VOCAB), cell=cell, layers=2, hidden=hidden)), VOCAB)


def windows(length: int, lanes: int = 3) -> Windows:
    return Windows(VOCAB.encode(TEXT), lanes, length)


def test_S5_one_one_hot_a_step_is_a_gather_and_never_a_dense_product() -> None:
    net, window = make_net(), windows(5)[0]
    net.engine = "naive"
    widths: list[int] = []
    real = torch.Tensor.__matmul__

    def watched(a: Tensor, b: Tensor) -> Tensor:
        widths.append(a.shape[-1])
        return real(a, b)

    with mock.patch.object(torch.Tensor, "__matmul__", watched):
        logits, _ = net(window.inputs)
    assert set(widths) == {7} and len(VOCAB) != 7
    (dense,) = torch.autograd.grad(logits.sum(), [net.cells["gru1"].x_to_gates])  # type: ignore[list-item]
    seen = set(window.inputs.unique().tolist())
    for row in range(len(VOCAB)):
        assert bool(dense[row].any()) == (row in seen)


def test_S10_the_parameters_do_not_depend_on_the_window_and_their_gradient_sums_over_its_steps() -> None:
    net, window = make_net(), windows(5)[0]
    count = net.num_parameters
    logits, _ = net(window.inputs)
    functional.cross_entropy(logits.flatten(0, 1), window.targets.flatten(), reduction="sum").backward()
    copies = {
        name: [p.detach().clone().requires_grad_() for _ in range(5)] for name, p in net.named_parameters()
    }
    total, state = torch.zeros(()), net.initial_state(3)
    for t in range(5):
        own = {name: own[t] for name, own in copies.items()}
        y, state = torch.func.functional_call(net, own, (window.inputs[t : t + 1], state))
        total = total + functional.cross_entropy(y[0], window.targets[t], reduction="sum")
    total.backward()
    assert net.num_parameters == count
    for name, parameter in net.named_parameters():
        by_hand = torch.stack([copy.grad for copy in copies[name] if copy.grad is not None]).sum(0)
        torch.testing.assert_close(parameter.grad, by_hand, rtol=0, atol=1e-4)


def test_S12_truncated_bptt_carries_the_state_cuts_the_gradient_and_updates_once_a_window() -> None:
    settings = TrainingSettings(optimizer="sgd", lr=0.1, clip_norm=0.0)
    net, twin, pieces = make_net("lstm"), make_net("lstm"), windows(5)
    learner, state = Learner(net, settings), None
    for k in range(4):
        learner.learn(pieces[k], settings.lr)
        logits, state = twin(pieces[k].inputs, state, fresh=pieces[k].fresh)
        state = {name: type(s)(*(part.detach() for part in s)) for name, s in state.items()}
        loss = functional.cross_entropy(logits.flatten(0, 1), pieces[k].targets.flatten())
        with torch.no_grad():
            for p, g in zip(
                twin.parameters(), torch.autograd.grad(loss, list(twin.parameters())), strict=True
            ):
                p -= settings.lr * g
        for a, b in zip(net.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    assert state is not None and any(part.abs().max() > 0.01 for part in state["lstm1"])
    torch.testing.assert_close(learner.state, state, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_S13_sampling_is_stepping_the_cells_by_hand_with_memory_of_all_that_was_said(cell: str) -> None:
    net = make_net(cell).eval()
    first, second = net.cells.values()
    out, choice = net.layers["logits"], Choice(0.8)
    stream = Stream(net, choice, seed=5).prime([2])
    generator = torch.Generator().manual_seed(5)
    id_, low, high = 2, first.initial_state(1), second.initial_state(1)
    for _ in range(300):
        y, low = first.step(torch.tensor([id_]), low)
        y, high = second.step(y, high)
        logits = out(y)[0].detach().double().numpy()
        id_ = draw(logits, float(torch.rand((), dtype=torch.float64, generator=generator)), choice)
        assert next(stream) == id_


def test_S14_the_example_jobs_numbers_are_a_recipe() -> None:
    found = resolve("singa-char-rnn").settings
    net, data, training = found.net, found.data, found.training
    assert (net.cell, net.layers, net.hidden, net.init, net.init_scale) == ("gru", 1, 512, "uniform", 0.08)
    assert (data.lanes, data.window, training.max_updates, training.epochs) == (50, 50, 100_000, 0)
    assert (training.optimizer, training.decay_rate, training.lr) == ("rmsprop", 0.95, 0.002)
    assert (training.clip_value, training.clip_norm) == (5.0, 0.0)
    from unrolled.training.schedules import learning_rate

    for update in (0, 1999, 2000, 3999, 4000, 50_000):
        wanted = 0.002 * 0.97 ** (update // 2000)
        assert learning_rate(training, update, 777, 100_000) == pytest.approx(wanted)
