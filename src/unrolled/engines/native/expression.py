"""Elementwise mathematics as a graph of nodes, each built once."""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable
from dataclasses import dataclass
from fractions import Fraction

COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne")
"""The operations of a node that say yes or no, for ``where``."""

_EXACT = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
}


@dataclass(frozen=True, eq=False)
class Node:
    """One operation on other nodes, or a leaf: an input under its ``name``, a constant ``value``.

    Operations are neg, exp, log, sqrt, abs, tanh, sigmoid, erf, softplus and relu of one node; add, sub, mul,
    div, maximum, minimum, clamp_min and clamp_max of two; the ``COMPARISONS``; and where, of three.
    """

    op: str
    args: tuple[Node, ...] = ()
    name: str = ""
    value: float = 0.0


class Graph:
    """Builds nodes; asked for the same operation on the same nodes, it returns the same node.

    What it simplifies on the way has the same bits: x · 1, x / 1, x − 0, −(−x), a ``where`` of two equal
    branches, and + − · of constants whose result is exact in float32. It never drops 0 · x (x may be
    infinite) or x + 0 (x may be −0).
    """

    def __init__(self) -> None:
        self._nodes: dict[tuple[object, ...], Node] = {}
        self._order: dict[Node, int] = {}

    def input(self, name: str) -> Node:
        """Return the leaf ``name``."""
        return self._node("input", (), name=name)

    def const(self, value: float) -> Node:
        """Return a constant."""
        return self._node("const", (), value=float(value))

    def make(self, op: str, *args: Node) -> Node:
        """Return ``op`` of ``args``, or a simpler node of the same bits."""
        simpler = self._simplify(op, args)
        if simpler is not None:
            return simpler
        if op in ("add", "mul"):  # a + b is b + a to the bit, so both are one node
            args = tuple(sorted(args, key=self._order.__getitem__))
        return self._node(op, args)

    def _node(self, op: str, args: tuple[Node, ...], name: str = "", value: float = 0.0) -> Node:
        key = (op, *map(id, args), name, value.hex())
        if key not in self._nodes:
            node = self._nodes[key] = Node(op, args, name, value)
            self._order[node] = len(self._order)
        return self._nodes[key]

    def _simplify(self, op: str, args: tuple[Node, ...]) -> Node | None:
        first, last = args[0], args[-1]
        if op == "neg" and first.op == "neg":
            return first.args[0]
        if op == "neg" and first.op == "const":
            return self.const(-first.value)
        if op == "where" and args[1] is args[2]:
            return args[1]
        if op in ("mul", "div") and _is(last, 1.0):
            return first
        if op == "mul" and _is(first, 1.0):
            return last
        if op == "sub" and _is(last, 0.0):
            return first
        if op in _EXACT and first.op == last.op == "const":
            return self._fold(op, first.value, last.value)
        return None

    def _fold(self, op: str, a: float, b: float) -> Node | None:
        if not all(_fits_float32(value) for value in (a, b)):
            return None
        result: float = _EXACT[op](a, b)
        exact: Fraction = _EXACT[op](Fraction(a), Fraction(b))
        # A result of 0 may have either sign; it is left as it is.
        if result == 0.0 or not _fits_float32(result) or Fraction(result) != exact:
            return None
        return self.const(result)


def in_order(roots: Iterable[Node], leaves: Container[Node] = ()) -> list[Node]:
    """Return every node that ``roots`` need, each after its arguments; those of ``leaves`` are given."""
    found: dict[Node, None] = {}
    waiting: list[tuple[Node, bool]] = [(root, False) for root in reversed(list(roots))]
    while waiting:
        node, ready = waiting.pop()
        if node in found:
            continue
        if ready:
            found[node] = None
        else:
            waiting.append((node, True))
            if node not in leaves:
                waiting.extend((arg, False) for arg in reversed(node.args))
    return list(found)


def _is(node: Node, value: float) -> bool:
    return node.op == "const" and node.value.hex() == value.hex()


def _fits_float32(value: float) -> bool:
    try:
        back: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return False
    return back == value and abs(value) != float("inf")
