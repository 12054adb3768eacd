"""Gated cells: products by the toolkit, mathematics by the author, mistakes found early."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, sigmoid, tanh
from torch.autograd.gradcheck import GradcheckError

import unrolled
from unrolled.cells import BUILT_IN
from unrolled.errors import CellError


class Memory(NamedTuple):
    h: Tensor
    c: Tensor


class Peephole(unrolled.GatedCell):
    gates = ("i", "f", "g", "o")
    vectors = ("p_i", "p_f", "p_o")
    State = Memory

    @staticmethod
    def next_state(i, f, g, o, p_i, p_f, p_o, state):  # type: ignore[no-untyped-def]
        c = sigmoid(f + p_f * state.c) * state.c + sigmoid(i + p_i * state.c) * tanh(g)
        return Memory(sigmoid(o + p_o * c) * tanh(c), c)


class Resetting(unrolled.GatedCell):
    """A split gate between two others, with gates of several letters."""

    gates = ("reset", "new", "keep")
    split = ("new",)

    @staticmethod
    def next_state(reset, new_x, new_h, keep, state):  # type: ignore[no-untyped-def]
        return sigmoid(keep) * state + tanh(new_x + sigmoid(reset) * new_h)


class TwoSplit(unrolled.GatedCell):
    gates = ("a", "b")
    split = ("b", "a")

    @staticmethod
    def next_state(a_x, a_h, b_x, b_h, state):  # type: ignore[no-untyped-def]
        return tanh(a_x * a_h + b_x - b_h) + 0.5 * state


CELLS: dict[str, Any] = {**BUILT_IN, "peephole": Peephole, "resetting": Resetting, "two-split": TwoSplit}


def with_gates(**attributes: Any) -> type[unrolled.GatedCell]:
    return type("Mine", (unrolled.GatedCell,), attributes)


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        (unrolled.RNN, {"x_to_h": [5, 7], "h_to_h": [7, 7], "bias_h": [7]}),
        (unrolled.LSTM, {"x_to_ifgo": [5, 28], "h_to_ifgo": [7, 28], "bias_ifgo": [28]}),
        (unrolled.GRU, {"x_to_rzn": [5, 21], "h_to_rzn": [7, 21], "bias_rzn": [21], "h_bias_n": [7]}),
        (
            Resetting,
            {
                "x_to_reset_new_keep": [5, 21],
                "h_to_reset_new_keep": [7, 21],
                "bias_reset_new_keep": [21],
                "h_bias_new": [7],
            },
        ),
        (TwoSplit, {"x_to_ab": [5, 14], "h_to_ab": [7, 14], "bias_ab": [14], "h_bias_ab": [14]}),
    ],
)
def test_weights_are_named_by_what_they_do(cell: Any, names: dict[str, list[int]]) -> None:
    made = cell(input_size=5, hidden_size=7)
    assert {name: list(p.shape) for name, p in made.named_parameters()} == names
    assert made.x_to_gates is made.get_parameter(next(iter(names)))


def test_vectors_are_parameters_under_their_own_names() -> None:
    cell = Peephole(5, 7)
    assert [list(v.shape) for v in cell.vector_parameters] == [[7]] * 3
    assert cell.vector_parameters[1] is cell.p_f


def test_weights_start_within_one_over_the_root_of_h() -> None:
    for parameter in unrolled.GRU(40, 25).parameters():
        assert parameter.abs().max() <= 0.2
        assert parameter.abs().max() > 0.15


def test_a_step_is_its_preactivations_and_its_next_state() -> None:
    torch.manual_seed(1)
    cell, x = Resetting(5, 7), torch.randn(3, 5)
    h = torch.randn(3, 7)
    reset, new_x, new_h, keep = cell.preactivations(x, h)
    assert cell.slices() == ("reset", "new_x", "new_h", "keep")
    W, U, b = cell.x_to_gates, cell.h_to_gates, cell.bias
    torch.testing.assert_close(reset, (x @ W + h @ U + b)[:, :7])
    torch.testing.assert_close(new_x, (x @ W + b)[:, 7:14])
    torch.testing.assert_close(new_h, (h @ U)[:, 7:14] + cell.h_bias)
    torch.testing.assert_close(keep, (x @ W + h @ U + b)[:, 14:])
    y, state = cell.step(x, h)
    assert torch.equal(state, Resetting.next_state(reset, new_x, new_h, keep, h))
    assert y is state


def test_weights_may_be_put_in_from_outside() -> None:
    cell, x, h = unrolled.GRU(3, 4), torch.randn(2, 3), torch.randn(2, 4)
    tensors = {name: 2 * p.detach() for name, p in cell.named_parameters()}

    class Outside(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell

        def forward(self) -> Tensor:
            return self.cell.step(x, h)[0]

    y = torch.func.functional_call(Outside(), {f"cell.{name}": t for name, t in tensors.items()}, ())
    cell.load_state_dict(tensors)
    assert torch.equal(y, cell.step(x, h)[0])


def test_two_split_gates_keep_their_biases_apart() -> None:
    cell, x, h = TwoSplit(3, 4), torch.randn(2, 3), torch.randn(2, 4)
    _, a_h, _, b_h = cell.preactivations(x, h)
    product = h @ cell.h_to_gates
    torch.testing.assert_close(a_h, product[:, :4] + cell.h_bias_ab[:4])
    torch.testing.assert_close(b_h, product[:, 4:] + cell.h_bias_ab[4:])


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_an_id_is_a_one_hot_row_in_values_and_gradients(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    cell = CELLS[name](5, 7).double()
    ids = torch.randint(0, 5, (6, 3)).to(dtype)
    rows = torch.nn.functional.one_hot(ids.long(), 5).double()
    grads = []
    for x in (ids, rows):
        y, _ = unrolled.unroll(cell, x, engine="naive")
        grads.append((y, *torch.autograd.grad(y.square().sum(), list(cell.parameters()))))
    for from_ids, from_rows in zip(*grads, strict=True):
        torch.testing.assert_close(from_ids, from_rows, rtol=0, atol=1e-12)


@pytest.mark.parametrize("engine", ["naive", "torch"])
def test_no_id_is_a_row_of_zeros(engine: str) -> None:
    torch.manual_seed(3)
    cell = unrolled.GRU(5, 7).double()
    ids = torch.tensor([[4, -1, 2], [-1, -1, 0]])
    rows = torch.zeros(2, 3, 5, dtype=torch.float64)
    rows[0, 0, 4] = rows[0, 2, 2] = rows[1, 2, 0] = 1
    found = []
    for x in (ids, rows):
        y, _ = unrolled.unroll(cell, x, engine=engine)
        found.append((y, torch.autograd.grad(y.square().sum(), cell.x_to_gates)[0]))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)
    assert not found[0][1][3].any()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("B", [1, 3])
@pytest.mark.parametrize("T", [1, 2, 7])
def test_gradients_are_slopes(name: str, T: int, B: int, fresh: bool) -> None:
    torch.manual_seed(4)
    cell = CELLS[name](2, 3).double()
    x = torch.randn(T, B, 2, dtype=torch.float64, requires_grad=True)
    state = unrolled.cells.map_state(lambda s: torch.randn_like(s).requires_grad_(), cell.initial_state(B))
    parts = list(unrolled.cells.named_tensors(state).values())
    marks = (torch.rand(T, B) < 0.4) if fresh else None

    def run(*_: Tensor) -> tuple[Tensor, ...]:
        y, last = unrolled.unroll(cell, x, state, fresh=marks, engine="naive")
        return y, *unrolled.cells.named_tensors(last).values()

    assert torch.autograd.gradcheck(run, [x, *parts, *cell.parameters()])


class WrongTanh(torch.autograd.Function):
    """A tanh whose backward forgets the square."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        h = torch.tanh(a)
        ctx.save_for_backward(h)
        return h

    @staticmethod
    def backward(ctx: Any, d_h: Tensor) -> Tensor:  # type: ignore[override]
        (h,) = ctx.saved_tensors
        return d_h * (1 - h)


