"""SINGA's nets from their files, S1 to S11, a test a requirement."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from unrolled.net import Edge, Layer, Net, Spec, UnrolledGraph, unroll_graph
from unrolled.net.importers.singa import read_job
from unrolled.net.pictures import draw_svg

Cli = Callable[..., Any]
Make = Callable[[Spec], Net]

SVG = "{http://www.w3.org/2000/svg}"
VOCAB = 25


def edit(*changes: tuple[str, str]) -> None:
    """Change job.conf as a user would with an editor; each old text must be there once."""
    text = Path("job.conf").read_text()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    Path("job.conf").write_text(text)


def graph_of(steps: int | None = None) -> UnrolledGraph:
    return unroll_graph(read_job("job.conf").spec, steps)


def sources_of(graph: UnrolledGraph) -> dict[str, list[str]]:
    return {copy.name: list(copy.sources) for copy in graph}


def block(name: str, kind: str, sources: list[str], more: str = "") -> str:
    read = ", ".join(f'"{source}"' for source in sources)
    return f'  layer {{\n    name: "{name}"\n    type: {kind}\n    srclayers: [{read}]\n    {more}\n  }}\n'


# A net is one file


def test_S1_a_net_is_one_file_of_layers_with_sources_trained_by_bptt(jobs: Path) -> None:
    job = read_job("job.conf")
    assert job.alg == "kBPTT"
    assert {layer.name: [edge.source for edge in layer.sources] for layer in job.spec} == {
        "data": [], "onehot": ["data"], "label": ["data"], "gru1": ["onehot"], "ip1": ["gru1"],
        "loss": ["ip1", "label"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "nearest"),
    [
        ("train_steps: 60", "trian_steps: 60", "train_steps"),
        ("unroll_len: 1\n", "unrol_len: 1\n", "unroll_len"),
        ("batchsize: 5", "batch_size: 5", "batchsize"),
        ("step_conf { gamma", "step_conf { gama", "gamma"),
        ('{ name: "z_hh" init', '{ name: "z_hh" innit', "init"),
    ],
)
def test_S1_an_unknown_field_is_an_error_with_its_place_and_the_nearest_known(
    old: str, new: str, nearest: str, jobs: Path, cli: Cli
) -> None:
    edit((old, new))
    text = Path("job.conf").read_text()
    word = next(
        part for part in new.replace("{", " ").split() if part.rstrip(":") not in old.replace(":", "").split()
    )
    at = text.index(new) + new.index(word)
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    for verb in (("train",), ("net", "show"), ("net", "unroll")):
        said = cli(*verb, "job.conf").problem(2)
        assert said.startswith(f"job.conf:{line}:{column}: ")
        assert word.rstrip(":") in said and f"'{nearest}'" in said
    assert not Path("runs").exists()


# Unrolling


def test_S2_unroll_len_of_a_layer_makes_so_many_copies_of_it(jobs: Path) -> None:
    edit(("unroll_len: 7\n", ""), ("batchsize: 5 unroll_len: 7", "batchsize: 5"))
    text = Path("job.conf").read_text()
    for name in ("onehot", "label", "gru1", "ip1", "loss"):
        text = text.replace(f'name: "{name}"', f'name: "{name}"\n    unroll_len: 50')
    Path("job.conf").write_text(text)
    names = [copy.name for copy in graph_of()]
    assert names == ["0#data"] + [
        f"{t}#{name}" for name in ("onehot", "label", "gru1", "ip1", "loss") for t in range(50)
    ]


def test_S2_layers_of_one_net_may_have_different_unroll_lens(jobs: Path) -> None:
    more = block("long", "kOneHot", ["data"], "unroll_conn_type: kUnrollOneToAll\n    unroll_len: 50\n"
                 f"    onehot_conf {{ vocab_size: {VOCAB} }}")  # fmt: skip
    more += block("reader", "kGRU", ["long"], "unroll_len: 50\n    gru_conf { dim_hidden: 3 }")
    edit(('  layer {\n    name: "loss"', more + '  layer {\n    name: "loss"'))
    assert dict(graph_of().lengths) == {
        "data": 1, "onehot": 7, "label": 7, "gru1": 7, "ip1": 7, "loss": 7, "long": 50, "reader": 50,
    }  # fmt: skip


def test_S3_the_nets_unroll_len_is_that_of_every_layer_that_sets_none(jobs: Path) -> None:
    edit(("  unroll_len: 7\n", "  unroll_len: 50\n"))
    graph = graph_of()
    assert dict(graph.lengths) == {"data": 1, "onehot": 50, "label": 50, "gru1": 50, "ip1": 50, "loss": 50}
    assert len(list(graph)) == 251


def test_S6_the_unrolled_gru_has_exactly_these_edges(jobs: Path) -> None:
    wanted: dict[str, list[str]] = {"0#data": []}
    for t in range(7):
        wanted[f"{t}#onehot"] = ["0#data"]
        wanted[f"{t}#label"] = ["0#data"]
        wanted[f"{t}#gru1"] = [f"{t}#onehot"] + ([f"{t - 1}#gru1"] if t else [])
        wanted[f"{t}#ip1"] = [f"{t}#gru1"]
        wanted[f"{t}#loss"] = [f"{t}#ip1", f"{t}#label"]
    assert sources_of(graph_of()) == wanted


def test_S7_a_second_gru_is_one_more_layer_block(jobs: Path, drawn_net: Make) -> None:
    before = sources_of(graph_of())
    edit(
        ('srclayers: "gru1"\n    innerproduct_conf', 'srclayers: "gru2"\n    innerproduct_conf'),
        ('  layer {\n    name: "loss"', block("gru2", "kGRU", ["gru1"], "gru_conf { dim_hidden: 9 }")
         + '  layer {\n    name: "loss"'),
    )  # fmt: skip
    after = sources_of(graph_of())
    for t in range(7):
        assert after.pop(f"{t}#gru2") == [f"{t}#gru1"] + ([f"{t - 1}#gru2"] if t else [])
        before[f"{t}#ip1"] = [f"{t}#gru2"]
    assert after == before
    net = drawn_net(read_job("job.conf").spec.with_sizes({"vocab": VOCAB}))
    assert net.num_parameters == 3 * (25 * 13 + 13 * 13 + 13) + 3 * (13 * 9 + 9 * 9 + 9) + 9 * 25 + 25
    ids = torch.randint(VOCAB, (11, 3), generator=torch.Generator().manual_seed(1))
    values, _ = net({"data": ids})
    lower, upper = net.cells.values()
    h, g = lower.initial_state(3), upper.initial_state(3)
    for t in range(11):
        y, h = lower.step(ids[t], h)
        y, g = upper.step(y, g)
        y = y @ net.layers["ip1"].x_to_y + net.layers["ip1"].bias
        torch.testing.assert_close(values["ip1"][t], y, rtol=1e-12, atol=1e-12)


ONE, LAST = "kUnrollOneToOne", "kUnrollFirstToLast"
EDGES = block(
    "skip",
    "kInnerProduct",
    ["gru1", "onehot"],
    f"unroll_conn_type: [{ONE}, {ONE}] shift: [2, 1] innerproduct_conf {{ num_output: 6 }}",
) + block(
    "decoder",
    "kGRU",
    ["skip", "gru1", "onehot"],
    f"unroll_conn_type: [{ONE}, {LAST}, {ONE}] shift: [0, 0, 3] gru_conf {{ dim_hidden: 13 }}",
)


def with_edges() -> None:
    edit(
        ('  layer {\n    name: "ip1"', EDGES + '  layer {\n    name: "ip1"'),
        ('srclayers: "gru1"\n    innerproduct_conf', 'srclayers: "decoder"\n    innerproduct_conf'),
    )


def test_S8_each_source_has_its_kind_of_edge_and_its_shift(jobs: Path) -> None:
    with_edges()
    found = sources_of(graph_of())
    for t in range(7):
        assert found[f"{t}#onehot"] == found[f"{t}#label"] == ["0#data"]
        shifted = [f"{t - 2}#gru1"] * (t >= 2) + [f"{t - 1}#onehot"] * (t >= 1)
        assert found[f"{t}#skip"] == shifted
        first, own = ["6#gru1"] * (t == 0), [f"{t - 1}#decoder"] * (t > 0)
        assert found[f"{t}#decoder"] == [f"{t}#skip", *first, *([f"{t - 3}#onehot"] * (t >= 3)), *own]


def test_S8_one_to_all_from_many_copies_reads_every_copy_in_order() -> None:
    layers = (
        Layer("x", "floats", settings={"size": 2}),
        Layer("mean", "mean", (Edge("x", "all"),), unroll=1),
        Layer("max", "max", (Edge("x", "all"),), unroll=1),
        Layer("y", "floats", settings={"size": 2}, unroll=3),
        Layer("read", "attention", (Edge("y"), Edge("x", "all")), unroll=3),
    )
    found, every = sources_of(unroll_graph(Spec(layers), 4)), ["0#x", "1#x", "2#x", "3#x"]
    assert found["0#mean"] == found["0#max"] == every
    assert [found[f"{t}#read"] for t in range(3)] == [[f"{t}#y", *every] for t in range(3)]


def test_S8_one_to_all_from_many_copies_is_refused_by_a_layer_that_reads_one(jobs: Path, cli: Cli) -> None:
    edit(('srclayers: "gru1"', 'srclayers: "gru1"\n    unroll_conn_type: kUnrollOneToAll'))
    said = cli("net", "unroll", "job.conf").problem(2)
    assert said.startswith("job.conf:") and "'ip1'" in said and "'gru1'" in said


def test_S8_the_edges_carry_what_stepping_by_hand_carries(jobs: Path, drawn_net: Make) -> None:
    with_edges()
    net, T, B = drawn_net(read_job("job.conf").spec.with_sizes({"vocab": VOCAB})), 9, 3
    ids = torch.randint(VOCAB, (T, B), generator=torch.Generator().manual_seed(2))
    values, _ = net({"data": ids})
    x = functional.one_hot(ids, VOCAB).double()
    encoder, decoder, h = net.cells["gru1"], net.cells["decoder"], torch.zeros(B, 13).double()
    encoded = []
    for t in range(T):
        y, h = encoder.step(x[t], h)
        encoded.append(y)

    def before(values: Any, t: int, k: int) -> Tensor:
        return values[t - k] if t >= k else torch.zeros_like(values[0])

    skip, ip = net.layers["skip"], net.layers["ip1"]
    for t in range(T):
        joined = torch.cat([before(encoded, t, 2), before(x, t, 1)], -1) @ skip.x_to_y + skip.bias
        y, h = decoder.step(torch.cat([joined, before(x, t, 3)], -1), h)
        torch.testing.assert_close(values["skip"][t], joined, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(values["ip1"][t], y @ ip.x_to_y + ip.bias, rtol=1e-12, atol=1e-12)


def test_S9_copies_and_parameters_have_singas_names_and_net_unroll_lists_them(jobs: Path, cli: Cli) -> None:
    listed = json.loads(cli("net", "unroll", "job.conf", "--steps", 3, "--json").out)["layers"]
    assert [layer["name"] for layer in listed] == ["0#data"] + [
        f"{t}#{name}" for name in ("onehot", "label", "gru1", "ip1", "loss") for t in range(3)
    ]
    gates = ["z_hx", "r_hx", "c_hx", "z_hh", "r_hh", "c_hh", "z_b", "r_b", "c_b"]
    params = {layer["name"]: [(p["name"], p["shared_from"]) for p in layer["params"]] for layer in listed}
    for t in range(3):
        own = [(f"{t}#{name}", f"0#{name}" if t else None) for name in gates]
        assert [found for found in params[f"{t}#gru1"] if found[0] != f"{t}#gru1.h_bias_n"] == own
        assert params[f"{t}#ip1"] == [(f"{t}#{name}", f"0#{name}" if t else None) for name in ("w", "b")]
        assert params[f"{t}#onehot"] == params[f"{t}#label"] == params[f"{t}#loss"] == []


@pytest.mark.parametrize(("dimension", "param"), [(0, "2#w"), (1, "2#w@1")])
def test_S9_partitions_append_their_number(dimension: int, param: str, jobs: Path, cli: Cli) -> None:
    edit(("  unroll_len: 7\n", f"  unroll_len: 7\n  partition_dim: {dimension}\n"))
    said = cli("net", "unroll", "job.conf", "--steps", 3, "--partitions", 2, "--json")
    listed = {layer["name"]: layer for layer in json.loads(said.out)["layers"]}
    for t in range(3):
        for name in ("onehot", "label", "gru1", "ip1", "loss"):
            assert {f"{t}#{name}@0", f"{t}#{name}@1"} <= listed.keys() and f"{t}#{name}" not in listed
    every = ["2#gru1@0", "2#gru1@1"]
    assert listed["2#ip1@1"]["sources"] == (["2#gru1@1"] if dimension == 0 else every)
    first = param.replace("2#", "0#")
    assert listed["2#ip1@1"]["params"][0] == {"name": param, "shared_from": first}


def test_S11_the_node_link_json_is_the_graph_as_networkx_reads_it(jobs: Path, cli: Cli) -> None:
    with_edges()
    assert cli("net", "draw", "job.conf", "--steps", 5, "-o", "net.json").code == 0
    found = json.loads(Path("net.json").read_text())
    assert found == json.loads(cli("net", "unroll", "job.conf", "--steps", 5, "--node-link").out)
    assert found["directed"] is True and found["multigraph"] is True and found["graph"] == {}
    assert set(found) == {"directed", "multigraph", "graph", "nodes", "links"}
    read: dict[str, dict[int, str]] = {node["id"]: {} for node in found["nodes"]}
    assert len(read) == len(found["nodes"]) == 1 + 7 * 5
    keys = [(link["source"], link["target"], link["key"]) for link in found["links"]]
    assert len(set(keys)) == len(keys) and all(source in read for source, _, _ in keys)
    for source, target, key in keys:
        read[target][key] = source
    assert {name: [by_key[k] for k in sorted(by_key)] for name, by_key in read.items()} == sources_of(
        graph_of(5)
    )
    kinds = {(link["source"], link["target"]): (link["kind"], link["shift"]) for link in found["links"]}
    assert kinds["1#gru1", "3#skip"] == ("same", 2) and kinds["4#gru1", "0#decoder"] == ("last", 0)
    assert kinds["0#data", "2#onehot"] == ("all", 0) and kinds["2#decoder", "3#decoder"] == ("self", 1)


def test_S11_the_picture_of_a_net_unrolled_5_times_has_five_columns(jobs: Path, cli: Cli) -> None:
    assert cli("net", "draw", "job.conf", "--steps", 5, "-o", "net.svg").code == 0
    svg = Path("net.svg").read_text()
    assert svg == draw_svg(read_job("job.conf").spec, 5)
    middles: dict[int, set[float]] = {}
    drawn = set()
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if "copy" in group.get("class", "").split():
            name, box = group.get("data-copy", ""), next(group.iter(f"{SVG}rect"))
            drawn.add(name)
            if not name.endswith("#data"):
                middle = float(box.get("x", "")) + float(box.get("width", "")) / 2
                middles.setdefault(int(name.partition("#")[0]), set()).add(middle)
    assert drawn == {copy.name for copy in graph_of(5)}
    columns = [middles[t] for t in range(5)]
    assert len(middles) == 5 and all(max(c) - min(c) < 0.1 for c in columns)
    lefts = [min(column) for column in columns]
    assert all(b - a > 50 for a, b in pairwise(lefts))
