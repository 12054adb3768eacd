import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from unrolled.errors import NetError, UsageError
from unrolled.net import Edge, Layer, Net, Param, Spec, unroll_graph
from unrolled.net.params import owners, params_of
from unrolled.net.repeats import repeats
from unrolled.net.rolling import cut, roll

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "caffe_binary_addition.py"))
H, D, K = 4, 3, 2


def example(steps: int) -> Spec:
    spec: Spec = EXAMPLE["binary_addition_spec"](steps)
    return spec


def by_hand(
    steps: int, name: Callable[[str, int], str] = lambda stem, t: f"{stem}{t}", first: float = 0.0
) -> Spec:
    """A net with two states of different delay, an input that all steps read, and a tanh after the concat."""
    layers = [
        Layer("data", "floats", settings={"size": [steps * D, 2]}),
        Layer("all", "floats", settings={"size": 5}),
        Layer("start", "constant", settings={"size": H, "value": first}),
    ]
    for t in range(steps):

        def at(stem: str, back: int = 0, t: int = t) -> Edge:
            return Edge(name(stem, t - back) if t >= back else "start")

        def shared(role: str, of: str) -> Param:
            return Param(role, of, init={"type": "uniform", "low": -0.5, "high": 0.5})

        W, b = shared("x_to_y", "Wx"), shared("bias", "b")
        part = {"axis": 0, "begin": t * D, "end": (t + 1) * D}
        plain = {"size": H, "bias": False}
        layers += [
            Layer(name("x", t), "slice", (Edge("data"),), part),
            Layer(name("in", t), "linear", (at("x"),), {"size": H}, (W, b)),
            Layer(name("u", t), "linear", (at("h", 1),), plain, (shared("x_to_y", "U1"),)),
            Layer(name("v", t), "linear", (at("h", 2),), plain, (shared("x_to_y", "U2"),)),
            Layer(name("w", t), "linear", (Edge("all"),), plain, (shared("x_to_y", "V"),)),
            Layer(name("s", t), "eltwise", (at("in"), at("u"), at("v"), at("w"))),
            Layer(name("h", t), "activation", (at("s"),), {"function": "tanh"}),
            Layer(name("y", t), "linear", (at("h"),), {"size": K, "bias": False}, (shared("x_to_y", "O"),)),
        ]
    outputs = tuple(Edge(name("y", t)) for t in range(steps))
    layers += [
        Layer("outputs", "concat", outputs, {"axis": 0}),
        Layer("squashed", "activation", (Edge("outputs"),), {"function": "sigmoid"}),
        Layer("target", "floats", settings={"size": [steps, K]}),
        Layer("loss", "euclidean-loss", (Edge("squashed"), Edge("target")), {"scale": 0.5}),
    ]
    return Spec(tuple(layers), "by-hand", unroll=1)


def changed(spec: Spec, name: str, **changes: Any) -> Spec:
    layers = tuple(replace(layer, **changes) if layer.name == name else layer for layer in spec)
    assert layers != spec.layers
    return replace(spec, layers=layers)


def without(spec: Spec, name: str) -> Spec:
    return replace(spec, layers=tuple(layer for layer in spec if layer.name != name))


def parameters(net: Net) -> dict[str, Tensor]:
    """Parameters by the names that they are shared by."""
    stored = owners(net.spec)
    found: dict[str, Tensor] = {}
    for layer in net.spec:
        for param in params_of(layer):
            found[stored[param.name][1]] = getattr(net.layers[layer.name], param.role)
    return found


def inputs(spec: Spec, lanes: int = 3) -> dict[str, Tensor]:
    shapes = {layer.name: layer.settings["size"] for layer in spec if layer.type == "floats"}
    axes = {name: [size] if isinstance(size, int) else size for name, size in shapes.items()}
    return {name: torch.randn(1, lanes, *size, dtype=torch.float64) for name, size in axes.items()}


NETS = {
    "example": example,
    "named_from_1": lambda steps: by_hand(steps, lambda stem, t: f"{stem}{t + 1}"),
    "parted_by_a_line": lambda steps: by_hand(steps, lambda stem, t: f"{stem}_{t}"),
    "number_first": lambda steps: by_hand(steps, lambda stem, t: f"{t}_{stem}"),
    "first_not_zero": lambda steps: by_hand(steps, first=0.75),
}


