from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import unrolled
from unrolled.cells import BUILT_IN, LINEAR, map_state, named_tensors
from unrolled.errors import CellError, NetError, UsageError
from unrolled.net import Chain, Edge, Layer, Net, Spec, chain
from unrolled.net.layers import Embedding, Linear, OneHot, Shape, settings_of

V, H = 6, 7
CELLS = sorted({**BUILT_IN, **LINEAR})
FAST = {"rnn": "torch", "relu-rnn": "torch", "lstm": "torch", "gru": "torch"} | dict.fromkeys(LINEAR, "scan")
INPUTS = pytest.mark.parametrize("embedding", [0, 5], ids=["one-hot", "embedding"])


class Leaky(unrolled.Cell):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        assert x.dim() == 2 and x.is_floating_point()
        h = 0.9 * h + 0.1 * torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
        return h, h


def make_net(cell: str = "lstm", *, engine: str = "naive", seed: int = 0, **sizes: float) -> Net:
    torch.manual_seed(seed)
    net = Net(chain(Chain(V, cell=cell, layers=2, hidden=H, **sizes)), cells={"Leaky": Leaky})  # type: ignore[arg-type]
    net.engine = engine
    return net


def by_windows(net: Net, x: Tensor, length: int, fresh: Tensor | None = None) -> tuple[Tensor, Any]:
    outputs, state = [], None
    for k in range(0, len(x), length):
        marks = None if fresh is None else fresh[k : k + length]
        y, state = net(x[k : k + length], state, fresh=marks)
        outputs.append(y)
    return torch.cat(outputs), state


@INPUTS
@pytest.mark.parametrize("cell", CELLS)
def test_the_naive_net_is_its_layers_stepped_by_hand(cell: str, embedding: int) -> None:
    net = make_net(cell, embedding=embedding)
    x, (low, high) = torch.randint(V, (9, 3)), net.cells.values()
    logits, state = net(x)
    low_state, high_state = low.initial_state(3), high.initial_state(3)
    table = net.layers["embedding"].id_to_x if embedding else torch.eye(V)
    out = net.layers["logits"]
    for t in range(9):
        y, low_state = low.step(table[x[t]], low_state)
        y, high_state = high.step(y, high_state)
        torch.testing.assert_close(logits[t], y @ out.x_to_y + out.bias)
    for found, wanted in zip(state.values(), (low_state, high_state), strict=True):
        torch.testing.assert_close(found, wanted)


@INPUTS
@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("marked", [False, True], ids=["plain", "fresh"])
def test_steps_windows_of_7_and_the_whole_are_equal_to_the_bit_in_the_naive_engine(
    cell: str, lanes: int, embedding: int, marked: bool
) -> None:
    net = make_net(cell, embedding=embedding)
    x = torch.randint(V, (24, lanes))
    fresh = (torch.rand(24, lanes) < 0.2) if marked else None
    whole, last = net(x, fresh=fresh)
    for length in (1, 7):
        found, state = by_windows(net, x, length, fresh)
        assert torch.equal(found, whole)
        for a, b in zip(named_tensors(state).values(), named_tensors(last).values(), strict=True):
            assert torch.equal(a, b)


@INPUTS
@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_steps_windows_of_7_and_the_whole_agree_in_every_engine(
    cell: str, lanes: int, embedding: int
) -> None:
    net = make_net(cell, embedding=embedding)
    x = torch.randint(V, (24, lanes))
    wanted, last = net(x)
    for engine in (FAST.get(cell, "naive"), "auto"):
        net.engine = engine
        for length in (1, 7, 24):
            found, state = by_windows(net, x, length)
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
            torch.testing.assert_close(state, last, rtol=0, atol=1e-5)


def test_a_net_of_a_users_cell_is_equal_to_the_bit_too() -> None:
    net = make_net("Leaky")
    x = torch.randint(V, (24, 3))
    whole, _ = net(x)
    assert torch.equal(by_windows(net, x, 7)[0], whole)
    assert torch.equal(by_windows(net, x, 1)[0], whole)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_net_has_the_numbers_of_torchs_own_layers(cell: str) -> None:
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    net, twin = make_net(cell), kind(V, H, 2)
    for layer, own in enumerate(net.cells.values()):
        own.load_torch(twin, layer=layer)  # type: ignore[operator]
    x, out = torch.randint(V, (9, 3)), net.layers["logits"]
    y, _ = twin(functional.one_hot(x, V).float())
    torch.testing.assert_close(net(x)[0], y @ out.x_to_y + out.bias, rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ["naive", "torch"])
