from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.errors import NetError, UsageError
from unrolled.net import Edge, Layer, Net, Param, Spec
from unrolled.net.files import from_toml, read_net, to_toml
from unrolled.net.toml_form import parse
from unrolled.toml_text import places_of

NET = """\
# A net with feedback.
name = "echo"   # [[layer]]
unroll = 20

[[layer]]
name = "x"
type = "floats"
size = [2, 3]

[[layer]]
name = "h"
type = "recurrent"
sources = [
  "x",  # what comes in
  { source = "y", shift = 1, initial = 0.5 },
]
cell = "gru"
hidden = 4
params = [{ role = "x_to_rzn", init = { type = "uniform", low = -0.08, high = 0.08 } }]

[[layer]]
name = "y"
type = "linear"
sources = ["h"]
size = 5

[training]
lr = 0.1
"""

numbers = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.integers(-(10**9), 10**9)
names = st.text(min_size=1, max_size=8).filter(
    lambda s: s.isprintable() and s == s.strip() and not set("#@:") & set(s)
)
inits = st.fixed_dictionaries({"type": st.just("constant"), "value": numbers})
params = st.builds(
    Param,
    role=st.text(min_size=1, max_size=4),
    name=st.text(max_size=4),
    gate=st.none() | st.text(min_size=1, max_size=2),
    init=st.none() | inits,
    lr=numbers,
    decay=numbers,
    share_from=st.text(max_size=4),
)
ends = st.tuples(numbers, numbers).map(sorted).map(lambda pair: {"low": pair[0], "high": pair[1]})
random = st.tuples(ends, st.fixed_dictionaries({}, optional={"integer": st.booleans()})).map(
    lambda parts: {**parts[0], **parts[1]}
)
edges = st.one_of(
    st.builds(Edge, source=names, kind=st.sampled_from(["same", "all", "last"])),
    st.builds(Edge, source=names, shift=st.integers(1, 9), initial=st.none() | numbers | random),
)
common: dict[str, Any] = {
    "name": names,
    "params": st.lists(params, max_size=2).map(tuple),
    "unroll": st.none() | st.integers(1, 9) | st.just("target"),
    "partition": st.none() | st.integers(-1, 1),
    "include": st.just(()) | st.just(("train", "test")),
}
layers = st.one_of(
    st.builds(
        Layer,
        type=st.just("linear"),
        sources=st.lists(edges, min_size=1, max_size=3).map(tuple),
        settings=st.fixed_dictionaries(
            {"size": st.just("vocab") | st.integers(1, 99)}, optional={"bias": st.booleans()}
        ),
        **common,
    ),
    st.builds(
        Layer,
        type=st.just("recurrent"),
        sources=st.lists(edges, min_size=1, max_size=3).map(tuple),
        settings=st.fixed_dictionaries(
            {"cell": st.text(min_size=1, max_size=9), "hidden": st.integers(1, 99)}
        ),
        **common,
    ),
    st.builds(
        Layer,
        type=st.just("floats"),
        settings=st.fixed_dictionaries({"size": st.lists(st.integers(1, 9), min_size=1, max_size=3)}),
        **common,
    ),
)
specs = st.builds(
    Spec,
    layers=st.lists(layers, min_size=1, max_size=4).map(tuple),
    name=st.text(max_size=9),
    unroll=st.none() | st.integers(1, 99) | st.just("target"),
    partition=st.none() | st.integers(-1, 1),
)


def changed(old: str, new: str) -> str:
    assert NET.count(old) == 1
    return NET.replace(old, new)


