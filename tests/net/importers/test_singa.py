import re
from dataclasses import FrozenInstanceError, fields
from importlib import resources
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from unrolled import unroll
from unrolled.cells import GRU
from unrolled.data import Vocab
from unrolled.errors import NetError, UsageError
from unrolled.net import Edge, Layer, Net, Param, Spec, unroll_graph
from unrolled.net.importers.singa import Job, read_job
from unrolled.settings import DataSettings, TrainingSettings, resolve
from unrolled.training.schedules import learning_rate

DATA = 'layer { name: "data" type: kCharRNN unroll_len: 1 char_rnn_conf { path: "t.txt" } }\n'
ONEHOT = (
    'layer { name: "onehot" type: kOneHot srclayers: "data" unroll_conn_type: kUnrollOneToAll '
    "onehot_conf { vocab_size: 11 } }\n"
)
GRU1 = 'layer { name: "gru1" type: kGRU srclayers: "onehot" gru_conf { dim_hidden: 7 } }\n'
LABEL = 'layer { name: "label" type: kRNNLabel srclayers: "data" unroll_conn_type: kUnrollOneToAll }\n'
IP = 'layer { name: "ip" type: kInnerProduct srclayers: "gru1" innerproduct_conf { num_output: 11 } }\n'
LOSS = 'layer { name: "loss" type: kSoftmaxLoss srclayers: "ip" srclayers: "label" }\n'
CHAR_RNN = DATA + ONEHOT + GRU1 + LABEL + IP + LOSS
GRU_NAMES = ["z_hx", "r_hx", "c_hx", "z_hh", "r_hh", "c_hh", "z_b", "r_b", "c_b"]


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return tmp_path / "job.conf"


def job(conf: Path, net: str = CHAR_RNN, length: str = "unroll_len: 3", head: str = "") -> Job:
    conf.write_text(f"{head} neuralnet {{ {length}\n{net} }}\n", encoding="utf-8")
    return read_job(conf)


def layer(name: str, type_: str, more: str = "", source: str = "gru1") -> str:
    return f'layer {{ name: "{name}" type: {type_} srclayers: "{source}" {more} }}\n'


def complaint(conf: Path, net: str, length: str = "unroll_len: 3", head: str = "") -> str:
    """Return what is said against a net, without the file's name; its first layer is in line 2."""
    with pytest.raises(UsageError) as caught:
        job(conf, net, length, head)
    said = str(caught.value)
    assert said.startswith(f"{conf}:") and "\n" not in said
    return said.removeprefix(f"{conf}:")


def vocab(size: int) -> Vocab:
    return Vocab.of([chr(0x4E00 + number) for number in range(size)])


def kinds(spec: Spec) -> dict[str, tuple[str, dict[str, Any]]]:
    return {found.name: (found.type, dict(found.settings)) for found in spec}


# The net


def test_a_job_is_layers_with_sources() -> None:
    path = Path(str(resources.files("unrolled") / "recipes" / "singa" / "char-rnn.conf"))
    spec = read_job(path).spec
    assert kinds(spec) == {
        "data": ("text", {"size": "vocab"}),
        "onehot": ("one-hot", {"size": 101}),
        "label": ("label", {}),
        "gru1": ("recurrent", {"cell": "gru", "hidden": 512}),
        "ip1": ("linear", {"size": 101}),
        "loss": ("softmax-loss", {}),
    }
    assert spec["onehot"].sources == spec["label"].sources == (Edge("data", "all"),)
    assert spec["loss"].sources == (Edge("ip1"), Edge("label"))
    assert (spec.name, spec.unroll, spec["data"].unroll, spec["gru1"].unroll) == ("char-rnn", 50, 1, None)


def test_the_net_may_be_called_net_and_the_algorithm_alg_or_capital_alg(conf: Path) -> None:
    conf.write_text(f"train_one_batch {{ Alg: kBP }} net: {{ unroll_len: 3 {CHAR_RNN} }}")
    assert read_job(conf).alg == "kBP"
    assert read_job(conf).spec == job(conf).spec


def test_the_unrolled_graph_has_exactly_singas_copies_edges_and_shared_parameters(conf: Path) -> None:
    params = "".join(f'param {{ name: "{name}" }} ' for name in GRU_NAMES[:6])
    gru = layer("gru1", "kGRU", "gru_conf { dim_hidden: 7 } " + params, source="onehot")
    graph = unroll_graph(job(conf, DATA + ONEHOT + gru + LABEL + IP + LOSS).spec)
    sources = {copy.name: list(copy.sources) for copy in graph}
    assert sources == {
        "0#data": [],
        "0#onehot": ["0#data"], "1#onehot": ["0#data"], "2#onehot": ["0#data"],
        "0#gru1": ["0#onehot"], "1#gru1": ["1#onehot", "0#gru1"], "2#gru1": ["2#onehot", "1#gru1"],
        "0#label": ["0#data"], "1#label": ["0#data"], "2#label": ["0#data"],
        "0#ip": ["0#gru1"], "1#ip": ["1#gru1"], "2#ip": ["2#gru1"],
        "0#loss": ["0#ip", "0#label"], "1#loss": ["1#ip", "1#label"], "2#loss": ["2#ip", "2#label"],
    }  # fmt: skip
    assert list(sources) == [copy.name for copy in graph]
    second = next(copy for copy in graph if copy.name == "1#gru1")
    shared = {param.name: param.shared_from for param in second.params}
    assert {name: shared[f"1#{name}"] for name in GRU_NAMES[:6]} == {n: f"0#{n}" for n in GRU_NAMES[:6]}


