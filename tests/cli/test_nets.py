from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NET = """\
name = "echo"
unroll = 3

[[layer]]
name = "text"
type = "text"

[[layer]]
name = "embedding"
type = "embedding"
width = 4
sources = [{ source = "text", kind = "all" }]

[[layer]]
name = "gru"
type = "recurrent"
cell = "gru"
hidden = 5
sources = ["embedding"]

[[layer]]
name = "out"
type = "linear"
size = "vocab"
sources = ["gru"]
partition = 1

[[layer]]
name = "label"
type = "label"
sources = [{ source = "text", kind = "all" }]

[[layer]]
name = "loss"
type = "softmax-loss"
sources = ["out", "label"]
"""
FEEDBACK = """\
[[layer]]
name = "x"
type = "floats"
size = 3

[[layer]]
name = "h"
type = "recurrent"
cell = "my.py:Leaky"
hidden = 4
sources = ["x", { source = "y", shift = 2, initial = 1 }]

[[layer]]
name = "y"
type = "linear"
size = 2
sources = ["h"]
"""
CODE = """\
from unrolled.net.builder import GRU, Floats, Linear, NetBuilder

def build():
    net = NetBuilder()
    net.x = Floats(size=3)
    net.h = GRU(net.x, net["y"].shift(1), hidden=4)
    net.y = Linear(net.h, size=2)
    return net
"""


@pytest.fixture
def nets(here: Path) -> Path:
    """Work in a folder with nets."""
    Path("net.toml").write_text(NET)
    Path("feedback.toml").write_text(FEEDBACK)
    Path("net.py").write_text(CODE)
    return here


def test_unroll_lists_the_copies_in_order_with_sources_and_sharing(cli: Any, nets: Path) -> None:
    layers = cli("net", "unroll", "net.toml", "--steps", 2, "--json").json["layers"]
    assert [layer["name"] for layer in layers] == [
        "0#text", "0#embedding", "1#embedding", "0#gru", "1#gru", "0#out", "1#out", "0#label", "1#label",
        "0#loss", "1#loss",
    ]  # fmt: skip
    assert layers[4]["sources"] == ["1#embedding", "0#gru"]
    assert layers[6]["params"] == [
        {"name": "1#out.x_to_y", "shared_from": "0#out.x_to_y"},
        {"name": "1#out.bias", "shared_from": "0#out.bias"},
    ]
    lines = cli("net", "unroll", "net.toml").out.splitlines()
    assert len(lines) == 1 + 1 + 5 * 3
    assert lines[0].split() == ["layer", "type", "sources", "parameters"]
    assert "2#out" in lines[10] and lines[10].endswith("2#out.bias = 0#out.bias")


def test_unroll_splits_layers_into_partitions(cli: Any, nets: Path) -> None:
    layers = cli("net", "unroll", "net.toml", "--steps", 1, "--partitions", 2, "--json").json["layers"]
    assert [layer["name"] for layer in layers][3:5] == ["0#out@0", "0#out@1"]


def test_unroll_gives_a_graph_that_networkx_reads(cli: Any, nets: Path) -> None:
    import networkx

    found = cli("net", "unroll", "net.toml", "--steps", 2, "--node-link").json
    graph = networkx.node_link_graph(found, edges="links")
    assert set(graph.predecessors("1#gru")) == {"1#embedding", "0#gru"}
    assert "say one" in cli("net", "unroll", "net.toml", "--json", "--node-link").problem()


def test_named_lengths_are_given_by_name(cli: Any, nets: Path) -> None:
    words = ["net", "unroll", "patterns/many-to-many", "--json", "--steps"]
    names = [layer["name"] for layer in cli(*words, "source=2,4").json["layers"]]
    assert "1#encoder" in names and "2#encoder" not in names and "3#decoder" in names
    assert "no length 'sourc'" in cli(*words, "sourc=2").problem()
    assert "did you mean 'source'?" in cli(*words, "sourc=2").problem()


@pytest.mark.parametrize("steps", ["0", "-1", "x", "", "source=", "1.5", "10" * 9])
def test_steps_that_are_no_number_are_refused(cli: Any, nets: Path, steps: str) -> None:
    assert "--steps" in cli("net", "unroll", "net.toml", f"--steps={steps}").problem()