@pytest.mark.parametrize("steps", [3, 8])
@pytest.mark.parametrize("name", NETS)
def test_the_rolled_net_has_the_loss_and_gradients_of_the_one_unrolled_by_hand(name: str, steps: int) -> None:
    torch.manual_seed(steps)
    spec = NETS[name](steps)
    hand, rolled = Net(spec).double(), Net(roll(spec)).double()
    theirs, ours = parameters(hand), parameters(rolled)
    assert theirs.keys() == ours.keys() and len(theirs) in (5, 6)
    with torch.no_grad():
        for key, value in theirs.items():
            ours[key].copy_(value)
    given = inputs(spec)
    wanted, came = hand.judge(given)[0].total, rolled.judge(cut(spec, given))[0].total
    wanted.backward()  # type: ignore[no-untyped-call]
    came.backward()  # type: ignore[no-untyped-call]
    assert wanted > 0.1
    torch.testing.assert_close(came, wanted, rtol=1e-10, atol=1e-10)
    for key in ours:
        assert theirs[key].grad is not None and theirs[key].grad.abs().max() > 1e-3
        torch.testing.assert_close(ours[key].grad, theirs[key].grad, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NETS)
def test_the_rolled_net_runs_at_another_length(name: str) -> None:
    torch.manual_seed(2)
    short, long = NETS[name](3), NETS[name](11)
    assert replace(roll(long), unroll=3) == roll(short)
    hand, rolled = Net(long).double(), Net(roll(short)).double()
    with torch.no_grad():
        for key, value in parameters(rolled).items():
            parameters(hand)[key].copy_(value)
    given = inputs(long)
    wanted, came = hand.judge(given)[0].total, rolled.judge(cut(long, given))[0].total
    torch.testing.assert_close(came, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("steps", [2, 3, 8, 100])
def test_unrolling_the_rolled_net_gives_back_each_step_and_its_connections(steps: int) -> None:
    spec = example(steps)
    known = repeats({layer.name: layer for layer in spec})
    graph = unroll_graph(roll(spec), steps)
    copies = {copy.name: copy for copy in graph}
    mine = {f"{step}#{stem}": name for name, (stem, step) in known.places.items()}
    assert len(mine) == 6 * steps
    # The label is one input there and one a step here, as is the loss; nothing else is left over.
    assert set(copies) - set(mine) == {f"{t}#{once}" for t in range(steps) for once in ("label", "loss")}
    for name, here in mine.items():
        theirs = [edge.source for edge in spec[here].sources if edge.source not in ("data", "h0")]
        assert [mine[source] for source in copies[name].sources] == theirs
        assert [p.shared_from or p.name for p in copies[name].params] == [
            f"0#{param.name}" for param in spec[here].params
        ]


def test_the_example_rolls_up_to_a_step() -> None:
    rolled = roll(example(3))
    assert rolled.unroll == 3
    assert [(layer.name, layer.type, layer.sources) for layer in rolled] == [
        ("label", "floats", ()),
        ("x", "floats", ()),
        ("zX", "linear", (Edge("x"),)),
        ("zH", "linear", (Edge("a", shift=1),)),
        ("z", "eltwise", (Edge("zX"), Edge("zH"))),
        ("a", "activation", (Edge("z"),)),
        ("out", "linear", (Edge("a"),)),
        ("loss", "euclidean-loss", (Edge("out"), Edge("label"))),
    ]
    assert rolled["x"].settings == {"size": [1, 2, 1]} and rolled["label"].settings == {"size": 1}
    assert Net(rolled).num_parameters == 22


def test_states_of_other_delays_first_values_and_inputs_for_all_steps_are_kept() -> None:
    rolled = roll(by_hand(4, first=0.75))
    assert rolled["u"].sources == (Edge("h", shift=1, initial=0.75),)
    assert rolled["v"].sources == (Edge("h", shift=2, initial=0.75),)
    assert rolled["w"].sources == (Edge("all", "all"),) and rolled["all"].unroll == 1
    assert rolled["squashed"].sources == (Edge("y"),)
    assert rolled["loss"].sources == (Edge("squashed"), Edge("target"))
    assert rolled["loss"].settings == {"scale": 0.5} and rolled["target"].settings == {"size": K}
    assert [p.init for p in rolled["in"].params] == [{"type": "uniform", "low": -0.5, "high": 0.5}] * 2


@pytest.mark.parametrize("name", list(NETS)[1:])
def test_a_rolled_layer_is_called_as_its_repeats_are_without_the_number(name: str) -> None:
    names = [layer.name for layer in roll(NETS[name](3))]
    assert names == ["all", *["x", "in", "u", "v", "w", "s", "h", "y"], "squashed", "target", "loss"]


def test_a_rolled_layer_takes_no_other_layers_name() -> None:
    spec = by_hand(3)
    spec = replace(spec, layers=(*spec, Layer("h", "copy", (Edge("all"),))))
    rolled = roll(spec)
    assert rolled["h"].type == "copy" and rolled["h_t"].type == "activation"
    assert rolled["u"].sources == (Edge("h_t", shift=1),)


def test_losses_of_each_step_with_labels_sliced_in_time_stay_so() -> None:
    steps = 4
    layers = list(without(without(example(steps), "loss"), "out"))
    layers += [
        Layer(f"l{t}", "slice", (Edge("label"),), {"begin": t - 1, "end": t}) for t in range(1, steps + 1)
    ]
    layers += [
        Layer(f"loss{t}", "euclidean-loss", (Edge(f"out{t}"), Edge(f"l{t}"))) for t in range(1, steps + 1)
    ]
    spec = Spec(tuple(layers), unroll=1)
    rolled = roll(spec)
    assert rolled["loss"].sources == (Edge("out"), Edge("l")) and rolled["l"].settings == {"size": 1}
    hand, net, given = Net(spec).double(), Net(rolled).double(), inputs(spec)
    with torch.no_grad():
        for key, value in parameters(hand).items():
            parameters(net)[key].copy_(value)
    wanted, came = hand.judge(given)[0].total, net.judge(cut(spec, given))[0].total
    torch.testing.assert_close(came, wanted, rtol=1e-10, atol=1e-10)


def test_inputs_of_their_own_for_each_step_are_one_input() -> None:
    layers = [Layer("h0", "constant", settings={"size": H})]
    for t in (1, 2, 3):
        layers += [
            Layer(f"id{t}", "ids", (), {"size": 9}),
            Layer(f"e{t}", "embedding", (Edge(f"id{t}"),), {"size": 9, "width": H}, (Param("id_to_x", "E"),)),
            Layer(f"h{t}", "eltwise", (Edge(f"e{t}"), Edge(f"h{t - 1}"))),
        ]
    spec = Spec(tuple(layers), unroll=1)
    rolled = roll(spec)
    assert [layer.name for layer in rolled] == ["id", "e", "h"]
    assert rolled["h"].sources == (Edge("e"), Edge("h", shift=1))
    ids = torch.tensor([[[4, 5]], [[0, 8]], [[1, 2]]])
    given = cut(spec, {f"id{t}": ids[t - 1] for t in (1, 2, 3)})
    assert torch.equal(given["id"], ids[:, 0])
    values, _ = Net(rolled)(given)
    torch.testing.assert_close(values["h"], values["e"].cumsum(0), rtol=0, atol=1e-6)


def test_each_phase_is_rolled_by_itself() -> None:
    spec = example(3)
    layers = [replace(layer, include=("train",)) if layer.name == "loss" else layer for layer in spec]
    for t in (1, 2, 3):
        layers.append(
            Layer(f"p{t}", "activation", (Edge(f"out{t}"),), {"function": "sigmoid"}, exclude=("train",))
        )
    rolled = roll(replace(spec, layers=tuple(layers)))
    assert rolled["loss"].include == ("train",) and rolled["p"].include == ("validation", "test")
    assert rolled["zH"].include == () and rolled["p"].sources == (Edge("out"),)


def test_cutting_takes_what_is_given_and_says_what_does_not_fit() -> None:
    spec = example(3)
    data = torch.arange(12.0).view(1, 2, 1, 2, 3)
    assert torch.equal(cut(spec, {"data": data})["x"], data[0].permute(3, 0, 1, 2)[..., None])
    with pytest.raises(UsageError, match=r"^the net has no input 'dat'; did you mean 'data'\?$"):
        cut(spec, {"dat": data})
    with pytest.raises(UsageError, match=r"^input 'data' wants \[1, B, 1, 2, 3\], came \[1, 2, 1, 3, 2\]$"):
        cut(spec, {"data": data.mT})


def side_by_side(target: tuple[int, int]) -> Spec:
    """Outputs [2, 3] a step, joined along their second axis."""
    layers = [Layer("data", "floats", (), {"size": [2, 12]})]
    for t in range(4):
        layers += [
            Layer(f"x{t}", "slice", (Edge("data"),), {"axis": 1, "begin": 3 * t, "end": 3 * t + 3}),
            Layer(f"y{t}", "activation", (Edge(f"x{t}"),), {"function": "tanh"}),
        ]
    layers += [
        Layer("all", "concat", tuple(Edge(f"y{t}") for t in range(4)), {"axis": 1}),
        Layer("target", "floats", (), {"size": list(target)}),
        Layer("loss", "euclidean-loss", (Edge("all"), Edge("target"))),
    ]
    return Spec(tuple(layers), unroll=1)


def test_a_target_is_cut_along_the_axis_on_which_outputs_are_joined() -> None:
    torch.manual_seed(1)
    spec = side_by_side((2, 12))
    given = inputs(spec)
    wanted, came = Net(spec).judge(given)[0].total, Net(roll(spec)).judge(cut(spec, given))[0].total
    torch.testing.assert_close(came, wanted, rtol=1e-12, atol=0)


def _reads_ahead(layer: Layer) -> Layer:
    """Let v0, v1 and v2 read x1, x2 and x3."""
    if layer.name not in ("v0", "v1", "v2"):
        return layer
    return replace(layer, sources=(Edge(f"x{int(layer.name[1]) + 1}"),))


BASE, HAND = example(4), by_hand(4)
BAD: dict[str, tuple[Spec, str, str]] = {
    "parameter": (
        changed(BASE, "zX3", params=(Param("x_to_y", "other"), Param("bias", "bX"))),
        "zX3",
        "has its x_to_y in 'other', another step in 'WX'; steps share by one name",
    ),
    "no sharing": (
        replace(BASE, layers=tuple(replace(l, params=()) for l in BASE)),
        "zX2",
        "has its x_to_y in 'zX2.x_to_y', another step in 'zX1.x_to_y'; steps share by one name",
    ),
    "rate": (
        changed(BASE, "zH2", params=(Param("x_to_y", "WH", lr=2.0),)),
        "zH2",
        "has its parameters in another order, or at another rate, than other steps",
    ),
    "settings": (
        changed(BASE, "a4", settings={"function": "tanh"}),
        "a4",
        'has the settings {"function": "tanh"}, in other steps it is {"function": "sigmoid"}',
    ),
    "type": (
        changed(BASE, "a2", type="copy", settings={}),
        "a2",
        "has the type copy, in other steps it is activation",
    ),
    "one source less": (
        changed(BASE, "z1", sources=(Edge("zX1"),)),
        "z1",
        "has the number of sources 1, in other steps it is 2",
    ),
    "another step": (
        changed(BASE, "zH4", sources=(Edge("a2"),)),
        "zH4",
        "reads 'a2'; as in the other steps it would be 'a3'",
    ),
    "a later step": (
        replace(HAND, layers=tuple(_reads_ahead(layer) for layer in HAND)),
        "v0",
        "reads 'x1' of a later step; a net goes forwards",
    ),
    "another layer": (
        changed(BASE, "out3", sources=(Edge("zX3"),)),
        "out3",
        "reads 'zX3'; as in the other steps it would be 'a3'",
    ),
    "not constant": (
        changed(BASE, "h0", type="floats"),
        "zH1",
        "starts from 'h0' (floats); wanted a constant, as nothing is before the first step",
    ),
    "two first values": (
        changed(
            replace(HAND, layers=(Layer("other", "constant", (), {"size": H, "value": 1}), *HAND)),
            "v1",
            sources=(Edge("other"),),
        ),
        "v1",
        "starts from 1 in 'other', and another step from 0",
    ),
    "width": (
        changed(changed(BASE, "h0", settings={"size": 5}), "zH1", params=(Param("x_to_y", "WH"),)),
        "zH1",
        "starts from 'h0' [5], and other steps read 'a3' [3]",
    ),
    "missing": (
        changed(without(BASE, "zX3"), "z3", sources=(Edge("zH3"), Edge("zH3"))),
        "zX1",
        "is repeated, but step 3 has no 'zX3'",
    ),
    "missing slice": (
        changed(without(BASE, "x4"), "zX4", sources=(Edge("x3"),)),
        "zX1",
        "reads 'x1', and step 4 has no 'x4'",
    ),
    "slice": (
        changed(BASE, "x2", settings={"axis": 2, "begin": 2, "end": 3}),
        "x2",
        "takes 2 up to 3 of the 4 along the time axis of 'data'; step 2 of 4 equal ones takes 1 up to 2",
    ),
    "slice of other": (
        changed(BASE, "x2", sources=(Edge("label"),), settings={"axis": 0, "begin": 1, "end": 2}),
        "x2",
        "slices another input or axis than the other steps, 'data' along 2",
    ),
    "data read whole": (
        replace(BASE, layers=(*BASE, Layer("whole", "copy", (Edge("data"),)))),
        "whole",
        "reads 'data', which is cut into steps",
    ),
    "computed slices": (
        replace(
            BASE,
            layers=(
                Layer("raw", "floats", (), {"size": [1, 2, 4]}),
                *changed(BASE, "data", type="copy", sources=(Edge("raw"),), settings={}),
            ),
        ),
        "x1",
        "slices 'data', which is no input but copy",
    ),
    "concat order": (
        changed(BASE, "out", sources=tuple(Edge(f"out{t}") for t in (1, 3, 2, 4))),
        "out",
        "joins 'out3' as number 2; of step 2 it is 'out2'",
    ),
    "concat short": (
        without(changed(BASE, "out", sources=tuple(Edge(f"out{t}") for t in (1, 2, 3))), "loss"),
        "out",
        "joins nothing as number 4; of step 4 it is 'out4'",
    ),
    "one step read": (
        replace(BASE, layers=(*BASE, Layer("end", "copy", (Edge("a4"),)))),
        "end",
        "reads 'a4' of one step alone; wanted a concat of all steps",
    ),
    "over all steps": (
        replace(BASE, layers=(*BASE, Layer("fc", "linear", (Edge("out"),), {"size": 2}))),
        "fc",
        "(linear) works on the outputs of all steps at once, which is another thing step by step; "
        "only activation, dropout, copy and euclidean-loss can be rolled there",
    ),
    "target that lies otherwise": (
        side_by_side((12, 2)),
        "loss",
        "has the target 'target' [12, 2], which isn't cut as the outputs [2, 12] are",
    ),
    "target that is no input": (
        changed(HAND, "target", type="constant"),
        "loss",
        "has the target 'target', wanted an input that nothing else reads",
    ),
    "two delays": (
        changed(HAND, "u3", sources=(Edge("h1"),)),
        "u3",
        "reads 'h1'; as in the other steps it would be 'h2'",
    ),
    "another for all": (
        changed(
            replace(HAND, layers=(Layer("more", "floats", (), {"size": 5}), *HAND)),
            "w2",
            sources=(Edge("more"),),
        ),
        "w2",
        "reads 'more', in other steps it is 'all'",
    ),
    "recurrent": (
        replace(
            BASE, layers=(*BASE, Layer("r", "recurrent", (Edge("label"),), {"cell": "rnn", "hidden": 2}))
        ),
        "r",
        "goes through time by itself; only a net unrolled by hand can be rolled up",
    ),
    "already rolled": (
        roll(BASE),
        "label",
        "has more than one copy; only a net unrolled by hand can be rolled up",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_the_layer_that_breaks_the_pattern_is_named(what: str) -> None:
    spec, layer, message = BAD[what]
    with pytest.raises(NetError) as caught:
        roll(spec)
    assert str(caught.value) == f"layer '{layer}' {message}"
    assert caught.value.layer == layer


def test_a_net_without_repeats_is_told_what_is_wanted() -> None:
    spec = Spec((Layer("x", "floats", (), {"size": 2}), Layer("y", "copy", (Edge("x"),))), unroll=1)
    with pytest.raises(NetError, match=r"^nothing in this net is repeated: wanted layers whose names end"):
        roll(spec)


@pytest.mark.parametrize("size", [None, "vocab"])
def test_sizes_that_come_with_the_data_are_asked_for(size: str | None) -> None:
    settings = {} if size is None else {"size": size}
    spec = Spec(
        (
            Layer("x", "ids", settings=settings, unroll=1),
            Layer("y1", "one-hot", (Edge("x"),), {"size": 4}, unroll=1),
            Layer("y2", "one-hot", (Edge("x"),), {"size": 4}, unroll=1),
        )
    )
    with pytest.raises(NetError, match=r"layer 'x' has a size that only the data knows; write the number"):
        roll(spec)
