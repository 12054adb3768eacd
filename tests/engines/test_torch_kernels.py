"""torch's kernels against the naive loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import unrolled
from unrolled.cells import BUILT_IN, named_tensors
from unrolled.engines import NAIVE, TORCH, Request
from unrolled.engines.torch_kernels import kernel_of
from unrolled.unrolling import choose_engine

BOUND = {torch.float64: 1e-12, torch.float32: 1e-5}


class LearnedStart(unrolled.LSTM):
    """An LSTM whose first state is learned; its mathematics is the built-in's."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.start = torch.nn.Parameter(torch.randn(2, hidden_size))

    def initial_state(self, lanes: int) -> unrolled.LSTMState:
        h, c = (part.expand(lanes, -1) for part in self.start)
        return unrolled.LSTMState(h, c)


OURS = {name: cell for name, cell in BUILT_IN.items() if kernel_of(cell(1, 1)) is not None}
CELLS = {**OURS, "learned-start": LearnedStart}


def test_serves_four_built_ins() -> None:
    assert set(OURS) == {"rnn", "relu-rnn", "lstm", "gru"}


def results(engine: str, cell: Any, x: Tensor, state: Any, **request: Any) -> dict[str, Tensor]:
    """Every output and every gradient that a request has, under names."""
    cell.zero_grad()
    leaves = dict(cell.named_parameters())
    if x.is_floating_point():
        x = x.detach().requires_grad_()
        leaves["x"] = x
    if state is not None:
        state = unrolled.cells.map_state(lambda s: s.detach().requires_grad_(), state)
        leaves |= named_tensors(state, "first")
    y, last = unrolled.unroll(cell, x, state, engine=engine, **request)
    found = {"y": y, **named_tensors(last, "last")}
    weigh = torch.Generator().manual_seed(1)
    loss = sum(
        (part * torch.randn(part.shape, generator=weigh, dtype=part.dtype)).sum() for part in found.values()
    )
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    for name, leaf, grad in zip(leaves, leaves.values(), grads, strict=True):
        found[f"d {name}"] = torch.zeros_like(leaf) if grad is None else grad
    return found


def assert_twins(cell: Any, x: Tensor, state: Any, **request: Any) -> None:
    ours = results("torch", cell, x, state, **request)
    naive = results("naive", cell, x, state, **request)
    assert ours.keys() == naive.keys()
    for name, expected in naive.items():
        bound = BOUND[expected.dtype] * max(1.0, float(expected.detach().abs().max()))
        torch.testing.assert_close(
            ours[name], expected, rtol=0, atol=bound, msg=lambda m, n=name: f"{n}: {m}"
        )


def first_state(cell: Any, lanes: int) -> Any:
    return unrolled.cells.map_state(torch.randn_like, cell.initial_state(lanes))


@st.composite
def requests(draw: st.DrawFn) -> tuple[Any, Tensor, Any, dict[str, Any]]:
    torch.manual_seed(draw(st.integers(0, 10**6)))
    T, B, D, H = draw(st.integers(1, 9)), draw(st.sampled_from([1, 3])), 5, 7
    dtype = draw(st.sampled_from([torch.float64, torch.float32]))
    cell = CELLS[draw(st.sampled_from(sorted(CELLS)))](D, H).to(dtype)
    x = torch.randint(-1, D, (T, B)) if draw(st.booleans()) else torch.randn(T, B, D, dtype=dtype)
    state = first_state(cell, B) if draw(st.booleans()) else None
    request: dict[str, Any] = {"reverse": draw(st.booleans())}
    if draw(st.booleans()):
        steps = draw(st.lists(st.integers(0, T - 1), max_size=4))
        request["fresh"] = torch.zeros(T, B, dtype=torch.bool)
        for t in steps:
            request["fresh"][t] = torch.rand(B) < 0.6
    if draw(st.booleans()):
        request["lengths"] = draw(st.lists(st.integers(0, T), min_size=B, max_size=B))
    return cell, x, state, request


@settings(max_examples=150, deadline=None)
@given(requests())
def test_equals_naive_in_values_and_gradients(drawn: tuple[Any, Tensor, Any, dict[str, Any]]) -> None:
    cell, x, state, request = drawn
    assert choose_engine(cell, x, state, engine="torch", **request)[0].name == "torch"
    assert_twins(cell, x, state, **request)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