def test_show_tells_how_a_net_runs(cli: Any, nets: Path) -> None:
    said = cli("net", "show", "net.toml")
    assert said.code == 0 and said.err == ""
    assert "echo: 6 layers in phase train, 3 steps" in said.out
    assert "The size 'vocab' comes with the data; 100 is taken here; --vocab N says otherwise" in said.out
    assert (
        re.search(r"2. engine (native|torch): gru", said.out)
        and "It streams" in said.out
        and "step by step" not in said.out
    )
    found = cli("net", "show", "net.toml", "--vocab", 7, "--json").json
    assert found["placeholders"] == {}
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert layers["embedding"]["parameters"] == 7 * 4
    assert layers["gru"]["parameters"] == 4 * 15 + 5 * 15 + 15 + 5
    assert layers["gru"]["engine"] in ("native", "torch")
    assert layers["out"]["params"][0]["shape"] == [5, 7] and layers["label"]["shape"] == {"ids": 7}
    assert found["parameters"] == sum(layer["parameters"] for layer in found["layers"])
    assert found["step_by_step"] is None and found["state"] == ["gru"]


def test_show_says_what_a_scan_costs_and_what_is_carried(cli: Any, nets: Path) -> None:
    words = ["net", "show", "feedback.toml", "--cell", "my.py:Leaky"]
    found = cli(*words, "--json").json
    scan = next(part for part in found["components"] if part["scan"])
    assert scan["layers"] == ["h", "y"] and scan["runs"] == "step by step"
    assert found["step_by_step"]["layer_calls"] == 2 * 2 * 50
    assert found["delay_lines"] == [{"layer": "h", "source": "y", "shift": 2, "initial": 1, "carried": True}]
    out = cli(*words).out
    assert "step by step: h, y" in out
    assert "about 200 layer calls a window of 50 steps" in out
    assert "Delay line: 'h' reads the last 2 of 'y', carried" in out


def test_show_tells_shared_parameters_and_counts_them_once(cli: Any, nets: Path) -> None:
    shared = 'size = 3\nparams = [{ role = "x_to_y", name = "w" }]\nsources = '
    text = '[[layer]]\nname = "x"\ntype = "floats"\nsize = 3\n'
    for name, source in (("a", "x"), ("b", "a")):
        text += f'[[layer]]\nname = "{name}"\ntype = "linear"\n{shared}["{source}"]\n'
    Path("shared.toml").write_text(text)
    found = cli("net", "show", "shared.toml", "--json").json
    assert found["shared"] == [{"param": "w", "layers": ["a", "b"]}]
    assert found["parameters"] == 9 + 3 + 3
    assert [layer["parameters"] for layer in found["layers"]] == [0, 12, 3]


def test_show_says_what_needs_whole_sequences(cli: Any, nets: Path) -> None:
    out = cli("net", "show", "patterns/many-to-many").out
    assert "It needs whole sequences: layer 'decoder' reads all of one" in out
    assert "can go on step by step after it" in out


@pytest.mark.parametrize(
    "name", ["in-step", "many-to-many", "many-to-one", "one-to-many", "one-to-one", "rows", "tags"]
)
def test_every_shipped_pattern_is_shown_by_its_name(cli: Any, nets: Path, name: str) -> None:
    assert cli("net", "show", f"patterns/{name}").code == 0
    assert cli("net", "show", f"patterns/{name}", "--json").json["parameters"] > 0


def test_a_job_of_singas_tells_what_is_done_otherwise(cli: Any, nets: Path) -> None:
    said = cli("net", "show", "singa/char-rnn")
    assert said.code == 0 and said.err.startswith("note: lanes are Unrolled's own")
    assert re.search("engine (native|torch): gru1", said.out)


def test_a_python_function_is_a_net_too(cli: Any, nets: Path) -> None:
    found = cli("net", "unroll", "net.py:build", "--steps", 2, "--json").json["layers"]
    assert found[3] == {**found[3], "name": "1#h", "sources": ["1#x", "0#y", "0#h"]}
    assert (
        "net.py has no bild; its functions are build; did you mean"
        in cli("net", "show", "net.py:bild").problem()
    )


