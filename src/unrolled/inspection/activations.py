"""Which function makes a gate of a slice, found in what ``next_state`` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unrolled.cells import GatedCell
from unrolled.engines.native.evaluation import evaluate
from unrolled.engines.native.expression import Node, in_order
from unrolled.engines.native.tracing import Trace, trace
from unrolled.errors import CellError

ACTIVATIONS = ("sigmoid", "tanh", "relu", "softplus", "exp")
_SUMS = ("add", "sub", "neg")


@dataclass(frozen=True)
class Gate:
    """One gate of a cell as it can be read off: ``node`` of the trace, or a slice by its number."""

    name: str
    activation: str
    """``sigmoid``, ``tanh`` and so on; empty for a slice as it is, before any function."""
    slice: int
    node: Node | None = None


@dataclass(frozen=True)
class GateReader:
    """Computes the gates of one cell for many steps at once."""

    cell: GatedCell
    gates: tuple[Gate, ...]
    trace: Trace | None

    @classmethod
    def of(cls, cell: GatedCell) -> GateReader:
        """Find the gates of ``cell``.

        A gate is the activation that a slice alone goes into, by itself or in a sum: sigmoid(i + p · c) is
        the gate i, tanh(n_x + r · n_h) the gate n. A slice that several things read, or that meets no
        activation, is read as it is, and so is every slice of a ``next_state`` that can't be traced. What
        is a field of the next state is no gate, but the state.
        """
        kind = type(cell)
        try:
            traced = trace(kind)
        except CellError:
            return cls(cell, tuple(Gate(name, "", n) for n, name in enumerate(kind.slices())), None)
        return cls(cell, tuple(_gates(kind, traced)), traced)

    def read(self, x: Tensor, state: Any) -> dict[str, Tensor]:
        """Return the gates [n, H] by name for ``x`` [n, D] (or ids [n]) and the states [n, H] before it."""
        slices = self.cell.preactivations(x, state)
        values = {gate.name: slices[gate.slice] for gate in self.gates if gate.node is None}
        made = {gate.name: gate.node for gate in self.gates if gate.node is not None}
        if made and self.trace is not None:
            parts = (state,) if self.cell.State is None else tuple(state)
            leaves = (*self.trace.slices, *self.trace.vectors, *self.trace.before)
            tensors = (*slices, *self.cell.vector_parameters, *parts)
            inputs = {leaf.name: tensor for leaf, tensor in zip(leaves, tensors, strict=True)}
            values |= dict(zip(made, evaluate(list(made.values()), inputs), strict=True))
        return {gate.name: values[gate.name].expand(len(x), -1) for gate in self.gates}


def _gates(kind: type[GatedCell], traced: Trace) -> list[Gate]:
    """Return what to read of each slice, each node once."""
    readers: dict[Node, list[Node]] = {}
    for reader in in_order(traced.after):
        for arg in dict.fromkeys(reader.args):
            readers.setdefault(arg, []).append(reader)
    found: list[Gate] = []
    taken = set(traced.after)
    for number, (name, leaf) in enumerate(zip(kind.slices(), traced.slices, strict=True)):
        node = _activation(leaf, readers, traced)
        if node is None or (node in taken and node not in traced.after):
            found.append(Gate(name, "", number))
        elif node not in taken:
            taken.add(node)
            found.append(Gate(_whole_name(kind, name), node.op, number, node))
    return found


def _activation(leaf: Node, readers: dict[Node, list[Node]], traced: Trace) -> Node | None:
    """Return the activation that ``leaf`` alone, or a sum with it, goes into."""
    node = leaf
    while node not in traced.after and len(readers.get(node, ())) == 1:
        [node] = readers[node]
        if node.op in ACTIVATIONS:
            return node
        if node.op not in _SUMS:
            return None
    return None


def _whole_name(kind: type[GatedCell], name: str) -> str:
    """Return the gate that a slice belongs to: n for the half n_x of a split gate n."""
    halves = {f"{gate}_{side}": gate for gate in kind.split for side in "xh"}
    return halves.get(name, name)
