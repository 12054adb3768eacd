"""The parallel scan against the naive loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import unrolled
from unrolled.cells import LINEAR
from unrolled.engines import parallel_scan
from unrolled.errors import UsageError
from unrolled.unrolling import choose_engine

BOUND = {torch.float64: 1e-12, torch.float32: 1e-5}


class Signed(unrolled.LinearCell):
    """Keeps by a number of either sign, and learns where it starts."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.x_to_a = torch.nn.Linear(input_size, hidden_size)
        self.x_to_b = torch.nn.Linear(input_size, hidden_size)
        self.start = torch.nn.Parameter(torch.randn(hidden_size))

    def initial_state(self, lanes: int) -> Tensor:
        return self.start.expand(lanes, -1)

    def coefficients(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tanh(2 * self.x_to_a(x)), self.x_to_b(x)


CELLS: dict[str, Any] = {**LINEAR, "signed": Signed}


def results(engine: str, cell: Any, x: Tensor, state: Tensor | None, **request: Any) -> dict[str, Tensor]:
    """Every output and every gradient that a request has, under names."""
    leaves = dict(cell.named_parameters())
    if x.is_floating_point():
        x = leaves["x"] = x.detach().requires_grad_()
    if state is not None:
        state = leaves["first"] = state.detach().requires_grad_()
    y, last = unrolled.unroll(cell, x, state, engine=engine, **request)
    weigh = torch.Generator().manual_seed(1)
    found, loss = {"y": y, "last": last}, torch.zeros(())
    for part in found.values():
        loss = loss + (part * torch.randn(part.shape, generator=weigh, dtype=part.dtype)).sum()
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return {**found, **{f"d {name}": grad for name, grad in zip(leaves, grads, strict=True)}}


def assert_twins(cell: Any, x: Tensor, state: Tensor | None, **request: Any) -> None:
    ours, naive = (results(name, cell, x, state, **request) for name in ("scan", "naive"))
    assert ours.keys() == naive.keys()
    for name, wanted in naive.items():
        bound = BOUND[wanted.dtype] * max(1.0, float(wanted.detach().abs().max()))
        torch.testing.assert_close(
            ours[name], wanted, rtol=0, atol=bound, msg=lambda m, name=name: f"{name}: {m}"
        )


@st.composite
def requests(draw: st.DrawFn) -> tuple[Any, Tensor, Tensor | None, dict[str, Any], int]:
    torch.manual_seed(draw(st.integers(0, 10**6)))
    T, B, D = draw(st.integers(1, 40)), draw(st.sampled_from([1, 2, 7])), 5
    dtype = draw(st.sampled_from([torch.float64, torch.float32]))
    cell = CELLS[draw(st.sampled_from(sorted(CELLS)))](D, 3).to(dtype)
    x = torch.randint(-1, D, (T, B)) if draw(st.booleans()) else torch.randn(T, B, D, dtype=dtype)
    state = torch.randn(B, 3, dtype=dtype) if draw(st.booleans()) else None
    request: dict[str, Any] = {"reverse": draw(st.booleans())}
    if draw(st.booleans()):
        request["fresh"] = torch.rand(T, B) < draw(st.sampled_from([0.05, 0.5]))
    if draw(st.booleans()):
        request["lengths"] = draw(st.lists(st.integers(0, T), min_size=B, max_size=B))
    return cell, x, state, request, draw(st.integers(1, 400))


@settings(max_examples=200, deadline=None)
@given(requests())
def test_equals_naive_in_values_and_gradients(
    drawn: tuple[Any, Tensor, Tensor | None, dict[str, Any], int],
) -> None:
    cell, x, state, request, size = drawn
    with pytest.MonkeyPatch.context() as patch:  # blocks and pieces of all lengths, down to one step
        patch.setattr(parallel_scan, "_IN_CACHE", size)
        patch.setattr(parallel_scan, "_ENOUGH", max(1, size // 3))
        assert_twins(cell, x, state, **request)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("T", [1, 2, 7, 9, 100, 1000])
@pytest.mark.parametrize("name", CELLS)
def test_equals_naive_over_few_steps_and_many(name: str, T: int, reverse: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(T)
    cell = CELLS[name](5, 7).to(dtype)
    x, state = torch.randn(T, 3, 5, dtype=dtype), torch.randn(3, 7, dtype=dtype)
    fresh, lengths = torch.rand(T, 3) < 3 / T, [T, T // 2, T - 1]
    assert_twins(cell, x, state, reverse=reverse)
    assert_twins(cell, x, state, reverse=reverse, fresh=fresh, lengths=lengths)


@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_kept_may_be_nothing_everything_or_too_small_to_multiply_up(reverse: bool) -> None:
    for a in (0.0, 1.0, 1e-30):
        whole = torch.full((300, 2, 3), a, dtype=torch.float64, requires_grad=True)
        b = torch.randn(300, 2, 3, dtype=torch.float64, requires_grad=True)
        h = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
        y, last = parallel_scan.scan(whole, b, h, reverse=reverse)
        state, ys = h, []
        for t in reversed(range(300)) if reverse else range(300):
            state = whole[t] * state + b[t]
            ys.append(state)
        naive = torch.stack(ys[::-1] if reverse else ys)
        torch.testing.assert_close((y, last), (naive, state), rtol=1e-12, atol=1e-11)
        found, wanted = (torch.autograd.grad(out.sum(), [whole, b, h]) for out in (y, naive))
        # Where all is kept, gradients are sums of 300 terms of up to some thousands.
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("reverse", [False, True])
def test_second_derivatives_are_slopes_too(reverse: bool) -> None:
    torch.manual_seed(0)
    a, b = (torch.rand(6, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    h = torch.randn(2, dtype=torch.float64, requires_grad=True)

    def run(*parts: Tensor) -> tuple[Tensor, Tensor]:
        return parallel_scan.scan(*parts, reverse=reverse)

    assert torch.autograd.gradcheck(run, [a, b, h])
    assert torch.autograd.gradgradcheck(run, [a, b, h])


@pytest.mark.parametrize("reverse", [False, True])
def test_reads_no_padding_not_even_nan(reverse: bool) -> None:
    cell, x = unrolled.MinLSTM(5, 7).double(), torch.randn(6, 3, 5, dtype=torch.float64)
    x[4:, 0] = x[:, 2] = torch.nan
    state = torch.randn(3, 7, dtype=torch.float64)
    assert_twins(cell, x, state, lengths=[4, 6, 0], reverse=reverse)
    found = results("scan", cell, x, state, lengths=[4, 6, 0], reverse=reverse)
    assert all(torch.isfinite(part).all() for part in found.values())


@pytest.mark.parametrize("name", CELLS)
def test_is_step_by_step_and_in_windows_what_it_is_whole(name: str) -> None:
    torch.manual_seed(3)
    cell, x = CELLS[name](5, 7), torch.randn(290, 3, 5)
    whole, last = unrolled.unroll(cell, x, engine="scan")
    for window in (1, 70):
        state, ys = None, []
        for start in range(0, 290, window):
            y, state = unrolled.unroll(cell, x[start : start + window], state, engine="scan")
            ys.append(y)
        torch.testing.assert_close(torch.cat(ys), whole, rtol=0, atol=1e-5)
        torch.testing.assert_close(state, last, rtol=0, atol=1e-5)


def test_a_carried_state_does_not_hold_the_window_it_came_from() -> None:
    _, last = unrolled.unroll(unrolled.MinGRU(5, 7), torch.randn(100, 3, 5), engine="scan")
    assert last.untyped_storage().nbytes() == 3 * 7 * 4


def test_auto_takes_it_but_for_single_steps() -> None:
    cell = unrolled.MinGRU(3, 4)
    assert choose_engine(cell, torch.randn(2, 2, 3))[0].name == "scan"
    assert choose_engine(cell, torch.zeros(5, 2, dtype=torch.long))[0].name == "scan"
    engine, reasons = choose_engine(cell, torch.randn(1, 2, 3))
    assert (engine.name, reasons["scan"]) == ("naive", "there is one step only")


class Stepper(unrolled.MinGRU):
    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        y, state = super().step(x, state)
        return 2 * y, state


class TwoParts(unrolled.MinGRU):
    State = unrolled.LSTMState


def test_says_why_it_cannot_run_what_it_cannot_run() -> None:
    x = torch.randn(4, 2, 3)
    cells = {
        "it runs linear cells, GRU is none": unrolled.GRU(3, 5),
        "Stepper has a step of its own": Stepper(3, 5),
        "it wants one tensor as state, came LSTMState": TwoParts(3, 5),
    }
    for words, cell in cells.items():
        with pytest.raises(UsageError, match=words):
            unrolled.unroll(cell, x, engine="scan")
    with pytest.raises(UsageError, match=r"float32 and float64, MinGRU is torch.bfloat16"):
        unrolled.unroll(unrolled.MinGRU(3, 5).bfloat16(), x.bfloat16(), engine="scan")
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(UsageError, match="autocast is on"):
        unrolled.unroll(unrolled.MinGRU(3, 5), x, engine="scan")
    with pytest.raises(UsageError, match="a transform of torch"):
        torch.func.grad(lambda x: unrolled.unroll(unrolled.MinGRU(3, 5), x, engine="scan")[0].sum())(x)


def test_transforms_and_autocast_go_to_naive_by_themselves() -> None:
    cell, x = unrolled.MinGRU(3, 5), torch.randn(4, 2, 3, requires_grad=True)
    wanted = torch.autograd.grad(unrolled.unroll(cell, x)[0].sum(), x)[0]
    found = torch.func.grad(lambda x: unrolled.unroll(cell, x)[0].sum())(x.detach())
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert choose_engine(cell, x)[0].name == "naive"


def test_no_lanes_give_no_outputs() -> None:
    y, last = unrolled.unroll(unrolled.MinGRU(5, 4), torch.zeros(7, 0, 5), engine="scan")
    assert (y.shape, last.shape) == ((7, 0, 4), (0, 4))