def test_a_runs_net_is_read_from_its_newest_checkpoint(cli: Any, trained: Path) -> None:
    found = cli("net", "show", trained, "--json").json
    assert [layer["name"] for layer in found["layers"]] == [
        "text",
        "onehot",
        "lstm1",
        "logits",
        "label",
        "loss",
    ]
    assert cli("net", "unroll", trained / "checkpoints" / "6", "--steps", 1).code == 0


def test_what_holds_no_net_exits_with_2_or_3(cli: Any, nets: Path) -> None:
    Path("empty").mkdir()
    assert "holds no checkpoint" in cli("net", "show", "empty").problem(3)
    assert "did you mean 'patterns/one-to-one'?" in cli("net", "show", "patterns/one-to-on").problem()
    assert "did you mean 'net.toml'?" in cli("net", "show", "nett.toml").problem()
    assert "a net's file ends in" in cli("net", "show", "a.txt").problem()


def test_code_that_a_file_names_is_not_run_unless_the_command_line_names_it_too(cli: Any, nets: Path) -> None:
    Path("my.py").write_text("raise SystemExit('this code was run')")
    problem = cli("net", "show", "feedback.toml").problem()
    assert "my.py:Leaky, which is your code; name it too: --cell my.py:Leaky" in problem
    assert "this code was run" in cli("net", "show", "feedback.toml", "--cell", "my.py:Leaky").problem()


@pytest.mark.parametrize("verb", ["show", "unroll", "draw"])
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('sources = ["gru"]', 'sources = ["gur"]', "net.toml:25:1: layer 'out' reads 'gur'"),
        ('name = "label"', 'name = "gru"', "net.toml:29:1: two layers are called 'gru'"),
        ('name = "out"', 'name = "out@0"', "net.toml:22:1: layer 'out@0' has '@'"),
        (
            '"linear"',
            '"liner"',
            "net.toml:23:1: layer 'out' has the unknown type 'liner'; did you mean 'linear'?",
        ),
        ("width", "widht", "net.toml:11:1: layer 'embedding' (embedding) has no setting 'widht'"),
        (
            "unroll = 3",
            "unroll = 1000000000",
            "net.toml:2:1: the net: unroll wants a number from 1 to 10,000,000",
        ),
        (
            'sources = ["embedding"]',
            'sources = ["embedding", "out"]',
            "net.toml:25:1: the layers gru <- out <- gru",
        ),
        (
            "partition = 1",
            'include = ["train"]\nexclude = ["test"]',
            "net.toml:27:1: layer 'out' both includes",
        ),
        (
            "partition = 1",
            "unroll = 2",
            "net.toml:25:1: layer 'out', source 'gru': a 'same' edge joins equal",
        ),
        ("unroll = 3", "unroll =", "net.toml:2:9: this is not TOML"),
        (
            "unroll = 3",
            "unroll = " + "[" * 1000 + "]" * 1000,
            "net.toml:2:74: lists and tables are at most 64 deep",
        ),
        ("unroll = 3", "#" * 1_000_000, "net.toml: a net's file has at most 1,000,000 bytes"),
    ],
)
def test_a_bad_net_is_one_line_with_its_place_and_exit_2(
    cli: Any, nets: Path, verb: str, old: str, new: str, words: str
) -> None:
    assert NET.count(old) == 1
    Path("net.toml").write_text(NET.replace(old, new))
    assert cli("net", verb, "net.toml").problem().startswith(words)


def test_shapes_that_do_not_fit_and_parameters_of_two_shapes_are_told(cli: Any, nets: Path) -> None:
    Path("net.toml").write_text(NET.replace('sources = ["gru"]', 'sources = ["gru", "text"]'))
    assert cli("net", "show", "net.toml").problem().startswith("net.toml:25:1: layer 'out', source 'text'")
    Path("net.toml").write_text(NET.replace('size = "vocab"', "size = 9"))
    problem = cli("net", "show", "net.toml", "--vocab", 8).problem()
    assert problem.startswith("net.toml:36:1: layer 'loss' (softmax-loss) wants one of 9 ids")
    assert "from 'label', which gives one of 8 ids" in problem
    both = NET.replace("width = 4", 'width = 4\nparams = [{ role = "id_to_x", name = "w" }]')
    both = both.replace('size = "vocab"', 'size = "vocab"\nparams = [{ role = "x_to_y", name = "w" }]')
    Path("net.toml").write_text(both)
    problem = cli("net", "show", "net.toml", "--vocab", 8).problem()
    assert problem.startswith(
        "net.toml:26:1: parameter 'w' is [8, 4] in layer 'embedding' and [5, 8] in layer 'out'"
    )


