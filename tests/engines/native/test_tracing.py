"""next_state as a graph: values and gradients are torch's, and what can't be traced is named."""

from __future__ import annotations

import math
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

import unrolled
from unrolled.cells import BUILT_IN
from unrolled.engines.native.derivative import gradients
from unrolled.engines.native.evaluation import evaluate
from unrolled.engines.native.expression import Graph, Node, in_order
from unrolled.engines.native.tracing import trace

GATED = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "gated.py"))


def cell_of(mathematics: Callable[..., Any]) -> type[unrolled.GatedCell]:
    """A cell of two gates and one tensor of state."""

    class Made(unrolled.GatedCell):
        gates = ("a", "b")

        @staticmethod
        def next_state(a: Tensor, b: Tensor, state: Tensor) -> Any:
            return mathematics(a, b, state)

    return Made


class Pair(NamedTuple):
    h: Tensor
    c: Tensor


class Peepholes(unrolled.GatedCell):
    """Two states, a split gate and two vectors."""

    gates = ("i", "f", "g")
    split = ("f",)
    vectors = ("p", "q")
    State = Pair

    @staticmethod
    def next_state(i: Tensor, f_x: Tensor, f_h: Tensor, g: Tensor, p: Tensor, q: Tensor, state: Pair) -> Pair:
        h, c = state
        c = torch.sigmoid(f_x + f_h * p) * c + torch.sigmoid(i + q * state.h) * g.tanh()
        return Pair(torch.tanh(c) * p - h / 3, c)


def assert_torchs(cell: type[unrolled.GatedCell], spread: float = 2.0, shift: float = 0.0) -> None:
    """Values and gradients of the trace are autograd's on the same function."""
    traced = trace(cell)
    inputs = [*traced.slices, *traced.vectors, *traced.before]
    leaves = [torch.randn(3, 7, dtype=torch.float64) * spread + shift for _ in inputs]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    state: Any = leaves[-len(traced.before) :]
    state = state[0] if cell.State is None else cell.State(*state)
    wanted = cell.next_state(*leaves[: len(inputs) - len(traced.before)], state)
    wanted = (wanted,) if cell.State is None else tuple(wanted)
    seeds = [torch.randn_like(part) for part in wanted]
    slopes = torch.autograd.grad(wanted, leaves, seeds, allow_unused=True)

    seed_nodes = [traced.graph.input(f"seed {k}") for k in range(len(seeds))]
    derived = gradients(traced.graph, traced.after, seed_nodes, inputs)
    values = {node.name: leaf.detach() for node, leaf in zip(inputs, leaves, strict=True)}
    values |= {node.name: seed for node, seed in zip(seed_nodes, seeds, strict=True)}
    for ours, theirs in zip(evaluate(traced.after, values), wanted, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-12, atol=1e-12, equal_nan=True)
    for node, slope in zip(derived, slopes, strict=True):
        if slope is None or node is None:
            assert node is None
            assert slope is None or not slope.any()
            continue
        [ours] = evaluate([node], values)
        ours = ours.expand_as(slope)
        torch.testing.assert_close(ours, slope, rtol=1e-12, atol=1e-12, equal_nan=True)


OPERATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "+": lambda a, b, s: a + b + 2,
    "-": lambda a, b, s: 1 - a - b - 0.5,
    "*": lambda a, b, s: 0.1 * a * b * 3,
    "/": lambda a, b, s: a / (b * b + 1) / 3 + 2 / (1 + s * s),
    "minus": lambda a, b, s: -a + +b,
    "square": lambda a, b, s: a**2 + torch.square(b) + torch.pow(s, 2) + a.pow(2) * b.square(),
    "where >": lambda a, b, s: torch.where(a > b, a * s, 0.0) + a.where(b >= 0, 1.5),
    "where <": lambda a, b, s: (
        torch.where(a < 0.3, 2, b) * torch.where(a.le(s), s, b) * torch.where(b != a, s, 1)
    ),
    "where ==": lambda a, b, s: torch.where(torch.eq(a, b), s, a) + torch.where(a.lt(1), b, a),
    "sigmoid": lambda a, b, s: torch.sigmoid(a) + b.sigmoid() * functional.sigmoid(s),
    "tanh": lambda a, b, s: torch.tanh(a) + b.tanh() * functional.tanh(s),
    "relu": lambda a, b, s: torch.relu(a) + b.relu() * functional.relu(s),
    "silu": lambda a, b, s: functional.silu(a) * b,
    "gelu": lambda a, b, s: functional.gelu(a) * b,
    "gelu tanh": lambda a, b, s: functional.gelu(a, approximate="tanh") * b,
    "softplus": lambda a, b, s: (
        functional.softplus(a) * functional.softplus(b * 20) + functional.softplus(s, 2)
    ),
    "exp": lambda a, b, s: torch.exp(a) + b.exp(),
    "log": lambda a, b, s: torch.log(a.abs() + 1) + (b * b + 0.1).log(),
    "sqrt": lambda a, b, s: torch.sqrt(a * a + 1) + (b.abs() + 2).sqrt(),
    "abs": lambda a, b, s: torch.abs(a) * abs(b) + s.absolute(),
    "clamp": lambda a, b, s: torch.clamp(a, -1, 1) + b.clamp(min=0.5) + s.clip(max=0.2) * a.clamp_min(-0.5),
    "extremes": lambda a, b, s: torch.maximum(a, b) * torch.minimum(b, s) + a.maximum(s).minimum(b),
    "functions": lambda a, b, s: (
        torch.add(a, b, alpha=2) - torch.sub(2 * a, s) * torch.mul(a, 3) / torch.div(2, 1 + b * b)
    ),
    "state alone": lambda a, b, s: s,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_torchs_values_and_gradients(name: str) -> None:
    torch.manual_seed(len(name))
    assert_torchs(cell_of(OPERATIONS[name]))


@pytest.mark.parametrize(
    "name", ["where >", "where ==", "relu", "abs", "clamp", "extremes", "softplus", "sqrt", "log"]
)
def test_ties_are_broken_as_torch_breaks_them(name: str) -> None:
    # A spread of 0 makes all inputs equal; 0, a clamp's bound and softplus's threshold are among them.
    for shift in (0.0, 1.0, 0.5, 0.2, -0.5, 10.0):
        assert_torchs(cell_of(OPERATIONS[name]), spread=0.0, shift=shift)


@pytest.mark.parametrize("name", ["tanh", "relu", "clamp", "extremes", "sigmoid"])
def test_nan_goes_through_as_in_torch(name: str) -> None:
    assert_torchs(cell_of(OPERATIONS[name]), spread=0.0, shift=math.nan)


@pytest.mark.parametrize(
    "cell", [*BUILT_IN.values(), GATED["Coupled"], Peepholes], ids=lambda cell: cell.__name__
)
def test_cells_have_torchs_values_and_gradients(cell: type[unrolled.GatedCell]) -> None:
    torch.manual_seed(5)
    assert_torchs(cell)


@st.composite
def compositions(draw: st.DrawFn) -> Callable[[Any, Any, Any], Any]:
    """A random function of three tensors, without divisions by nearly nothing and huge exponentials."""
    unary: list[Callable[[Any], Any]] = [
        torch.sigmoid,
        torch.tanh,
        torch.relu,
        functional.silu,
        functional.gelu,
        functional.softplus,
        torch.abs,
        lambda x: torch.exp(torch.tanh(x)),
        lambda x: torch.log(1 + x * x),
        lambda x: torch.sqrt(x * x + 1),
        lambda x: x.clamp(-0.7, 1.3),
        lambda x: functional.gelu(x, approximate="tanh"),
        lambda x: -x,
        lambda x: torch.tanh(x) ** 2,
    ]
    binary: list[Callable[[Any, Any], Any]] = [
        lambda x, y: x + y,
        lambda x, y: x - y,
        lambda x, y: torch.tanh(x) * y,
        lambda x, y: x / (1 + y * y),
        torch.maximum,
        torch.minimum,
        lambda x, y: torch.where(x > y, x, 0.5 * y),
    ]
    steps = draw(
        st.lists(
            st.tuples(st.booleans(), st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)),
            min_size=1,
            max_size=12,
        )
    )

    def run(a: Any, b: Any, s: Any) -> Any:
        found = [a, b, s]
        for is_unary, which, left, right in steps:
            x, y = found[-1 - left % min(3, len(found))], found[right % len(found)]
            found.append(unary[which % len(unary)](x) if is_unary else binary[which % len(binary)](x, y))
        return found[-1]

    return run


@settings(max_examples=150, deadline=None)
@given(compositions(), st.integers(0, 10**6))
def test_random_compositions_have_torchs_values_and_gradients(run: Callable[..., Any], seed: int) -> None:
    torch.manual_seed(seed)
    assert_torchs(cell_of(run), spread=1.0)