def test_one_embedding_reads_the_whole_text_as_the_listing_says(conf: Path) -> None:
    embedding = (
        'layer { name: "embed" type: kEmbedding srclayers: "data" unroll_conn_type: kUnrollOneToAll '
        'embedding_conf { vocab_size: 11 feature_dim: 5 } param { name: "table" } }\n'
    )
    spec = job(conf, DATA + embedding + GRU1.replace("onehot", "embed") + LABEL + IP + LOSS).spec
    assert kinds(spec)["embed"] == ("embedding", {"size": 11, "width": 5})
    names = [copy.name for copy in unroll_graph(spec)]
    assert names[:7] == ["0#data", *(f"{t}#embed" for t in range(3)), *(f"{t}#gru1" for t in range(3))]


def test_unroll_len_of_a_layer_alone_makes_as_many_copies_of_it(conf: Path) -> None:
    long = [text.replace(" type:", " unroll_len: 5 type:") for text in (ONEHOT, GRU1, LABEL, IP, LOSS)]
    copies = unroll_graph(job(conf, DATA + "".join(long), length="").spec).lengths
    assert copies == {"data": 1, "onehot": 5, "gru1": 5, "label": 5, "ip": 5, "loss": 5}


def test_unroll_len_of_the_net_is_every_layers_that_sets_none(conf: Path) -> None:
    copies = unroll_graph(job(conf, length="unroll_len: 50").spec).lengths
    assert copies == {"data": 1, "onehot": 50, "gru1": 50, "label": 50, "ip": 50, "loss": 50}


def test_layers_of_two_lengths_stay_as_they_are(conf: Path) -> None:
    net = (
        'layer { name: "a" type: kEmbedding unroll_len: 4 embedding_conf { vocab_size: 11 } }\n'
        'layer { name: "e" type: kGRU unroll_len: 4 srclayers: "a" gru_conf { dim_hidden: 7 } }\n'
        'layer { name: "b" type: kEmbedding unroll_len: 6 embedding_conf { vocab_size: 11 } }\n'
        'layer { name: "d" type: kGRU unroll_len: 6 srclayers: ["b", "e"] gru_conf { dim_hidden: 7 }\n'
        "  unroll_conn_type: [kUnrollOneToOne, kUnrollFirstToLast] }\n"
    )
    spec = job(conf, net, length="").spec
    assert spec["d"].sources == (Edge("b"), Edge("e", "last"))
    copies = {copy.name: list(copy.sources) for copy in unroll_graph(spec)}
    assert copies["0#d"] == ["0#b", "3#e"] and copies["1#d"] == ["1#b", "0#d"]


def test_a_second_gru_is_one_more_layer_block(conf: Path) -> None:
    gru2 = layer("gru2", "kGRU", "gru_conf { dim_hidden: 5 }")
    one = job(conf).spec
    two = job(conf, DATA + ONEHOT + GRU1 + gru2 + LABEL + IP.replace("gru1", "gru2") + LOSS).spec
    assert [found.name for found in two] == ["data", "onehot", "gru1", "gru2", "label", "ip", "loss"]
    assert two["gru1"] == one["gru1"] and two["ip"].sources == (Edge("gru2"),)
    copies = {copy.name: copy.sources for copy in unroll_graph(two)}
    assert copies["1#gru2"] == ("1#gru1", "0#gru2") and copies["1#ip"] == ("1#gru2",)
    net = Net(two, vocab(11))
    assert net.wiring.gathered == {"onehot"}
    assert dict(net.named_parameters())["layers.gru2.x_to_rzn"].shape == (7, 15)


def test_a_shift_skips_through_time(conf: Path) -> None:
    gru = layer("gru2", "kGRU", "shift: 2 gru_conf { dim_hidden: 5 }")
    spec = job(conf, DATA + ONEHOT + GRU1 + gru).spec
    assert spec["gru2"].sources == (Edge("gru1", shift=2),)
    copies = {copy.name: list(copy.sources) for copy in unroll_graph(spec)}
    assert (copies["1#gru2"], copies["2#gru2"]) == (["0#gru2"], ["0#gru1", "1#gru2"])


def test_where_nothing_is_unrolled_the_same_net_reads_as_long_as_its_data(conf: Path) -> None:
    spec = job(conf, length="").spec
    assert spec.unroll is None and {spec.length_of(found) for found in list(spec)[1:]} == {None}
    assert spec["onehot"].sources == (Edge("data", "all"),) and spec["data"].unroll == 1
    plain = job(conf, CHAR_RNN.replace("unroll_conn_type: kUnrollOneToAll", ""), length="").spec
    assert plain == spec


TYPES = [
    ("kDropout", "dropout_conf { dropout_ratio: 0.25 }", ("dropout", {"ratio": 0.25})),
    ("kDropout", "", ("dropout", {"ratio": 0.5})),
    ("kActivation", "activation_conf { type: STANH }", ("activation", {"function": "stanh"})),
    ("kActivation", "activation_conf { type: RELU }", ("activation", {"function": "relu"})),
    ("kReLU", "", ("activation", {"function": "relu"})),
    ("kSigmoid", "", ("activation", {"function": "sigmoid"})),
    ("kSTanh", "", ("activation", {"function": "stanh"})),
    ("kSoftmax", "", ("softmax", {})),
    ("kArgSort", "argsort_conf { topk: 1 }", ("argmax", {})),
    ("kCharRNNOutput", "", ("copy", {})),
    ("kSplit", "split_conf { num_splits: 2 }", ("copy", {})),
    ("kInnerProduct", "innerproduct_conf { num_output: 4 bias_term: false transpose: true }",
     ("linear", {"size": 4, "bias": False, "transpose": True})),
    ("kConcate", 'concate_conf { concate_dim: 1 num_concates: 2 } srclayers: "onehot"', ("concat", {})),
    ("kGRU", "gru_conf { dim_hidden: 4 bias_term: false }",
     ("recurrent", {"cell": "gru", "hidden": 4, "bias": False})),
    ("kEuclideanLoss", 'srclayers: "onehot"', ("euclidean-loss", {})),
    ("kSoftmaxLoss", 'srclayers: "label" softmaxloss_conf { topk: 3 scale: 0.5 }',
     ("softmax-loss", {"topk": 3, "scale": 0.5})),
    ("kAccuracy", 'srclayers: "label" argsort_conf { topk: 2 }', ("accuracy", {"topk": 2})),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "more", "ours"), TYPES, ids=[f"{kind} {more}" for kind, more, _ in TYPES])
