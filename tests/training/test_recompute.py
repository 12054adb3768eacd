from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import unrolled
from unrolled.data import Batch, Window, Windows
from unrolled.errors import NonFiniteError, SettingsError, UsageError
from unrolled.net import Chain, Edge, Layer, Net, Spec, chain
from unrolled.net.files import find_net, read_net
from unrolled.settings import Settings, TrainingSettings, resolve
from unrolled.training import Listener
from unrolled.training.learner import Learned, Learner
from unrolled.training.lesson import chain_of
from unrolled.training.memory import estimate_memory
from unrolled.training.recompute import chunk_length

fingerprint = runpy.run_path(str(Path(__file__).with_name("fingerprint.py")))["fingerprint"]

V, T = 7, 150
STARTS = [0, 40, 41, 200, 463, 464, 600]
"""Documents start inside chunks and at their borders."""


def text_windows(length: int = T) -> Windows:
    """Return windows in 3 lanes, two whole ones and a last one of 101 steps in which a lane has 100."""
    ids = torch.randint(V, (1202,), generator=torch.Generator().manual_seed(2))
    return Windows(ids, 3, length, starts=STARTS)


class Twice(NamedTuple):
    h: Tensor
    mean: Tensor


class Own(unrolled.Cell):
    """Learns where it starts, draws noise of its own, and has a state of two parts."""

    State = Twice

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.xh_to_h = nn.Linear(input_size + hidden_size, hidden_size)
        self.start = nn.Parameter(torch.randn(hidden_size))

    def initial_state(self, lanes: int) -> Twice:
        return Twice(self.start.expand(lanes, -1), torch.zeros_like(self.start).expand(lanes, -1))

    def step(self, x: Tensor, state: Twice) -> tuple[Tensor, Twice]:
        noise = torch.rand_like(state.h) if self.training else 0.5
        h = torch.tanh(self.xh_to_h(torch.cat([x, state.h], -1)) + noise * state.mean)
        return h * state.mean.cos(), Twice(h, 0.9 * state.mean + 0.1 * h)


SIX = {"size": 6}


def lines() -> Spec:
    """Delay lines longer than a chunk, on ids and on numbers; a loop with dropout in it."""
    layers = (
        Layer("text", "text"),
        Layer("label", "label", (Edge("text", "all"),)),
        Layer("ids", "copy", (Edge("text", "all"),)),
        Layer("older", "copy", (Edge("ids", shift=70),)),
        Layer("x", "embedding", (Edge("older"),), {"width": 3}),
        Layer("hot", "one-hot", (Edge("ids"),)),
        Layer("mix", "linear", (Edge("hot"), Edge("x"), Edge("drop", shift=2), Edge("h", shift=66)), SIX),
        Layer("drop", "dropout", (Edge("h", shift=1),), {"ratio": 0.3}),
        Layer("h", "recurrent", (Edge("mix"),), {"cell": "gru", "hidden": 5}),
        Layer("logits", "linear", (Edge("h"),), {"size": "vocab"}),
        Layer("loss", "softmax-loss", (Edge("logits"), Edge("label"))),
    )  # fmt: skip
    return Spec(layers).with_sizes({"vocab": V})


NETS: dict[str, Spec] = {
    "lstm": chain(Chain(outputs=V, cell="lstm", layers=2, hidden=6)),
    "gru, dropout": chain(Chain(outputs=V, cell="gru", layers=2, hidden=5, dropout=0.4)),
    "lstm, embedding, dropout of it": chain(
        Chain(outputs=V, cell="lstm", layers=1, hidden=6, dropout=0.2, embedding=4, embedding_dropout=0.3)
    ),
    "own": chain(Chain(outputs=V, cell="own.py:Own", layers=1, hidden=6, dropout=0.3)),
    "lines": lines(),
}


class Update(NamedTuple):
    learned: Learned
    grads: dict[str, Tensor]
    state: Any
    random: list[Tensor]


def updates(
    net: nn.Module, windows: Any, recompute: bool, loss: Any = None, before: Any = None
) -> list[Update]:
    """Learn windows one after the other; return what each update left."""
    torch.manual_seed(6)
    settings = TrainingSettings(recompute=recompute, clip_norm=0, optimizer="sgd", lr=0.3)
    learner = Learner(net, settings, loss)
    learner.state, found = before, []
    for window in windows:
        learned = learner.learn(window, 0.3)
        grads = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
        random = [learner.dropout.get_state(), torch.get_rng_state()]
        found.append(Update(learned, grads, learner.state, random))
    return found


def made(name: str, engine: str, dtype: torch.dtype = torch.float32) -> Net:
    torch.manual_seed(4)
    net = Net(NETS[name], cells={"Own": Own}).to(dtype)
    net.engine = engine
    return net


