from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import unrolled
from unrolled.errors import NetError
from unrolled.net import Chain, Edge, Layer, Net, Param, Spec, builder, chain, reference
from unrolled.net.builder import (
    GRU,
    LSTM,
    RNN,
    Copy,
    Embedding,
    Floats,
    Ids,
    Label,
    LayerFunction,
    Linear,
    Mean,
    NetBuilder,
    OneHot,
    Recurrent,
    ReluRNN,
    SoftmaxLoss,
    Text,
)
from unrolled.net.files import from_toml, to_toml
from unrolled.net.layers import TYPES


class Slow(unrolled.Cell):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.x_to_h = torch.nn.Linear(input_size, hidden_size)

    def step(self, x: torch.Tensor, h: Any) -> tuple[torch.Tensor, Any]:
        h = 0.9 * h + 0.1 * self.x_to_h(x)
        return h, h


def feedback() -> NetBuilder:
    net = NetBuilder("feedback")
    net.x = Floats(size=3)
    net.h = GRU(net.x, net["y"].shift(1), hidden=4)
    net.y = Linear(net.h, size=2)
    return net


def test_a_net_reads_like_the_net_it_builds() -> None:
    net = NetBuilder()
    net.text = Text(size=7)
    net.onehot = OneHot(net.text.all, size=7)
    net.lstm1 = LSTM(net.onehot, hidden=5)
    net.logits = Linear(net.lstm1, size=7)
    net.label = Label(net.text.all)
    net.loss = SoftmaxLoss(net.logits, net.label)
    assert net.spec() == chain(Chain(7, layers=1, hidden=5))


def test_feedback_is_written_with_brackets_and_runs_as_the_reference_says() -> None:
    spec = feedback().spec()
    assert spec["h"].sources == (Edge("x"), Edge("y", shift=1))
    net = Net(spec).double()
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    values, _ = net({"x": x})
    torch.testing.assert_close(values["y"], reference(net, {"x": x})["y"], rtol=0, atol=1e-12)


def test_every_edge_and_every_common_field_can_be_said() -> None:
    net = NetBuilder("all", unroll="target", partition=0)
    net.source = Ids(size=5, unroll="source")
    net.read = Embedding(net.source, width=3, unroll="source", params={"id_to_x": "table"})
    net.encoder = RNN(net.read, hidden=4, unroll="source", partition=1)
    net.middle = Mean(net.encoder.all, unroll=1, include="train")
    net["the target"] = Ids(size=5, exclude=("test",))
    net.before = Copy(net["the target"].shift(1, initial=2))
    net.again = Embedding(
        net.before,
        width=3,
        size=5,
        params=[Param("id_to_x", "table", lr=0.5, init={"type": "constant", "value": 1})],
    )
    net.decoder = ReluRNN(net.again, net.encoder.last, hidden=4, params={"bias[h]": {"lr": 0}})
    layers = {layer.name: layer for layer in net}
    assert layers["middle"] == Layer(
        "middle", "mean", (Edge("encoder", "all"),), unroll=1, include=("train",)
    )
    assert layers["the target"].exclude == ("test",)
    assert layers["before"].sources == (Edge("the target", shift=1, initial=2),)
    assert layers["read"].params == (Param("id_to_x", "table"),)
    assert layers["again"].params == (Param("id_to_x", "table", None, {"type": "constant", "value": 1}, 0.5),)
    assert layers["decoder"].sources == (Edge("again"), Edge("encoder", "last"))
    assert layers["decoder"].params == (Param("bias", "", "h", None, 0),)
    assert (layers["encoder"].partition, layers["encoder"].settings) == (1, {"cell": "rnn", "hidden": 4})
    spec = net.spec()
    assert (spec.name, spec.unroll, spec.partition) == ("all", "target", 0)
    assert from_toml(to_toml(spec), "x").spec == spec


def test_there_is_a_function_for_every_layer_type() -> None:
    functions = [value for value in vars(builder).values() if isinstance(value, LayerFunction)]
    assert {function.type for function in functions} == set(TYPES)
    for function in functions:
        assert getattr(builder, function.__name__) is function and function.__name__ in builder.__all__
        assert function.__doc__ == TYPES[function.type].__doc__


def test_a_layer_of_one_phase_may_have_the_name_of_one_of_another() -> None:
    net = NetBuilder()
    net.data = Floats(size=3, include=["train"])
    net.data = Floats(size=3, exclude=["train"])
    assert [layer.name for layer in net] == ["data", "data"]
    with pytest.raises(NetError, match="there is a layer 'data' already"):
        net.data = Floats(size=3, include=["test"])


def test_a_cell_is_given_by_name_or_as_a_class() -> None:
    net = NetBuilder()
    net.x = Floats(size=3)
    net.a = Recurrent(net.x, cell="lstm", hidden=2)
    net.b = Recurrent(net.a, cell=unrolled.GRU, hidden=2)
    net.c = Recurrent(net.b, cell=Slow, hidden=4)
    assert net.spec()["b"].settings["cell"] == "gru"
    assert net.spec()["c"].settings["cell"] == f"{__file__}:Slow"
    assert net.cells() == {f"{__file__}:Slow": Slow}
    made = Net(net.spec(), cells=net.cells())
    assert isinstance(made.cells["c"], Slow)


