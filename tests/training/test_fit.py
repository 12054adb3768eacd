from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import unrolled
from unrolled.data import Corpus, Vocab, Window, Windows, binary_addition, lane_bounds, padded
from unrolled.errors import UsageError
from unrolled.net import Chain, Net, chain
from unrolled.settings import TrainingSettings
from unrolled.training import cross_entropy, euclidean, evaluate, evaluate_text
from unrolled.training.evaluation import shortened_context
from unrolled.training.schedules import learning_rate


def test_fit_trains_a_chain_on_floats_to_add_binary_numbers_of_any_length() -> None:
    draw = torch.Generator().manual_seed(3)
    windows = []
    for _ in range(20):
        x, y = binary_addition(8, 40, draw)
        fresh = torch.zeros(x.shape[:2], dtype=torch.bool)
        fresh[0] = True
        windows.append(Window(x, y, fresh, None))
    torch.manual_seed(1)
    net = Net(chain(Chain(outputs=1, inputs=2, cell="rnn", layers=1, hidden=6)))
    settings = TrainingSettings(epochs=30, lr=0.02, optimizer="adam", report_every=100)
    history = unrolled.fit(net, windows, settings)
    assert history[-1]["accuracy"] == 1.0 and history[-1]["nats"] < history[0]["nats"] / 3
    long_x, long_y = binary_addition(64, 9, draw)
    outputs, _ = net.eval()(long_x)
    assert torch.equal(outputs.detach().round(), long_y)


