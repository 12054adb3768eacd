from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unrolled.cells import BUILT_IN, GRU, LINEAR, LSTM, GatedCell, MinGRU, named_tensors
from unrolled.data import Vocab
from unrolled.errors import UsageError
from unrolled.inspection import recording
from unrolled.inspection.recording import record
from unrolled.net import Chain, Edge, Layer, Net, Spec, State, chain

MakeNet = Callable[..., Net]
T, V = 41, 12
EDGE, TEXT = Edge("text", "all"), Layer("text", "text", (), {"size": V})
ROWS = Layer("rows", "one-hot", (EDGE,), {"size": V})


def some_ids(length: int = T, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, V, length)


def recurrent(name: str, *sources: Edge, cell: str = "gru", **settings: Any) -> Layer:
    return Layer(name, "recurrent", sources, {"cell": cell, "hidden": 5, **settings})


def logits(*sources: Edge) -> Layer:
    return Layer("logits", "linear", sources, {"size": V})


def make(*layers: Layer) -> Net:
    torch.manual_seed(1)
    return Net(Spec((TEXT, ROWS, *layers)), Vocab.of("abc de\nfgh ij\n"))


def step_by_step(net: Net, ids: np.ndarray, state: State | None = None) -> tuple[torch.Tensor, list[State]]:
    """Return logits [T, V] and the states after each step."""
    state, outputs, states = state or net.initial_state(1), [], []
    for id_ in ids:
        y, state = net.step(torch.tensor([id_]), state)
        outputs.append(y)
        states.append(state)
    return torch.cat(outputs), states


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_BLOCK", 7)


@pytest.mark.parametrize("cell", [*sorted({**BUILT_IN, **LINEAR}), "own.py:Leaky"])
@pytest.mark.parametrize("embedding", [0, 3], ids=["one-hot", "embedding"])
@torch.no_grad()
def test_states_are_those_of_the_net_stepped_by_hand_to_the_bit(
    make_net: MakeNet, short_blocks: None, cell: str, embedding: int
) -> None:
    net = make_net(cell, embedding=embedding).eval()
    ids = some_ids()
    found = record(net, ids)
    _, states = step_by_step(net, ids)
    fields = 0
    for t, state in enumerate(states):
        for name, tensor in named_tensors(state).items():
            name = name if name in found.series else f"{name}.h"
            assert torch.equal(torch.from_numpy(found.series[name][t]), tensor[0]), (name, t)
            fields += 1
    assert fields == T * sum(not found.is_gate(name) for name in found.series)


@torch.no_grad()
def test_surprise_and_guesses_are_those_of_the_logits(make_net: MakeNet, short_blocks: None) -> None:
    net, ids = make_net(), some_ids()
    found = record(net, ids, top=4)
    outputs, _ = step_by_step(net.eval(), ids)
    nats = torch.log_softmax(outputs, -1)
    assert np.isnan(found.surprise[0])
    bits = -nats[torch.arange(T - 1), torch.from_numpy(ids[1:])] / np.log(2)
    np.testing.assert_allclose(found.surprise[1:], bits.numpy(), rtol=0, atol=1e-5)
    likeliest = nats.topk(4)
    assert np.array_equal(found.guesses, likeliest.indices.numpy())
    np.testing.assert_allclose(found.probabilities, likeliest.values.exp().numpy(), rtol=1e-5)


def test_of_equally_likely_guesses_the_lowest_ids_come_first(make_net: MakeNet) -> None:
    net = make_net()
    with torch.no_grad():
        for parameter in net.layers["logits"].parameters():
            parameter.zero_()
        net.layers["logits"].bias[7] = 1  # type: ignore[index]
    found = record(net, some_ids(), top=5)
    assert found.guesses.tolist() == [[7, 0, 1, 2, 3]] * T


def test_there_are_no_more_guesses_than_ids(make_net: MakeNet) -> None:
    found = record(make_net(), some_ids(), top=99)
    assert found.guesses.shape == found.probabilities.shape == (T, V)
    np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-6)


@torch.no_grad()
def test_an_lstms_gates_make_its_states(make_net: MakeNet, short_blocks: None) -> None:
    found = record(make_net("lstm"), some_ids())
    for layer in ("lstm1", "lstm2"):
        i, f, g, o, h, c = (found.series[f"{layer}.{part}"] for part in ("i", "f", "g", "o", "h", "c"))
        before = np.concatenate([np.zeros_like(c[:1]), c[:-1]])
        np.testing.assert_allclose(f * before + i * g, c, atol=1e-6)
        np.testing.assert_allclose(o * np.tanh(c), h, atol=1e-6)
    assert found.layers == ["lstm1", "lstm2"]
    told = {name: kind for name, kind in found.activations.items() if name.startswith("lstm1.")}
    assert told == {"lstm1.i": "sigmoid", "lstm1.f": "sigmoid", "lstm1.g": "tanh", "lstm1.o": "sigmoid"}
    assert list(found.series)[:6] == ["lstm1.h", "lstm1.c", "lstm1.i", "lstm1.f", "lstm1.g", "lstm1.o"]