def test_each_type_is_one_of_ours(conf: Path, kind: str, more: str, ours: tuple[str, dict[str, Any]]) -> None:
    assert kinds(job(conf, CHAR_RNN + layer("x", kind, more)).spec)["x"] == ours


def test_the_text_layer_may_have_its_documented_name(conf: Path) -> None:
    assert job(conf, CHAR_RNN.replace("kCharRNN ", "kCharRNNInput ")).spec == job(conf).spec


def test_a_slice_becomes_its_parts_and_its_readers_take_them_in_order(conf: Path) -> None:
    net = CHAR_RNN.replace("dim_hidden: 7", "dim_hidden: 6") + layer(
        "cut", "kSlice", "slice_conf { slice_dim: 1 num_slices: 2 }"
    )
    spec = job(conf, net + layer("a", "kReLU", source="cut") + layer("b", "kSigmoid", source="cut")).spec
    assert spec["cut-0"] == Layer("cut-0", "slice", (Edge("gru1"),), {"begin": 0, "end": 3})
    assert spec["cut-1"].settings == {"begin": 3, "end": 6}
    assert (spec["a"].sources, spec["b"].sources) == ((Edge("cut-0"),), (Edge("cut-1"),))
    assert "has 2 slices, and 1 layers read them" in complaint(conf, net + layer("a", "kReLU", source="cut"))
    odd = net.replace("num_slices: 2", "num_slices: 4")
    assert "kSlice: 6 numbers are not 4 equal parts" in complaint(conf, odd)


def test_a_users_cell_is_a_recurrent_layer_of_that_name_and_nothing_is_imported(
    conf: Path, tmp_path: Path
) -> None:
    (tmp_path / "my.py").write_text("raise SystemExit('imported')")
    for size in ("[my_conf] { dim_hidden: 9 }", "[a.b] { hidden: 9 }", "gru_conf { dim_hidden: 9 }"):
        own = f'layer {{ name: "own" user_type: "my.py:Leaky" srclayers: "onehot" {size} }}\n'
        spec = job(conf, DATA + ONEHOT + own).spec
        assert spec["own"] == Layer(
            "own", "recurrent", (Edge("onehot"),), {"cell": "my.py:Leaky", "hidden": 9}
        )


def test_a_dummy_repeats_what_its_dynamic_source_gave_a_step_before() -> None:
    path = Path(str(resources.files("unrolled") / "recipes" / "singa" / "char-rnn-sample.conf"))
    found = read_job(path)
    initial = {"low": 0.0, "high": 101.0, "integer": True}
    assert found.spec["data"] == Layer("data", "copy", (Edge("argsort", "same", 1, initial),))
    assert (found.test_steps, found.training, found.notes) == (10_000, {}, ())
    assert {found.spec.length_of(layer) for layer in found.spec} == {None}
    output = found.outputs["output"]
    assert output is not None and output.written == "vocab.txt"
    steps = unroll_graph(found.spec, 2)
    assert {copy.name: copy.sources for copy in steps}["1#data"] == ("0#argsort",)


def test_phases_are_ours_and_a_name_may_return_in_another_phase(conf: Path) -> None:
    net = (
        DATA.replace("type:", "include: kTrain type:")
        + DATA.replace("type:", "include: [kVal, kTest] type:").replace("t.txt", "v.txt")
        + ONEHOT + GRU1 + LABEL + IP + LOSS
    )  # fmt: skip
    found = job(conf, net)
    assert [layer.include for layer in found.spec if layer.name == "data"] == [
        ("train",),
        ("validation", "test"),
    ]
    written = {phase: data.text.written for phase, data in found.data.items()}
    assert written == {"train": "t.txt", "validation": "v.txt", "test": "v.txt"}
    assert job(conf, net.replace("include", "exclude")).data["validation"].text.written == "t.txt"


def test_partition_dimensions_are_the_nets_unless_a_layer_says_otherwise(conf: Path) -> None:
    net = CHAR_RNN.replace('name: "gru1"', 'name: "gru1" partition_dim: 1')
    spec = job(conf, net, length="unroll_len: 3 partition_dim: -1").spec
    assert (spec.partition, spec["gru1"].partition, spec["ip"].partition) == (-1, 1, None)
    assert job(conf).spec.partition == 0


# Parameters


def gru_net(count: int, more: str = "") -> str:
    init = "init { type: kGaussian mean: 0.5 std: 2 }"
    params = "".join(f'param {{ name: "{name}" {init} {more} }} ' for name in GRU_NAMES[:count])
    return DATA + ONEHOT + layer("gru1", "kGRU", "gru_conf { dim_hidden: 7 } " + params, source="onehot")


def test_a_grus_parameters_are_slices_of_ours_in_singas_order(conf: Path) -> None:
    params = job(conf, gru_net(9, "lr_scale: 2 wd_scale: 0")).spec["gru1"].params
    init = {"type": "gaussian", "mean": 0.5, "std": 2.0}
    roles = [(role, gate) for role in ("x_to_rzn", "h_to_rzn", "bias_rzn") for gate in "zrn"]
    wanted = [Param(role, n, g, init, 2.0, 0.0) for n, (role, g) in zip(GRU_NAMES, roles, strict=True)]
    assert list(params[:9]) == wanted
    assert params[9] == Param("h_bias_n", init={"type": "constant", "value": 0.0}, lr=0.0, decay=0.0)


def test_six_parameters_make_a_gru_without_bias(conf: Path) -> None:
    gru = job(conf, gru_net(6)).spec["gru1"]
    assert gru.settings["bias"] is False and [param.name for param in gru.params] == GRU_NAMES[:6]


