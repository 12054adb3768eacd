from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import unrolled
from unrolled.cells import BUILT_IN, LINEAR, map_state, named_tensors
from unrolled.errors import UsageError
from unrolled.inspection.gradients import gradient_norms
from unrolled.inspection.ruler import Memory, contexts, measure_memory
from unrolled.net import Chain, Edge, Layer, Net, Spec, chain

MakeNet = Callable[..., Net]
V, FAR = 4, 5


class Register(unrolled.Cell):
    """Keeps the last five ids, the newest first, as one-hot rows side by side."""

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Shift by one."""
        h = torch.cat([x, h[:, :-V]], dim=-1)
        return h, h


class Numbers(unrolled.Cell):
    """Keeps the last five ids as whole numbers, through which no gradient goes."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.output_size = V

    def initial_state(self, lanes: int) -> Tensor:
        """Start with no ids."""
        return torch.full((lanes, FAR), -1)

    def step(self, x: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Shift by one; the oldest comes out as a row, of zeros where there is none."""
        kept = torch.cat([x.argmax(-1, keepdim=True), kept[:, :-1]], dim=-1)
        oldest = kept[:, -1:]
        return (oldest == torch.arange(V)).to(x.dtype), kept


def remembering(cell: type[unrolled.Cell], certainty: float = 3.0) -> Net:
    """Return a net that says: after the id of five symbols ago comes the one above it."""
    net = Net(chain(Chain(V, cell="own", layers=1, hidden=FAR * V)), cells={"own": cell})
    out = net.layers["logits"]
    with torch.no_grad():
        out.x_to_y.zero_()  # type: ignore[operator, union-attr]
        out.bias.zero_()  # type: ignore[operator, union-attr]
        out.x_to_y[-V:] = certainty * torch.eye(V).roll(1, 1)  # type: ignore[index]
    return net


def cycling(length: int, seed: int = 0) -> np.ndarray:
    """Return a text whose symbols are one above that of five before, four times of five."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(0, V, length)
    for n in range(FAR, length):
        if draw.random() < 0.8:
            ids[n] = (ids[n - FAR] + 1) % V
    return ids


@pytest.mark.parametrize("cell", [Register, Numbers])
@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_remembers_five_characters_is_found_to_use_five(
    cell: type[unrolled.Cell], seed: int
) -> None:
    memory = measure_memory(
        remembering(cell), cycling(700, seed), longest=90, positions=120, seed=seed, window=16
    )
    assert memory.used == memory.enough == FAR
    assert not memory.is_open
    far = memory.context >= FAR
    np.testing.assert_allclose(memory.excess[far], 0, atol=1e-6)
    assert memory.excess[~far].min() > 0.3
    assert memory.sentence.startswith("Predictions use 5 symbols of context: with 4 the loss is ")
    assert ", with 5 by less than 0.01. " in memory.sentence
    assert memory.sentence.endswith("The training window of 16 was about right.")


def test_the_gradient_of_the_register_ends_after_four_steps() -> None:
    memory = measure_memory(remembering(Register), cycling(500), longest=40, positions=50)
    assert (memory.gradient > 0).tolist() == [k < FAR for k in memory.reach]
    np.testing.assert_allclose(memory.gradient[:4], memory.gradient[0])
    assert memory.fades == FAR
    assert "Gradients fall below a hundredth 5 steps back." in memory.sentence


def test_a_state_of_whole_numbers_has_no_gradients() -> None:
    memory = measure_memory(remembering(Numbers), cycling(300), longest=20, positions=30)
    assert len(memory.reach) == len(memory.gradient) == 0
    assert memory.fades is None
    assert "Gradient" not in memory.sentence


@pytest.mark.parametrize("cell", sorted({**BUILT_IN, **LINEAR}))
@torch.no_grad()
def test_losses_are_those_of_reading_each_context_by_itself(make_net: MakeNet, cell: str) -> None:
    net, ids, longest = make_net(cell).eval(), np.random.default_rng(1).integers(0, 12, 70), 22
    memory = measure_memory(net, ids, longest=longest, positions=5, seed=6)

    def bits(begin: int, place: int) -> float:
        logits, _ = net(torch.from_numpy(ids[begin:place, None]), net.initial_state(1))
        return -torch.log_softmax(logits[-1, 0].double(), -1)[ids[place]].item() / np.log(2)

    whole = {p: bits((p // longest - 1) * longest, p) for p in range(longest, 70)}
    assert memory.whole == pytest.approx(np.mean(list(whole.values())), abs=1e-5)
    places = longest + np.random.default_rng(6).permutation(48)
    for at, k in enumerate(memory.context):
        lost = np.array([bits(p - k, p) - whole[p] for p in places[: int(5 * (longest / k) ** 0.5)]])
        assert memory.excess[at] == pytest.approx(lost.mean(), abs=1e-5)
        assert memory.error[at] == pytest.approx(lost.std(ddof=1) / len(lost) ** 0.5, abs=1e-5)
    np.testing.assert_allclose(memory.bits, memory.whole + memory.excess)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru", "min-lstm"])
def test_gradients_are_those_of_one_long_graph(make_net: MakeNet, cell: str) -> None:
    net, T, B = make_net(cell).double(), 75, 3
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(0.5)
    ids, target = torch.randint(12, (T, B)), torch.randint(12, (B,))
    fresh = torch.zeros(T, B, dtype=torch.bool)
    fresh[T - 40, 1] = True
    reach = np.array([1, 2, 9, 39, 40, 41, 75])
    found = gradient_norms(net, ids, fresh, target, reach)
    state, states = net.initial_state(B), []
    for t in range(T):
        # Clones: a layer's h is its output too, whose way through the layer above is not the state's.
        state = map_state(lambda x: x.clone() if x.requires_grad else x.requires_grad_(), state)
        states.append(state)
        logits, state = net(ids[t : t + 1], state, fresh=fresh[t])
    loss = functional.cross_entropy(logits[-1], target, reduction="sum")
    for row, k in zip(found, reach, strict=True):
        tensors = list(named_tensors(states[T - k]).values())
        grads = torch.autograd.grad(loss, tensors, retain_graph=True, materialize_grads=True)
        norms = torch.cat(grads, -1).norm(dim=-1)
        np.testing.assert_allclose(np.exp(row), norms.numpy(), rtol=1e-9)
    assert (found == -np.inf).tolist() == [[False, bool(k >= 40), False] for k in reach]


def test_nothing_of_the_net_is_changed_and_the_same_seed_gives_the_same(make_net: MakeNet) -> None:
    net, ids = make_net("lstm", dropout=0.5), np.random.default_rng(1).integers(0, 12, 200)
    net.train()
    net.dropout_generator = torch.Generator().manual_seed(4)
    weights = {name: tensor.clone() for name, tensor in net.weights().items()}
    drawn, dropped = torch.get_rng_state(), net.dropout_generator.get_state()
    first = measure_memory(net, ids, longest=30, positions=21, seed=5)
    second = measure_memory(net, ids, longest=30, positions=21, seed=5)
    other = measure_memory(net, ids, longest=30, positions=21, seed=6)
    assert net.training and all(module.training for module in net.modules())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.equal(net.dropout_generator.get_state(), dropped)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in net.weights().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert np.array_equal(first.bits, second.bits) and np.array_equal(first.gradient, second.gradient)
    assert not np.array_equal(first.bits, other.bits)


def test_contexts_cross_no_boundary_of_documents(make_net: MakeNet) -> None:
    net = make_net("gru")
    assert net.vocab is not None
    ids = net.vocab.encode("abc\n" * 50)
    assert measure_memory(net, ids, longest=40, positions=60).excess[5] != 0
    net.boundary = "line"
    memory = measure_memory(net, ids, longest=40, positions=60)
    assert np.abs(memory.excess[memory.context > 3]).max() < 1e-6
    assert memory.gradient[memory.reach > 4].max() == 0


def test_a_net_that_is_no_chain_has_a_memory_too() -> None:
    torch.manual_seed(0)
    net = Net(
        Spec(
            (
                Layer("text", "text", (), {"size": V}),
                Layer("rows", "one-hot", (Edge("text", "all"),), {"size": V}),
                Layer("a", "recurrent", (Edge("rows"), Edge("b", shift=1)), {"cell": "gru", "hidden": 5}),
                Layer("b", "recurrent", (Edge("a"),), {"cell": "lstm", "hidden": 6}),
                Layer("logits", "linear", (Edge("b"),), {"size": V}),
            )
        )
    )
    memory = measure_memory(net, cycling(200), longest=40, positions=20)
    assert (memory.gradient > 0).all()
    assert abs(memory.excess[-1]) < abs(memory.excess[0])


def test_contexts_are_all_up_to_ten_and_then_about_evenly_apart_in_their_logarithm() -> None:
    assert contexts(7).tolist() == [1, 2, 3, 4, 5, 6, 7]
    found = contexts(1000)
    assert found[:10].tolist() == list(range(1, 11))
    assert found[-1] == 1000
    ratios = found[10:] / found[9:-1]
    assert ratios.min() > 1.4 and ratios.max() < 1.52


def memory_of(excess: list[float], error: float, window: int | None, gradient: list[float]) -> Memory:
    K = len(excess)
    steps, above, errors = np.arange(1, K + 1), np.array(excess), np.full(K, error)
    return Memory(steps, 2 + above, above, errors, 2.0, steps, np.array(gradient), window, "char")


SHARP, BLURRED, ENDLESS = [0.9, 0.3, 0.0, 0.0], [0.9, 0.3, 0.02, 0.0], [0.9, 0.8, 0.7, 0.6]


@pytest.mark.parametrize(
    ("excess", "error", "window", "used", "enough", "start", "end"),
    [
        (SHARP, 0.001, 2, 3, 3, "use 3 characters of", "window of 2 was too short: what lies further back"),
        (SHARP, 0.001, 3, 3, 3, "use 3 characters of", "window of 3 was about right."),
        (SHARP, 0.001, 11, 3, 3, "use 3 characters of", "window of 11 was about right."),
        (SHARP, 0.001, 12, 3, 3, "use 3 characters of", "window of 12 was longer than needed."),
        (SHARP, 0.2, None, 2, 4, "use between 2 and 4 characters of", "a hundredth 4 steps back."),
        (BLURRED, 0.001, None, 4, 4, "use 4 characters of", "a hundredth 4 steps back."),
        (BLURRED, 0.004, 2, 4, 4, "use 4 characters of", "too short: what lies further back"),
        (BLURRED, 0.011, 3, 3, 4, "use between 3 and 4 characters of", "of 3 was about right."),
        (ENDLESS, 0.001, 3, 4, 4, "use more than 4 characters of", "too short: what lies further back"),
        (ENDLESS, 0.001, 4, 4, 4, "use more than 4 characters of", "a hundredth 4 steps back."),
        (
            [0.005, 0.0],
            0.0,
            5,
            1,
            1,
            "use 1 character of context: with 2 they are no better.",
            "than needed.",
        ),
        ([-0.5, 0.0], 0.1, 5, 1, 2, "use between 1 and 2 characters of", "of 5 was about right."),
    ],
)
def test_the_sentence_tells_what_is_used_and_whether_the_window_fits(
    excess: list[float], error: float, window: int | None, used: int, enough: int, start: str, end: str
) -> None:
    memory = memory_of(excess, error, window, [1, 0.3, 0.1, 0.005][-len(excess) :])
    assert (memory.used, memory.enough) == (used, enough)
    assert memory.sentence.startswith(f"Predictions {start}")
    assert memory.sentence.removesuffix(" still changes predictions.").endswith(end)
    assert "\n" not in memory.sentence


def test_gradients_that_never_fade_are_said_to_reach_on() -> None:
    memory = memory_of([1.0, 0.0, 0.0], 0.0, None, [1.0, 0.001, 0.5])
    assert memory.fades is None
    assert memory.sentence.endswith("Gradients reach back 3 steps and more.")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"longest": 60, "positions": 50}, "need 110 ids, came 100; give more text"),
        ({"longest": 0}, "longest: wanted a whole number of at least 1"),
        ({"longest": 9, "positions": 1}, "positions: wanted"),
    ],
)
def test_sizes_that_do_not_fit_the_text_are_refused_in_one_line(
    make_net: MakeNet, sizes: dict[str, int], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as error:
        measure_memory(make_net(), [1] * 100, **sizes)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
