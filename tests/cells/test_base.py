"""Any step is a cell, and a step that breaks the contract is told so in one line."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import unrolled
from unrolled.errors import CellError


class Leaky(unrolled.Cell):
    """The five lines of the design."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = 0.9 * h + 0.1 * torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
        return h, h


class Pair(NamedTuple):
    h: Tensor
    m: Tensor


def cell_that_returns(result: Any, state: Any = None) -> unrolled.Cell:
    """A cell whose step computes ``result(x, state)``, whatever that is."""

    class Odd(unrolled.Cell):
        State = state

        def step(self, x: Tensor, state: Any) -> Any:
            return result(x, state)

    return Odd(5, 4)


def test_a_five_line_cell_is_its_loop() -> None:
    torch.manual_seed(0)
    cell, x = Leaky(5, 7), torch.randn(6, 3, 5)
    state, ys = cell.initial_state(3), []
    for t in range(6):
        y, state = cell.step(x[t], state)
        ys.append(y)
    y, last = unrolled.unroll(cell, x)
    assert torch.equal(y, torch.stack(ys))
    assert torch.equal(last, state)


def test_the_first_state_is_zeros_of_the_cells_own_dtype() -> None:
    state = unrolled.LSTM(5, 7).double().initial_state(3)
    assert isinstance(state, unrolled.LSTMState)
    for part in state:
        assert torch.equal(part, torch.zeros(3, 7, dtype=torch.float64))
    assert torch.equal(cell_that_returns(None).initial_state(2), torch.zeros(2, 4))


def test_output_size_may_differ_from_hidden_size() -> None:
    class Wide(Leaky):
        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__(input_size, hidden_size)
            self.output_size = 2 * hidden_size

        def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            y, h = super().step(x, h)
            return torch.cat([y, h], dim=-1), h

    y, last = unrolled.unroll(Wide(5, 4), torch.randn(6, 3, 5))
    assert (y.shape, last.shape) == ((6, 3, 8), (3, 4))
    y, _ = unrolled.unroll(Wide(5, 4), torch.randn(0, 3, 5))
    assert y.shape == (0, 3, 8)


@pytest.mark.parametrize(
    ("result", "state", "message"),
    [
        (lambda x, h: h, None, r"must return a pair \(y, state\), came \[3, 4\]"),
        (lambda x, h: (h, h, h), None, r"pair \(y, state\), came a tuple of 3"),
        (lambda x, h: (None, h), None, r"pair \(y, state\)"),
        (lambda x, h: (h, None), None, r"a state like the one it got, \[3, 4\]; came None"),
        (lambda x, h: (h, Pair(h, h)), None, r"came Pair\(h \[3, 4\], m \[3, 4\]\)"),
        (lambda x, s: (s.h, tuple(s)), Pair, r"Pair\(h \[3, 4\], m \[3, 4\]\); came a tuple of 2"),
        (lambda x, h: (h, h[:, :2]), None, r"shapes it got, \[3, 4\]; came \[3, 2\]"),
        (lambda x, s: (s.h, s._replace(m=s.m[:1])), Pair, r"came Pair\(h \[3, 4\], m \[1, 4\]\)"),
        (lambda x, h: (h, h.double()), None, r"torch.float32 and returned torch.float64"),
        (
            lambda x, h: (h[:, :2], h),
            None,
            r"y of shape \[3, 4\] for 3 lanes, came \[3, 2\]; set self.output_size",
        ),
        (lambda x, h: (h.sum(), h), None, r"y of shape \[3, 4\]"),
        (
            lambda x, h: (h, x @ h),
            None,
            r"Odd.step failed at .*test_base.py, line \d+, with x \[3, 5\] and state",
        ),
        (lambda x, h: (h, h.m), None, r"AttributeError: 'Tensor' object has no attribute 'm'"),
    ],
)
def test_a_broken_step_gets_one_line(result: Any, state: Any, message: str) -> None:
    with pytest.raises(CellError, match=message) as caught:
        unrolled.unroll(cell_that_returns(result, state), torch.randn(2, 3, 5))
    assert "\n" not in str(caught.value)


def test_a_cell_without_a_step_is_told_to_write_one() -> None:
    with pytest.raises(CellError, match=r"Cell has no step; write def step\(self, x, state\)"):
        unrolled.unroll(unrolled.Cell(5, 4), torch.randn(2, 3, 5))


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "3", float("nan")])
def test_sizes_are_whole_numbers(size: Any) -> None:
    with pytest.raises(CellError, match="LSTM: hidden_size must be a whole number of at least 1"):
        unrolled.LSTM(5, size)
    with pytest.raises(CellError, match="LSTM: input_size"):
        unrolled.LSTM(size, 5)


def test_state_must_be_a_named_tuple_class() -> None:
    with pytest.raises(CellError, match=r"Odd.State must be a typing.NamedTuple class"):
        cell_that_returns(None, state=dict)


def test_a_cell_that_forgot_super_init_is_told_so() -> None:
    class Forgetful(unrolled.Cell):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)

    with pytest.raises(CellError, match=r"Forgetful.__init__ must begin with super\(\).__init__"):
        unrolled.unroll(Forgetful(), torch.randn(2, 3, 5))
