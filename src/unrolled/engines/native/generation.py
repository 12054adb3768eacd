"""The C++ source of a cell: its mathematics, written out between two templates."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from importlib import resources

from unrolled.cells import GatedCell
from unrolled.engines.native.derivative import gradients
from unrolled.engines.native.expression import COMPARISONS, Graph, Node, in_order
from unrolled.engines.native.tracing import Trace

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_COMPARED = dict(zip(COMPARISONS, (">", ">=", "<", "<=", "==", "!="), strict=True))
WEIGHTS = ("float32", "bf16", "int8")
"""What a stream's weights may be kept as."""
_KEEPABLE = ("tanh", "sigmoid", "exp", "relu", "softplus")


def slot_order(cell: type[GatedCell]) -> tuple[list[int], list[int]]:
    """Return the numbers of the gates in the order of their slots, on x's side and on h's side.

    Slots are the slices of the pre-activations in an order that leaves each side in one piece: x halves of
    split gates, whole gates, h halves of split gates.
    """
    numbers = range(len(cell.gates))
    split = [n for n in numbers if cell.gates[n] in cell.split]
    whole = [n for n in numbers if cell.gates[n] not in cell.split]
    return split + whole, whole + split


def source_of(cell: type[GatedCell], trace: Trace, bf16: bool = False) -> str:
    """Return the whole source, one string, for ``cell`` as traced."""
    return define(bf16) + "\n".join(
        (
            source("vector.h"),
            _constants(cell),
            _mathematics(cell, trace),
            source("products.h"),
            source("kernels.h"),
        )
    )


def define(bf16: bool) -> str:
    """Return the line that chooses the number format of products' factors."""
    return "#define BF16\n" if bf16 else ""


def source(name: str) -> str:
    """Return a file of C++ that is part of the package."""
    return (resources.files("unrolled.engines.native") / "sources" / name).read_text("utf-8")


def sampling_source(cells: Sequence[type[GatedCell]], traces: Sequence[Trace], weights: str) -> str:
    """Return the source of the sampling loop for nets of these cells, its weights ``float32``, say."""
    kinds = [_as_struct(n, cell, trace) for n, (cell, trace) in enumerate(zip(cells, traces, strict=True))]
    uses = " ".join(f"use({n}, Cell{n})" for n in range(len(cells)))
    chosen = f"#define CELLS(use) {uses}\n#define WEIGHTS {WEIGHTS.index(weights)}\n"
    return "\n".join((source("vector.h"), *kinds, chosen, source("sampling.h")))


def _as_struct(number: int, cell: type[GatedCell], trace: Trace) -> str:
    """Return a cell's counts, orders and ``update`` as a struct of C++."""
    update = _function(
        "update",
        ("const V *slot", "const V *vector", "const V *before", "V *after"),
        _names("slot", slots(cell, trace)) | _names("vector", trace.vectors) | _names("before", trace.before),
        _places("after", trace.after),
    )
    constants = _constants(cell).replace("static const int", "static constexpr int")
    return f"namespace {{ struct Cell{number} {{\n{constants}{update}}}; }}\n"


def slots(cell: type[GatedCell], trace: Trace) -> list[Node]:
    """Return the inputs of the trace's slices in the order of slots."""
    by_name = dict(zip(cell.slices(), trace.slices, strict=True))
    on_x, on_h = slot_order(cell)
    names = [cell.gates[n] for n in on_x]
    halves = [cell.gates[n] for n in on_h if cell.gates[n] in cell.split]
    return [by_name[f"{n}_x" if n in cell.split else n] for n in names] + [by_name[f"{n}_h"] for n in halves]


def kept(inputs: Sequence[Node], after: Sequence[Node], needed: Sequence[Node]) -> list[Node]:
    """Return what to keep of each slot for the way back: the slot itself, or an activation of it.

    Where ``needed`` can do with tanh(slot), say, and not the slot, the tanh is kept and not computed again.
    """
    chosen = list(inputs)
    forward = in_order(after)
    for n, slot in enumerate(inputs):
        for node in forward:
            if node.op in _KEEPABLE and node.args == (slot,):
                attempt = [*chosen[:n], node, *chosen[n + 1 :]]
                if slot not in in_order(needed, attempt):
                    chosen = attempt
                    break
    return chosen