def test_reads_no_padding_not_even_nan(name: str, reverse: bool) -> None:
    torch.manual_seed(2)
    cell = CELLS[name](5, 7).double()
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    x[4:, 0] = float("nan")
    x[:, 2] = float("nan")
    assert_twins(cell, x, first_state(cell, 3), lengths=[4, 6, 0], reverse=reverse)
    found = results("torch", cell, x, first_state(cell, 3), lengths=[4, 6, 0], reverse=reverse)
    assert all(torch.isfinite(part).all() for part in found.values())


def test_takes_eight_cuts_and_leaves_nine_to_naive() -> None:
    cell, x = unrolled.GRU(3, 4).double(), torch.randn(12, 2, 3).double()
    fresh = torch.zeros(12, 2, dtype=torch.bool)
    fresh[0:9, 1] = True
    assert choose_engine(cell, x, fresh=fresh)[0].name == "torch"
    fresh[9, 0] = True
    engine, reasons = choose_engine(cell, x, fresh=fresh)
    assert engine.name == "naive"
    assert "9 times" in reasons["torch"]


def test_leaves_single_steps_to_naive_unless_asked_by_name() -> None:
    cell, x = unrolled.LSTM(3, 4), torch.randn(1, 2, 3)
    assert choose_engine(cell, x)[0].name == "naive"
    assert choose_engine(cell, x, engine="torch")[0].name == "torch"


class Doubled(unrolled.RNN):
    @staticmethod
    def next_state(h: Tensor, state: Tensor) -> Tensor:
        return 2 * torch.tanh(h)


def test_leaves_a_subclass_with_its_own_mathematics_to_naive() -> None:
    engine, reasons = choose_engine(Doubled(3, 4).double(), torch.randn(5, 2, 3).double())
    assert engine.name == "naive"
    assert reasons["torch"] == "torch has no kernel for Doubled"


def test_serves_a_subclass_that_learns_its_first_state() -> None:
    cell, x = LearnedStart(3, 4).double(), torch.randn(5, 2, 3).double()
    assert choose_engine(cell, x)[0].name == "torch"


def test_leaves_half_precision_and_autocast_to_naive() -> None:
    x = torch.randn(5, 2, 3)
    assert choose_engine(unrolled.GRU(3, 4).bfloat16(), x.bfloat16())[0].name == "naive"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert choose_engine(unrolled.GRU(3, 4), x)[0].name == "naive"


@pytest.mark.parametrize("name", OURS)
def test_is_step_by_step_and_in_windows_what_it_is_whole(name: str) -> None:
    torch.manual_seed(3)
    cell, x = OURS[name](5, 7), torch.randn(29, 3, 5)
    whole, last = unrolled.unroll(cell, x, engine="torch")
    for window in (1, 7):
        state, ys = None, []
        for start in range(0, 29, window):
            y, state = unrolled.unroll(cell, x[start : start + window], state, engine="torch")
            ys.append(y)
        torch.testing.assert_close(torch.cat(ys), whole, rtol=0, atol=1e-5)
        torch.testing.assert_close(state, last, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [unrolled.LSTM, unrolled.GRU, unrolled.RNN])
def test_a_stretch_in_bfloat16_takes_and_gives_float32(kind: Any) -> None:
    torch.manual_seed(1)
    cell, x = kind(5, 16), torch.randn(6, 3, 5)
    request = Request(cell, x, cell.initial_state(3), bf16=True)
    assert "no products of bfloat16" in str(TORCH.why_not(request))  # on a CPU
    y, state = TORCH.run(request)
    wanted, last = NAIVE.run(request)
    assert all(part.dtype == torch.float32 for part in (y, *named_tensors(state).values()))
    assert (y - wanted).norm() < 2e-2 * wanted.norm()
    for ours, theirs in zip(named_tensors(state).values(), named_tensors(last).values(), strict=True):
        assert (ours - theirs).norm() < 2e-2 * theirs.norm()
    y.sum().backward()
    assert cell.bias.grad is not None and cell.bias.grad.dtype == torch.float32
