"""What a net may be called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from unrolled.errors import UsageError
from unrolled.net import Edge, Layer, Net, Spec

X = Layer("x", "floats", (), {"size": 3})


def make(*layers: Layer) -> Net:
    torch.manual_seed(3)
    return Net(Spec(layers))


def cell(name: str, *sources: Edge, **settings: Any) -> Layer:
    return Layer(name, "recurrent", sources, {"cell": "lstm", "hidden": 4, **settings})


def shifted() -> Net:
    return make(X, cell("h", Edge("x"), Edge("x", shift=2)))


def loop() -> Net:
    out = Layer("out", "linear", (Edge("h"),), {"size": 5})
    return make(X, cell("h", Edge("x"), Edge("out", shift=1)), out)


def marked() -> Net:
    return make(Layer("go", "continues"), X, cell("h", Edge("x")))


def ids() -> Net:
    label = Layer("label", "label", (Edge("text", "all"),))
    hot = Layer("hot", "one-hot", (Edge("text", "all"),))
    return make(Layer("text", "text", (), {"size": 6}), label, hot, cell("h", Edge("hot")))


def encoder() -> Net:
    source = Layer("source", "floats", (), {"size": 3}, unroll="source")
    read = cell("read", Edge("source"))
    first = Layer("read", "recurrent", read.sources, read.settings, unroll="source")
    return make(source, X, first, cell("h", Edge("x"), Edge("read", "last")))


def changed(state: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {**state, **{name.replace("_", ":"): part for name, part in parts.items()}}


ONES = torch.ones(4, 2, 3)
WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: shifted()({"y": ONES}), "no input 'y'; its inputs are x"),
    (lambda: shifted()(ONES[0]), r"input 'x' wants floats \[T, B, 3\], came torch.float32 \[2, 3\]"),
    (lambda: shifted()(ONES.long()), r"input 'x' wants floats \[T, B, 3\], came torch.int64"),
    (lambda: shifted()(ONES.double()), "computes in torch.float32, input 'x' is torch.float64"),
    (lambda: shifted()(ONES.to("meta")), "the net is on cpu, input 'x' is on meta"),
    (lambda: ids()(torch.full((4, 2), 6)), "ids from 0 to 5, or -1 for none; came 6 to 6"),
    (lambda: ids()(torch.full((4, 2), -2)), "came -2 to -2"),
    (lambda: marked()({"x": ONES, "go": torch.ones(4)}), r"'go' wants marks \[T, B\], 0 where .* starts"),
    (lambda: marked()({"x": ONES, "go": torch.ones(4, 3)}), "one number of lanes; 'x' has 2, 'go' has 3"),
    (lambda: marked()({"x": ONES, "go": torch.ones(5, 2)}), "'go' wants 4 steps, as 'x' has; came 5"),
    (lambda: shifted()({"x": ONES}, steps=3), "the inputs have 4 steps, steps= says 3"),
    (lambda: shifted()({"x": ONES}, steps=-1), "steps: wanted 0 or more, came -1"),
    (lambda: shifted()({}), "nothing says how many steps to take; give x, or steps="),
    (lambda: shifted()(ONES, lengths=torch.tensor([1])), "lengths must be 2 whole numbers"),
    (lambda: shifted()(ONES, lengths=torch.tensor([1.0, 2.0])), "lengths must be 2 whole numbers"),
    (lambda: shifted()(ONES, lengths=torch.tensor([1, 5])), r"lengths must be from 0 to 4; came \[1, 5\]"),
    (lambda: shifted()(ONES, lengths={"source": torch.tensor([1, 2])}), "this net has no length 'source'"),
    (lambda: shifted()(ONES, fresh=torch.ones(4, 2)), r"fresh must be bool, \[4, 2\] or \[2\]"),
    (lambda: shifted()(ONES, fresh=torch.ones(3, 2).bool()), r"came torch.bool \[3, 2\]"),
    (lambda: shifted()(ONES, ()), "state is a dict with h, h:1, :age, as from .*; came tuple"),
    (lambda: shifted()(ONES, {"h": None}), "came h$"),
    (lambda: shifted()(ONES, shifted().initial_state(1)), "give a state of 2 lanes, or none"),
    (lambda: loop()(ONES, loop().initial_state(1)), "give a state of 2 lanes, or none"),
    (
        lambda: shifted()(ONES, changed(shifted().initial_state(2), h_1=torch.ones(2, 1, 3))),
        r"the state's 'h:1' must be \[2, 2, 3\], came \[2, 1, 3\]; give a state of 2 lanes",
    ),
    (
        lambda: shifted()(ONES, changed(shifted().initial_state(2), _age=torch.zeros(1).long())),
        r"the state's ages must be \[2\], came \[1\]",
    ),
    (lambda: encoder()({"x": ONES, "source": ONES}, {}), "'h' reads a whole sequence, so this net takes no"),
    (lambda: encoder().initial_state(2), r"has no state to start from; call net.start\(inputs\)"),
    (
        lambda: encoder()({"x": ONES, "source": ONES}, fresh=torch.ones(4, 2).bool()),
        "can't start anew inside a window; give each sequence a lane of its own",
    ),
    (
        lambda: encoder()({"x": ONES[:, :1]}, encoder().start({"source": ONES})),
        "x has 1 lanes, the state's h is|must be",
    ),
    (lambda: encoder()(ONES), "this net has the inputs source, x; give a dict of tensors"),
]


@pytest.mark.parametrize(("call", "words"), WRONG)
def test_what_no_net_can_be_called_with_is_told(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call()


@pytest.mark.parametrize("engine", ["auto", "naive"])
@pytest.mark.parametrize("make_net", [shifted, loop, encoder])
def test_no_steps_at_all_change_no_state(make_net: Callable[[], Net], engine: str) -> None:
    net = make_net()
    net.engine = engine
    state = net.start({"source": ONES}) if net.is_whole else net({"x": torch.rand(4, 2, 3)})[1]
    values, after = net({"x": torch.empty(0, 2, 3)}, state)
    assert values["h"].shape == (0, 2, 4)
    more = torch.rand(3, 2, 3)
    assert torch.equal(net({"x": more}, after)[0]["h"], net({"x": more}, state)[0]["h"])


def test_a_sequence_without_a_step_leaves_nothing_to_go_on_from() -> None:
    net = encoder()
    values, _ = net({"source": torch.empty(0, 2, 3), "x": ONES})
    alone, _ = net({"source": torch.rand(4, 2, 3), "x": ONES}, lengths={"source": torch.tensor([0, 0])})
    assert torch.equal(values["h"], alone["h"])


@pytest.mark.parametrize("kind", ["mean", "sum", "max"])
def test_a_reduction_over_no_copies_is_zero(kind: str) -> None:
    net = make(X, Layer("all", kind, (Edge("x", "all"),), unroll=1))
    assert torch.equal(net({"x": torch.empty(0, 2, 3)})[0]["all"], torch.zeros(1, 2, 3))


def test_marks_given_as_an_input_and_as_fresh_count_both() -> None:
    net, x = marked(), torch.rand(4, 2, 3)
    go, fresh = torch.ones(4, 2), torch.zeros(4, 2).bool()
    go[1, 0], fresh[2, 1] = 0, True
    found, _ = net({"x": x, "go": go}, fresh=fresh)
    wanted, _ = net({"x": x}, fresh=fresh | (go == 0))
    assert torch.equal(found["h"], wanted["h"])
    assert not torch.equal(found["h"], net({"x": x}, fresh=fresh)[0]["h"])


def test_lengths_may_be_a_list() -> None:
    net, x = shifted(), torch.rand(4, 2, 3)
    assert torch.equal(net(x, lengths=[1, 3])[0], net(x, lengths=torch.tensor([1, 3]))[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["auto", "naive"])
def test_a_learned_first_state_starts_every_document(engine: str) -> None:
    one = Layer("one", "constant", (), {"size": 1, "value": 1.0}, unroll=1)
    first = Layer("first", "linear", (Edge("one"),), {"size": 4}, unroll=1)
    net = make(one, first, X, cell("h", Edge("x"), Edge("first", "last")))
    net.engine = engine
    x, fresh = torch.rand(7, 2, 3), torch.zeros(7, 2).bool()
    fresh[3, 0] = True
    _, state = net({"x": torch.rand(2, 2, 3)})
    whole = net({"x": x}, state, fresh=fresh)[0]["h"]
    apart = net({"x": x[3:, :1]})[0]["h"]
    torch.testing.assert_close(whole[3:, :1], apart)
    torch.testing.assert_close(whole[:, 1:], net({"x": x}, state)[0]["h"][:, 1:])