def _constants(cell: type[GatedCell]) -> str:
    on_x, on_h = slot_order(cell)
    fields = 1 if cell.State is None else len(cell.State._fields)
    gates, split = len(cell.gates), len(cell.split)
    return (
        f"enum {{ GATES = {gates}, SPLIT = {split}, SLOTS = {gates + split}, FIELDS = {fields}, "
        f"VECTORS = {len(cell.vectors)} }};\n"
        f"static const int ON_X[] = {{{', '.join(map(str, on_x))}}};\n"
        f"static const int ON_H[] = {{{', '.join(map(str, on_h))}}};\n"
    )


def _mathematics(cell: type[GatedCell], trace: Trace) -> str:
    """Return the functions ``update`` and ``retrace``."""
    graph, inputs = trace.graph, slots(cell, trace)
    seeds = [graph.input(f"seed {n}") for n in range(len(trace.after))]
    wanted = [*inputs, *trace.vectors, *trace.before]
    derived = _zeros(graph, gradients(graph, trace.after, seeds, wanted))
    keeps = kept(inputs, trace.after, derived)
    leaves = _names("vector", trace.vectors) | _names("before", trace.before)
    ahead = _function(
        "update",
        ("const V *slot", "const V *vector", "const V *before", "V *after", "V *keep"),
        leaves | _names("slot", inputs),
        _places("after", trace.after) | _places("keep", keeps),
    )
    S, N = len(inputs), len(trace.vectors)
    results = _places("d_slot", derived[:S]) | _places("d_vector", derived[S : S + N])
    results |= _places("d_before", derived[S + N :])
    back = _function(
        "retrace",
        (
            *("const V *keep", "const V *vector", "const V *before", "const V *d_after"),
            *("V *d_slot", "V *d_vector", "V *d_before"),
        ),
        leaves | _names("d_after", seeds) | _names("keep", keeps),
        results,
    )
    return ahead + "\n" + back


def _zeros(graph: Graph, nodes: Sequence[Node | None]) -> list[Node]:
    return [graph.const(0.0) if node is None else node for node in nodes]


def _names(array: str, nodes: Sequence[Node]) -> dict[Node, str]:
    return {node: f"{array}[{n}]" for n, node in enumerate(nodes)}


def _places(array: str, nodes: Sequence[Node]) -> dict[str, Node]:
    return {f"{array}[{n}]": node for n, node in enumerate(nodes)}


def _function(
    name: str, parameters: Sequence[str], leaves: Mapping[Node, str], results: Mapping[str, Node]
) -> str:
    """Return an inline function that computes ``results``, by place, from ``leaves``, each with its place."""
    lines: list[str] = []
    names = dict(leaves)
    for node in in_order(results.values(), leaves):
        if node not in names:
            kind = "I" if node.op in COMPARISONS else "V"
            names[node] = f"v{len(lines)}"
            lines.append(f"  const {kind} {names[node]} = {_term(node, [names[arg] for arg in node.args])};")
    # Every result is computed before any is stored, since places may be shared.
    lines += [f"  {place} = {names[node]};" for place, node in results.items()]
    return f"INLINE void {name}({', '.join(parameters)}) {{\n" + "\n".join(lines) + "\n}\n"


def _term(node: Node, args: Sequence[str]) -> str:
    if node.op == "const":
        return f"splat({_literal(node.value)})"
    if node.op in _INFIX:
        return f"{args[0]} {_INFIX[node.op]} {args[1]}"
    if node.op in _COMPARED:
        return f"{args[0]} {_COMPARED[node.op]} {args[1]}"
    if node.op == "neg":
        return f"-{args[0]}"
    return f"{'select' if node.op == 'where' else 'fn_' + node.op}({', '.join(args)})"


def _literal(value: float) -> str:
    """Return ``value`` as a float32 literal, to the bit."""
    try:
        single = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        single = float("inf") if value > 0 else float("-inf")
    if single != single:
        return '__builtin_nanf("")'
    if abs(single) == float("inf"):
        return "__builtin_inff()" if single > 0 else "-__builtin_inff()"
    return f"{single.hex()}f"
