"""Reverse-mode differentiation of a graph, into the same graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from unrolled.engines.native.expression import Graph, Node, in_order

Partials = Iterator[tuple[Node, Node]]


def gradients(
    graph: Graph, outputs: Sequence[Node], seeds: Sequence[Node], inputs: Sequence[Node]
) -> list[Node | None]:
    """Return the gradient of Σ seed · output for each of ``inputs``, None where none depends on it.

    Each rule is torch's, at ties and for NaN too: max(a, a) gives a half to each, relu nothing at 0.
    """
    found: dict[Node, Node] = {}

    def add(node: Node, gradient: Node) -> None:
        found[node] = graph.make("add", found[node], gradient) if node in found else gradient

    for output, seed in zip(outputs, seeds, strict=True):
        add(output, seed)
    for node in reversed(in_order(outputs)):
        if node in found and node.args:
            for arg, gradient in _RULES[node.op](_Rules(graph), node, found[node]):
                if arg.op != "const":
                    add(arg, gradient)
    return [found.get(node) for node in inputs]


class _Rules:
    """How a gradient ``d`` of a node goes on to its arguments."""

    def __init__(self, graph: Graph) -> None:
        self.make, self.const = graph.make, graph.const

    def add(self, node: Node, d: Node) -> Partials:
        yield from ((arg, d) for arg in node.args)

    def sub(self, node: Node, d: Node) -> Partials:
        yield node.args[0], d
        yield node.args[1], self.make("neg", d)

    def neg(self, node: Node, d: Node) -> Partials:
        yield node.args[0], self.make("neg", d)

    def mul(self, node: Node, d: Node) -> Partials:
        a, b = node.args
        yield a, self.make("mul", d, b)
        yield b, self.make("mul", d, a)

    def div(self, node: Node, d: Node) -> Partials:
        a, b = node.args
        yield a, self.make("div", d, b)
        yield b, self.make("neg", self.make("mul", d, self.make("div", node, b)))

    def exp(self, node: Node, d: Node) -> Partials:
        yield node.args[0], self.make("mul", d, node)

    def log(self, node: Node, d: Node) -> Partials:
        yield node.args[0], self.make("div", d, node.args[0])

    def sqrt(self, node: Node, d: Node) -> Partials:
        yield node.args[0], self.make("div", d, self.make("mul", self.const(2.0), node))

    def abs(self, node: Node, d: Node) -> Partials:
        x, zero = node.args[0], self.const(0.0)
        below = self.make("where", self.make("lt", x, zero), self.make("neg", d), zero)
        yield x, self.make("where", self.make("gt", x, zero), d, below)

    def tanh(self, node: Node, d: Node) -> Partials:
        square = self.make("mul", node, node)
        yield node.args[0], self.make("mul", d, self.make("sub", self.const(1.0), square))

    def sigmoid(self, node: Node, d: Node) -> Partials:
        slope = self.make("mul", self.make("sub", self.const(1.0), node), node)
        yield node.args[0], self.make("mul", d, slope)

    def erf(self, node: Node, d: Node) -> Partials:
        x = node.args[0]
        bell = self.make("exp", self.make("neg", self.make("mul", x, x)))
        yield x, self.make("mul", d, self.make("mul", self.const(2 / math.sqrt(math.pi)), bell))

    def softplus(self, node: Node, d: Node) -> Partials:
        x = node.args[0]
        curved = self.make("mul", d, self.make("sigmoid", x))
        yield x, self.make("where", self.make("gt", x, self.const(20.0)), d, curved)

    def relu(self, node: Node, d: Node) -> Partials:
        zero = self.const(0.0)
        yield node.args[0], self.make("where", self.make("le", node, zero), zero, d)

    def maximum(self, node: Node, d: Node) -> Partials:
        yield from self._extreme(node, d, "lt", "gt")

    def minimum(self, node: Node, d: Node) -> Partials:
        yield from self._extreme(node, d, "gt", "lt")

    def clamp_min(self, node: Node, d: Node) -> Partials:
        x, bound = node.args
        yield x, self.make("where", self.make("ge", x, bound), d, self.const(0.0))

    def clamp_max(self, node: Node, d: Node) -> Partials:
        x, bound = node.args
        yield x, self.make("where", self.make("le", x, bound), d, self.const(0.0))

    def where(self, node: Node, d: Node) -> Partials:
        condition, a, b = node.args
        yield a, self.make("where", condition, d, self.const(0.0))
        yield b, self.make("where", condition, self.const(0.0), d)

    def _extreme(self, node: Node, d: Node, a_loses: str, b_loses: str) -> Partials:
        a, b = node.args
        half = self.make("mul", d, self.const(0.5))
        share = self.make("where", self.make("eq", a, b), half, d)
        yield a, self.make("where", self.make(a_loses, a, b), self.const(0.0), share)
        yield b, self.make("where", self.make(b_loses, a, b), self.const(0.0), share)


_RULES: dict[str, Callable[[_Rules, Node, Node], Partials]] = {
    name: rule for name, rule in vars(_Rules).items() if not name.startswith("_")
}