class Broken(unrolled.GatedCell):
    gates = ("h",)

    @staticmethod
    def next_state(h, state):  # type: ignore[no-untyped-def]
        return WrongTanh.apply(h)


def test_gradcheck_catches_a_wrong_backward() -> None:
    torch.manual_seed(5)
    cell = Broken(2, 3).double()
    x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        torch.autograd.gradcheck(lambda x: unrolled.unroll(cell, x, engine="naive")[0], [x])


def good(a: Tensor, b: Tensor, state: Tensor) -> Tensor:
    return a + b + state


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({}, "Mine names no gates; write gates ="),
        ({"gates": "ifgo"}, "Mine.gates must be a tuple of names"),
        ({"gates": ("i", "2f")}, "Mine.gates must be a tuple of names"),
        ({"gates": ("a", "a")}, "Mine.gates names 'a' twice"),
        (
            {"gates": ("a", "b"), "split": ("n",)},
            "Mine.split names 'n', which is no gate; its gates are a, b",
        ),
        ({"gates": ("a", "b"), "split": ("a", "a")}, "Mine.split names 'a' twice"),
        ({"gates": ("a", "b"), "vectors": ("a",)}, "would get 'a' twice"),
        ({"gates": ("a", "state")}, "would get 'state' twice"),
        ({"gates": ("a", "a_x"), "split": ("a",)}, "would get 'a_x' twice"),
        ({"gates": ("a", "b"), "vectors": ("bias",)}, "'bias' is already an attribute"),
        ({"gates": ("a", "b")}, r"no next_state; write @staticmethod def next_state\(a, b, state\)"),
        ({"gates": ("a", "b"), "next_state": good}, "must be a static method"),
        (
            {"gates": ("b", "a"), "next_state": staticmethod(good)},
            r"must have @staticmethod def next_state\(b, a, state\), came next_state\(a, b, state\)",
        ),
        (
            {"gates": ("a", "b"), "split": ("b",), "vectors": ("p",), "next_state": staticmethod(good)},
            r"next_state\(a, b_x, b_h, p, state\), came next_state\(a, b, state\)",
        ),
    ],
)
def test_a_mistake_in_the_class_gets_one_line(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(CellError, match=message):
        with_gates(**attributes)(5, 7)


def test_next_state_that_returns_another_state_gets_one_line() -> None:
    cell = with_gates(gates=("a", "b"), State=Memory, next_state=staticmethod(lambda a, b, state: a))
    with pytest.raises(CellError, match=r"Mine.step must return a state like the one it got, Memory\("):
        unrolled.unroll(cell(5, 7), torch.randn(2, 3, 5))
