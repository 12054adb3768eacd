"""A net's unrolled graph in DOT, for who has Graphviz."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from unrolled.net.graph import Copy, unroll_graph
from unrolled.net.params import Cells
from unrolled.net.pictures.words import role_of, setting_of
from unrolled.net.spec import Edge, Spec

STYLES: Mapping[str, str] = {
    "same": 'color="#4a5560"',
    "own": 'color="#0072b2", penwidth=2, constraint=false',
    "shift": 'color="#c04e00", style=dashed, arrowhead=vee, constraint=false',
    "all": 'color="#00805c", arrowhead=onormal',
    "last": 'color="#a3447f", style=dotted, arrowhead=diamond, constraint=false',
}
FILLS: Mapping[str, str] = {
    "input": "#fdf3d9", "recurrent": "#e1eefa", "function": "#f3f5f7", "loss": "#fae6ee",
}  # fmt: skip


def draw_dot(
    spec: Spec,
    steps: int | Mapping[str, int] | None = 5,
    *,
    phase: str | None = None,
    partitions: int = 1,
    cells: Cells | None = None,
) -> str:
    """Write every copy and every link of the unrolled graph in the language of Graphviz, nothing left out.

    Copies of one step stand in a cluster. Arguments and errors are those of ``unroll_graph``.
    """
    graph = unroll_graph(spec, steps, phase=phase, partitions=partitions, cells=cells)
    columns: dict[int, list[Copy]] = {}
    alone: list[Copy] = []
    for copy in graph:
        one = spec.length_of(copy.layer) == 1
        (alone if one else columns.setdefault(copy.step, [])).append(copy)
    lines = [
        f"digraph {_quoted(spec.name or 'net')} {{",
        '  rankdir=BT; node [shape=box, style="rounded,filled", fontname="Helvetica"];',
        *(f"  {_node(copy)}" for copy in alone),
    ]
    for step, copies in sorted(columns.items()):
        lines.append(f'  subgraph "cluster_{step}" {{ label="step {step}"; color="#d9dee4";')
        lines += [f"    {_node(copy)}" for copy in copies]
        lines.append("  }")
    lines += [f"  {line}" for copy in graph for line in _links(copy)]
    return "\n".join([*lines, "}", ""])


def _node(copy: Copy) -> str:
    label = f"{copy.name}\n{setting_of(copy.layer)}"
    return f'{_quoted(copy.name)} [label={_quoted(label)}, fillcolor="{FILLS[role_of(copy.layer)]}"];'


def _links(copy: Copy) -> Iterator[str]:
    for link in copy.links:
        kind, label = _kind(link.edge)
        told = f', label="{label}"' if label else ""
        yield f"{_quoted(link.source)} -> {_quoted(copy.name)} [{STYLES[kind]}{told}];"


def _kind(edge: Edge | None) -> tuple[str, str]:
    if edge is None:
        return "own", ""
    return ("shift", f"shift {edge.shift}") if edge.shift else (edge.kind, "")


def _quoted(text: str) -> str:
    """Return a DOT string: a quote and a backslash are escaped, a new line is written as one."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