def same_metrics(plain: Update, ours: Update, bound: float) -> None:
    assert ours.learned.count == plain.learned.count and ours.learned.correct == plain.learned.correct
    assert ours.learned.total == pytest.approx(plain.learned.total, rel=bound)


def tensors(state: Any) -> list[Tensor]:
    return list(unrolled.cells.named_tensors(state).values())


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_the_naive_engine_gradients_states_and_random_numbers_are_the_plain_ones_to_the_bit(
    name: str, dtype: torch.dtype
) -> None:
    plain = updates(made(name, "naive", dtype), text_windows(), False)
    ours = updates(made(name, "naive", dtype), text_windows(), True)
    for one, other in zip(plain, ours, strict=True):
        same_metrics(one, other, 1e-14)
        assert one.grads.keys() == other.grads.keys()
        assert all(torch.equal(one.grads[n], other.grads[n]) for n in one.grads)
        states = zip(tensors(one.state), tensors(other.state), strict=True)
        assert all(torch.equal(a, b) for a, b in states)
        assert all(torch.equal(a, b) for a, b in zip(one.random, other.random, strict=True))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_with_the_fastest_engine_gradients_are_the_plain_ones_within_rounding(
    name: str, dtype: torch.dtype, bound: float
) -> None:
    window = text_windows()[1]
    before = unrolled.detach(made(name, "auto", dtype).initial_state(3))
    [plain] = updates(made(name, "auto", dtype), [window], False, before=before)
    [ours] = updates(made(name, "auto", dtype), [window], True, before=before)
    same_metrics(plain, ours, bound)
    assert plain.grads.keys() == ours.grads.keys()
    for n, grad in plain.grads.items():
        assert (ours.grads[n] - grad).norm() <= bound * grad.norm(), n
    for a, b in zip(tensors(plain.state), tensors(ours.state), strict=True):
        assert torch.allclose(a, b, atol=bound)
    assert all(torch.equal(a, b) for a, b in zip(plain.random, ours.random, strict=True))


def test_gradients_are_those_of_the_explicit_unroll() -> None:
    net, window = made("lines", "naive", torch.float64).train(), text_windows()[1]
    state, total = net.initial_state(3), torch.zeros((), dtype=torch.float64)
    net.dropout_generator = torch.Generator().manual_seed(2)
    assert window.fresh is not None
    for t in range(T):
        at = slice(t, t + 1)
        score, state = net.judge(window.inputs[at], window.targets[at], state, fresh=window.fresh[at])
        total = total + score.total
    explicit = torch.autograd.grad(total / (3 * T), list(net.parameters()))

    class Stepwise(Net):
        """Draws its masks step by step, as the loop above does."""

        def judge(self, inputs: Any, targets: Any = None, state: Any = None, **marks: Any) -> Any:
            scores = []
            for t in range(len(inputs)):
                fresh = marks["fresh"][t : t + 1] if marks["fresh"] is not None else None
                at = (inputs[t : t + 1], targets[t : t + 1])
                score, state = super().judge(*at, state, fresh=fresh)
                scores.append(score)
            totals = torch.stack([score.total for score in scores]).sum()
            correct = torch.stack([score.correct for score in scores]).sum()
            return unrolled.training.Score(totals, sum(score.count for score in scores), correct), state

    again = Stepwise(NETS["lines"]).double()
    again.load_weights(net.weights())
    learner = Learner(again, TrainingSettings(recompute=True, clip_norm=0, optimizer="sgd", seed=1))
    learner.state = again.initial_state(3)
    learner.learn(window, 0.0)
    for ours, theirs in zip(again.parameters(), explicit, strict=True):
        assert ours.grad is not None
        assert (ours.grad - theirs).norm() <= 1e-12 * theirs.norm()


