from __future__ import annotations

from typing import Any

import pytest
import torch

from unrolled import unroll
from unrolled.answering import generate
from unrolled.cells import named_tensors
from unrolled.errors import NetError, UsageError
from unrolled.net import Edge, Layer, Net, Param, Spec, reference

B, T = 3, 6
FLOATS = Layer("x", "floats", (), {"size": 2})


def make(*layers: Layer) -> Net:
    torch.manual_seed(0)
    return Net(Spec(layers)).double()


def rows(n: int, width: int) -> torch.Tensor:
    return torch.randn(n, B, width, dtype=torch.float64)


def recurrent(name: str, *sources: Edge, unroll: Any = None, **settings: Any) -> Layer:
    return Layer(name, "recurrent", sources, {"cell": "lstm", "hidden": 4, **settings}, unroll=unroll)


def assert_near(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


# --- backward layers ---------------------------------------------------------------------------------


def test_the_last_of_a_backward_layer_is_the_state_of_its_last_copy_which_it_walks_first() -> None:
    net = make(
        Layer("s", "floats", (), {"size": 2}, unroll="source"),
        recurrent("up", Edge("s"), unroll="source", direction="backward"),
        FLOATS,
        recurrent("down", Edge("x"), Edge("up", "last")),
    )
    inputs, lengths = {"s": rows(5, 2), "x": rows(T, 2)}, torch.tensor([5, 2, 0])
    assert_near(net(inputs)[0], reference(net, inputs))
    values, _ = net(inputs, lengths={"source": lengths})
    for b, stop in enumerate([5, 2]):
        alone = reference(net, {"s": inputs["s"][:stop, b : b + 1], "x": inputs["x"][:, b : b + 1]})
        assert_near(values["down"][:, b : b + 1], alone["down"])
    nothing_read, _ = unroll(net.cells["down"], inputs["x"][:, 2:])
    assert_near(values["down"][:, 2:], nothing_read)


def test_a_backward_layer_starts_at_its_last_copy_from_the_last_of_another() -> None:
    net = make(
        FLOATS,
        recurrent("first", Edge("x")),
        recurrent("back", Edge("x"), Edge("first", "last"), direction="backward"),
    )
    x, lengths = rows(T, 2), torch.tensor([6, 3, 1])
    assert_near(net({"x": x})[0], reference(net, {"x": x}))
    values, _ = net({"x": x}, lengths=lengths)
    _, state = unroll(net.cells["first"], x, lengths=lengths)
    wanted, _ = unroll(net.cells["back"], x, state, lengths=lengths, reverse=True)
    assert_near(values["back"], wanted)


@pytest.mark.parametrize("sources", [(Edge("a", shift=1),), (Edge("b", shift=1),)])
def test_a_backward_layer_in_a_cycle_is_an_error(sources: tuple[Edge, ...]) -> None:
    with pytest.raises(NetError, match="layer 'a' walks backward and reads what comes of itself"):
        make(
            FLOATS,
            recurrent("a", Edge("x"), *sources, direction="backward"),
            recurrent("b", Edge("a")),
        )


# --- marks, lengths, edges ---------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["auto", "naive"])
def test_a_mark_on_a_padded_step_changes_nothing(engine: str) -> None:
    net = make(
        FLOATS,
        recurrent("a", Edge("x", shift=2), Edge("b", shift=1)),
        recurrent("b", Edge("a")),
        recurrent("alone", Edge("x")),
    )
    net.engine = engine
    x, lengths = rows(T, 2), torch.tensor([6, 3, 0])
    _, start = net({"x": rows(4, 2)})
    fresh = torch.zeros(T, B, dtype=torch.bool)
    fresh[2, 1] = True
    values, state = net({"x": x}, start, lengths=lengths, fresh=fresh)
    fresh[3:, 1] = fresh[1, 2] = fresh[0, 2] = True
    found, other = net({"x": x}, start, lengths=lengths, fresh=fresh)
    assert all(torch.equal(found[name][:3, :2], values[name][:3, :2]) for name in values)
    for name, tensor in named_tensors(state).items():
        assert torch.equal(named_tensors(other)[name], tensor)
        assert torch.equal(tensor[2], named_tensors(start)[name][2])


def test_the_last_of_ids_is_read_by_copy_0_and_no_id_by_the_rest() -> None:
    net = make(
        Layer("s", "ids", (), {"size": 5}, unroll="source"),
        FLOATS,
        Layer("seen", "embedding", (Edge("s", "last"),), {"size": 5, "width": 2}),
        Layer("both", "eltwise", (Edge("seen"), Edge("x"))),
    )
    inputs = {"s": torch.randint(5, (4, B)), "x": rows(T, 2)}
    values, _ = net(inputs, lengths={"source": torch.tensor([4, 1, 0])})
    table = net.layers["seen"].id_to_x
    assert_near(values["seen"][0, 0], table[inputs["s"][3, 0]])
    assert_near(values["seen"][0, 1], table[inputs["s"][0, 1]])
    assert not values["seen"][0, 2].any() and not values["seen"][1:].any()
    assert_near(net(inputs)[0], reference(net, inputs))


def test_ids_from_outside_are_rows_in_the_reference_too() -> None:
    net = make(
        Layer("rows", "embedding", (), {"size": 5, "width": 2}), recurrent("a", Edge("rows"), cell="gru")
    )
    ids = torch.randint(-1, 5, (T, B))
    assert_near(net({"rows": ids})[0], reference(net, {"rows": ids}))


def test_a_net_without_parameters_computes_in_its_own_dtype() -> None:
    net = make(FLOATS, Layer("sum", "eltwise", (Edge("x"), Edge("sum", shift=1, initial=0.3))))
    x = rows(T, 2)
    found, _ = net({"x": x}, net.initial_state(B))
    assert_near(found["sum"], x.cumsum(0) + 0.3)
    assert_near(found, reference(net, {"x": x}))
    assert net.weights() == {}


def text_net() -> Net:
    return make(
        Layer("text", "text", (), {"size": 5}),
        Layer("next", "label", (Edge("text", "all"),)),
        Layer("rows", "one-hot", (Edge("text", "all"),), {"size": 5}),
        recurrent("a", Edge("rows")),
        Layer("logits", "linear", (Edge("a"),), {"size": 5}),
        Layer("loss", "softmax-loss", (Edge("logits"), Edge("next"))),
    )


@pytest.mark.parametrize("engine", ["auto", "naive"])
def test_one_tensor_is_the_case_of_one_input(engine: str) -> None:
    net, ids = text_net(), torch.randint(5, (T + 1, B))
    net.engine = engine
    logits, state = net(ids[:-1])
    values, other = net({"text": ids[:-1], "next": ids[1:]})
    assert torch.equal(values["logits"], logits)
    assert_near(named_tensors(other), named_tensors(state))
    assert_near(net.judge(ids[:-1], ids[1:])[0].total, values["loss"].sum())
    assert_near(values["rows"].argmax(-1), ids[:-1])


@pytest.mark.parametrize("engine", ["auto", "naive"])
def test_marks_given_as_an_input_are_marks(engine: str) -> None:
    layers = (FLOATS, recurrent("a", Edge("x", shift=1), Edge("a", shift=2)))
    plain, net = make(*layers), make(*layers, Layer("goes_on", "continues"), Layer("y", "copy", (Edge("a"),)))
    plain.engine = net.engine = engine
    x, fresh = rows(T, 2), torch.rand(T, B) < 0.4
    wanted, _ = plain({"x": x}, fresh=fresh)
    found, _ = net({"x": x, "goes_on": (~fresh).double()})
    assert fresh[1:].any()
    assert_near(found["y"], wanted["a"])


# --- where a net starts ------------------------------------------------------------------------------


def vector_net() -> Net:
    return make(
        Layer("v", "floats", (), {"size": 4}, unroll=1),
        FLOATS,
        recurrent("a", Edge("x"), Edge("v", "last")),
        Layer("y", "linear", (Edge("a"), Edge("v", "all")), {"size": 3}),
    )


def test_a_cell_that_starts_from_a_vector_does_so_from_the_initial_state_too() -> None:
    net, inputs = vector_net(), {"v": rows(1, 4), "x": rows(T, 2)}
    values, last = net(inputs)
    state = net.initial_state(B)
    pieces = []
    for begin, end in ((0, 2), (2, T)):
        found, state = net({"v": inputs["v"], "x": inputs["x"][begin:end]}, state)
        pieces.append(found["y"])
    assert_near(torch.cat(pieces), values["y"])
    assert_near(named_tensors(state), named_tensors(last))


def test_a_net_that_streams_may_be_started_with_its_vectors_and_go_on_without_them() -> None:
    net, inputs = vector_net(), {"v": rows(1, 4), "x": rows(T, 2)}
    values, _ = net(inputs)
    for engine in ("auto", "naive"):
        net.engine = engine
        state = net.start({"v": inputs["v"]})
        first, state = net({"x": inputs["x"][:2]}, state)
        second, _ = net({"x": inputs["x"][2:]}, state)
        assert_near(torch.cat([first["y"], second["y"]]), values["y"])


def test_a_net_that_reads_its_own_end_through_another_layer_has_no_part_that_streams() -> None:
    net = make(
        FLOATS,
        recurrent("a", Edge("x")),
        Layer("mean", "mean", (Edge("a", "all"),), unroll=1),
        Layer("squeezed", "linear", (Edge("mean"),), {"size": 4}, unroll=1),
        Layer("y", "eltwise", (Edge("a"), Edge("squeezed", "all")), {"operation": "product"}),
    )
    with pytest.raises(UsageError, match="has no part that streams"):
        net.start({"x": rows(T, 2)})


def test_a_decoder_goes_on_though_its_encoder_has_constants_and_dropout() -> None:
    net = make(
        Layer("s", "floats", (), {"size": 2}, unroll="source"),
        Layer("one", "constant", (), {"size": 2, "value": 0.5}, unroll="source"),
        Layer("both", "eltwise", (Edge("s"), Edge("one")), unroll="source"),
        Layer("thin", "dropout", (Edge("both"),), unroll="source"),
        recurrent("up", Edge("thin"), unroll="source"),
        FLOATS,
        recurrent("down", Edge("x"), Edge("up", "last")),
    ).train()
    inputs = {"s": rows(5, 2), "x": rows(T, 2)}
    net.dropout_generator = torch.Generator().manual_seed(3)
    values, _ = net(inputs)
    net.dropout_generator = torch.Generator().manual_seed(3)
    found, _ = net({"x": inputs["x"]}, net.start({"s": inputs["s"]}))
    assert_near(found["down"], values["down"])


def test_layers_may_be_called_what_a_state_holds_besides() -> None:
    net = make(FLOATS, recurrent("age", Edge("x", shift=1)), recurrent("held", Edge("age")))
    x = rows(T, 2)
    values, _ = net({"x": x})
    first, state = net({"x": x[:2]})
    second, _ = net({"x": x[2:]}, state)
    assert_near(torch.cat([first["held"], second["held"]]), values["held"])


def test_a_single_step_carries_layers_beside_the_way_to_the_output() -> None:
    net = make(FLOATS, recurrent("side", Edge("x")), recurrent("main", Edge("x")))
    x = rows(T, 2)
    wanted, last = net(x)
    state = net.initial_state(B)
    for t in range(T):
        y, state = net.step(x[t], state)
        assert_near(y, wanted[t])
    assert_near(named_tensors(state), named_tensors(last))


# --- losses ------------------------------------------------------------------------------------------


def test_a_loss_counts_the_targets_that_its_edges_read() -> None:
    net = make(
        FLOATS,
        Layer("logits", "linear", (Edge("x"),), {"size": 5}),
        Layer("label", "ids", (), {"size": 5}),
        Layer("loss", "softmax-loss", (Edge("logits"), Edge("label", shift=2))),
    )
    x, label = rows(T, 2), torch.randint(5, (T, B))
    label[1, 0] = -1
    later = torch.cat([torch.full((2, B), -1), label[:-2]])
    plain = make(*net.spec.layers[:3], Layer("loss", "softmax-loss", (Edge("logits"), Edge("label"))))
    plain.load_weights(net.weights())
    for lengths in (None, torch.tensor([6, 4, 0])):
        found, _ = net.judge({"x": x, "label": label}, lengths=lengths)
        wanted, _ = plain.judge({"x": x, "label": later}, lengths=lengths)
        assert_near(found.total, wanted.total)
        assert (found.count, found.sequences) == (wanted.count, wanted.sequences)
        assert (int(found.correct), int(found.exact)) == (int(wanted.correct), int(wanted.exact))


def test_a_loss_of_one_copy_judges_the_last_of_a_sequence() -> None:
    net = make(
        FLOATS,
        Layer("logits", "linear", (Edge("x"),), {"size": 5}),
        Layer("label", "ids", (), {"size": 5}, unroll=1),
        Layer("loss", "softmax-loss", (Edge("logits", "last"), Edge("label")), unroll=1),
    )
    x, lengths = rows(T, 2), torch.tensor([6, 4, 1])
    logits = net({"x": x})[0]["logits"]
    label = logits.argmax(-1)[lengths - 1, torch.arange(B)][None].clone()
    score, _ = net.judge({"x": x, "label": label}, lengths=lengths)
    assert (score.count, int(score.correct), score.sequences, int(score.exact)) == (B, B, B, B)


# --- phases ------------------------------------------------------------------------------------------


def test_layers_of_one_name_may_differ_between_phases_where_they_have_no_weights() -> None:
    net = make(
        FLOATS,
        Layer("thin", "dropout", (Edge("x"),), {"ratio": 0.5}, include=("train",)),
        Layer("thin", "activation", (Edge("x"),), {"function": "tanh"}, include=("test",)),
        recurrent("a", Edge("thin")),
    )
    test, x = net.in_phase("test"), rows(T, 2)
    assert test.cells["a"] is net.cells["a"]
    assert_near(test({"x": x})[0]["a"], unroll(net.cells["a"], x.tanh())[0])


def test_layers_with_weights_are_the_same_in_every_phase_or_have_two_names() -> None:
    net = make(
        FLOATS,
        Layer("y", "linear", (Edge("x"),), {"size": 3}, include=("train",)),
        Layer("y", "linear", (Edge("x"),), {"size": 4}, include=("test",)),
    )
    with pytest.raises(NetError, match="layer 'y' has weights, and other settings or sources"):
        net.in_phase("test")


def test_another_phase_keeps_shared_weights_whose_owner_it_adds() -> None:
    share = (Param("x_to_y", "w"), Param("bias", "b"))
    net = make(
        FLOATS,
        Layer("aid", "linear", (Edge("x"),), {"size": 3}, params=share, include=("train",)),
        Layer("y", "linear", (Edge("x"),), {"size": 3}, params=share),
    ).in_phase("test")
    before = {name: weight.clone() for name, weight in net.weights().items()}
    train = net.in_phase("train")
    for name, weight in net.weights().items():
        assert torch.equal(weight, before[name])
    assert {id(p) for p in train.parameters()} == {id(p) for p in net.parameters()}


def test_to_generate_leaves_the_net_to_draw_from_where_it_drew_before() -> None:
    ids, hot = Layer("ids", "copy", (Edge("said", shift=1),)), Layer("hot", "one-hot", (Edge("ids"),))
    logits = Layer("logits", "linear", (Edge("hot"),), {"size": 9})
    net = make(ids, hot, logits, Layer("said", "sample", (Edge("logits"),)))
    before = generate(net, longest=12, seed=5)
    torch.manual_seed(1)
    first = net({}, steps=12)[0]["said"]
    assert generate(net, longest=12, seed=5) == before
    torch.manual_seed(1)
    assert torch.equal(net({}, steps=12)[0]["said"], first)
    net.seed(2)
    drawn = net({}, steps=12)[0]["said"]
    net.seed(2)
    generate(net, longest=3, seed=9)
    assert torch.equal(net({}, steps=12)[0]["said"], drawn)