@pytest.mark.parametrize("count", [1, 5, 7, 8])
def test_any_other_number_of_a_grus_parameters_is_an_error(conf: Path, count: int) -> None:
    said = complaint(conf, gru_net(count))
    assert said.startswith("4:") and f"takes 9 params, or 6 without bias; came {count}" in said


@pytest.mark.parametrize("bias", [True, False])
def test_an_imported_gru_follows_singas_equations_and_passes_gradcheck(conf: Path, bias: bool) -> None:
    torch.manual_seed(4)
    D, H, T, B = 5, 3, 6, 2
    gru = job(conf, gru_net(9 if bias else 6).replace("dim_hidden: 7", f"dim_hidden: {H}")).spec["gru1"]
    sizes = {"hx": (H, D), "hh": (H, H), "b": (H,)}
    W = {name: torch.randn(sizes[name[2:]], dtype=torch.float64) for name in GRU_NAMES}
    cell = GRU(D, H).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        for param in gru.params:
            if param.gate is not None:
                part = getattr(cell, param.role).chunk(3, dim=-1)["rzn".index(param.gate)]
                part.copy_(W[param.name].t() if W[param.name].dim() == 2 else W[param.name])
    if not bias:
        W |= {name: torch.zeros(H, dtype=torch.float64) for name in GRU_NAMES[6:]}

    x, h = torch.randn(T, B, D, dtype=torch.float64), torch.randn(B, H, dtype=torch.float64)
    y, state = unroll(cell, x, h)
    for t in range(T):
        z = torch.sigmoid(x[t] @ W["z_hx"].t() + h @ W["z_hh"].t() + W["z_b"])
        r = torch.sigmoid(x[t] @ W["r_hx"].t() + h @ W["r_hh"].t() + W["r_b"])
        c = torch.tanh(x[t] @ W["c_hx"].t() + W["c_b"] + r * (h @ W["c_hh"].t()))
        h = z * h + (1 - z) * c
        torch.testing.assert_close(y[t], h, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, h, rtol=1e-12, atol=1e-12)

    trained = [p for name, p in cell.named_parameters() if name != "h_bias_n"]

    def run(x: Tensor, *_: Tensor) -> Tensor:
        found: Tensor = unroll(cell, x, engine="naive")[0]
        return found

    assert torch.autograd.gradcheck(run, (x.requires_grad_(), *trained))


def test_a_net_draws_each_gates_parameters_as_the_job_says_and_keeps_the_hidden_bias_at_zero(
    conf: Path,
) -> None:
    net = gru_net(9)
    for number, name in enumerate(GRU_NAMES):
        net = net.replace(
            f'"{name}" init {{ type: kGaussian mean: 0.5 std: 2 }}',
            f'"{name}" init {{ type: kConstant value: {number} }}',
        )
    module = Net(job(conf, net).spec, vocab(11))
    gru = dict(module.named_parameters())
    for packed, zrn in (("x_to_rzn", (0, 1, 2)), ("h_to_rzn", (3, 4, 5)), ("bias_rzn", (6, 7, 8))):
        r, z, n = gru[f"layers.gru1.{packed}"].chunk(3, dim=-1)
        assert tuple(part.unique().tolist() for part in (z, r, n)) == tuple([float(v)] for v in zrn)
    frozen = gru["layers.gru1.h_bias_n"]
    assert not frozen.requires_grad and not frozen.any()
    assert module.scales()["layers.gru1.h_bias_n"] == (0.0, 0.0)


def test_gates_that_are_packed_together_learn_at_one_rate(conf: Path) -> None:
    net = gru_net(9).replace('param { name: "r_hh"', 'param { lr_scale: 3 name: "r_hh"')
    assert "parameters 'z_hh' and 'r_hh' are parts of one here" in complaint(conf, net)


def test_inits_are_ours_and_value_scales_what_is_divided_by_the_fan(conf: Path) -> None:
    def init(text: str) -> Any:
        more = f'innerproduct_conf {{ num_output: 4 }} param {{ name: "w" init {{ {text} }} }}'
        return job(conf, DATA + ONEHOT + GRU1 + layer("x", "kInnerProduct", more)).spec["x"].params[0].init

    assert init("type: kConstant value: 3") == {"type": "constant", "value": 3.0}
    assert init("type: kUniform low: -0.5") == {"type": "uniform", "low": -0.5, "high": 1.0}
    assert init("type: kGaussian std: 2") == {"type": "gaussian", "mean": 0.0, "std": 2.0}
    assert init("type: kGaussianSqrtFanIn value: 3") == {"type": "gaussian-fan-in", "mean": 0.0, "std": 3.0}
    assert init("type: kUniformSqrtFanIn low: 0 high: 2") == {
        "type": "uniform-fan-in",
        "low": 0.0,
        "high": 2.0,
    }
    found = init("type: kUniformSqrtFanInOut value: 0.5")
    assert found == {"type": "uniform-fan-in-out", "low": -0.5, "high": 0.5}
    with pytest.raises(UsageError, match=r"job\.conf:5:.*init kUniform takes low, high, and no std"):
        init("type: kUniform std: 1")
    with pytest.raises(UsageError, match="init kConstant wants a value, and has none"):
        init("type: kConstant")


def test_a_parameter_may_be_shared_from_another_layers(conf: Path) -> None:
    ip = 'innerproduct_conf { num_output: 7 } param { name: "w%d" %s } param { name: "b%d" }'
    net = DATA + ONEHOT + GRU1
    net += layer("x", "kInnerProduct", ip % (1, "", 1)) + layer(
        "y", "kInnerProduct", ip % (2, 'share_from: "w1"', 2)
    )
    spec = job(conf, net).spec
    assert spec["y"].params[0] == Param("x_to_y", "w2", share_from="w1")
    found = {p.name: p.shared_from for copy in unroll_graph(spec) if copy.name == "0#y" for p in copy.params}
    assert found == {"0#w2": "0#w1", "0#b2": None}