def test_common_parts_are_one_node_and_constants_fold_only_where_exact() -> None:
    graph = Graph()
    x, y, one = graph.input("x"), graph.input("y"), graph.const(1.0)
    assert graph.make("add", x, y) is graph.make("add", y, x)
    assert graph.make("mul", x, one) is x
    assert graph.make("sub", x, graph.const(0.0)) is x
    assert graph.make("neg", graph.make("neg", x)) is x
    assert graph.make("add", one, graph.const(2.0)) is graph.const(3.0)
    for op, a, b in (
        ("add", x, graph.const(0.0)),
        ("mul", x, graph.const(0.0)),
        ("add", one, graph.const(1e-20)),
    ):
        assert graph.make(op, a, b).op == op
    assert graph.make("mul", graph.const(0.1), graph.const(0.1)).op == "mul"
    assert graph.const(0.0) is not graph.const(-0.0)


def test_the_backward_pass_of_an_lstm_shares_the_forward_passs_work() -> None:
    traced = trace(unrolled.LSTM)
    seeds = [traced.graph.input("d_h"), traced.graph.input("d_c")]
    derived = gradients(traced.graph, traced.after, seeds, [*traced.slices, *traced.before])
    roots: list[Node] = [*traced.after, *(node for node in derived if node is not None)]
    costly = [node.op for node in in_order(roots) if node.op in ("tanh", "sigmoid")]
    assert sorted(costly) == ["sigmoid"] * 3 + ["tanh"] * 2


REFUSED: dict[str, tuple[Callable[[Any, Any, Any], Any], str]] = {
    "matrix product": (lambda a, b, s: a @ b, "a matrix product"),
    "matmul": (lambda a, b, s: torch.matmul(a, b), "torch's matmul"),
    "sum": (lambda a, b, s: a.sum(), ".sum of a tensor"),
    "softmax": (lambda a, b, s: torch.softmax(a, -1), "torch's softmax"),
    "if": (lambda a, b, s: a if a > 0 else b, "torch.where"),
    "built-in max": (lambda a, b, s: max(a, b), "torch.where"),
    "cube": (lambda a, b, s: a**3, "another power"),
    "shape": (lambda a, b, s: a * a.shape[0], ".shape"),
    "slice": (lambda a, b, s: a[:, 1:], "a part of a tensor"),
    "in place": (lambda a, b, s: a.sigmoid_(), ".sigmoid_"),
    "tensor": (lambda a, b, s: a * torch.ones(7), "a tensor from outside"),
    "tensor first": (lambda a, b, s: torch.ones(7) * a, "a tensor from outside"),
    "number": (lambda a, b, s: 0.0, "a float as a next state"),
    "comparison": (lambda a, b, s: a > b, "a comparison as a next state"),
    "mask product": (lambda a, b, s: (a > b) * s, "a comparison in mul"),
    "random": (lambda a, b, s: a + torch.rand_like(a), "torch's rand_like"),
    "float": (lambda a, b, s: a * math.exp(b), "a tensor as a Python number"),
    "keyword": (lambda a, b, s: torch.sigmoid(a, out=b), "sigmoid with arguments"),
    "crash": (lambda a, b, s: [][1], "IndexError"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_an_error_that_names_it_and_the_cell(name: str) -> None:
    mathematics, words = REFUSED[name]
    with pytest.raises(unrolled.errors.CellError) as caught:
        trace(cell_of(mathematics))
    message = str(caught.value)
    assert message.startswith("Made.next_state ")
    assert words in message
    assert "\n" not in message


def test_an_operation_in_place_is_refused() -> None:
    def add_in_place(a: Any, b: Any, s: Any) -> Any:
        s += a
        return s

    with pytest.raises(unrolled.errors.CellError, match="in place"):
        trace(cell_of(add_in_place))


def test_a_state_of_another_kind_is_refused() -> None:
    class Wrong(Peepholes):
        @staticmethod
        def next_state(i: Any, f_x: Any, f_h: Any, g: Any, p: Any, q: Any, state: Any) -> Any:
            return i, g

    with pytest.raises(unrolled.errors.CellError, match="a tuple as its result, where Pair is wanted"):
        trace(Wrong)


def test_a_state_of_vectors_alone_is_refused() -> None:
    class Wrong(Peepholes):
        @staticmethod
        def next_state(i: Any, f_x: Any, f_h: Any, g: Any, p: Any, q: Any, state: Any) -> Any:
            return Pair(i, p * q)

    with pytest.raises(unrolled.errors.CellError, match="without any"):
        trace(Wrong)