def test_a_grus_gates_make_its_states(make_net: MakeNet) -> None:
    found = record(make_net("gru", layers=1), some_ids())
    z, n, h = (found.series[f"gru1.{part}"] for part in ("z", "n", "h"))
    before = np.concatenate([np.zeros_like(h[:1]), h[:-1]])
    np.testing.assert_allclose((1 - z) * n + z * before, h, atol=1e-6)
    assert found.activations == {
        "gru1.r": "sigmoid",
        "gru1.z": "sigmoid",
        "gru1.n": "tanh",
        "gru1.n_h": "",
    }


class Slow(GatedCell):
    """Has a gate of the state's own name."""

    gates = ("h",)

    @staticmethod
    def next_state(h: Tensor, state: Tensor) -> Tensor:
        """Go half of the way."""
        return 0.5 * state + 0.5 * torch.tanh(h)


def test_a_gate_of_the_states_own_name_is_told_from_it() -> None:
    torch.manual_seed(5)
    found = record(Net(chain(Chain(V, cell="own", layers=1, hidden=6)), cells={"own": Slow}), some_ids())
    h, gate = found.series["own1.h"], found.series["own1.gate_h"]
    np.testing.assert_allclose(0.5 * h[:-1] + 0.5 * gate[1:], h[1:], atol=1e-6)
    assert found.activations == {"own1.gate_h": "tanh"}
    assert list(found.series) == ["own1.h", "own1.gate_h"]


def test_going_on_from_a_recordings_state_is_never_having_stopped(make_net: MakeNet) -> None:
    net, ids = make_net("gru"), some_ids()
    whole, first = record(net, ids), record(net, ids[:17])
    kept = {name: tensor.clone() for name, tensor in named_tensors(first.state).items()}
    second = record(net, ids[17:], state=first.state)
    for name, values in whole.series.items():
        parts = np.concatenate([first.series[name], second.series[name]])
        if whole.is_gate(name):
            np.testing.assert_allclose(parts, values, atol=1e-6)
        else:
            assert np.array_equal(parts, values), name
    assert all(torch.equal(kept[name], tensor) for name, tensor in named_tensors(first.state).items())
    assert np.array_equal(whole.surprise[18:], second.surprise[1:])
    assert np.isnan(second.surprise[0])