# Running


def test_the_shipped_net_reads_text_with_state_and_the_sampling_net_says_on_from_its_weights() -> None:
    folder = Path(str(resources.files("unrolled") / "recipes" / "singa"))
    torch.manual_seed(5)
    net = Net(read_job(folder / "char-rnn.conf").spec, vocab(101)).double()
    ids = torch.randint(101, (9, 3))
    whole, _ = net({"data": ids[:-1], "label": ids[1:]})
    first, state = net({"data": ids[:5]})
    second, _ = net({"data": ids[5:-1]}, state)
    torch.testing.assert_close(whole["ip1"], torch.cat([first["ip1"], second["ip1"]]), rtol=1e-12, atol=1e-12)
    nats = -whole["ip1"].log_softmax(-1).gather(-1, ids[1:, :, None])[..., 0]
    torch.testing.assert_close(whole["loss"], nats, rtol=1e-12, atol=1e-12)

    sampler = Net(read_job(folder / "char-rnn-sample.conf").spec).double()
    with torch.no_grad():
        net.get_parameter("layers.gru1.h_to_rzn").mul_(30)
        sampler.load_weights(net.weights())
    said, _ = sampler({}, sampler.initial_state(2), steps=12)
    assert said["data"].shape == (12, 2) and said["data"][0].min() >= 0 and said["data"][0].max() < 101
    assert len(said["output"].unique()) > 5
    state, id_ = net.initial_state(2), said["data"][0]
    for t in range(12):
        values, state = net({"data": id_[None]}, state)
        id_ = values["ip1"][0].argmax(-1)
        assert torch.equal(said["output"][t], id_)
        assert t == 11 or torch.equal(said["data"][t + 1], id_)


# What is wrong


def x(kind: str, more: str = "", source: str = "gru1") -> str:
    return CHAR_RNN + layer("x", kind, more, source)


DUMMY = 'layer { name: "x" type: kRNNDummy rnn_dummy_conf { dynamic_srclayer: "%s" %s } }'
BAD = [
    (
        CHAR_RNN.replace("gru_conf", "gru_cnf"),
        "gru_cnf",
        "layer has no field 'gru_cnf'; did you mean 'gru_conf'?",
    ),
    (
        CHAR_RNN.replace("dim_hidden", "dim_hiden"),
        "dim_hiden",
        "no field 'dim_hiden'; did you mean 'dim_hidden'?",
    ),
    (x("kGRUU"), "type: kGRUU", "type kGRUU: there is no such layer; did you mean 'kGRU'?"),
    (
        x("kConvolution", "convolution_conf { }"),
        "type: kC",
        "type kConvolution: Unrolled has no counterpart for",
    ),
    (
        x("kCSVInput", "store_conf { }"),
        "type: kCSV",
        "type kCSVInput: Unrolled has no counterpart for this layer",
    ),
    (CHAR_RNN + 'layer { name: "x" }', "layer {", "layer 'x' wants a type, and has none"),
    (
        CHAR_RNN + layer("gru1", "kReLU"),
        'name: "gru1" type: kR',
        "two layers are called 'gru1', the first in line 4",
    ),
    (x("kReLU", source="gru2"), 'srclayers: "gru2"', "there is no layer 'gru2'; did you mean 'gru1'?"),
    (CHAR_RNN.replace('"ip"', '"i#p"'), 'name: "i#p"', "layer 'i#p' has '#', which unrolling puts there"),
    (CHAR_RNN.replace('"ip"', '"i@p"'), 'name: "i@p"', "layer 'i@p' has '@', which unrolling puts there"),
    (
        x("kReLU", "include: kTrain") + layer("y", "kReLU", "exclude: kTest"),
        "exclude:",
        "exclude: the file says include in line 8",
    ),
    (x("kReLU", "include: kTrain exclude: kTest"), "exclude:", "exclude: the file says include in line 8"),
    (x("kReLU", "include: kTrian"), "include:", "came kTrian; did you mean 'kTrain'?"),
    (
        x("kReLU", source="y") + layer("y", "kReLU", source="x"),
        'srclayers: "x"',
        "the layers x <- y <- x read each other within one step",
    ),
    (
        x("kReLU", "unroll_conn_type: kUnrollOneToAll"),
        'srclayers: "gru1" unroll',
        "layer 'x', source 'gru1': all ",
    ),
    (x("kReLU", "unroll_len: 2"), 'srclayers: "gru1" unroll', "a 'same' edge joins equal lengths"),
    (x("kReLU", "unroll_len: 1000000000"), "unroll_len: 10", "unroll wants a number from 1 to 10,000,000"),
    (x("kReLU", "unroll_len: 0"), "unroll_len: 0", "unroll_len: wanted a whole number from 1 to"),
    (x("kReLU", "partition_dim: 2"), "partition_dim", "wanted a whole number from -1 to 1, came 2"),
    (x("kReLU", "shift: [1, 2]"), "2] }", "shift: wanted one for each of the 1 srclayers, came 2"),
    (
        x("kReLU", "shift: 1 unroll_conn_type: kUnrollFirstToLast"),
        "shift: 1",
        "only kUnrollOneToOne has one, not",
    ),
    (x("kReLU", 'srclayers: "ip"'), 'srclayers: "gru1" srclayers', "takes 1 source, came 2"),
    (x("kReLU", "gru_conf { }"), "gru_conf { }", "layer 'x' is a kReLU, which takes no gru_conf"),
    (x("kGRU"), "layer {", "layer 'x' (kGRU) wants gru_conf { dim_hidden: ... }, and has none"),
    (x("kGRU", "gru_conf { }"), "gru_conf { }", "layer 'x' (kGRU) wants gru_conf { dim_hidden: ... }"),
    (x("kActivation"), "layer {", "layer 'x' (kActivation) wants activation_conf { type: ... }"),
    (
        x("kArgSort", "argsort_conf { topk: 5 }"),
        "argsort_conf",
        "only topk 1 has a counterpart, the likeliest; came 5",
    ),
    (
        x("kDropout", "dropout_conf { dropout_ratio: 1 }"),
        "dropout_ratio",
        "wanted a number, 0 or more and less than 1",
    ),
    (x("kConcate", "concate_conf { concate_dim: 0 }"), "concate_dim", "only concate_dim 1 has a counterpart"),
    (x("kSlice", "slice_conf { slice_dim: 0 }"), "slice_dim", "only slice_dim 1 has a counterpart"),
    (x("kSoftmax", 'param { name: "w" }'), "param {", "layer 'x' has 0 parameters, came 1"),
    (
        x("kRNNDummy", 'rnn_dummy_conf { dynamic_srclayer: "ip" high: 9 }'),
        "srclayers:",
        "it has no srclayers",
    ),
    (CHAR_RNN + DUMMY % ("i", "high: 9"), "dynamic_srclayer", "there is no layer 'i'; did you mean 'ip'?"),
    (CHAR_RNN + DUMMY % ("ip", "low: 9"), "low: 9", "wanted low less than high, came 9 and 0"),
    (
        CHAR_RNN + DUMMY % ("ip", "high: 9 integer: true shape: [2, 3]"),
        "2, 3]",
        "gives one id, shape: 1; came (2, 3)",
    ),
    (
        CHAR_RNN + 'layer { name: "x" user_type: "Leaky" }',
        "user_type",
        'wanted "PATH.py:NAME", a class of your own',
    ),
    (
        CHAR_RNN + 'layer { name: "x" user_type: "m.py:Leaky" }',
        "user_type",
        "layer 'x' wants its size: [cell_conf] {",
    ),
    (
        CHAR_RNN + 'layer { name: "x" type: kGRU user_type: "m.py:L" }',
        "user_type",
        "has a type and a user_type",
    ),
    (
        CHAR_RNN.replace('path: "t.txt"', ""),
        'layer { name: "data"',
        "(kCharRNN) wants char_rnn_conf { path: ... }",
    ),
    (
        CHAR_RNN + DATA.replace('"data"', '"more"'),
        "type: kCharRNN",
        "layer 'data' reads a text in phase train already",
    ),
    ("", "neuralnet", "the net has no layers"),
]


