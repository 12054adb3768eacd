"""Parameters that are one, and how fast they learn."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unrolled.errors import NetError
from unrolled.net import Edge, Layer, Net, Spec
from unrolled.net.spec import Param

X = Layer("x", "floats", (), {"size": 3})
BIAS = "bias_ifgo"
PACKED = {"i": "p", "f": "q", "g": "r", "o": "s"}


def cell(name: str, *params: Param, kind: str = "lstm") -> Layer:
    return Layer(name, "recurrent", (Edge("x"),), {"cell": kind, "hidden": 4}, params)


def linear(name: str, *params: Param, size: int = 4) -> Layer:
    return Layer(name, "linear", (Edge("x"),), {"size": size}, params)


def gates(names: dict[str, str], **more: Any) -> tuple[Param, ...]:
    return tuple(Param(BIAS, name, gate=gate, **more) for gate, name in names.items())


def make(*layers: Layer) -> Net:
    torch.manual_seed(0)
    return Net(Spec((X, *layers)))


def test_gates_that_are_all_shared_are_one_parameter_in_whatever_order_they_are_listed() -> None:
    net = make(cell("a", *gates(PACKED)), cell("b", *gates(dict(reversed(PACKED.items())))))
    assert net.layers["a"].bias_ifgo is net.layers["b"].bias_ifgo


@pytest.mark.parametrize(
    "other",
    [
        {"i": "q", "f": "p", "g": "r", "o": "s"},
        {"f": "p", "i": "q", "g": "r", "o": "s"},
        {"i": "p"},
        {"i": "new", "f": "q", "g": "r", "o": "s"},
        {"i": "p", "f": "q", "g": "r", "o": "new"},
    ],
)
def test_gates_that_are_shared_in_part_or_crosswise_are_an_error(other: dict[str, str]) -> None:
    with pytest.raises(NetError, match="'b' shares only a part of 'bias_ifgo' with layer 'a'"):
        make(cell("a", *gates(PACKED)), cell("b", *gates(other)))


def test_one_gate_of_each_of_two_layers_can_not_be_shared_alone() -> None:
    with pytest.raises(NetError, match="'b' shares only a part of 'bias_ifgo' with layer 'a'"):
        make(cell("a", *gates({"i": "p"})), cell("b", *gates({"i": "p"})))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (cell("a", Param(BIAS, gate="z")), f"'{BIAS}': there is no gate 'z'; it has i, f, g, o"),
        (linear("a", Param("x_to_y", gate="i")), "there is no gate 'i'; it has none"),
        (linear("a", Param("x_to_y", "u"), Param("x_to_y", "w")), "lists 'x_to_y' twice"),
        (cell("a", Param(BIAS, "u", gate="i"), Param(BIAS, "v", gate="i")), f"lists '{BIAS}' twice"),
        (cell("a", Param(BIAS), Param(BIAS, gate="i")), f"lists '{BIAS}' twice"),
        (linear("a", Param("y_to_x")), r"\(linear\) has no parameter 'y_to_x'; it has x_to_y, bias"),
        (cell("a", *gates({"i": "p"}, lr=0.0)), "give them one lr and one decay"),
        (cell("a", *gates({"i": "p"}, lr=2.0)), "give them one lr and one decay"),
        (cell("a", *gates(PACKED)[1:], Param(BIAS, gate="i", lr=2.0)), "give them one lr and one decay"),
    ],
)
def test_what_can_not_be_one_parameter_is_told(layer: Layer, words: str) -> None:
    with pytest.raises(NetError, match=words):
        make(layer)


def test_only_equal_shapes_can_be_shared() -> None:
    with pytest.raises(NetError, match=r"'w' is \[3, 4\] in layer 'a' and \[3, 5\] in layer 'b'"):
        make(linear("a", Param("x_to_y", "w")), linear("b", Param("x_to_y", "w"), size=5))


@pytest.mark.parametrize("says", ["a", "b"])
def test_one_of_the_layers_that_share_may_say_how_fast_they_learn(says: str) -> None:
    params = {n: Param("x_to_y", "w", lr=0.5 if n == says else 1.0) for n in "ab"}
    net = make(linear("a", params["a"]), linear("b", params["b"]))
    assert net.scales() == {"layers.a.x_to_y": (0.5, 1.0), "layers.b.x_to_y": (0.5, 1.0)}


def test_the_owner_that_says_nothing_learns_as_the_layer_that_shares_from_it_says() -> None:
    net = make(linear("a"), linear("b", Param("x_to_y", share_from="a.x_to_y", decay=0.0)))
    assert net.scales()["layers.a.x_to_y"] == (1.0, 0.0)


def test_a_parameter_that_one_of_its_layers_freezes_never_learns() -> None:
    net = make(linear("a", Param("x_to_y", "w")), linear("b", Param("x_to_y", "w", lr=0.0)))
    assert not net.layers["a"].x_to_y.requires_grad and net.layers["a"].bias.requires_grad


def test_two_rates_for_one_parameter_are_an_error() -> None:
    with pytest.raises(NetError, match="'b' shares 'x_to_y' with layer 'a', where it learns at another rate"):
        make(linear("a", Param("x_to_y", "w", lr=0.5)), linear("b", Param("x_to_y", "w", lr=2.0)))


def test_a_gate_is_filled_alone() -> None:
    net = make(cell("a", Param(BIAS, gate="g", init={"type": "constant", "value": 7.0})))
    parts = net.layers["a"].bias_ifgo.chunk(4)
    assert [bool((part == 7).all()) for part in parts] == [False, False, True, False]


def test_a_net_comes_back_from_another_phase_as_itself_with_all_its_weights() -> None:
    spec = Spec((X, linear("a"), Layer("aid", "linear", (Edge("a"),), {"size": 2}, include=("train",))))
    net = Net(spec)
    assert net.in_phase("test").in_phase("train") is net
    assert net.in_phase("test").in_phase("validation") is net.in_phase("test")