class OwnNet(nn.Module):
    """A net that is none of ours: one cell, one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = unrolled.GRU(5, 7)
        self.out = nn.Linear(7, 5)

    def forward(
        self,
        x: Tensor,
        state: Tensor | None = None,
        *,
        fresh: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        y, state = unrolled.unroll(self.cell, x, state, fresh=fresh, lengths=lengths)
        return self.out(y), state


def test_fit_trains_any_module_that_takes_and_returns_a_state() -> None:
    ids = torch.arange(203) * 2 % 5
    history = unrolled.fit(
        OwnNet(),
        Windows(ids, lanes=3, length=11),
        TrainingSettings(epochs=25, lr=0.02, report_every=0),
        validation=Windows(ids[:50], lanes=2, length=7),
    )
    assert [e["kind"] for e in history].count("validation") == 25
    assert history[-1]["accuracy"] == 1.0


def test_fit_carries_state_within_an_epoch_and_cuts_the_gradient_between_windows() -> None:
    seen: list[tuple[Tensor | None, bool]] = []

    class Spy(OwnNet):
        def forward(
            self, x: Tensor, state: Tensor | None = None, **more: Tensor | None
        ) -> tuple[Tensor, Tensor]:
            seen.append((state, state is not None and state.requires_grad))
            return super().forward(x, state, **more)

    unrolled.fit(Spy(), Windows(torch.arange(100) % 5, 3, 10), TrainingSettings(epochs=2))
    assert [state is None for state, _ in seen] == [True, False, False, False] * 2
    assert not any(attached for _, attached in seen)


def test_fit_without_a_window_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one window"):
        unrolled.fit(OwnNet(), [])


def test_cross_entropy_counts_real_targets_only() -> None:
    logits, targets = torch.randn(4, 3, 5, dtype=torch.float64), torch.randint(5, (4, 3))
    lengths = torch.tensor([4, 1, 2])
    real = torch.arange(4)[:, None] < lengths
    targets = torch.where(real, targets, -1)
    score = cross_entropy(logits, targets, lengths)
    rows = logits[real].log_softmax(-1)
    assert score.count == 7
    assert score.total.item() == pytest.approx(
        -sum(r[t].item() for r, t in zip(rows, targets[real], strict=True))
    )
    assert int(score.correct) == int((rows.argmax(-1) == targets[real]).sum())


def test_euclidean_is_half_the_squared_distance_of_real_targets() -> None:
    outputs, targets = torch.randn(4, 3, 2, dtype=torch.float64), torch.randn(4, 3, 2, dtype=torch.float64)
    score = euclidean(outputs, targets, torch.tensor([4, 0, 3]))
    real = [(t, b) for b, n in enumerate((4, 0, 3)) for t in range(n)]
    assert score.count == 7
    assert score.total.item() == pytest.approx(
        sum(((outputs[i] - targets[i]) ** 2).sum().item() / 2 for i in real)
    )


def test_padding_changes_neither_loss_nor_gradient_of_variable_length_sequences() -> None:
    torch.manual_seed(4)
    net = OwnNet().double()
    pieces = [torch.randint(5, (n,)) for n in (3, 6, 1)]
    inputs, lengths = padded([p[:-1] if len(p) > 1 else p for p in pieces])
    targets, _ = padded([p[1:] if len(p) > 1 else p for p in pieces], fill=-1)
    outputs, _ = net(inputs, lengths=lengths)
    cross_entropy(outputs, targets, lengths).total.backward()
    together = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    net.zero_grad()
    for b, n in enumerate(lengths.tolist()):
        outputs, _ = net(inputs[:n, b : b + 1])
        cross_entropy(outputs, targets[:n, b : b + 1]).total.backward()
    apart = [p.grad for p in net.parameters() if p.grad is not None]
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(together, apart, strict=True))


def rates(updates: int, per_epoch: int = 10, total: int = 100, **settings: object) -> list[float]:
    made = TrainingSettings(**{"lr": 2.0, **settings})  # type: ignore[arg-type]
    return [learning_rate(made, update, per_epoch, total) for update in range(updates)]


def test_step_multiplies_after_so_many_epochs_and_then_each_so_many() -> None:
    found = rates(50, schedule="step", decay_factor=0.5, decay_after=2, decay_every=1)
    assert found == [2.0] * 20 + [1.0] * 10 + [0.5] * 10 + [0.25] * 10


def test_step_in_updates_is_singas_rule() -> None:
    found = rates(30, schedule="step", decay_factor=0.97, decay_every=7, decay_unit="update")
    assert found == pytest.approx([2.0 * 0.97 ** (u // 7) for u in range(30)])


def test_exponential_linear_and_cosine_follow_their_formulas() -> None:
    half = rates(30, schedule="exponential", decay_factor=0.5, decay_every=6, decay_unit="update")
    assert half == pytest.approx([2.0 / 2 ** (u / 6) for u in range(30)])
    linear = rates(101, schedule="linear", final_lr=0.5)
    assert (linear[0], linear[50], linear[100]) == (2.0, 1.25, 0.5)
    cosine = rates(101, schedule="cosine", final_lr=0.5)
    assert cosine == pytest.approx([0.5 + 1.5 * (1 + math.cos(math.pi * u / 100)) / 2 for u in range(101)])


def test_warm_up_rises_to_the_schedule() -> None:
    assert rates(6, warmup=4) == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_a_window_changes_nothing_in_an_evaluation_and_lanes_shorten_context() -> None:
    text = "abcab bca\n" * 40 + "cab"
    torch.manual_seed(6)
    vocab = Vocab.of("abc \n")
    net = Net(chain(Chain(outputs=5, cell="lstm", layers=2, hidden=9)), vocab).eval()
    corpus = Corpus.from_text(text, vocab=vocab)
    whole = evaluate_text(net, corpus, window=1000)
    for window in (1, 7, 256):
        found = evaluate_text(net, corpus, window=window)
        assert found.nats_per_char == pytest.approx(whole.nats_per_char, rel=1e-6)
        assert (found.chars, found.accuracy, found.shortened) == (402, whole.accuracy, 0)
    assert evaluate_text(net, corpus, lanes=3).shortened == 2 * 134


def test_a_document_that_starts_with_a_lane_has_lost_nothing() -> None:
    corpus = Corpus.from_text("aab\nbba\nabb\nbab\n" * 4, boundary="line")
    assert shortened_context(corpus, 1) == 0
    for lanes in (2, 3, 5):
        expected = 0
        for start, stop in lane_bounds(63, lanes)[1:]:
            at = start
            while at < stop and at % 4:
                at += 1
            expected += at - start
        assert shortened_context(corpus, lanes) == expected


def test_bits_per_byte_counts_the_bytes_of_what_was_predicted(tmp_path: Path) -> None:
    corpus = Corpus.from_text("éa€a")
    net = Net(chain(Chain(outputs=3, layers=1, hidden=4)), corpus.vocab).eval()
    found = evaluate_text(net, corpus)
    assert found.chars == 3
    assert found.bits_per_byte == pytest.approx(found.bits_per_char * 3 / 5)
    assert found.bits_per_char == pytest.approx(found.nats_per_char / math.log(2))


def test_evaluation_draws_no_random_numbers_and_leaves_the_mode_alone() -> None:
    net = Net(chain(Chain(outputs=5, hidden=9, dropout=0.5))).train()
    windows = Windows(torch.arange(40) % 5, 3, 4)
    before = torch.get_rng_state()
    first, second = evaluate(net, windows), evaluate(net, windows)
    assert first == second and net.training and torch.equal(before, torch.get_rng_state())