@pytest.mark.parametrize(("net", "where", "wanted"), BAD, ids=[wanted[:50] for _, _, wanted in BAD])
def test_what_is_wrong_with_a_net_is_told_at_its_place(conf: Path, net: str, where: str, wanted: str) -> None:
    said = complaint(conf, net)
    assert wanted in said
    before = conf.read_text(encoding="utf-8").rpartition(where)[0]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    assert said.startswith(f"{line}:{column}: ")


FIXED = "updater { type: kSGD learning_rate { type: kFixedStep fixedstep_conf { %s } } }"
BAD_HEADS = [
    ("train_stps: 5", "1:1: job has no field 'train_stps'; did you mean 'train_steps'?"),
    ("train_one_batch { alg: kCD }", "1:19: alg kCD: contrastive divergence has no counterpart"),
    ("train_one_batch { alg: kBTT }", "1:19: alg: wanted one of kBP, kBPTT, kCD, came kBTT"),
    ("train_steps: -1", "1:1: train_steps: wanted a whole number from 0 to 2147483647, came -1"),
    ("debug: 3", "1:1: debug: wanted true or false, came 3"),
    ("updater { }", "1:1: updater wants a field 'type', and has none"),
    ("updater { type: kSGDD }", "came kSGDD; did you mean 'kSGD'?"),
    ("updater { type: kRMSProp }", "1:11: kRMSProp wants rmsprop_conf { rho: ... }, and has none"),
    ("updater { type: kNesterov }", "1:11: kNesterov wants a momentum of more than 0"),
    (
        "updater { type: kSGD clip_low: -1 clip_high: 5 }",
        "1:22: gradients are clipped to ±clip_high, came -1 to 5",
    ),
    ("updater { type: kSGD clip_high: 5 }", "1:22: gradients are clipped to ±clip_high, came 0 to 5"),
    ("updater { type: kSGD delta: 0 }", "1:22: delta: wanted a number, more than 0, came 0"),
    (
        "updater { type: kSGD learning_rate { type: kStep } }",
        "1:38: kStep wants step_conf { ... }, and has none",
    ),
    (
        "updater { type: kSGD learning_rate { base_lr: 0 } }",
        "1:38: base_lr: wanted a number, more than 0, came 0",
    ),
    (FIXED % "step: 1", "1:55: wanted a step_lr for each step, came 1 and 0"),
    (
        FIXED % "step: [0, 5, 5] step_lr: [1, 2, 3]",
        "1:85: step: each must be more than the one before, came 5 after 5",
    ),
    (
        "cluster { nworker_grups: 2 }",
        "1:11: cluster has no field 'nworker_grups'; did you mean 'nworker_groups'?",
    ),
]


@pytest.mark.parametrize(("head", "wanted"), BAD_HEADS, ids=[head[:50] for head, _ in BAD_HEADS])
def test_what_is_wrong_with_a_job_is_told_at_its_place(conf: Path, head: str, wanted: str) -> None:
    assert wanted in complaint(conf, CHAR_RNN, head=head)


def test_a_job_without_a_net_is_an_error(conf: Path) -> None:
    conf.write_text('name: "x"')
    with pytest.raises(UsageError, match="1:1: job wants a field 'neuralnet', and has none"):
        read_job(conf)


def test_an_error_that_comes_later_can_be_told_with_its_line(conf: Path) -> None:
    found = job(conf)
    assert str(found.located(NetError("too wide", "gru1", "hidden"))) == f"{conf}:4:1: too wide"
    assert str(found.located(NetError("not there", "ip", "sources"))) == f"{conf}:6:40: not there"