def test_lengths_and_fresh_go_through_every_layer_of_a_net(engine: str) -> None:
    net = make_net("gru", engine=engine)
    x, lengths = torch.randint(V, (9, 3)), torch.tensor([9, 4, 0])
    fresh = torch.zeros(9, 3, dtype=torch.bool)
    fresh[5, 0] = fresh[2, 1] = True
    start = map_state(torch.randn_like, net.initial_state(3))
    logits, last = net(x, start, fresh=fresh, lengths=lengths)
    for b, parts in enumerate([[(0, 5), (5, 9)], [(0, 2), (2, 4)]]):
        state = map_state(lambda s, b=b: s[b : b + 1], start)
        for number, (begin, end) in enumerate(parts):
            alone, state = net(x[begin:end, b : b + 1], state if number == 0 else None)
            torch.testing.assert_close(logits[begin:end, b : b + 1], alone, rtol=0, atol=1e-5)
        end_state = map_state(lambda s, b=b: s[b : b + 1], last)
        torch.testing.assert_close(end_state, state, rtol=0, atol=1e-5)
    untouched = map_state(lambda s: s[2:], last)
    torch.testing.assert_close(untouched, map_state(lambda s: s[2:], start), rtol=0, atol=0)


def test_fresh_of_one_axis_marks_the_first_step_in_both_engines() -> None:
    net, x = make_net("rnn"), torch.randint(V, (5, 3))
    start = map_state(torch.randn_like, net.initial_state(3))
    for engine in ("naive", "torch"):
        net.engine = engine
        found, _ = net(x, start, fresh=torch.tensor([False, True, False]))
        torch.testing.assert_close(found[:, 1:2], net(x[:, 1:2])[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(found[:, ::2], net(x, start)[0][:, ::2], rtol=0, atol=1e-5)


# --- dropout ----------------------------------------------------------------------------------------


def loss_of(net: Net, engine: str, seed: int) -> Tensor:
    net.engine = engine
    net.dropout_generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed + 100)
    x = torch.arange(27).remainder(V).view(9, 3)
    logits, _ = net(x)
    return functional.cross_entropy(logits.flatten(0, 1), x.flatten())


@INPUTS
@pytest.mark.parametrize("cell", CELLS)
def test_the_engine_cannot_change_what_dropout_drops(cell: str, embedding: int) -> None:
    extra = {"embedding_dropout": 0.3} if embedding else {}
    net = make_net(cell, dropout=0.4, embedding=embedding, **extra).train()
    naive, fast, again, other = (
        loss_of(net, engine, seed)
        for engine, seed in [("naive", 1), (FAST.get(cell, "auto"), 1), ("naive", 1), ("naive", 2)]
    )
    assert torch.equal(naive, again)
    torch.testing.assert_close(fast, naive, rtol=0, atol=1e-5)
    assert abs((other - naive).item()) > 1e-4


def test_dropout_zeroes_its_share_scales_the_rest_and_rests_in_evaluation() -> None:
    net = make_net("rnn", dropout=0.25).train()
    net.dropout_generator = torch.Generator().manual_seed(3)
    values, _ = net({"text": torch.randint(V, (50, 40))})
    for number in (1, 2):
        mask = values[f"dropout{number}"] / values[f"rnn{number}"]
        assert mask.shape == (50, 40, H)
        assert mask.round(decimals=4).unique().tolist() == pytest.approx([0.0, 4 / 3], abs=1e-4)
        assert float((mask == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    plain = make_net("rnn")
    plain.load_state_dict(net.state_dict())
    x = torch.randint(V, (9, 3))
    assert torch.equal(net.eval()(x)[0], plain(x)[0])


def test_dropout_draws_from_its_own_generator_only() -> None:
    net = make_net("lstm", dropout=0.5).train()
    net.dropout_generator = torch.Generator().manual_seed(3)
    before = torch.get_rng_state()
    net(torch.randint(V, (4, 2), generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), before)


# --- inputs -----------------------------------------------------------------------------------------


def test_a_gated_cell_reads_ids_as_a_gather_and_no_dense_one_hot_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net, x = make_net("lstm"), torch.randint(V, (9, 3))
    widths: list[int] = []
    multiply: Callable[..., Tensor] = torch.addmm

    def watched(bias: Tensor, a: Tensor, b: Tensor, **more: object) -> Tensor:
        widths.append(a.shape[-1])
        return multiply(bias, a, b, **more)

    monkeypatch.setattr(torch, "addmm", watched)
    net(x)
    assert widths and set(widths) == {H}, "a product as wide as the vocabulary was made"


@pytest.mark.parametrize("cell", CELLS)
def test_gathered_and_dense_one_hot_give_equal_gradients(cell: str) -> None:
    net, x = make_net(cell), torch.randint(V, (9, 3))
    gathered = torch.autograd.grad(net(x)[0].square().sum(), list(net.parameters()))
    assert isinstance(net.layers["onehot"], OneHot)
    net.layers["onehot"].dense = True
    dense = torch.autograd.grad(net(x)[0].square().sum(), list(net.parameters()))
    torch.testing.assert_close(gathered, dense, rtol=0, atol=1e-4)


def test_a_plain_cell_gets_dense_one_hot_rows_and_none_for_no_id() -> None:
    onehot = make_net("Leaky").layers["onehot"]
    rows = onehot(torch.tensor([[2, -1], [0, 5]]))
    wanted = torch.zeros(2, 2, V)
    wanted[0, 0, 2] = wanted[1, 0, 0] = wanted[1, 1, 5] = 1
    assert torch.equal(rows, wanted)
    double = make_net("Leaky").double()
    assert double(torch.tensor([[2]]))[0].dtype == torch.float64


@INPUTS
def test_no_id_shows_a_net_zeros(embedding: int) -> None:
    net = make_net("gru", embedding=embedding)
    low, high = net.cells.values()
    y, _ = low.step(torch.zeros(1, low.input_size), low.initial_state(1))
    y, _ = high.step(y, high.initial_state(1))
    found, _ = net(torch.tensor([[-1]]))
    torch.testing.assert_close(found, net.layers["logits"](y[None]))


def test_an_embedding_looks_rows_up_and_its_gradient_reaches_those_alone() -> None:
    table = Embedding(settings_of("embedding", {"size": 5, "width": 3}), [])
    rows = table(torch.tensor([[1, 4], [-1, 1]]))
    assert torch.equal(rows[1, 0], torch.zeros(3)) and torch.equal(rows[0, 1], table.id_to_x[4])
    rows.sum().backward()
    assert table.id_to_x.grad is not None
    assert table.id_to_x.grad.sum(1).tolist() == [0, 6, 0, 0, 3]


def test_a_linear_layer_multiplies_and_adds_on_any_number_of_axes() -> None:
    layer = Linear(settings_of("linear", {"size": 3}), [Shape((4,))])
    square = Linear(settings_of("linear", {"size": 3, "bias": False}), [Shape((2, 2))])
    for shape in ((1, 4), (1, 2, 4), (5, 2, 4)):
        x = torch.randn(*shape)
        torch.testing.assert_close(layer(x), x @ layer.x_to_y + layer.bias)
        torch.testing.assert_close(square(x.unflatten(-1, (2, 2))), x @ square.x_to_y)


def test_a_net_reads_floats_where_its_input_is_floats() -> None:
    torch.manual_seed(0)
    net = Net(chain(Chain(outputs=2, inputs=3, cell="gru", layers=1, hidden=5)))
    x = torch.randn(6, 4, 3)
    y, state = net(x)
    assert y.shape == (6, 4, 2) and state["gru1"].shape == (4, 5)


# --- facts and errors -------------------------------------------------------------------------------


def test_a_net_tells_its_cells_its_size_and_its_engines() -> None:
    net = make_net("lstm", engine="auto")
    assert list(net.cells) == ["lstm1", "lstm2"]
    assert net.num_parameters == 4 * H * (V + H + 1) + 4 * H * (H + H + 1) + H * V + V
    assert set(net.engines().values()) <= {"native", "torch"}
    assert make_net("Leaky", engine="auto").engines() == {"leaky1": "naive", "leaky2": "naive"}


def test_an_unknown_cell_is_named_with_the_nearest() -> None:
    with pytest.raises(NetError, match=r"there is no cell 'lstn'; known are .*; did you mean 'lstm'\?"):
        make_net("lstn")


def test_a_cell_of_the_users_own_that_was_not_given_names_the_flag() -> None:
    with pytest.raises(CellError, match=r"which is your code; name it too: --cell my\.py:Other"):
        make_net("my.py:Other")


def test_a_cell_is_found_by_its_full_name_or_by_its_class_alone() -> None:
    assert isinstance(make_net("my.py:Leaky").cells["leaky1"], Leaky)
    full = Net(chain(Chain(V, cell="my.py:Leaky", layers=1)), cells={"my.py:Leaky": Leaky})
    assert isinstance(full.cells["leaky1"], Leaky)


def test_an_unknown_type_of_layer_is_named_with_the_nearest() -> None:
    spec = Spec((Layer("in", "floats", (), {"size": 3}), Layer("out", "liner", (Edge("in"),), {"size": 2})))
    with pytest.raises(
        UsageError, match=r"layer 'out' has the unknown type 'liner'; did you mean 'linear'\?"
    ):
        Net(spec)


def test_ids_of_one_axis_are_refused() -> None:
    with pytest.raises(
        UsageError, match=r"input 'text' wants whole numbers \[T, B\], came torch.int64 \[5\]"
    ):
        make_net()(torch.zeros(5, dtype=torch.long))


def test_an_embedding_that_is_folded_is_there_for_whoever_asks() -> None:
    net, ids = make_net("gru", embedding=5, engine="auto"), torch.randint(0, V, (4, 3))
    [name] = [layer.name for layer in net.spec if layer.type == "embedding"]
    assert net.wiring.foldable == {name}
    text = next(n for n in net.input_names if n not in net.target_names)
    values, _ = net({text: ids})
    assert torch.equal(values[name], net.layers[name](ids))
    values = net.judged_values(ids, ids)
    assert values[name].grad is not None


def test_an_embedding_that_others_read_too_is_not_folded() -> None:
    spec = Spec(
        (
            *(layer for layer in chain(Chain(V, layers=1, hidden=H, embedding=5)) if layer.type != "linear"),
            Layer("more", "linear", (Edge("embedding"),), {"size": V}),
        )
    )
    embedding = next(layer.name for layer in spec if layer.type == "embedding")
    spec = Spec(
        tuple(
            replace(layer, sources=(Edge(embedding),)) if layer.name == "more" else layer
            for layer in spec
            if not layer.type.endswith("loss")
        )
    )
    assert Net(spec).wiring.foldable == set()
