import runpy
from importlib.resources import files
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import Tensor, sigmoid, tanh

from unrolled.errors import NetError, UsageError
from unrolled.net import Edge, Layer, Net, Spec
from unrolled.net.importers.caffe import CaffeNet, HDF5Source, read_net
from unrolled.net.params import owners

EXAMPLE = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "caffe_binary_addition.py"))


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return tmp_path / "net.prototxt"


def read(path: Path, text: str, shapes: dict[str, tuple[int, ...]] | None = None) -> CaffeNet:
    path.write_text(text)
    return read_net(path, shapes)


def complaint(path: Path, text: str, shapes: dict[str, tuple[int, ...]] | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        read(path, text, shapes)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{path}:")


def layer(kind: str, rest: str = "", name: str = "", bottom: str = "x", top: str = "y") -> str:
    def blobs(field: str, names: str) -> str:
        return " ".join(f'{field}: "{name}"' for name in names.split())

    name = name or top.partition(" ")[0]
    return f'layer {{ name: "{name}" type: "{kind}" {blobs("bottom", bottom)} {blobs("top", top)} {rest} }}\n'


def source(dims: str, top: str = "x") -> str:
    shape = " ".join(f"dim: {dim}" for dim in dims.split())
    return layer("Input", f"input_param {{ shape {{ {shape} }} }}", bottom="", top=top)


def product(outputs: int, rest: str = "", **names: str) -> str:
    return layer("InnerProduct", f"inner_product_param {{ num_output: {outputs} {rest} }}", **names)


def run(spec: Spec, **inputs: Tensor) -> dict[str, Tensor]:
    values, _ = Net(spec).double()(inputs)
    return {name: value.detach() for name, value in values.items()}


# The example.


@pytest.mark.parametrize("num_steps", [1, 3, 8, 100])
def test_the_example_reads_as_the_list_of_layers_that_is_written_by_hand(net: Path, num_steps: int) -> None:
    found = read(net, EXAMPLE["binary_addition"](num_steps, 5))
    assert found.spec == EXAMPLE["binary_addition_spec"](num_steps)
    assert (found.name, found.notes, found.data) == ("binary-addition", (), ())


@pytest.mark.parametrize("num_steps", [3, 8, 100])
def test_the_example_has_a_layer_a_step_and_22_numbers_under_5_names(net: Path, num_steps: int) -> None:
    spec = read(net, EXAMPLE["binary_addition"](num_steps, 5)).spec
    names = [layer.name for layer in spec]
    for stem in ("x", "zX", "zH", "z", "a", "out"):
        assert [n for n in names if n.rstrip("0123456789") == stem and n != stem] == [
            f"{stem}{t}" for t in range(1, num_steps + 1)
        ]
    assert set(owners(spec)) == {"WX", "bX", "WH", "WO", "bO"}
    assert [p.name for p in spec["zH2"].params] == ["WH"] and spec["zH2"].settings["bias"] is False
    assert spec["h0"] == Layer("h0", "constant", settings={"size": [1, 3]})
    assert spec["out"].sources == tuple(Edge(f"out{t}") for t in range(1, num_steps + 1))
    module = Net(spec)
    assert module.num_parameters == 22
    assert module.layers["zX1"].x_to_y is module.layers[f"zX{num_steps}"].x_to_y


def test_changing_one_shared_parameter_changes_all_steps(net: Path) -> None:
    module = Net(read(net, EXAMPLE["binary_addition"](3, 5)).spec).double()
    with torch.no_grad():
        module.layers["zX1"].bias.fill_(7.0)
        module.layers["zX1"].x_to_y.zero_()
    values, _ = module({"data": torch.rand(1, 2, 1, 2, 3).double()})
    assert all(torch.equal(values[f"zX{t}"], torch.full((1, 2, 3), 7.0).double()) for t in (1, 2, 3))


def test_the_shipped_file_is_what_the_example_writes() -> None:
    shipped = files("unrolled") / "recipes" / "caffe" / "binary_addition.prototxt"
    assert shipped.read_text() == EXAMPLE["binary_addition"](8, 50)


# Inputs.


def test_a_layer_with_several_tops_becomes_one_layer_a_top(net: Path) -> None:
    dims = "input_param { shape { dim: 5 dim: 3 } shape { dim: 5 dim: 4 dim: 2 } }"
    spec = read(net, layer("Input", dims, name="in", bottom="", top="a b")).spec
    assert spec.layers == (
        Layer("a", "floats", settings={"size": 3}),
        Layer("b", "floats", settings={"size": [4, 2]}),
    )
    assert spec.unroll == 1


def test_a_layer_with_one_top_keeps_its_own_name(net: Path) -> None:
    spec = read(net, source("5 3") + product(4, name="fc", top="y") + layer("TanH", bottom="y", top="t")).spec
    assert [(layer.name, layer.sources) for layer in spec] == [
        ("x", ()),
        ("fc", (Edge("x"),)),
        ("t", (Edge("fc"),)),
    ]


def test_layers_in_place_follow_each_other(net: Path) -> None:
    text = source("5 3") + product(4) + layer("ReLU", name="r", bottom="y", top="y")
    text += layer("Dropout", "dropout_param { dropout_ratio: 0.25 }", name="d", bottom="y", top="y")
    spec = read(net, text + layer("Sigmoid", bottom="y", top="s")).spec
    assert [layer.sources[0].source for layer in spec.layers[1:]] == ["x", "y", "r", "d"]
    assert spec["d"].settings == {"ratio": 0.25}


def test_inputs_may_be_fields_of_the_net(net: Path) -> None:
    text = 'name: "old" input: "x" input_shape { dim: 5 dim: 3 } input: "v" input_shape { dim: 5 }\n'
    spec = read(net, text + product(4)).spec
    assert [(layer.name, dict(layer.settings)) for layer in spec][:2] == [
        ("x", {"size": 3}),
        ("v", {"size": 1}),
    ]
    four = read(net, 'input: "x" input_dim: 5 input_dim: 1 input_dim: 2 input_dim: 7').spec
    assert four["x"].settings == {"size": [1, 2, 7]}


HDF5 = 'hdf5_data_param {{ source: "{}.txt" batch_size: {} shuffle: {} }}'


def test_hdf5_layers_say_what_they_ask_for_in_each_phase(net: Path) -> None:
    def data(phase: str, rows: int, shuffle: str) -> str:
        rest = HDF5.format(phase.lower(), rows, shuffle) + f" include {{ phase: {phase} }}"
        return layer("HDF5Data", rest, bottom="", top="x target")

    text = data("TRAIN", 7, "true") + data("TEST", 2, "false") + product(3)
    text += layer("EuclideanLoss", bottom="y target", top="loss")
    with pytest.raises(UsageError, match="batch_size is 2, and the shape given for 'x' is"):
        read(net, text, {"x": (7, 4, 2)})
    found = read(net, text.replace("batch_size: 2", "batch_size: 7"), {"x": (7, 4, 2)})
    assert found.data == (
        HDF5Source("train.txt", 7, True, ("x", "target"), ("x", "target"), ("train",)),
        HDF5Source("test.txt", 7, False, ("x", "target"), ("x", "target"), ("validation", "test")),
    )
    assert found.spec["x"].settings == {"size": [4, 2]} and found.spec["x"].include == ()
    assert found.spec["target"].settings == {"size": 3}


def test_a_shape_that_only_the_data_knows_is_looked_up_there(net: Path) -> None:
    text = layer("HDF5Data", HDF5.format("list", 7, "false"), bottom="", top="x v") + product(3)
    assert complaint(net, text).startswith("1:37: the shape of 'x' is needed, and it stands in HDF5 files: ")
    (net.parent / "list.txt").write_text("a.h5\n")
    with h5py.File(net.parent / "a.h5", "w") as file:
        file["x"], file["v"] = np.ones((9, 4, 2), np.float32), np.ones((9, 1), np.float32)
    spec = read(net, text).spec
    assert (spec["x"].settings, spec["v"].settings) == ({"size": [4, 2]}, {"size": 1})
    longer = read(net, text, {"x": (7, 5), "v": (7, 2)}).spec
    assert (longer["x"].settings, longer["v"].settings) == ({"size": 5}, {"size": 2})


def test_rows_of_hdf5_files_are_steps_in_a_recurrent_net(net: Path) -> None:
    (net.parent / "list.txt").write_text("a.h5\n")
    with h5py.File(net.parent / "a.h5", "w") as file:
        file["x"], file["cont"] = np.ones((9, 2, 3), np.float32), np.ones((9, 2), np.float32)
    data = layer("HDF5Data", HDF5.format("list", 6, "false"), bottom="", top="x cont")
    assert read(net, data + recurrent("LSTM", 4)).spec == read(net, SEQUENCE + recurrent("LSTM", 4)).spec


def test_an_error_of_a_module_finds_its_layer_in_the_file(net: Path) -> None:
    found = read(net, source("5 3") + product(4))
    error = found.located(NetError("layer 'y' is odd", "y", "sources"))
    assert str(error) == f"{net}:2:40: layer 'y' is odd"
    assert str(found.located(NetError("the net is odd"))) == f"{net}:1:1: the net is odd"


def test_a_constant_is_what_dummy_data_becomes(net: Path) -> None:
    rest = 'dummy_data_param { data_filler { type: "constant" value: 0.5 } shape { dim: 5 dim: 1 dim: 3 } }'
    spec = read(net, source("5 2") + layer("DummyData", rest, bottom="", top="h0")).spec
    assert spec["h0"] == Layer("h0", "constant", settings={"size": [1, 3], "value": 0.5})


# Layers.


def test_slices_are_equal_parts_or_end_at_their_points(net: Path) -> None:
    equal = read(net, source("5 2 6") + layer("Slice", "slice_param { axis: 2 }", top="a b c")).spec
    assert [dict(layer.settings) for layer in equal.layers[1:]] == [
        {"axis": 1, "begin": 0, "end": 2},
        {"axis": 1, "begin": 2, "end": 4},
        {"axis": 1, "begin": 4, "end": 6},
    ]
    points = "slice_param { axis: -1 slice_point: 1 slice_point: 4 }"
    cut = read(net, source("5 2 6") + layer("Slice", points, top="a b c")).spec
    assert [(layer.settings["begin"], layer.settings["end"]) for layer in cut.layers[1:]] == [
        (0, 1),
        (1, 4),
        (4, 6),
    ]
    legacy = read(net, source("5 2 6") + layer("Slice", "slice_param { slice_dim: 1 }", top="a b")).spec
    assert legacy["b"].settings == {"axis": 0, "begin": 1, "end": 2}


def test_concat_and_softmax_take_the_axis_after_the_batch(net: Path) -> None:
    text = source("5 2 6", "a") + source("5 3 6", "b") + layer("Concat", bottom="a b", top="c")
    spec = read(net, text + layer("Softmax", "softmax_param { axis: 2 }", bottom="c", top="s")).spec
    assert spec["c"].settings == {"axis": 0} and spec["s"].settings == {"axis": 1}
    a, b = torch.rand(1, 4, 2, 6).double(), torch.rand(1, 4, 3, 6).double()
    assert torch.equal(run(spec, a=a, b=b)["s"], torch.cat([a, b], 2).softmax(-1))


def test_axes_of_size_1_before_a_product_are_kept_where_a_later_layer_needs_them(net: Path) -> None:
    def inner(top: str, bottom: str) -> str:
        return product(3, "axis: 2", bottom=bottom, top=top)

    text = source("5 1 2 1", "a") + source("5 1 2 1", "b") + inner("p", "a") + inner("q", "b")
    text += layer("Concat", "concat_param { axis: 1 }", bottom="p q", top="c")
    text += layer("Slice", "slice_param { axis: 1 }", bottom="c", top="d e")
    spec = read(net, text).spec
    values = run(spec, a=torch.rand(1, 4, 1, 2, 1).double(), b=torch.rand(1, 4, 1, 2, 1).double())
    assert values["c"].shape == (1, 4, 2, 3)
    assert torch.equal(values["e"].flatten(), values["q"].flatten())


def test_numbers_side_by_side_need_no_other_axes(net: Path) -> None:
    text = "".join(source("5 1 2", top) + product(1, "axis: 2", bottom=top, top=f"o{top}") for top in "ab")
    spec = read(net, text + layer("Concat", "concat_param { axis: 1 }", bottom="oa ob", top="c")).spec
    assert [layer.type for layer in spec] == ["floats", "linear", "floats", "linear", "concat"]
    assert spec["c"].settings == {"axis": 0}


@pytest.mark.parametrize(
    ("written", "settings"),
    [
        ("", {"operation": "sum"}),
        ("operation: PROD", {"operation": "product"}),
        ("operation: 2", {"operation": "max"}),
        ("coeff: 1 coeff: -0.5", {"operation": "sum", "coefficients": [1.0, -0.5]}),
        ("operation: 0 stable_prod_grad: false", {"operation": "product"}),
    ],
)
def test_eltwise_operations_have_names_or_numbers(
    net: Path, written: str, settings: dict[str, object]
) -> None:
    text = source("5 3", "a") + source("5 3", "b")
    text += layer("Eltwise", f"eltwise_param {{ {written} }}", bottom="a b", top="c")
    assert read(net, text).spec["c"].settings == settings


@pytest.mark.parametrize(
    ("written", "dims"),
    [
        ("shape { dim: 0 dim: 6 dim: 2 }", [6, 2]),
        ("shape { dim: 0 dim: -1 }", 12),
        ("shape { dim: 2 dim: 2 } axis: 1 num_axes: 1", [2, 2, 3]),
        ("shape { dim: 1 } axis: -1 num_axes: 0", [4, 3, 1]),
    ],
)
def test_reshape_works_out_its_axes_as_caffe_does(net: Path, written: str, dims: object) -> None:
    text = source("5 4 3") + layer("Reshape", f"reshape_param {{ {written} }}")
    assert read(net, text).spec["y"].settings == {"shape": dims}


def test_split_copies_and_a_transposed_product_keeps_its_matrix_so(net: Path) -> None:
    text = (
        source("5 3") + layer("Split", top="a b") + product(4, "transpose: true bias_term: false", bottom="b")
    )
    spec = read(net, text).spec
    assert [(layer.name, layer.type) for layer in spec] == [
        ("x", "floats"),
        ("a", "copy"),
        ("b", "copy"),
        ("y", "linear"),
    ]
    assert spec["y"].settings == {"size": 4, "bias": False, "transpose": True}


def test_ids_come_where_an_embedding_or_a_loss_reads_them(net: Path) -> None:
    embed = "embed_param { input_dim: 9 num_output: 4 }"
    text = source("5", "word") + source("5 1", "target") + layer("Embed", embed, bottom="word")
    text += product(7, bottom="y", top="z")
    text += layer(
        "SoftmaxWithLoss", "loss_param { ignore_label: 3 } loss_weight: 2", bottom="z target", top="l"
    )
    text += layer("Accuracy", "accuracy_param { top_k: 2 }", bottom="z target", top="acc")
    spec = read(net, text).spec
    assert spec["word"] == Layer("word", "ids", settings={"size": 9})
    assert spec["target"] == Layer("target", "ids", settings={"size": 7})
    assert spec["y"].settings == {"size": 9, "width": 4, "bias": True}
    assert spec["l"].settings == {"scale": 2.0, "ignore": 3}
    assert spec["acc"].settings == {"topk": 2}


# Parameters.


def init(path: Path, weight: str, bias: str = "") -> list[object]:
    rest = f"weight_filler {{ {weight} }} bias_filler {{ {bias} }}"
    return [param.init for param in read(path, source("5 3") + product(4, rest)).spec["y"].params]


def test_fillers_are_the_beginnings_of_parameters(net: Path) -> None:
    assert init(net, "", "value: 2") == [
        {"type": "constant", "value": 0.0},
        {"type": "constant", "value": 2.0},
    ]
    assert init(net, 'type: "uniform" min: -1', 'type: "gaussian" std: 0.1') == [
        {"type": "uniform", "low": -1.0, "high": 1.0},
        {"type": "gaussian", "mean": 0.0, "std": 0.1},
    ]
    assert init(net, 'type: "xavier"')[0] == {"type": "xavier", "variance": "in"}
    assert init(net, 'type: "msra" variance_norm: AVERAGE')[0] == {"type": "msra", "variance": "average"}
    assert init(net, 'type: "msra" variance_norm: 1')[0] == {"type": "msra", "variance": "out"}


def test_a_table_is_filled_by_caffes_fans_though_it_lies_the_other_way_round(net: Path) -> None:
    embed = 'embed_param { input_dim: 9 num_output: 4 weight_filler { type: "xavier" } bias_term: false }'
    (table,) = read(net, source("5") + layer("Embed", embed)).spec["y"].params
    assert table.init == {"type": "xavier", "variance": "out"}


def test_a_bias_that_is_filled_by_fans_has_one_input_as_in_caffe(net: Path) -> None:
    low = init(net, "", 'type: "xavier"')[1]
    assert low == {"type": "uniform", "low": -(3**0.5), "high": 3**0.5}
    assert init(net, "", 'type: "msra" variance_norm: FAN_OUT')[1] == {
        "type": "gaussian",
        "mean": 0.0,
        "std": 0.5**0.5,
    }


def test_equal_names_share_one_parameter_its_rates_and_its_first_filler(net: Path) -> None:
    rest = 'param { name: "W" } param { lr_mult: 2 decay_mult: 0 }'
    text = source("5 4")
    fill = 'weight_filler { type: "uniform" }'
    text += layer("InnerProduct", f"inner_product_param {{ num_output: 4 {fill} }} {rest}", top="y")
    rest = 'param { name: "W" lr_mult: 0.5 }'
    spec = read(
        net,
        text + layer("InnerProduct", f"inner_product_param {{ num_output: 4 }} {rest}", bottom="y", top="z"),
    ).spec
    W, b = spec["y"].params
    other = spec["z"].params[0]
    assert (W.name, W.lr, W.decay, other.name, other.lr, other.init) == ("W", 0.5, 1.0, "W", 0.5, None)
    assert (b.name, b.lr, b.decay) == ("", 2.0, 0.0)
    module = Net(spec)
    assert module.layers["y"].x_to_y is module.layers["z"].x_to_y
    assert module.layers["y"].bias is not module.layers["z"].bias


def test_an_embedding_may_share_its_table_with_a_product(net: Path) -> None:
    embed = 'embed_param { input_dim: 9 num_output: 4 bias_term: false } param { name: "E" }'
    text = source("5", "word") + layer("Embed", embed, bottom="word")
    text += layer(
        "InnerProduct", 'inner_product_param { num_output: 9 } param { name: "E" }', bottom="y", top="z"
    )
    module = Net(read(net, text).spec)
    assert module.layers["z"].x_to_y is module.layers["y"].id_to_x


# Phases.


def test_phases_are_ours(net: Path) -> None:
    text = source("5 3") + source("5 4", "t") + product(4)
    text += layer("Dropout", "include { phase: TRAIN }", name="d", bottom="y", top="y")
    text += layer("EuclideanLoss", "exclude { phase: 1 }", bottom="y t", top="loss")
    spec = read(net, text + layer("Sigmoid", "include { phase: TEST }", bottom="y", top="s")).spec
    phases = {layer.name: layer.include for layer in spec}
    assert phases == {
        "x": (),
        "t": (),
        "y": (),
        "d": ("train",),
        "loss": ("train",),
        "s": ("validation", "test"),
    }
    assert [e.source for e in spec["s"].sources] == ["y"]


def test_a_reader_of_other_layers_in_each_phase_is_there_once_a_phase(net: Path) -> None:
    def data(name: str, phase: str) -> str:
        shape = "input_param { shape { dim: 5 dim: 3 } }"
        return layer("Input", f"{shape} include {{ phase: {phase} }}", name=name, bottom="", top="x")

    spec = read(net, data("a", "TRAIN") + data("b", "TEST") + product(4)).spec
    assert [(layer.name, layer.include) for layer in spec] == [
        ("a", ("train",)),
        ("y", ("train",)),
        ("b", ("validation", "test")),
        ("y", ("validation", "test")),
    ]
    net_ = Net(spec)
    assert net_.in_phase("test").layers["y"].x_to_y is net_.layers["y"].x_to_y


def test_a_net_without_input_in_a_phase_is_not_there_in_it(net: Path) -> None:
    text = layer(
        "Input", "input_param { shape { dim: 5 dim: 3 } } include { phase: TRAIN }", bottom="", top="x"
    )
    found = read(net, "state { phase: TRAIN }\n" + text + product(4))
    assert {layer.include for layer in found.spec} == {("train",)}
    assert len(found.notes) == 2 and "TEST" in found.notes[0]


# Recurrent layers.


def recurrent(kind: str, H: int, rest: str = "", bottom: str = "x cont", top: str = "y") -> str:
    return layer(kind, f"recurrent_param {{ num_output: {H} {rest} }}", bottom=bottom, top=top)


SEQUENCE = source("6 2 3") + source("6 2", "cont")


def weights(*sizes: tuple[int, ...]) -> list[Tensor]:
    return [torch.randn(*size, dtype=torch.float64) / 2 for size in sizes]


def cont(T: int, B: int) -> Tensor:
    marks = torch.ones(T, B)
    marks[0], marks[2, 1], marks[4, 0] = 0, 0, 0
    return marks


def test_an_lstm_computes_what_caffe_computes(net: Path) -> None:
    torch.manual_seed(3)
    T, B, D, H = 6, 2, 3, 4
    spec = read(net, SEQUENCE + recurrent("LSTM", H)).spec
    assert spec.unroll == T and spec["y"].unroll is None
    module = Net(spec).double()
    W_xc, b_c, W_hc = weights((4 * H, D), (4 * H,), (4 * H, H))
    with torch.no_grad():
        for ours, theirs in zip(module.layers["y"].parameters(), (W_xc, W_hc, b_c), strict=True):
            i, f, o, g = theirs.chunk(4)
            packed = torch.cat([i, f, g, o])
            ours.copy_(packed.t() if packed.dim() == 2 else packed)
    x, marks = torch.randn(T, B, D).double(), cont(T, B)
    h, c, wanted = torch.zeros(B, H).double(), torch.zeros(B, H).double(), []
    for t in range(T):
        go_on = marks[t][:, None]
        i, f, o, g = (x[t] @ W_xc.t() + b_c + (go_on * h) @ W_hc.t()).chunk(4, -1)
        c = go_on * sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        wanted.append(h)
    values, _ = module({"x": x, "cont": marks})
    torch.testing.assert_close(values["y"], torch.stack(wanted), rtol=1e-12, atol=1e-12)


def test_an_rnn_computes_what_caffe_computes(net: Path) -> None:
    torch.manual_seed(4)
    T, B, D, H = 6, 2, 3, 4
    module = Net(read(net, SEQUENCE + recurrent("RNN", H)).spec).double()
    W_xh, b_h, W_hh, W_ho, b_o = weights((H, D), (H,), (H, H), (H, H), (H,))
    with torch.no_grad():
        cell, out = module.layers["y_h"], module.layers["y_o"]
        for ours, theirs in ((cell.x_to_gates, W_xh), (cell.h_to_gates, W_hh), (out.x_to_y, W_ho)):
            ours.copy_(theirs.t())
        cell.bias.copy_(b_h)
        out.bias.copy_(b_o)
    x, marks = torch.randn(T, B, D).double(), cont(T, B)
    h, wanted = torch.zeros(B, H).double(), []
    for t in range(T):
        h = tanh(x[t] @ W_xh.t() + b_h + (marks[t][:, None] * h) @ W_hh.t())
        wanted.append(tanh(h @ W_ho.t() + b_o))
    values, _ = module({"x": x, "cont": marks})
    torch.testing.assert_close(values["y"], torch.stack(wanted), rtol=1e-12, atol=1e-12)


def test_static_input_goes_to_every_step(net: Path) -> None:
    torch.manual_seed(5)
    T, B, D, H = 6, 2, 3, 4
    text = SEQUENCE + source("2 5 1", "image") + product(2, bottom="image", top="seen")
    spec = read(net, text + recurrent("LSTM", H, bottom="x cont seen")).spec
    assert (spec["image"].unroll, spec["seen"].unroll) == (1, 1)
    assert spec["y"].sources == (Edge("x"), Edge("seen", "all"))
    module = Net(spec).double()
    W_xc, b_c, W_static, W_hc = weights((4 * H, D), (4 * H,), (4 * H, 2), (4 * H, H))
    with torch.no_grad():
        for ours, theirs in zip(
            module.layers["y"].parameters(), (torch.cat([W_xc, W_static], 1), W_hc, b_c), strict=True
        ):
            i, f, o, g = theirs.chunk(4)
            packed = torch.cat([i, f, g, o])
            ours.copy_(packed.t() if packed.dim() == 2 else packed)
        module.layers["seen"].x_to_y.normal_()
    x, image, marks = torch.randn(T, B, D).double(), torch.randn(1, B, 5, 1).double(), cont(T, B)
    values, _ = module({"x": x, "cont": marks, "image": image})
    seen = values["seen"][0]
    h, c, wanted = torch.zeros(B, H).double(), torch.zeros(B, H).double(), []
    for t in range(T):
        go_on = marks[t][:, None]
        gates = x[t] @ W_xc.t() + b_c + seen @ W_static.t() + (go_on * h) @ W_hc.t()
        i, f, o, g = gates.chunk(4, -1)
        c = go_on * sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(c)
        wanted.append(h)
    torch.testing.assert_close(values["y"], torch.stack(wanted), rtol=1e-12, atol=1e-12)


LANGUAGE = (
    layer("HDF5Data", HDF5.format("words", 20, "false"), bottom="", top="cont input target")
    + layer("Embed", "embed_param { input_dim: 9 num_output: 4 bias_term: false }", bottom="input", top="e")
    + recurrent("LSTM", 5, 'weight_filler { type: "uniform" min: -0.08 max: 0.08 }', "e cont", "l1")
    + recurrent("LSTM", 6, 'weight_filler { type: "uniform" min: -0.08 max: 0.08 }', "l1 cont", "l2")
    + product(9, "axis: 2", bottom="l2", top="p")
    + layer(
        "SoftmaxWithLoss",
        "softmax_param { axis: 2 } loss_param { ignore_label: -1 } loss_weight: 20",
        bottom="p target",
        top="loss",
    )
)


def test_a_language_model_reads_without_the_shapes_of_its_ids(net: Path) -> None:
    found = read(net, LANGUAGE)
    assert [(layer.name, layer.type, layer.unroll) for layer in found.spec] == [
        ("cont", "continues", None),
        ("input", "ids", None),
        ("target", "ids", None),
        ("e", "embedding", None),
        ("l1", "recurrent", None),
        ("l2", "recurrent", None),
        ("p", "linear", None),
        ("loss", "softmax-loss", None),
    ]
    assert found.spec.unroll == 20
    assert found.spec["l2"].settings == {"cell": "lstm", "hidden": 6}
    assert [p.role for p in found.spec["l2"].params] == ["x_to_ifgo", "bias_ifgo", "h_to_ifgo"]
    module = Net(found.spec)
    ids = torch.randint(0, 9, (7, 3))
    score, _ = module.judge({"input": ids, "target": ids, "cont": torch.ones(7, 3)})
    assert score.count == 21 and score.total.isfinite()


def test_axes_are_worked_out_where_only_the_data_knows_the_lanes(net: Path) -> None:
    reshape = layer(
        "Reshape", "reshape_param { shape { dim: 0 dim: 0 dim: 2 dim: -1 } }", bottom="l1", top="r"
    )
    spec = read(net, LANGUAGE.replace("num_output: 5", "num_output: 8") + reshape).spec
    assert spec["r"].settings == {"shape": [2, 4]}


def test_a_net_of_one_step_with_a_constant_cont_streams(net: Path) -> None:
    ones = "dummy_data_param { data_filler { value: 1 } shape { dim: 1 dim: 2 } }"
    text = source("1 2 3") + layer("DummyData", ones, bottom="", top="cont") + recurrent("LSTM", 4)
    spec = read(net, text).spec
    assert spec.unroll is None
    module, x = Net(spec), torch.rand(5, 2, 3)
    whole, _ = module({"x": x})
    first, state = module({"x": x[:2]})
    rest, _ = module({"x": x[2:]}, state)
    torch.testing.assert_close(whole["y"], torch.cat([first["y"], rest["y"]]), rtol=0, atol=1e-6)


# What is wrong, and where.

TWO = source("5 3", "a") + source("5 4", "b")
BAD: list[tuple[str, str, str]] = [
    ("", "", "a net wants an input layer, HDF5Data or Input; this one has none"),
    ('nam: "x"', 'nam: "x"', "a net has no field 'nam'; did you mean 'name'?"),
    (
        "layers { }",
        "layers {",
        "'layers' is the old form of a net; convert it with Caffe's upgrade_net_proto_text",
    ),
    ('state { stage: "s" }', 'stage: "s"', "stages have no counterpart; leave them out"),
    (
        'input: "x" input_dim: 3',
        'input: "x"',
        "wanted an input_shape for each of 1 inputs, came 0",
    ),
    ("layer: 3", "layer: 3", "layer: wanted { ... }"),
    ('layer { name: "x" }', 'layer { name: "x"', "a layer wants a field 'type', and has none"),
    ("layer { type: Input }", "type: Input", 'type: wanted a quoted text such as "InnerProduct"'),
    ('layer { type: "Input" }', 'layer { type: "Input"', "layer wants a field 'name', and has none"),
    (
        'layer { type: "Inputs" convolution_param { } }',
        'type: "Inputs"',
        "the layer type 'Inputs' has no counterpart; did you mean 'Input'?",
    ),
    (
        'layer { name: "l" type: "lstm" }',
        'type: "lstm"',
        "the layer type 'lstm' has no counterpart; did you mean 'LSTM'?",
    ),
    (
        'layer { name: "l" type: "Python" }',
        'type: "Python"',
        "the layer type 'Python' has no counterpart; known are HDF5Data, DummyData, Input,",
    ),
    (
        source("5") + layer("Sigmoid", "slice_param { }"),
        "slice_param {",
        "a layer of type Sigmoid takes sigmoid_param, ",
    ),
    (
        source("5") + layer("Split", "slice_param { }"),
        "slice_param {",
        "a layer of type Split takes no message of its own",
    ),
    (
        source("5") + layer("Sigmoid", "blobs { }"),
        "blobs {",
        "blobs: weights are not read out of a net's file",
    ),
    (
        source("5") + layer("Sigmoid", "phase: TRAIN"),
        "phase: TRAIN",
        "phase: a layer's phase is not read; write include",
    ),
    (
        source("5") + layer("Sigmoid", "botom: 3"),
        "botom: 3",
        "layer has no field 'botom'; did you mean 'bottom'?",
    ),
    (
        source("5") + layer("Sigmoid", 'bottom: "x"'),
        'bottom: "x"',
        "a layer of type Sigmoid wants 1 bottom, came 2",
    ),
    (
        source("5") + layer("Sigmoid", bottom=""),
        'layer { name: "y"',
        "a layer of type Sigmoid wants 1 bottom, came 0",
    ),
    (
        source("5") + layer("Eltwise"),
        'bottom: "x"',
        "a layer of type Eltwise wants 2 or more bottoms, came 1",
    ),
    (source("5") + layer("Split", top="a a"), 'top: "a"', "layer 'a' gives one top twice"),
    (
        source("5") + layer("Sigmoid", "loss_weight: 1"),
        "loss_weight: 1",
        "a layer of type Sigmoid is no loss here",
    ),
    (
        source("5") + layer("Sigmoid", "param { }"),
        "param {",
        "a layer of type Sigmoid has no parameters",
    ),
    (
        source("5") + layer("Sigmoid", "propagate_down: false"),
        "propagate_down: false",
        "propagate_down has no counterpart",
    ),
    (
        source("5") + layer("Sigmoid", "include { min_level: 1 }"),
        "min_level: 1",
        "min_level has no counterpart",
    ),
    (
        source("5") + layer("Sigmoid", "include { phase: TRAIN } exclude { phase: TEST }"),
        "exclude {",
        "layer 'y' both includes and excludes; say one",
    ),
    (
        source("5") + layer("Sigmoid", "include { phase: TRIAN }"),
        "phase: TRIAN",
        "phase: wanted one of TRAIN, TEST, came TRIAN; did you mean 'TRAIN'?",
    ),
    (
        source("5") + layer("Sigmoid", bottom="xx"),
        'bottom: "xx"',
        "layer 'y' reads 'xx', which no layer before it gives in phase TRAIN",
    ),
    (
        source("5") + source("5").replace('name: "x"', 'name: "z"'),
        'top: "x"',
        "'x' is the top of two layers; only its own reader may go over it",
    ),
    (
        source("5 3") + layer("Sigmoid", name="x", top="y"),
        'layer { name: "x"',
        "a layer 'x' is in line 1 already; name one otherwise",
    ),
    (
        source("5 3", "a#b"),
        'name: "a#b"',
        "layer 'a#b' has '#', which unrolling puts there in its name; name it o",
    ),
    (source("5 3") + product(4, "axis: 0"), "axis: 0", "axis: axis 0 is the lanes' here"),
    (source("5 3") + product(4, "axis: 2"), "axis: 2", "axis: 'x' [5 × 3] has no axis 2"),
    (
        source("5 3 2") + product(4, "axis: 2"),
        "axis: 2",
        "axis 2 of 'x' [5 × 3 × 2] multiplies several rows",
    ),
    (
        source("5 3") + layer("InnerProduct"),
        'layer { name: "y"',
        "inner_product_param wants a field 'num_output', and has none",
    ),
    (
        source("5 3") + layer("Slice", top="a b"),
        'top: "a"',
        "3 along the axis can't be cut into 2 equal parts",
    ),
    (
        source("5 3") + layer("Slice", "slice_param { slice_point: 1 }", top="a b c"),
        "slice_point: 1",
        "wanted 2 slice_point",
    ),
    (
        source("5 3") + layer("Slice", "slice_param { slice_point: 3 }", top="a b"),
        "slice_point: 3",
        "slice points rise",
    ),
    (TWO + layer("Eltwise", bottom="a b"), 'bottom: "b"', "'b' [5 × 4] does not fit 'a' [5 × 3]"),
    (
        TWO + layer("Concat", "concat_param { axis: 0 }", bottom="a b"),
        "axis: 0",
        "axis: axis 0 is the lanes' here, and a layer works inside a lane and s",
    ),
    (
        source("5 3 2", "a") + source("5 3 1", "b") + layer("Concat", bottom="a b"),
        'bottom: "b"',
        "'b' [5 × 3 × 1] does not fit 'a' [5 × 3 × 2]",
    ),
    (
        source("5 3", "a") + layer("Eltwise", "eltwise_param { operation: MAX coeff: 1 }", bottom="a a"),
        "coeff: 1",
        "coeff is for a sum, one for each of the 2 bottoms; came 1 for MAX",
    ),
    (
        source("5 3") + layer("ReLU", "relu_param { negative_slope: 0.1 }"),
        "negative_slope: 0.1",
        "a leaky ReLU has no counterpart",
    ),
    (
        source("5 3") + layer("Dropout", "dropout_param { dropout_ratio: 1 }"),
        'layer { name: "y"',
        "layer 'y': ratio wants",
    ),
    (
        source("5 3") + layer("Reshape", "reshape_param { shape { dim: 3 dim: 5 } }"),
        "shape {",
        "'x' [5 × 3] would",
    ),
    (
        source("5 3") + layer("Reshape", "reshape_param { shape { dim: 0 dim: 5 } }"),
        "shape {",
        "'x' [5 × 3] can't",
    ),
    (
        source("5 3") + layer("Reshape", "reshape_param { shape { dim: -1 dim: -1 } }"),
        "shape {",
        "at most one dim is -1",
    ),
    (
        source("5 3") + layer("Reshape", "reshape_param { axis: 3 }"),
        "axis: 3",
        "'x' [5 × 3] has no axes 3 up to",
    ),
    (TWO + layer("EuclideanLoss", bottom="a b"), 'bottom: "b"', "'b' [5 × 4] does not fit 'a' [5 × 3]"),
    (
        TWO + layer("EuclideanLoss", bottom="a a", top="l") + layer("Sigmoid", bottom="l"),
        'bottom: "l"',
        "'l' is a loss or an accuracy; no layer reads on from it",
    ),
    (
        TWO + layer("EuclideanLoss", "loss_weight: 1 loss_weight: 2", bottom="a a"),
        "loss_weight: 2",
        "wanted one loss_weight",
    ),
    (
        TWO + layer("SoftmaxWithLoss", bottom="a b", top="l"),
        'bottom: "b"',
        "'b' [5 × 4] holds 4 ids for each lane; one is wanted",
    ),
    (
        source("5 3 2") + source("5", "t") + layer("SoftmaxWithLoss", bottom="x t", top="l"),
        'layer { name: "l"',
        "'x' [5 × 3 × 2] has more than the 3 classes of axis 1",
    ),
    (
        source("5 3")
        + source("5 1", "t")
        + product(4, bottom="t")
        + layer("SoftmaxWithLoss", bottom="x t", top="l"),
        'bottom: "t"',
        "'t' is read as one of 3 ids here and as numbers before",
    ),
    (
        source("5 3") + product(1) + layer("SoftmaxWithLoss", bottom="x y", top="l"),
        'bottom: "y"',
        "'y' is read as ids, and only a net's input gives such; make it an Input layer's top",
    ),
    (
        source("5 3")
        + source("5", "t")
        + layer("SoftmaxWithLoss", "loss_param { normalization: NONE }", bottom="x t", top="l"),
        "normalization: NONE",
        "a sum over all targets has no counterpart",
    ),
    (
        source("5 3")
        + source("5", "t")
        + layer("Accuracy", "accuracy_param { ignore_label: 1 }", bottom="x t"),
        "ignore_label: 1",
        "an accuracy that ignores a label has no counterpart",
    ),
    (
        source("5 3") + product(4, 'weight_filler { type: "xavir" }'),
        'type: "xavir"',
        'type: wanted one of constant, uniform, gaussian, xavier, msra, came "xavir"; did you mean ',
    ),
    (
        source("5 3") + product(4, 'weight_filler { type: "uniform" min: 2 }'),
        "min: 2",
        "min 2 is more than max 1",
    ),
    (
        source("5 3") + product(4, "weight_filler { sparse: 3 }"),
        "sparse: 3",
        "sparse fillers have no counterpart",
    ),
    (
        source("5 3")
        + layer(
            "DummyData", 'dummy_data_param { data_filler { type: "gaussian" } shape { dim: 5 } }'
        ).replace('bottom: "x"', ""),
        'type: "gaussian"',
        "only constant DummyData has a counterpart; take an Input layer",
    ),
    (
        source("5 3")
        + layer("InnerProduct", "inner_product_param { num_output: 4 } param { } param { } param { }"),
        "param {",
        "layer 'y' has 2 parameters, came settings for 3",
    ),
    (
        source("5 3")
        + layer("InnerProduct", 'inner_product_param { num_output: 4 } param { name: "W" }', top="y")
        + layer("InnerProduct", 'inner_product_param { num_output: 5 } param { name: "W" }', top="z"),
        'name: "W"',
        "parameter 'W' is [5 × 3] in layer 'z' and [4 × 3] in 'y'; one name shares one parameter",
    ),
    (
        source("5 3")
        + layer(
            "InnerProduct", 'inner_product_param { num_output: 4 } param { name: "W" lr_mult: 1 }', top="y"
        )
        + layer(
            "InnerProduct", 'inner_product_param { num_output: 4 } param { name: "W" lr_mult: 2 }', top="z"
        ),
        "lr_mult: 2",
        "parameter 'W' is shared; lr_mult is 2 here, before 1",
    ),
    (
        layer("Input", "input_param { shape { dim: 1 } shape { dim: 1 } }", bottom="", top="a b c"),
        "shape {",
        "wanted one shape, or one for each of the 3 tops, came 2",
    ),
    (
        SEQUENCE + recurrent("LSTM", 4, "expose_hidden: true"),
        "expose_hidden: true",
        "expose_hidden has no counterpart",
    ),
    (
        SEQUENCE + product(4),
        "inner_product_param {",
        "axis: axes 0 and 1 are the steps' and the lanes' here, and a layer wor",
    ),
    (
        SEQUENCE + recurrent("LSTM", 4, bottom="x x"),
        'bottom: "x"',
        "'x' is read as marks of where sequences go on here",
    ),
    (
        SEQUENCE + recurrent("LSTM", 4, bottom="cont cont"),
        'bottom: "cont"',
        "'cont' is read as numbers here and as marks of where sequences go on b",
    ),
    (
        SEQUENCE + source("6 2", "d") + recurrent("LSTM", 4) + recurrent("LSTM", 4, bottom="y d", top="z"),
        'bottom: "d"',
        "'d' marks other starts than 'cont' for a layer before",
    ),
    (
        SEQUENCE + recurrent("LSTM", 4, bottom="x cont") + recurrent("LSTM", 4, bottom="x y", top="z"),
        'bottom: "y"',
        "'y' says where sequences go on; wanted an input of the net, or DummyData of 1",
    ),
    (
        SEQUENCE + recurrent("LSTM", 4, bottom="x cont x"),
        'bottom: "x"',
        "'x' [6 × 2 × 3] has no time axis; wanted [T × N × ...]",
    ),
    (
        source("6 2", "cont") + source("6", "x"),
        'top: "x"',
        "'x' [6] needs the axes [T × N × ...]",
    ),
    (
        SEQUENCE
        + layer("LSTM", 'recurrent_param { num_output: 3 } param { name: "W" }', bottom="x cont")
        + product(12, "axis: 2", bottom="x", top="z").replace("} }", '} param { name: "W" } }'),
        'name: "W"',
        "parameter 'W' is [12 × 3] in layer 'z' and [12 × 3] of LSTM gates in '",
    ),
    (
        SEQUENCE
        + source("2 5", "s")
        + layer(
            "LSTM",
            'recurrent_param { num_output: 3 } param { } param { } param { name: "W" }',
            bottom="x cont s",
        ),
        'name: "W"',
        "the weights from x and from the static input are one matrix here; give",
    ),
]


@pytest.mark.parametrize(("text", "place", "message"), BAD, ids=[message[:40] for *_, message in BAD])
def test_what_is_wrong_is_told_with_its_place(net: Path, text: str, place: str, message: str) -> None:
    line, column, told = complaint(net, text).split(":", 2)
    there = (text.splitlines() or [""])[int(line) - 1][int(column) - 1 :]
    assert told.strip().startswith(message)
    assert there.startswith(place)
    assert int(line) == max(1, len(text.splitlines())), "the last layer is the one at fault"


def test_what_is_wrong_with_the_whole_net_is_told_at_its_beginning(net: Path) -> None:
    text = source("2147483647 3 5") + source("2147483647 3", "cont")
    assert complaint(net, text).startswith("1:1: the net: unroll wants a number from 1 to 10,000,000")