def test_a_net_that_builds_wrong_shapes_is_told_at_its_layer(conf: Path) -> None:
    found = job(conf, CHAR_RNN.replace("num_output: 11", "num_output: 12"))
    with pytest.raises(NetError) as caught:
        Net(found.spec, vocab(11))
    assert str(found.located(caught.value)).startswith(f"{conf}:7:41: layer 'loss'")


WHOLE = (
    'name: "n" train_steps: 9 gpu: 0 cluster { workspace: "w" }\n'
    "updater { type: kSGD momentum: 0.5\n"
    " learning_rate { type: kStep step_conf { gamma: 0.5 change_freq: 3 } } }\n"
    f"neuralnet {{ unroll_len: 3\n{CHAR_RNN}"
    'layer { name: "x" type: kRNNDummy rnn_dummy_conf { dynamic_srclayer: "gru1" high: 1 } }\n'
    'layer { name: "y" user_type: "a.py:B" srclayers: "x" include: kTrain [c] { hidden: 2 } } }'
)
PIECES = [
    *"{}[]:;\"#@-\0\n0", "1e9", "1e400", "99999999999", '"gru1"', '"data"', "name",
    "type: kGRU", "srclayers", "kSlice", "kRNNLabel", "unroll_len: 2", "kUnrollFirstToLast",
    "shift: 1", "exclude: kVal", "param {", "true",
]  # fmt: skip


@hypothesis.settings(
    max_examples=300, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(st.data())
def test_a_mutated_job_is_a_job_or_a_usage_error_with_its_place(conf: Path, data: st.DataObject) -> None:
    text = WHOLE
    for _ in range(data.draw(st.integers(0, 4))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + 9)))
        text = text[:begin] + data.draw(st.sampled_from(PIECES) | st.text(max_size=3)) + text[end:]
    conf.write_text(text, encoding="utf-8")
    try:
        found = read_job(conf)
    except UsageError as error:
        assert re.match(rf"{re.escape(str(conf))}:\d+:\d+: ", str(error)) and "\n" not in str(error)
    else:
        assert found.settings and all("\n" not in note for note in found.notes)
        resolve(flags=found.settings)


# Training and data


UPDATER = "train_steps: 900 updater { type: %s learning_rate { base_lr: 0.2 %s } }"


def training(conf: Path, kind: str = "kSGD", rate: str = "") -> TrainingSettings:
    found = job(conf, head=UPDATER % (kind, rate))
    made = resolve(flags=dict(found.settings)).settings
    assert {name: getattr(made.training, name) for name in found.training} == dict(found.training)
    return made.training


RATES = [
    ("", lambda s: 0.2),
    ("type: kStep step_conf { gamma: 0.9 change_freq: 7 }", lambda s: 0.2 * 0.9 ** (s // 7)),
    (
        "type: kFixedStep fixedstep_conf { step: [0, 5, 30] step_lr: [0.3, 0.1, 0.4] }",
        lambda s: 0.3 if s < 5 else 0.1 if s < 30 else 0.4,
    ),
    (
        "type: kLinear linear_conf { change_freq: 60 final_lr: 0.05 }",
        lambda s: (1 - s / 60) * 0.2 + s / 60 * 0.05,
    ),
    ("type: kExponential exponential_conf { change_freq: 7 }", lambda s: 0.2 / 2 ** (s / 7)),
    ("type: kInverse inverse_conf { gamma: 0.03 pow: 0.75 }", lambda s: 0.2 * (1 + 0.03 * s) ** -0.75),
    ("type: kInverse inverse_conf { gamma: 0 pow: 0.75 }", lambda s: 0.2),
    ("type: kInverseT inverset_conf { final_lr: 13 }", lambda s: 0.2 / (1 + s / 13)),
]


@pytest.mark.parametrize(("rate", "formula"), RATES, ids=[rate[:20] or "kFixed" for rate, _ in RATES])
def test_the_learning_rate_follows_singas_formula(conf: Path, rate: str, formula: Any) -> None:
    settings = training(conf, rate=rate)
    found = [learning_rate(settings, update, per_epoch=13, total=900) for update in range(60)]
    assert found == pytest.approx([formula(s) for s in range(60)], rel=1e-13)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("kSGD momentum: 0.5", {"optimizer": "sgd", "momentum": 0.5}),
        ("kAdaGrad delta: 1e-7", {"optimizer": "adagrad", "epsilon": 1e-7}),
        ("kRMSProp rmsprop_conf { rho: 0.9 }", {"optimizer": "rmsprop", "decay_rate": 0.9}),
        ("kNesterov momentum: 0.5", {"optimizer": "nesterov", "momentum": 0.5}),
        ("kAdaDelta adadelta_conf { rho: 0.8 }", {"optimizer": "adadelta", "decay_rate": 0.8}),
        ("kAdam adam_conf { beta1: 0.8 }", {"optimizer": "adam", "beta1": 0.8, "beta2": 0.999}),
        ("kAdamMax", {"optimizer": "adamax", "beta1": 0.9}),
        ("kSGD weight_decay: 0.01", {"weight_decay": 0.01, "clip_norm": 0.0, "clip_value": 0.0}),
        ("kSGD clip_low: -5 clip_high: 5", {"clip_norm": 0.0, "clip_value": 5.0}),
        ("kSGD", {"lr": 0.2, "max_updates": 900, "epochs": 0}),
    ],
)
def test_the_updater_becomes_settings_of_training(conf: Path, written: str, wanted: dict[str, Any]) -> None:
    found = training(conf, written)
    assert {name: getattr(found, name) for name in wanted} == wanted


