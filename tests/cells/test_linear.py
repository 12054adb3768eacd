"""Linear cells: coefficients by the author, the recurrence by the toolkit; minGRU and minLSTM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import unrolled
from unrolled.cells import LINEAR
from unrolled.errors import CellError
from unrolled.net import Chain, Net, chain
from unrolled.net.init import initialise

linear = pytest.mark.parametrize("name", LINEAR)
engines = pytest.mark.parametrize("engine", ["naive", "scan"])


class Decay(unrolled.LinearCell):
    """What is kept is learned, one number a unit."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.x_to_h = torch.nn.Linear(input_size, hidden_size)
        self.decay = torch.nn.Parameter(torch.randn(hidden_size))

    def coefficients(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(self.decay), torch.tanh(self.x_to_h(x))


def cell_with(result: Callable[..., Any]) -> unrolled.LinearCell:
    class Odd(unrolled.LinearCell):
        def coefficients(self, x: Tensor) -> Any:
            return result(x)

    return Odd(5, 4)


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def affine(layer: torch.nn.Linear, x: Tensor) -> np.ndarray:
    out: np.ndarray = x.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    return out


@engines
def test_min_gru_is_the_equation_of_the_paper_with_z_for_what_is_kept(engine: str) -> None:
    torch.manual_seed(0)
    cell, x = unrolled.MinGRU(5, 4).double(), 3 * torch.randn(7, 3, 5, dtype=torch.float64)
    first = torch.randn(3, 4, dtype=torch.float64)
    y, last = unrolled.unroll(cell, x, first, engine=engine)
    z, candidate, h = 1 - logistic(affine(cell.x_to_z, x)), affine(cell.x_to_n, x), first.numpy()
    for t in range(7):
        h = (1 - z[t]) * h + z[t] * candidate[t]
        np.testing.assert_allclose(y[t].detach().numpy(), h, rtol=0, atol=1e-12)
    np.testing.assert_allclose(last.detach().numpy(), h, rtol=0, atol=1e-12)


@engines
def test_min_lstm_is_the_equation_of_the_paper(engine: str) -> None:
    torch.manual_seed(1)
    cell, x = unrolled.MinLSTM(5, 4).double(), 3 * torch.randn(7, 3, 5, dtype=torch.float64)
    first = torch.randn(3, 4, dtype=torch.float64)
    y, _ = unrolled.unroll(cell, x, first, engine=engine)
    i, f = logistic(affine(cell.x_to_i, x)), logistic(affine(cell.x_to_f, x))
    candidate, h = affine(cell.x_to_g, x), first.numpy()
    for t in range(7):
        h = f[t] / (f[t] + i[t]) * h + i[t] / (f[t] + i[t]) * candidate[t]
        np.testing.assert_allclose(y[t].detach().numpy(), h, rtol=0, atol=1e-12)


def test_min_lstms_gates_sum_to_one_where_both_have_vanished() -> None:
    cell, x = unrolled.MinLSTM(5, 4), torch.zeros(1, 5)
    with torch.no_grad():
        cell.x_to_i.bias.copy_(torch.tensor([-300.0, -301.0, -1000.0, 2000.0]))
        cell.x_to_f.bias.copy_(torch.tensor([-300.0, -300.0, 1000.0, -2000.0]))
        cell.x_to_g.bias.fill_(1.0)
    a, b = cell.coefficients(x)
    torch.testing.assert_close(a[0], torch.tensor([0.5, torch.e / (1 + torch.e), 1.0, 0.0]))
    torch.testing.assert_close(b, 1 - a)


@linear
def test_a_step_is_a_h_plus_b(name: str) -> None:
    torch.manual_seed(2)
    cell, x, h = LINEAR[name](5, 4), torch.randn(3, 5), torch.randn(3, 4)
    a, b = cell.coefficients(x)
    y, after = cell.step(x, h)
    assert y is after and torch.equal(y, a * h + b)
    assert (a > 0).all() and (a < 1).all()


@linear
@engines
@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("T", [1, 2, 9])
def test_gradients_are_slopes(name: str, engine: str, fresh: bool, T: int) -> None:
    torch.manual_seed(3)
    cell = LINEAR[name](2, 3).double()
    x = torch.randn(T, 3, 2, dtype=torch.float64, requires_grad=True)
    h = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    marks = (torch.rand(T, 3) < 0.4) if fresh else None

    def run(*_: Tensor) -> tuple[Tensor, Tensor]:
        return unrolled.unroll(cell, x, h, fresh=marks, engine=engine)

    assert torch.autograd.gradcheck(run, [x, h, *cell.parameters()])


@pytest.mark.parametrize("kind", [*LINEAR.values(), Decay])
@engines
@pytest.mark.parametrize("B", [3, 8])
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
def test_an_id_is_a_one_hot_row_and_none_a_row_of_zeros(
    kind: Any, engine: str, B: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(4)
    cell = kind(5, 7).double()
    ids = torch.randint(0 if dtype == torch.uint8 else -1, 5, (6, B)).to(dtype)
    rows = functional.one_hot(ids.long() + 1, 6)[..., 1:].double()
    found = []
    for x in (ids, rows):
        y, _ = unrolled.unroll(cell, x, engine=engine)
        found.append((y, *torch.autograd.grad(y.square().sum(), list(cell.parameters()))))
    for from_ids, from_rows in zip(*found, strict=True):
        torch.testing.assert_close(from_ids, from_rows, rtol=0, atol=1e-12)


def test_what_is_kept_may_be_one_number_a_unit() -> None:
    torch.manual_seed(5)
    cell, x = Decay(5, 4).double(), torch.randn(9, 3, 5, dtype=torch.float64)
    found = []
    for engine in ("naive", "scan"):
        y, _ = unrolled.unroll(cell, x, engine=engine)
        found.append((y, *torch.autograd.grad(y.square().sum(), list(cell.parameters()))))
    for naive, fast in zip(*found, strict=True):
        torch.testing.assert_close(fast, naive, rtol=0, atol=1e-12)


def test_a_net_hands_ids_to_a_linear_cell_as_ids() -> None:
    net = Net(chain(Chain(9, cell="min-gru", layers=2, hidden=4)))
    assert net.wiring.gathered and set(net.engines().values()) == {"scan"}


def test_a_forget_bias_is_min_lstms_too_and_touches_nothing_else() -> None:
    net = Net(chain(Chain(9, cell="min-lstm", layers=1, hidden=4)))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    initialise(net, forget_bias=1.5)
    after = net.state_dict()
    changed = [name for name in after if not torch.equal(after[name], before[name])]
    assert [name.partition(".")[2].partition(".")[2] for name in changed] == ["x_to_f.bias"]
    assert torch.equal(after[changed[0]], torch.full((4,), 1.5))


@engines
@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            lambda x: x @ x.new_zeros(3, 4),
            r"Odd.(step|coefficients) failed at .*py, line \d+, with x",
        ),
        (lambda x: x[..., :3], r"Odd.(step failed|coefficients must return a pair \(a, b\))"),
        (lambda x: (x[..., :4], x[..., :3]), r"Odd.(step failed|coefficients must return b \[2, 3, 4\])"),
        (lambda x: (x[..., :4].double(), x[..., :4]), r"Odd.*(returned torch|must return a .*) ?.float64"),
    ],
)
def test_coefficients_that_do_not_fit_get_one_line(
    engine: str, result: Callable[..., Any], message: str
) -> None:
    with pytest.raises(CellError, match=message) as caught:
        unrolled.unroll(cell_with(result), torch.randn(2, 3, 5), engine=engine)
    assert "\n" not in str(caught.value)


@engines
def test_a_linear_cell_without_coefficients_is_told_to_write_them(engine: str) -> None:
    with pytest.raises(CellError, match=r"LinearCell has no coefficients; write def coefficients\(self, x\)"):
        unrolled.unroll(unrolled.LinearCell(5, 4), torch.randn(2, 3, 5), engine=engine)