class Spy(nn.Module):
    """A net that is none of ours, with dropout of torch's; notes what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = unrolled.GRU(V, 5)
        self.out = nn.Linear(5, V)
        self.calls: list[tuple[int, bool, bool]] = []

    def forward(self, x: Tensor, state: Any = None, **marks: Any) -> tuple[Tensor, Tensor]:
        self.calls.append((len(x), torch.is_grad_enabled(), marks["fresh"] is not None))
        y, state = unrolled.unroll(self.cell, x, state, **marks)
        noise = torch.rand(len(x), 1, 1)  # in order of time
        return self.out(y * noise), state


def test_a_window_is_read_in_chunks_and_read_again_from_its_end() -> None:
    net = Spy()
    updates(net, [text_windows()[0]], True)
    there = [(64, False, True), (64, False, True), (22, False, True)]
    assert net.calls == [*there, *((length, True, marks) for length, _, marks in reversed(there))]


def test_any_module_is_recomputed_with_the_numbers_it_drew_at_first() -> None:
    torch.manual_seed(5)
    one, other = Spy().double(), Spy().double()
    other.load_state_dict(one.state_dict())
    plain, ours = updates(one, text_windows(), False), updates(other, text_windows(), True)
    for a, b in zip(plain, ours, strict=True):
        same_metrics(a, b, 1e-12)
        assert all((b.grads[n] - grad).norm() <= 1e-12 * grad.norm() for n, grad in a.grads.items())
        assert all(torch.equal(x, y) for x, y in zip(a.random, b.random, strict=True))


def test_windows_of_floats_with_lengths_of_their_own_are_recomputed() -> None:
    draw = torch.Generator().manual_seed(8)
    x, y = torch.randn(T, 4, 2, generator=draw).double(), torch.randn(T, 4, 1, generator=draw).double()
    fresh = torch.tensor([True, False, True, True])  # of step 0
    window = Window(x, y, fresh, torch.tensor([T, 70, 64, 0]))
    torch.manual_seed(5)
    one = Net(chain(Chain(inputs=2, outputs=1, cell="lstm", layers=2, hidden=4, dropout=0.2))).double()
    other = Net(one.spec).double()
    other.load_weights(one.weights())
    before = unrolled.cells.map_state(torch.randn_like, one.initial_state(4))
    [plain] = updates(one, [window], False, before=before)
    [ours] = updates(other, [window], True, before=before)
    same_metrics(plain, ours, 1e-12)
    assert plain.learned.count == T + 70 + 64
    for n, grad in plain.grads.items():
        assert (ours.grads[n] - grad).norm() <= 1e-12 * grad.norm(), n


def test_a_window_of_one_chunk_is_not_read_twice() -> None:
    net = Spy()
    updates(net, [text_windows(64)[0]], True)
    assert net.calls == [(64, True, True)]


def test_chunks_are_about_the_root_of_the_window() -> None:
    found = {length: chunk_length(length) for length in (1, 64, 1_000, 10_000, 16_000, 100_000, 1_000_000)}
    assert found == {1: 64, 64: 64, 1_000: 64, 10_000: 128, 16_000: 128, 100_000: 320, 1_000_000: 1024}


def test_masks_of_a_short_window_are_drawn_at_once() -> None:
    net = made("gru, dropout", "auto").train()
    net.dropout_generator = torch.Generator().manual_seed(3)
    state_of = torch.Generator().manual_seed(3)
    outputs, _ = net({"text": torch.randint(V, (50, 3))})
    first = torch.empty(50, 3, 5).bernoulli_(0.6, generator=state_of)
    assert torch.equal(outputs["dropout1"] != 0, first != 0)


def test_a_loss_that_is_not_finite_stops_before_anything_changed() -> None:
    net = made("lstm", "auto")
    weight = next(net.parameters())
    with torch.no_grad():
        weight[0, 0] = float("nan")
    before = {name: p.clone() for name, p in net.named_parameters()}
    with pytest.raises(NonFiniteError, match="is not finite"):
        updates(net, text_windows(), True)
    assert all(torch.equal(p.nan_to_num(7), before[n].nan_to_num(7)) for n, p in net.named_parameters())


def test_a_gradient_that_is_not_finite_in_one_chunk_is_told() -> None:
    def loss(outputs: Tensor, targets: Tensor, lengths: Tensor | None) -> unrolled.training.Score:
        score = unrolled.training.cross_entropy(outputs, targets, lengths)
        cliff = (outputs[:5] - outputs[:5].detach()).abs().sum().sqrt()  # 0, with an infinite slope
        return replace(score, total=score.total + (cliff if len(outputs) < 64 else 0.0))

    net = Spy()
    before = {name: p.clone() for name, p in net.named_parameters()}
    with pytest.raises(NonFiniteError, match="gradient of"):
        updates(net, [text_windows()[0]], True, loss)
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())


def test_fit_recomputes_and_learns_the_same() -> None:
    histories = []
    for recompute in (False, True):
        settings = TrainingSettings(epochs=1, lr=0.02, recompute=recompute, report_every=1)
        histories.append(unrolled.fit(made("gru, dropout", "naive"), text_windows(), settings))
    assert [e["accuracy"] for e in histories[0]] == [e["accuracy"] for e in histories[1]]
    assert [e["nats"] for e in histories[0]] == pytest.approx([e["nats"] for e in histories[1]], rel=1e-14)


class Crash(Exception):
    """Stands for kill -9: nothing after it is saved."""


class CrashAt(Listener):
    def __init__(self, update: int) -> None:
        self.when = update

    def updated(self, update: int, epoch: float, nats: float) -> None:
        if update == self.when:
            raise Crash


LONG = {"recompute": True, "window": 140, "lanes": 4, "epochs": 2, "boundary": "line", "dropout": 0.3}


def test_a_recomputed_run_killed_twice_and_resumed_equals_one_never_stopped(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**small, **LONG, "checkpoint_every": 2, "validate_every": 3}
    straight = unrolled.train(text, run=tmp_path / "straight", **settings)
    broken = tmp_path / "broken"
    with pytest.raises(Crash):
        unrolled.train(text, run=broken, listener=CrashAt(3), **settings)
    with pytest.raises(Crash):
        unrolled.resume(broken, listener=CrashAt(9))
    unrolled.resume(broken)
    assert fingerprint(broken) == fingerprint(straight.directory)


def test_a_recomputed_run_with_the_naive_engine_makes_the_weights_of_a_plain_one(
    text: Path, small: dict[str, Any], tmp_path: Path
) -> None:
    settings = {**small, **LONG, "lanes": 9, "engine": "naive", "validate_every": 1000}
    found = []
    for recompute in (False, True):
        run = unrolled.train(text, run=tmp_path / str(recompute), **{**settings, "recompute": recompute})
        found.append(fingerprint(run.directory)["state.safetensors"])
    assert found[0] == found[1]


def test_examples_are_refused_before_a_run_is_made(tmp_path: Path) -> None:
    spec = read_net(find_net("patterns/tags")).spec
    with pytest.raises(UsageError, match="examples are learned whole; leave them out"):
        unrolled.train((), net=spec, task="tagged", recompute=True, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    batch = Batch({}, {}, torch.arange(2))
    with pytest.raises(UsageError, match="examples are learned whole; leave them out"):
        unrolled.fit(made("lstm", "auto"), [batch], TrainingSettings(recompute=True))


def test_nets_that_cannot_be_cut_are_refused() -> None:
    back = Layer("back", "recurrent", (Edge("hot"),), {"cell": "gru", "hidden": 2, "direction": "backward"})
    whole = Net(Spec((*lines().layers, back)))
    with pytest.raises(UsageError, match="'back' reads a whole sequence, which recompute and reach"):
        Learner(whole, TrainingSettings(recompute=True))
    one, many = Layer("one", "constant", (), {"value": 1.0, "size": 3}, unroll=1), lines().layers
    same = Layer("same", "dropout", (Edge("one"),), {"ratio": 0.5}, unroll=1)
    out = Layer("out", "linear", (Edge("h"), Edge("same", "all")), {"size": V})
    loss = Layer("loss", "softmax-loss", (Edge("out"), Edge("label")))
    with pytest.raises(UsageError, match="'same' drops the same numbers at all steps"):
        Learner(Net(Spec((*many[:-2], one, same, out, loss))), TrainingSettings(recompute=True))


def test_debug_and_recompute_exclude_each_other() -> None:
    with pytest.raises(SettingsError, match="--debug and --recompute: debug needs every step's values"):
        resolve(flags={"debug": True, "recompute": True})


def memory(**flags: Any) -> int:
    settings: Settings = resolve(flags={"hidden": 512, "lanes": 16, **flags}).settings
    return estimate_memory(chain_of(settings, 65), settings, {})[0]


def test_the_estimate_of_memory_knows_of_chunks() -> None:
    plain, ours = memory(window=1000), memory(window=1000, recompute=True)
    assert memory(window=64) == memory(window=64, recompute=True) < ours < plain / 3
    assert ours < memory(window=16_000, recompute=True) < 2.5 * ours


def test_an_advice_for_too_long_a_window_names_recompute() -> None:
    with pytest.raises(SettingsError, match=r"or --window, or take --recompute$"):
        memory(window=10**8)
    with pytest.raises(SettingsError, match=r"or --window$"):
        memory(window=10**8, lanes=10**6, recompute=True)


def test_states_at_borders_hold_on_to_nothing_larger() -> None:
    sizes: list[int] = []

    class LastOfMany(Spy):
        def forward(self, x: Tensor, state: Any = None, **marks: Any) -> tuple[Tensor, Tensor]:
            if state is not None:
                sizes.append(state.untyped_storage().nbytes())
            y, _ = unrolled.unroll(self.cell, x, state, **marks)
            return self.out(y), y[-1]

    updates(LastOfMany(), [text_windows()[0]], True)
    assert sizes == [3 * 3 * 5 * 4] * 4  # of 3 borders together, in 3 lanes of 5 float32