def test_every_setting_of_a_job_is_one_of_unrolleds(conf: Path) -> None:
    head = UPDATER % ("kAdam", "type: kInverseT inverset_conf { final_lr: 13 }")
    found = job(conf, head=head + "disp_freq: 20 validate_freq: 30 checkpoint_freq: 40 debug: true")
    names = {f.name for f in fields(TrainingSettings)}
    assert set(found.training) <= names
    assert set(found.settings) - names <= {f.name for f in fields(DataSettings)}
    wanted = {"report_every": 20, "validate_every": 30, "checkpoint_every": 40, "debug": True}
    assert {name: found.settings[name] for name in wanted} == wanted


def test_lanes_and_windows_are_the_datas_and_the_whole_text_trains(conf: Path) -> None:
    data = DATA.replace('"t.txt"', '"t.txt" batchsize: 20 unroll_len: 3')
    found = job(conf, data + ONEHOT, head=UPDATER % ("kSGD", ""))
    assert (found.settings["lanes"], found.settings["window"], found.settings["split"]) == (20, 3, (1.0,))
    validates = job(conf, data + ONEHOT, head=UPDATER % ("kSGD", "") + "validate_freq: 10")
    assert "split" not in validates.settings


def test_a_window_is_as_long_as_the_net_and_a_difference_is_told(conf: Path) -> None:
    found = job(conf, DATA.replace('"t.txt"', '"t.txt" unroll_len: 20') + ONEHOT, length="unroll_len: 6")
    assert found.data["train"].window == 6
    assert "windows have 6 steps, as the net is unrolled to, not 20" in found.notes


def test_files_are_looked_for_beside_the_job_and_then_in_the_working_directory(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    text = job(conf).data["train"].text
    with pytest.raises(
        UsageError, match=r"job\.conf:2:67: there is no file 't.txt' in .*, nor in the working"
    ):
        text.find()
    (other / "t.txt").touch()
    assert text.find() == Path("t.txt")
    (tmp_path / "t.txt").touch()
    assert text.find() == tmp_path / "t.txt"


def test_the_vocabulary_is_the_characters_of_its_file_in_order(conf: Path, tmp_path: Path) -> None:
    found = job(conf, CHAR_RNN.replace('"t.txt"', '"t.txt" vocab_path: "v.txt"'))
    (tmp_path / "v.txt").write_bytes("b\r\naä ".encode())
    assert found.vocab() == Vocab.of(["b", "\r", "\n", "a", "ä", " "])
    for wrong in (b"abca", b"a\xff"):
        (tmp_path / "v.txt").write_bytes(wrong)
        with pytest.raises(UsageError, match=r"job\.conf:2:81: .*v\.txt is no "):
            found.vocab()
    assert job(conf).vocab() is None


def test_what_is_not_followed_is_told_in_a_line_each(conf: Path) -> None:
    head = (
        'cluster { nworker_groups: 2 workspace: "w" } gpu: 0 gpu: 3 '
        "validate_steps: 4 test_freq: 5 validate_freq: 6 "
        + UPDATER
        % ("kSGD momentum: 0.5", "type: kLinear linear_conf { change_freq: 60 final_lr: 0.05 }")
    )
    net = CHAR_RNN.replace("layer {", "layer { include: kTrain") + CHAR_RNN.replace(
        "layer {", "layer { include: kVal"
    ).replace("t.txt", "v.txt")
    notes = job(conf, net, head=head).notes
    assert all("\n" not in note for note in notes)
    for wanted in (
        "cluster (nworker_groups 2) is read and not followed",
        "cluster: workspace 'w' is not used",
        "gpu 0, 3 is asked for and not followed",
        "validate_steps 4",
        "test_freq 5",
        "learning_rate kLinear: after 60 updates it stays at 0.05",
        "momentum: ",
        "layer 'gru1': parameters without an init",
        "lanes are Unrolled's own",
        "the validation text 'v.txt' is not read",
    ):
        assert any(note.startswith(wanted) for note in notes), wanted


def test_a_job_is_frozen_and_remembers_what_it_was_given(conf: Path) -> None:
    found = job(conf, head='name: "n" debug: true test_steps: 70 checkpoint_path: "a" checkpoint_path: "b"')
    assert (found.name, found.debug, found.test_steps, found.alg) == ("n", True, 70, "kBPTT")
    assert [file.written for file in found.checkpoint_paths] == ["a", "b"]
    assert found.checkpoint_paths[1].place == f"{conf}:1:59"
    with pytest.raises(FrozenInstanceError):
        found.name = "m"  # type: ignore[misc]


def test_the_shipped_job_is_the_shipped_recipe() -> None:
    path = Path(str(resources.files("unrolled") / "recipes" / "singa" / "char-rnn.conf"))
    found = read_job(path)
    recipe = resolve("singa-char-rnn").settings
    same = {name: value for name, value in found.training.items() if name not in ("report_every", "epochs")}
    assert {name: getattr(recipe.training, name) for name in same} == same
    assert (found.settings["lanes"], found.settings["window"]) == (recipe.data.lanes, recipe.data.window)


def test_a_gru_of_six_parameters_lists_six(tmp_path: Path) -> None:
    path = tmp_path / "six.conf"
    params = " ".join(f'param {{ name: "{name}" }}' for name in ("a", "b", "c", "d", "e", "f"))
    path.write_text(
        'train_one_batch { alg: kBPTT } neuralnet { unroll_len: 2 layer { name: "data" type: kCharRNN '
        'unroll_len: 1 char_rnn_conf { path: "t" vocab_path: "v" } } layer { name: "hot" type: kOneHot '
        'srclayers: "data" unroll_conn_type: kUnrollOneToAll onehot_conf { vocab_size: 7 } } '
        'layer { name: "gru" type: kGRU srclayers: "hot" gru_conf { dim_hidden: 5 bias_term: false } '
        f"{params} }} }}",
        encoding="utf-8",
    )
    copies = [c for c in unroll_graph(read_job(path).spec, 2) if c.layer.name == "gru"]
    assert [p.name for p in copies[1].params] == ["1#a", "1#b", "1#c", "1#d", "1#e", "1#f"]