def test_a_net_larger_than_any_memory_is_shown_or_refused_and_never_allocated(cli: Any, nets: Path) -> None:
    Path("net.toml").write_text(NET.replace("hidden = 5", "hidden = 2000000"))
    assert cli("net", "show", "net.toml", "--json").json["parameters"] > 10**13
    Path("net.toml").write_text(NET.replace("hidden = 5", "hidden = 2147483647"))
    assert "can't be built" in cli("net", "show", "net.toml").problem()
    Path("net.toml").write_text(NET.replace("unroll = 3", "unroll = 10000000"))
    assert "Give fewer --steps" in cli("net", "unroll", "net.toml").problem()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["show", "net.toml", "--phase", "tain"], "--phase: wanted one of train, validation, test"),
        (["show", "net.toml", "--vocab", "0"], "--vocab: wanted a whole number of at least 1"),
        (["show", "net.toml", "--cell", "lstm"], "--cell: wanted PATH.py:NAME, came the built-in 'lstm'"),
        (["unroll", "net.toml", "--partitions", "0"], "--partitions: wanted from 1 to 1,000"),
        (["unroll", "net.toml", "--partitions", "5000"], "--partitions: wanted from 1 to 1,000"),
        (["draw", "net.toml", "-o", "net.png"], "-o: a picture ends in .svg, .dot, .json"),
        (["draw", "net.toml", "-o", "nowhere/net.svg"], "-o: nowhere/net.svg can't be written"),
        (["roll", "net.toml", "-o", "net.conf"], "-o: a rolled net is written as TOML"),
    ],
)
def test_a_flag_that_makes_no_sense_is_refused(cli: Any, nets: Path, words: list[str], told: str) -> None:
    assert told in cli("net", *words).problem()


def test_draw_writes_the_form_that_the_ending_says(cli: Any, nets: Path) -> None:
    for ending, begins in ((".svg", "<svg"), (".dot", "digraph"), (".json", '{"directed"')):
        Path(f"net{ending}").write_text("old")
        assert cli("net", "draw", "net.toml", "--steps", 2, "-o", f"net{ending}").code == 0
        assert Path(f"net{ending}").read_text().startswith(begins)
    assert len(json.loads(Path("net.json").read_text())["nodes"]) == 1 + 5 * 2
    assert cli("net", "draw", "net.toml", "--steps", 2).out == Path("net.svg").read_text()
    assert not [path for path in nets.iterdir() if path.name.startswith(".")]


def test_roll_writes_toml_that_can_be_read(cli: Any, nets: Path) -> None:
    said = cli("net", "roll", "caffe/binary_addition", "-o", "rolled.toml")
    assert said.code == 0 and said.out == ""
    found = cli("net", "show", "rolled.toml", "--json").json
    assert found["parameters"] == 22
    assert cli("net", "roll", "caffe/binary_addition").out == Path("rolled.toml").read_text()
    assert "roll" in cli("net", "roll", "net.toml").problem()


@pytest.mark.parametrize("verb", ["show", "unroll", "draw", "roll"])
def test_every_verb_has_help_that_comes_without_torch(verb: str) -> None:
    code = (
        "import sys; from unrolled.cli.main import run; code = run(['net', sys.argv[1], '--help']); "
        "print('HEAVY', sorted({'torch', 'numpy', 'unrolled.net'} & set(sys.modules)), code)"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", code, verb], env=environment, capture_output=True, text=True, check=True
    )
    assert f"unrolled net {verb}" in done.stdout and done.stdout.splitlines()[-1] == "HEAVY [] 0"
