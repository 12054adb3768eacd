from __future__ import annotations

import itertools
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data import Window
from unrolled.errors import LoadError, NetError
from unrolled.net import Chain, Edge, Layer, Net, Param, Spec, chain
from unrolled.net.check import check
from unrolled.training.learner import judge

chains = st.builds(
    Chain,
    outputs=st.integers(1, 300),
    inputs=st.integers(0, 3),
    cell=st.sampled_from(["lstm", "relu-rnn", "cells/my.py:Leaky"]),
    layers=st.integers(1, 4),
    hidden=st.integers(1, 50),
    dropout=st.sampled_from([0.0, 0.5]),
    embedding=st.integers(0, 3),
    embedding_dropout=st.sampled_from([0.0, 0.25]),
)


def names(**sizes: object) -> list[str]:
    return [layer.name for layer in chain(Chain(9, **sizes))]  # type: ignore[arg-type]


@given(chains)
def test_a_spec_survives_the_way_through_json(sizes: Chain) -> None:
    spec = chain(sizes)
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@given(chains)
def test_every_layer_of_a_chain_reads_the_one_before_it(sizes: Chain) -> None:
    spec = chain(sizes)
    layers = list(spec)
    assert layers[0].sources == ()
    line = [layer for layer in layers if layer.type not in ("label", "softmax-loss")]
    for before, layer in itertools.pairwise(line):
        assert layer.sources == (Edge(before.name, "all" if before.type == "text" else "same"),)
    assert len({layer.name for layer in layers}) == len(layers)
    assert line[-1].settings["size"] == sizes.outputs


def test_the_layers_of_a_chain_are_named_by_what_they_are() -> None:
    assert names(layers=2) == ["text", "onehot", "lstm1", "lstm2", "logits", "label", "loss"]
    assert names(layers=1, cell="relu-rnn", dropout=0.5) == [
        "text", "onehot", "relu_rnn1", "dropout1", "logits", "label", "loss",
    ]  # fmt: skip
    assert names(layers=1, cell="a/b.py:Leaky", embedding=3)[:4] == ["text", "embedding", "leaky1", "logits"]
    assert names(layers=2, cell="gru", embedding=3, embedding_dropout=0.1, dropout=0.2) == [
        "text", "embedding", "dropout0", "gru1", "dropout1", "gru2", "dropout2", "logits", "label", "loss",
    ]  # fmt: skip
    assert names(layers=1, inputs=4) == ["input", "lstm1", "output"]


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"layers": 3},
        {"layers": [3]},
        {"layers": [{"name": "a"}]},
        {"layers": [{"name": "a", "type": "linear", "sources": [{"from": "b"}]}]},
        {"layers": [{"name": "a", "type": "linear", "sources": 3}]},
    ],
)
def test_a_layer_list_that_cannot_be_read_is_an_error_of_loading(broken: dict[str, object]) -> None:
    with pytest.raises(LoadError, match="the net's layer list can't be read"):
        Spec.from_dict(broken)


def test_a_spec_can_be_written_by_hand() -> None:
    spec = Spec((Layer("a", "floats", (), {"size": 3}), Layer("b", "linear", (Edge("a"),), {"size": 5})))
    assert Net(spec).output_size == 5


def test_a_layer_list_of_the_first_format_gives_the_same_net_and_the_same_loss() -> None:
    before = {"kind": "same", "shift": 0}
    sources = [{"source": "onehot", **before}]
    old = {
        "layers": [
            {"name": "onehot", "type": "one-hot", "sources": [], "size": 9},
            {"name": "gru1", "type": "recurrent", "sources": sources, "cell": "gru", "hidden": 7},
            {"name": "logits", "type": "linear", "sources": [{"source": "gru1", **before}], "size": 9},
        ]
    }  # fmt: skip
    torch.manual_seed(3)
    now = Net(chain(Chain(9, cell="gru", layers=1, hidden=7)))
    then = Net(Spec.from_dict(old))
    assert then.weights().keys() == now.weights().keys()
    then.load_weights(now.weights())
    ids = torch.randint(9, (6, 4))
    outputs, state = then(ids[:-1])
    wanted, wanted_state = now(ids[:-1])
    assert torch.equal(outputs, wanted) and torch.equal(state["gru1"], wanted_state["gru1"])
    window = Window(ids[:-1], ids[1:], None, None)
    losses = [float(judge(net, window, None)[0].total.detach()) for net in (then, now)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        Layer("x" * 201, "floats", settings={"size": 2}),
        Layer("x", "floats", settings={"size": 2}, unroll="t" * 201),
        Layer("x", "ids", settings={"share": "s" * 201}),
        Layer("x", "copy", (Edge("y" * 201),)),
        Layer("x", "linear", (Edge("y"),), {"size": 2}, (Param("bias", "b" * 201),)),
    ],
    ids=["layer", "length", "setting", "source", "parameter"],
)
def test_a_name_has_at_most_200_signs(layer: Layer) -> None:
    with pytest.raises(NetError, match=r"has at most 200 signs; came one of 201, '\w{50}"):
        check(Spec((layer,)))