def mistake(write: Any) -> str:
    net = NetBuilder()
    net.x = Floats(size=3)
    before = list(net)
    with pytest.raises(NetError) as caught:
        write(net)
    assert list(net) == before, "a layer with a mistake must not be in the net"
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def add(net: NetBuilder, name: str, value: Any) -> None:
    setattr(net, name, value)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda net: GRU(net.x, hiden=4), "GRU has no setting 'hiden'; did you mean 'hidden'?"),
        (
            lambda net: GRU(net.x, cell="lstm"),
            "GRU has no setting 'cell'; it has hidden, direction, bias, params",
        ),
        (lambda net: GRU(net.x, prams={}), "GRU has no setting 'prams'; did you mean 'params'?"),
        (lambda net: net.xx, "there is no layer 'xx' yet; did you mean 'x'?"),
        (
            lambda net: net.later,
            "there is no layer 'later' yet; one that comes later is read as net['later'].shift(1)",
        ),
        (
            lambda net: add(net, "h", GRU(net.x)),
            "layer 'h' (recurrent) needs hidden, a whole number of at least 1",
        ),
        (
            lambda net: add(net, "h", GRU(net.x, hidden=0)),
            "layer 'h': hidden wants a whole number of at least 1",
        ),
        (
            lambda net: add(net, "h", GRU("x", hidden=2)),
            "layer 'h' reads layers, such as net.h or net['h'].shift(1)",
        ),
        (
            lambda net: add(net, "h", Linear(net.x.shift(-1), size=2)),
            "layer 'h', source 'x': shift wants a whole",
        ),
        (
            lambda net: add(net, "h", Linear(net.x.shift("a"), size=2)),
            "layer 'h', a source: shift wants a whole",
        ),
        (
            lambda net: add(net, "h", Linear(net.x.shift(1, "a"), size=2)),
            "layer 'h', a source: initial wants",
        ),
        (
            lambda net: add(net, "h", Linear(Copy(net.x), size=2)),
            "layer 'h' reads a layer that has no name yet",
        ),
        (
            lambda net: add(net, "h", Linear),
            "layer 'h': wanted a layer, such as Linear(net.h, size=5), came Linear,",
        ),
        (lambda net: add(net, "h", 3), "layer 'h': wanted a layer, such as Linear(net.h, size=5), came 3"),
        (lambda net: add(net, "y", net.x), "this layer is called 'x' already"),
        (lambda net: add(net, "x", Floats(size=2)), "there is a layer 'x' already"),
        (
            lambda net: add(net, "spec", Floats(size=2)),
            "'spec' is a name of the builder itself; write net['spec']",
        ),
        (lambda net: net.__setitem__("a#", Floats(size=2)), "layer 'a#' has '#'"),
        (lambda net: add(net, "h", Linear(net.x, size=2, params="w")), "layer 'h': params wants"),
        (
            lambda net: add(net, "h", Linear(net.x, size=2, params={"x_to_y": 3})),
            "layer 'h', a parameter: wanted",
        ),
        (
            lambda net: add(net, "h", Linear(net.x, size=2, params=[{"rol": "w"}])),
            "layer 'h', a parameter has no",
        ),
        (lambda net: add(net, "h", Linear(net.x, size=2, unroll=10**9)), "layer 'h': unroll wants a number"),
        (
            lambda net: add(net, "h", Linear(net.x, size=2, include=["tain"])),
            "layer 'h': include has no phase",
        ),
        (lambda net: NetBuilder(unroll=0), "the net: unroll wants a number"),
    ],
)
def test_a_mistake_is_told_where_it_is_written(write: Any, words: str) -> None:
    assert re.match(re.escape(words), mistake(write)), mistake(write)


def test_a_layer_that_never_comes_is_told_when_the_net_is_done() -> None:
    net = NetBuilder()
    net.x = Floats(size=3)
    net.h = GRU(net.x, net["yy"].shift(1), hidden=4)
    net.y = Linear(net.h, size=2)
    with pytest.raises(NetError, match=r"layer 'h' reads 'yy', .* did you mean 'y'\?"):
        net.spec()


def test_a_cycle_without_a_delay_is_told_when_the_net_is_done() -> None:
    net = NetBuilder()
    net.h = Linear(net["y"], size=2)
    net.y = Linear(net.h, size=2)
    with pytest.raises(NetError, match=r"h <- y <- h|y <- h <- y"):
        net.spec()


def test_the_builder_is_a_name_of_the_package() -> None:
    assert unrolled.NetBuilder is NetBuilder
    assert isinstance(feedback().spec(), Spec)
    assert not hasattr(feedback(), "nothing")
    assert {"x", "h", "y"} <= set(dir(feedback()))
