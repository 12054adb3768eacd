"""Run a cell's ``next_state`` once, on proxies that write down what it does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from unrolled.cells import GatedCell
from unrolled.engines.native.expression import COMPARISONS, Graph, Node, in_order
from unrolled.errors import CellError

ALLOWED = (
    "+ - * /, squares, comparisons inside torch.where, sigmoid, tanh, relu, silu, gelu, softplus, exp, log, "
    "sqrt, abs, clamp, minimum, maximum and Python numbers"
)
"""What ``next_state`` may use, in words."""


@dataclass(frozen=True)
class Trace:
    """What one ``next_state`` does, as a graph."""

    graph: Graph
    slices: tuple[Node, ...]
    """The inputs for the slices of ``preactivations``, in its order."""
    vectors: tuple[Node, ...]
    """The inputs for the vectors."""
    before: tuple[Node, ...]
    """The inputs for the fields of the state, one where it is a tensor."""
    after: tuple[Node, ...]
    """The fields of the next state."""


class _Refused(Exception):
    """Says what ``next_state`` did that can't be traced."""


def _refusal(what: str) -> Callable[..., Any]:
    """Return a method that refuses ``what``."""

    def refuse(*_: Any) -> NoReturn:
        raise _Refused(what)

    return refuse


class Proxy:
    """Stands for a tensor [B, H] and writes down what is done to it."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self._graph = graph
        self._node = node

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Proxy:
        """Take a torch.* or torch.nn.functional.* call."""
        name = getattr(func, "__name__", str(func))
        if name not in _OPERATIONS:
            raise _Refused(f"torch's {name}")
        return _call(name, args, kwargs or {})

    def __getattr__(self, name: str) -> Callable[..., Proxy]:
        """Return a method of a tensor."""
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "where":
            return lambda condition, other: _where(condition, self, other)
        if name not in _OPERATIONS or not hasattr(torch.Tensor, name):
            raise _Refused(f".{name} of a tensor")
        return lambda *args, **kwargs: _call(name, (self, *args), kwargs)

    def __add__(self, other: Any) -> Proxy:
        return _make("add", self, other)

    def __radd__(self, other: Any) -> Proxy:
        return _make("add", other, self)

    def __sub__(self, other: Any) -> Proxy:
        return _make("sub", self, other)

    def __rsub__(self, other: Any) -> Proxy:
        return _make("sub", other, self)

    def __mul__(self, other: Any) -> Proxy:
        return _make("mul", self, other)

    def __rmul__(self, other: Any) -> Proxy:
        return _make("mul", other, self)

    def __truediv__(self, other: Any) -> Proxy:
        return _make("div", self, other)

    def __rtruediv__(self, other: Any) -> Proxy:
        return _make("div", other, self)

    def __neg__(self) -> Proxy:
        return _make("neg", self)

    def __pos__(self) -> Proxy:
        return self

    def __abs__(self) -> Proxy:
        return _make("abs", self)

    def __pow__(self, exponent: Any) -> Proxy:
        return _pow(self, exponent)

    def __gt__(self, other: Any) -> Proxy:
        return _make("gt", self, other)

    def __ge__(self, other: Any) -> Proxy:
        return _make("ge", self, other)

    def __lt__(self, other: Any) -> Proxy:
        return _make("lt", self, other)

    def __le__(self, other: Any) -> Proxy:
        return _make("le", self, other)

    def __eq__(self, other: object) -> Proxy:  # type: ignore[override]
        return _make("eq", self, other)

    def __ne__(self, other: object) -> Proxy:  # type: ignore[override]
        return _make("ne", self, other)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise _Refused("the truth of a tensor (if, while, and, or, not, min(), max()); write torch.where")

    __matmul__ = __rmatmul__ = _refusal("a matrix product")
    __iadd__ = __isub__ = __imul__ = __itruediv__ = _refusal("an operation in place")
    __rpow__ = _refusal("a number to the power of a tensor")
    __mod__ = __rmod__ = _refusal("%")
    __floordiv__ = __rfloordiv__ = _refusal("//")
    __and__ = __or__ = __xor__ = __rand__ = __ror__ = __rxor__ = _refusal("& | ^ of tensors")
    __invert__ = _refusal("~ of a tensor")
    __getitem__ = _refusal("a part of a tensor ([…])")
    __setitem__ = _refusal("an assignment to a part of a tensor ([…] =)")
    __iter__ = _refusal("a walk over a tensor")
    __len__ = _refusal("the length of a tensor")
    __float__ = __int__ = __index__ = _refusal("a tensor as a Python number")


def trace(cell: type[GatedCell]) -> Trace:
    """Run ``cell.next_state`` once on proxies; raise ``CellError`` that names what can't be traced.

    Numbers that ``next_state`` reads from elsewhere are read now and are constants from here on.
    """
    graph, fields = Graph(), ("state",) if cell.State is None else cell.State._fields
    slices, vectors, before = (
        tuple(graph.input(f"{kind} {name}") for name in names)
        for kind, names in (("slice", cell.slices()), ("vector", cell.vectors), ("state", fields))
    )
    parts = [Proxy(graph, node) for node in before]
    state = parts[0] if cell.State is None else cell.State(*parts)
    try:
        result = cell.next_state(*(Proxy(graph, node) for node in (*slices, *vectors)), state)
        after = _fields(cell, result)
    except _Refused as refused:
        raise CellError(
            f"{cell.__name__}.next_state uses {refused}; to be compiled it may use {ALLOWED}"
        ) from None
    except CellError:
        raise
    except Exception as error:
        first_line = (str(error).splitlines() or [""])[0]
        raise CellError(
            f"{cell.__name__}.next_state cannot be traced: {type(error).__name__}: {first_line}"
        ) from error
    return Trace(graph, slices, vectors, before, after)


def _fields(cell: type[GatedCell], result: Any) -> tuple[Node, ...]:
    """Return the nodes of what ``next_state`` returned."""
    if cell.State is not None and type(result) is not cell.State:
        raise _Refused(f"a {type(result).__name__} as its result, where {cell.State.__name__} is wanted")
    nodes = []
    for part in (result,) if cell.State is None else result:
        if not isinstance(part, Proxy):
            raise _Refused(f"a {type(part).__name__} as a next state, where a tensor is wanted")
        if part._node.op in COMPARISONS:
            raise _Refused("a comparison as a next state; write torch.where")
        leaves = [node.name for node in in_order([part._node]) if node.op == "input"]
        if all(leaf.startswith("vector ") for leaf in leaves):
            raise _Refused("a next state without any [B, H] in it")
        nodes.append(part._node)
    return tuple(nodes)


def _call(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Proxy:
    try:
        return _OPERATIONS[name](*args, **kwargs)
    except TypeError:
        raise _Refused(f"{name} with arguments of its own kind") from None


def _make(op: str, *args: Any) -> Proxy:
    """Return ``op`` of proxies and numbers, at least one a proxy."""
    graph = next((arg._graph for arg in args if isinstance(arg, Proxy)), None)
    if graph is None:
        raise _Refused(f"{op} of numbers alone")
    nodes = [_node(graph, arg) for arg in args]
    values = nodes[1:] if op == "where" else nodes
    if any(node.op in COMPARISONS for node in values):
        raise _Refused(f"a comparison in {op}; write torch.where")
    return Proxy(graph, graph.make(op, *nodes))


def _node(graph: Graph, value: Any) -> Node:
    if isinstance(value, Proxy):
        if value._graph is not graph:
            raise _Refused("a tensor that was kept from another call")
        return value._node
    if isinstance(value, (int, float)):
        return graph.const(value)
    raise _Refused(
        "a tensor from outside" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
    )


def _plain(op: str, arity: int) -> Callable[..., Proxy]:
    """Return an operation that takes ``arity`` values and nothing else."""
    if arity == 1:
        return lambda input: _make(op, input)
    return lambda input, other: _make(op, input, other)


def _where(condition: Any, input: Any, other: Any) -> Proxy:
    if not isinstance(condition, Proxy) or condition._node.op not in COMPARISONS:
        raise _Refused("torch.where without a comparison")
    return _make("where", condition, input, other)


def _scaled(op: str) -> Callable[..., Proxy]:
    def run(input: Any, other: Any, *, alpha: float = 1) -> Proxy:
        return _make(op, input, other if alpha == 1 else _make("mul", other, alpha))

    return run


def _div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Proxy:
    if rounding_mode is not None:
        raise _Refused("div with a rounding mode")
    return _make("div", input, other)


def _pow(input: Any, exponent: Any) -> Proxy:
    if isinstance(exponent, Proxy) or exponent != 2:
        raise _Refused("another power than the square")
    return _make("mul", input, input)


def _relu(input: Any, inplace: bool = False) -> Proxy:
    _check_in_place("relu", inplace)
    return _make("relu", input)


def _silu(input: Any, inplace: bool = False) -> Proxy:
    _check_in_place("silu", inplace)
    return _make("mul", input, _make("sigmoid", input))


def _check_in_place(name: str, inplace: bool) -> None:
    if inplace:
        raise _Refused(f"{name} in place")


def _gelu(input: Any, *, approximate: str = "none") -> Proxy:
    if approximate == "none":
        return _make("mul", input * 0.5, _make("erf", input * math.sqrt(0.5)) + 1.0)
    if approximate != "tanh":
        raise _Refused(f"gelu with approximate={approximate!r}")
    inner = math.sqrt(2.0 / math.pi) * (input + 0.044715 * (input * input * input))
    return _make("mul", input * 0.5, _make("tanh", inner) + 1.0)


def _softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Proxy:
    if threshold != 20 or isinstance(beta, Proxy):
        raise _Refused("softplus with another threshold than 20")
    return _make("div", _make("softplus", _make("mul", input, beta)), beta)


def _clamp(input: Any, min: Any = None, max: Any = None) -> Proxy:
    if isinstance(min, Proxy) or isinstance(max, Proxy) or (min is None and max is None):
        raise _Refused("clamp with bounds that are no numbers; write torch.maximum and torch.minimum")
    lifted = input if min is None else _make("clamp_min", input, min)
    return lifted if max is None else _make("clamp_max", lifted, max)


_OPERATIONS: dict[str, Callable[..., Proxy]] = {
    **{name: _plain(name, 1) for name in ("exp", "log", "sqrt", "abs", "tanh", "sigmoid", "neg")},
    **{name: _plain(name, 2) for name in ("mul", "maximum", "minimum", *COMPARISONS)},
    "absolute": _plain("abs", 1),
    "negative": _plain("neg", 1),
    "add": _scaled("add"),
    "sub": _scaled("sub"),
    "subtract": _scaled("sub"),
    "multiply": _plain("mul", 2),
    "div": _div,
    "divide": _div,
    "true_divide": _plain("div", 2),
    "square": lambda input: _make("mul", input, input),
    "pow": _pow,
    "where": _where,
    "relu": _relu,
    "silu": _silu,
    "gelu": _gelu,
    "softplus": _softplus,
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": lambda input, min: _clamp(input, min=min),
    "clamp_max": lambda input, max: _clamp(input, max=max),
    "greater": _plain("gt", 2),
    "greater_equal": _plain("ge", 2),
    "less": _plain("lt", 2),
    "less_equal": _plain("le", 2),
    "not_equal": _plain("ne", 2),
}
