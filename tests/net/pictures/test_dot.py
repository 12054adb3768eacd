from __future__ import annotations

import re

from unrolled.net import Edge, Layer, Spec, unroll_graph
from unrolled.net.pictures import draw_dot

STRING = r'"(?:[^"\\]|\\.)*"'
VALUE = rf"(?:{STRING}|[\w.]+)"
ATTRIBUTES = rf"\[\w+={VALUE}(?:, \w+={VALUE})*\]"
STATEMENT = re.compile(
    rf"digraph {STRING} {{|subgraph {STRING} {{(?: \w+={STRING};)*|}}"
    rf"|rankdir=BT; node {ATTRIBUTES};|{STRING} {ATTRIBUTES};|{STRING} -> {STRING} {ATTRIBUTES};"
)


def net() -> Spec:
    layers = (
        Layer('te"xt\\', "text", settings={"size": 5}),
        Layer("one <hot>", "one-hot", (Edge('te"xt\\', "all"),), {"size": 5}),
        Layer("gru", "recurrent", (Edge("one <hot>"), Edge("gru", shift=2)), {"cell": "gru", "hidden": 3}),
        Layer("sum", "sum", (Edge("gru", "all"),), unroll=1),
        Layer("again", "recurrent", (Edge("gru"), Edge("sum", "last")), {"cell": "gru", "hidden": 3}),
    )
    return Spec(layers, name="é")


def test_every_line_is_a_statement_of_dot() -> None:
    for line in draw_dot(net(), 4).splitlines():
        assert STATEMENT.fullmatch(line.strip()), line


def test_braces_are_balanced_outside_of_strings() -> None:
    bare = re.sub(STRING, "", draw_dot(net(), 4))
    assert bare.count("{") == bare.count("}") == 1 + 4


def test_dot_holds_every_copy_and_every_link() -> None:
    told = draw_dot(net(), 4)
    graph = unroll_graph(net(), 4)
    assert told.count(" -> ") == sum(len(copy.links) for copy in graph)
    assert told.count("fillcolor=") == len(graph.copies)
    assert told.count('label="shift 2"') == 2
    assert r'"0#te\"xt\\" -> "3#one <hot>"' in told


def test_dot_is_the_same_each_time_and_knows_partitions() -> None:
    split = Spec(net().layers, partition=0)
    assert draw_dot(split, 3, partitions=2) == draw_dot(split, 3, partitions=2)
    assert '"1#gru@0" -> "2#gru@0"' in draw_dot(split, 3, partitions=2)