def problem(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        from_toml(text, "net.toml")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@given(specs)
def test_a_spec_written_as_toml_and_read_again_is_the_same_spec(spec: Spec) -> None:
    text = to_toml(spec)
    assert parse(text, "x").spec == spec
    assert to_toml(parse(text, "x").spec) == text


def test_a_file_is_read_with_its_comments_and_its_tables_are_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "net.toml"
    path.write_text(NET)
    loaded = read_net(path)
    spec = loaded.spec
    assert (spec.name, spec.unroll) == ("echo", 20)
    assert spec["h"].sources == (Edge("x"), Edge("y", shift=1, initial=0.5))
    assert spec["x"].settings == {"size": [2, 3]}
    assert spec["h"].params[0].init == {"type": "uniform", "low": -0.08, "high": 0.08}
    assert loaded.tables == {"training": {"lr": 0.1}}


def test_what_a_file_holds_beside_its_net_is_written_with_it() -> None:
    tables = {"about": 'say "so"', "training": {"lr": 0.1, "split": [0.5, 0.5]}}
    spec = from_toml(NET, "x").spec
    text = to_toml(spec, tables)
    again = from_toml(text, "x")
    assert again.spec == spec and again.tables == tables
    assert to_toml(again.spec, again.tables) == text


def test_a_file_of_windows_is_read_like_any_other() -> None:
    assert from_toml(NET.replace("\n", "\r\n"), "x").spec == from_toml(NET, "x").spec


def test_what_toml_has_no_word_for_is_not_written() -> None:
    with pytest.raises(NetError, match="layer 'a' can't be written as TOML: there is no word for None"):
        to_toml(Spec((Layer("a", "linear", (Edge("b"),), {"size": None}),)))
    with pytest.raises(NetError, match="no word for"):
        to_toml(Spec((), name="\ud800"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "shift = 1",
            "shfit = 1",
            "net.toml:15:19: layer 'h', a source has no field 'shfit'; did you mean 'shift'?",
        ),
        (
            "shift = 1",
            'shift = "1"',
            "net.toml:15:19: layer 'h', a source: shift wants a whole number, came '1'",
        ),
        (
            "initial = 0.5",
            "initial = { low = 0 }",
            "net.toml:15:30: layer 'h', a source: initial draws from low",
        ),
        (
            "hidden = 4",
            "hiden = 4",
            "net.toml:18:1: layer 'h' (recurrent) has no setting 'hiden'; did you mean",
        ),
        ("hidden = 4", "hidden = -4", "net.toml:18:1: layer 'h': hidden wants a whole number of at least 1"),
        ("hidden = 4", "", "net.toml:10:1: layer 'h' (recurrent) needs hidden"),
        (
            '"linear"',
            '"linaer"',
            "net.toml:23:1: layer 'y' has the unknown type 'linaer'; did you mean 'linear'?",
        ),
        ('"linear"', '"li\\u001bnear\\n"', r"net.toml:23:1: layer 'y' has the unknown type 'li\x1bnear\n'"),
        ('type = "linear"', "type = [1]", "net.toml:23:1: layer 'y' needs a type, a text, and came [1]"),
        (
            'type = "linear"',
            'tpe = "linear"',
            "net.toml:21:1: layer 'y' needs a type, a text, and it has 'tpe'",
        ),
        ('name = "y"\n', "", "net.toml:21:1: every layer needs a name"),
        ('name = "y"', "name = 3", "net.toml:22:1: every layer needs a name, and came 3"),
        ('name = "y"', 'name = "y#"', "net.toml:22:1: layer 'y#' has '#'"),
        ('name = "y"', 'name = "y@1"', "net.toml:22:1: layer 'y@1' has '@'"),
        ('name = "y"', 'name = "h"', "net.toml:22:1: two layers are called 'h' in phase train"),
        (
            '["h"]',
            '["hh"]',
            "net.toml:24:1: layer 'y' reads 'hh', but there is no such layer in phase train; did",
        ),
        ('["h"]', '"h"', "net.toml:24:1: layer 'y': sources wants a list, [ ... ], came 'h'"),
        ('["h"]', "[3]", "net.toml:24:12: layer 'y', a source: wanted a layer's name"),
        (
            ", shift = 1, initial = 0.5",
            "",
            "net.toml:24:1: the layers h <- y <- h read each other within one step",
        ),
        (
            "size = 5",
            "size = 5\nunroll = 3",
            "net.toml:13:1: layer 'h', source 'y': a 'same' edge joins equal",
        ),
        (
            "size = 5",
            'size = 5\ninclude = ["train"]\nexclude = ["test"]',
            "net.toml:27:1: layer 'y' both includes",
        ),
        ("size = 5", 'size = 5\ninclude = ["tain"]', "net.toml:26:1: layer 'y': include has no phase 'tain'"),
        (
            "size = 5",
            'size = 5\ninclude = "train"',
            "net.toml:26:1: layer 'y': include wants a list of phases",
        ),
        ("size = 5", "size = 5\npartition = 0.0", "net.toml:26:1: layer 'y': partition wants a whole number"),
        ("size = 5", "size = 5\npartition = 2", "net.toml:26:1: layer 'y': partition wants 0 (lanes)"),
        (
            "unroll = 20",
            "unroll = 1000000000",
            "net.toml:3:1: the net: unroll wants a number from 1 to 10,000,000",
        ),
        ("unroll = 20", "unrol = 20", "net.toml:3:1: a net has no field 'unrol'; did you mean 'unroll'?"),
        ('"echo"', "7", "net.toml:2:1: name: wanted a text, came 7"),
        ("low = -0.08", "low = 2", "net.toml:19:32: layer 'h', a parameter: init draws from low to high"),
        (
            '"uniform"',
            '"unifrom"',
            "net.toml:19:41: layer 'h', a parameter: init: type wants one of constant",
        ),
        (
            'role = "x_to_rzn"',
            'rol = "x_to_rzn"',
            "net.toml:19:13: layer 'h', a parameter has no field 'rol'; did",
        ),
        ("lr = 0.1", "lr = ", "net.toml:28:6: this is not TOML: Invalid value"),
        ("lr = 0.1", "lr = '", "net.toml:29:1: this is not TOML"),
        (
            "lr = 0.1",
            "x = " + "[" * 1000 + "]" * 1000,
            "net.toml:28:69: lists and tables are at most 64 deep in each other",
        ),
        ("lr = 0.1", "x" + ".x" * 1000 + " = 1", "net.toml:28:1: a key has at most 64 parts"),
        (
            "lr = 0.1",
            "x = 1" + "0" * 5000,
            "net.toml:28:5: this is not TOML: a whole number has at most 64 bits",
        ),
        ("[training]", "[[layers]]", "net.toml:27:1: a net has no list [[layers]]; did you mean 'layer'?"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_with_its_place(old: str, new: str, words: str) -> None:
    assert problem(changed(old, new)).startswith(words), problem(changed(old, new))


def test_a_file_without_layers_is_no_net() -> None:
    assert problem("name = 'a'") == "net.toml:1:1: a net is a list of layers, and there is no [[layer]] in it"
    assert problem("layer = [1]").startswith("net.toml:1:1: a net is a list of layers")


def test_shapes_that_do_not_fit_are_told_with_their_place() -> None:
    text = changed(
        'type = "linear"\nsources = ["h"]\nsize = 5', 'type = "reshape"\nsources = ["h"]\nshape = 5'
    )
    loaded = from_toml(text, "net.toml")
    with (
        pytest.raises(NetError, match=r"^net.toml:24:1: layer 'y' \(reshape\) wants 5 numbers"),
        loaded.telling(),
    ):
        Net(loaded.spec)


def test_of_two_layers_of_one_name_that_of_the_phase_is_pointed_at() -> None:
    text = changed("size = [2, 3]", 'size = [2, 3]\ninclude = ["train"]') + (
        '\n[[layer]]\nname = "x"\ntype = "copy"\nexclude = ["train"]\nsources = ["nothing"]\n'
    )
    loaded = from_toml(text, "net.toml")
    with pytest.raises(NetError, match=r"^net.toml:35:1: layer 'x' reads 'nothing'"), loaded.telling("test"):
        Net(loaded.spec, phase="test")


def test_no_file_of_more_than_a_megabyte_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "big.toml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(UsageError, match="at most 1,000,000 bytes, this has 100,000,000"):
        read_net(path)


def test_files_that_are_none_or_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_text(NET)
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "latin.toml").write_bytes(b"# a\nname = '\xe9'\n")
    with pytest.raises(UsageError, match=r"there is no such file; did you mean 'net.toml'\?"):
        read_net(tmp_path / "nets.toml")
    with pytest.raises(UsageError, match="a net is read from a regular file"):
        read_net(tmp_path / "folder.toml")
    with pytest.raises(UsageError, match=r"latin.toml:2:9: this is no UTF-8 text \(byte 12 is 0xe9\)"):
        read_net(tmp_path / "latin.toml")
    with pytest.raises(UsageError, match=r"ends in .toml, .conf, .prototxt, or is PATH.py:FUNCTION"):
        read_net(tmp_path / "net.json")
    with pytest.raises(UsageError, match=r"net.py: name the function that returns the net too"):
        read_net(tmp_path / "net.py")


FUNCTIONS = """\
from unrolled.net import Edge, Layer, Spec
from unrolled.net.builder import GRU, Floats, Linear, NetBuilder

def spec():
    return Spec((Layer("x", "floats", (), {"size": 2}), Layer("y", "linear", (Edge("x"),), {"size": 3})))

def builder():
    net = NetBuilder()
    net.x = Floats(size=2)
    net.y = Linear(net.x, size=3)
    return net

def misspelt():
    net = NetBuilder()
    net.x = Floats(size=2)
    net.h = GRU(net.x, hiden=3)
    return net

def failing():
    return [][3]

def unknown():
    net = NetBuilder()
    net.y = Linear(net["z"].shift(1), size=3)
    return net

def nothing():
    pass

number = 3
"""


def test_a_python_function_returns_a_spec_or_a_builder(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(FUNCTIONS)
    assert read_net(f"{path}:spec").spec == read_net(f"{path}:builder").spec


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("misspelt", "net.py, line 16: GRU has no setting 'hiden'; did you mean 'hidden'?"),
        ("failing", "net.py, line 20: IndexError: list index out of range"),
        ("unknown", "net.py:unknown: layer 'y' reads 'z', but there is no such layer"),
        ("nothing", "net.py:nothing must return a Spec or a NetBuilder, came NoneType"),
        ("number", "net.py: number is no function"),
        ("bilder", "net.py has no bilder; its functions are spec, builder"),
    ],
)
def test_a_mistake_in_a_python_function_is_one_line(tmp_path: Path, function: str, words: str) -> None:
    path = tmp_path / "net.py"
    path.write_text(FUNCTIONS)
    with pytest.raises(UsageError) as caught:
        read_net(f"{path}:{function}")
    assert str(caught.value).startswith(f"{tmp_path}/{words}"), caught.value


def test_a_job_of_singas_is_read_by_its_importer() -> None:
    import unrolled

    folder = Path(unrolled.__file__).parent / "recipes" / "singa"
    loaded = read_net(folder / "char-rnn.conf")
    assert loaded.notes and loaded.job is not None
    assert from_toml(to_toml(loaded.spec), "x").spec == loaded.spec


@pytest.mark.parametrize("name", ["in-step", "many-to-many", "many-to-one", "one-to-many", "one-to-one"])
def test_the_shipped_patterns_survive_the_way_through_toml(name: str) -> None:
    import unrolled

    loaded = read_net(Path(unrolled.__file__).parent / "recipes" / "patterns" / f"{name}.toml")
    text = to_toml(loaded.spec, loaded.tables)
    again = from_toml(text, "x")
    assert (again.spec, again.tables) == (loaded.spec, loaded.tables)


TRICKY = '''\
a.b."c d" = 1 # x = 2
e = """
[[t]]
x = \\"""
"""
f = \'\'\'
# "\'\'\'
[[t]]
k = [ # [
  "]", { m = {}, "n\\u0061" = [[1], [2, 3]] }, \'#\',
]
[[t.u]]
v = 1979-05-27 07:32:00
[[t]]
[t.w]
k = ""
[[t.u]]
'''


def test_places_are_found_between_strings_comments_and_nested_tables() -> None:
    tomllib.loads(TRICKY)
    found = places_of(TRICKY)
    assert found["a", "b", "c d"] == (1, 1)
    assert found["t", 0] == (8, 1) and found["t", 1] == (14, 1)
    assert found["t", 0, "k"] == (9, 1)
    assert found["t", 0, "k", 1, "na"] == (10, 18) and found["t", 0, "k", 1, "na", 1, 1] == (10, 40)
    assert found["t", 0, "k", 2] == (10, 47)
    assert found["t", 0, "u", 0] == (12, 1) and found["t", 0, "u", 0, "v"] == (13, 1)
    assert found["t", 1, "w", "k"] == (16, 1) and found["t", 1, "u", 0] == (17, 1)
    assert ("x",) not in found and ("t", 2) not in found


@given(specs)
def test_every_field_of_a_written_net_has_a_place(spec: Spec) -> None:
    text = to_toml(spec)
    found, lines = places_of(text), text.split("\n")
    for number, layer in enumerate(spec):
        for key in dataclasses.asdict(layer)["settings"]:
            line, column = found["layer", number, key]
            assert column == 1 and lines[line - 1].startswith(f"{key} = ")
        line, column = found["layer", number]
        assert lines[line - 1] == "[[layer]]"