def test_nothing_of_the_net_is_changed(make_net: MakeNet) -> None:
    net = make_net(dropout=0.5, embedding=3)
    net.train()
    net.layers["lstm2"].eval()
    net.dropout_generator = torch.Generator().manual_seed(4)
    weights = {name: tensor.clone() for name, tensor in net.weights().items()}
    modes = [module.training for module in net.modules()]
    drawn, dropped = torch.get_rng_state(), net.dropout_generator.get_state()
    numbers, steps = np.random.get_state()[1].copy(), [vars(cell).copy() for cell in net.cells.values()]  # type: ignore[union-attr]
    first, second = record(net, some_ids()), record(net, some_ids())
    assert [module.training for module in net.modules()] == modes
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.equal(net.dropout_generator.get_state(), dropped)
    assert np.array_equal(np.random.get_state()[1], numbers)  # type: ignore[arg-type]
    assert all(torch.equal(tensor, weights[name]) for name, tensor in net.weights().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert [vars(cell).keys() for cell in net.cells.values()] == [before.keys() for before in steps]
    assert all(np.array_equal(first.series[name], second.series[name]) for name in first.series)


@pytest.mark.parametrize("chain_", [True, False], ids=["chain", "circle"])
def test_a_net_is_put_back_also_after_an_error(
    make_net: MakeNet, monkeypatch: pytest.MonkeyPatch, chain_: bool
) -> None:
    net = make_net("lstm") if chain_ else make(*NETS["a circle"])
    net.train()

    def failing(*_: Any) -> Any:
        torch.rand(1)
        raise RuntimeError("no next state")

    drawn = torch.get_rng_state()
    monkeypatch.setattr(LSTM, "next_state", staticmethod(failing))
    with pytest.raises(RuntimeError, match="no next state"):
        record(net, some_ids())
    assert net.engine == "auto" and all(module.training for module in net.modules())
    assert not any("step" in vars(cell) for cell in net.cells.values())
    assert torch.equal(torch.get_rng_state(), drawn)


NETS = {
    "a shift": (
        recurrent("a", Edge("rows")),
        recurrent("b", Edge("a", shift=2), cell="lstm"),
        logits(Edge("b")),
    ),
    "two ways": (
        recurrent("a", Edge("rows"), cell="lstm"),
        recurrent("b", Edge("rows"), cell="min-gru"),
        logits(Edge("a"), Edge("b")),
    ),
    "a circle": (
        recurrent("a", Edge("rows"), Edge("b", shift=1), cell="lstm"),
        recurrent("b", Edge("a")),
        logits(Edge("b")),
    ),
}


@pytest.mark.parametrize("layers", NETS.values(), ids=NETS)
@torch.no_grad()
def test_a_net_that_is_no_chain_is_recorded_as_it_goes_step_by_step(
    short_blocks: None, layers: tuple[Layer, ...]
) -> None:
    net, ids = make(*layers).eval(), some_ids()
    assert net.straight is None and net.engine == "auto"
    found = record(net, ids)
    assert net.engine == "auto"
    net.engine = "naive"
    _, states = step_by_step(net, ids)
    assert found.layers == ["a", "b"]
    for name, cell in net.cells.items():
        for t, state in enumerate(states):
            for field, tensor in named_tensors(state[name]).items():
                assert np.array_equal(found.series[f"{name}.{field or 'h'}"][t], tensor[0].numpy())
        gates = {gate for gate in found.activations if found.layer_of[gate] == name}
        wanted = {LSTM: "ifgo", GRU: ("r", "z", "n", "n_h"), MinGRU: ""}[type(cell)]
        assert gates == {f"{name}.{gate}" for gate in wanted}
        if type(cell) is LSTM:
            i, f, g, c = (found.series[f"{name}.{part}"] for part in "ifgc")
            np.testing.assert_allclose(f[1:] * c[:-1] + i[1:] * g[1:], c[1:], atol=1e-6)


def test_documents_start_anew_as_in_a_stream(make_net: MakeNet) -> None:
    net = make_net("gru", layers=1)
    net.boundary = "line"
    assert net.vocab is not None
    first, second = net.vocab.encode("abc\n"), net.vocab.encode("de fgh")
    whole, alone = record(net, np.concatenate([first, second])), record(net, second)
    assert np.array_equal(whole.series["gru1.h"][4:], alone.series["gru1.h"])
    assert np.isfinite(whole.surprise[4])


@pytest.mark.parametrize(
    ("ids", "starts"),
    [
        ("ababab", [2, 4]),
        ("aababb", [3, 5]),
        ("abaab", [2]),
        ("b", []),
    ],
)
def test_a_boundary_of_two_chars_ends_documents_wherever_it_stands(
    make_net: MakeNet, ids: str, starts: list[int]
) -> None:
    from unrolled.inspection.reading import document_starts

    net = make_net()
    net.boundary = "ab"
    assert net.vocab is not None
    assert np.flatnonzero(document_starts(net, net.vocab.encode(ids))).tolist() == starts


def test_a_boundary_longer_than_the_text_ends_nothing(make_net: MakeNet) -> None:
    net = make_net()
    net.boundary = "abcde"
    assert net.vocab is not None
    assert len(record(net, net.vocab.encode("ab")).symbols) == 2


def test_symbols_are_shown_as_chars_bytes_or_numbers(make_net: MakeNet) -> None:
    torch.manual_seed(2)
    net = make_net()
    assert net.vocab is not None
    assert record(net, net.vocab.encode("de\na")).symbols == ["d", "e", "\n", "a"]
    of_bytes = Net(chain(Chain(256, hidden=3, layers=1)), Vocab.bytes())
    assert record(of_bytes, list("aé".encode())).symbols == ["a", "\\xc3", "\\xa9"]
    assert record(Net(chain(Chain(12, hidden=3))), [11, 0]).symbols == ["11", "0"]


def test_double_precision_is_recorded_as_floats(make_net: MakeNet) -> None:
    found = record(make_net().double(), some_ids())
    assert {values.dtype for values in found.series.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("abc", "came a text; call net.vocab.encode"),
        ([], "at least one, came"),
        ([[1, 2]], r"whole ids \[T\]"),
        ([0.5], "came float64"),
        ([3, 12, 4], "ids from 0 to 11, came 12 at position 1"),
        ([3, -1], "came -1 at position 1"),
    ],
)
def test_what_is_no_text_of_this_net_is_refused_in_one_line(
    make_net: MakeNet, ids: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as error:
        record(make_net(), ids)
    assert "\n" not in str(error.value)


def test_a_state_of_two_lanes_or_of_another_net_is_refused(make_net: MakeNet) -> None:
    net = make_net()
    with pytest.raises(UsageError, match="for one lane"):
        record(net, some_ids(), state=net.initial_state(2))
    with pytest.raises(UsageError, match="absent"):
        record(net, some_ids(), state=make_net("gru").initial_state(1))


def test_nets_that_need_whole_sequences_or_more_than_a_text_are_refused() -> None:
    whole = make(recurrent("a", Edge("rows"), direction="backward"), logits(Edge("a")))
    with pytest.raises(UsageError, match="whole sequences at once"):
        record(whole, some_ids())
    mood = Layer("mood", "floats", (), {"size": 2})
    with pytest.raises(UsageError, match="reads text, mood"):
        record(make(mood, recurrent("a", Edge("rows"), Edge("mood")), logits(Edge("a"))), some_ids())
    with pytest.raises(UsageError, match="a logit for each"):
        record(Net(chain(Chain(3, inputs=4))), some_ids())


@pytest.mark.parametrize("top", [0, -1, True, 2.0])
def test_a_number_of_guesses_below_one_is_refused(make_net: MakeNet, top: Any) -> None:
    with pytest.raises(UsageError, match="top: wanted 1 guess"):
        record(make_net(), some_ids(), top=top)
