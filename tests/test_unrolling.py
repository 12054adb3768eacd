"""What unroll promises, whatever the engine."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import unrolled
from unrolled.cells import BUILT_IN, LINEAR, map_state, named_tensors
from unrolled.engines.torch_kernels import kernel_of
from unrolled.errors import UsageError
from unrolled.unrolling import choose_engine

engines = pytest.mark.parametrize("engine", ["naive", "torch"])
CELLS: dict[str, Any] = {**BUILT_IN, **LINEAR}
cells = pytest.mark.parametrize("name", CELLS)
cells_and_engines = pytest.mark.parametrize(
    ("name", "engine"),
    [
        *((name, "naive") for name in CELLS),
        *((name, "torch") for name, cell in BUILT_IN.items() if kernel_of(cell(1, 1)) is not None),
        *((name, "scan") for name in LINEAR),
    ],
)
BOUND = {"rtol": 0, "atol": 1e-12}


class LearnedStart(unrolled.GRU):
    """A GRU that learns where to start."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.start = torch.nn.Parameter(torch.randn(hidden_size))

    def initial_state(self, lanes: int) -> Tensor:
        return self.start.expand(lanes, -1)


class Images(unrolled.Cell):
    """A cell whose items are images [C, 4, 4]."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Conv2d(input_size + hidden_size, hidden_size, 3, padding=1)

    def initial_state(self, lanes: int) -> Tensor:
        return torch.zeros(lanes, self.hidden_size, 4, 4)

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.xh_to_h(torch.cat([x, h], dim=1)))
        return h, h


def made(name: str = "lstm", T: int = 7, B: int = 3) -> tuple[Any, Tensor, Any]:
    """A cell of float64 with 5 inputs and 4 units, items, and a random first state."""
    torch.manual_seed(0)
    cell = CELLS[name](5, 4).double()
    x = torch.randn(T, B, 5, dtype=torch.float64)
    return cell, x, map_state(torch.randn_like, cell.initial_state(B))


def lane(state: Any, b: int) -> Any:
    return map_state(lambda part: part[b : b + 1], state)


@cells
@pytest.mark.parametrize("B", [1, 3])
@pytest.mark.parametrize("as_ids", [False, True])
def test_naive_gives_the_same_bits_by_steps_by_windows_and_whole(name: str, B: int, as_ids: bool) -> None:
    torch.manual_seed(1)
    cell = CELLS[name](65, 33)
    x = torch.randint(0, 65, (50, B)) if as_ids else torch.randn(50, B, 65)
    whole, last = unrolled.unroll(cell, x, engine="naive")
    for window in (1, 7):
        state, ys = None, []
        for start in range(0, 50, window):
            y, state = unrolled.unroll(cell, x[start : start + window], state, engine="naive")
            ys.append(y)
        assert torch.equal(torch.cat(ys), whole)
        assert all(map(torch.equal, named_tensors(state).values(), named_tensors(last).values()))


@cells_and_engines
def test_fresh_starts_a_lane_anew_and_no_other(name: str, engine: str) -> None:
    cell, x, first = made(name)
    fresh = torch.zeros(7, 3, dtype=torch.bool)
    fresh[0, 0] = fresh[3, 1] = True
    y, last = unrolled.unroll(cell, x, first, fresh=fresh, engine=engine)
    for b, cut in enumerate((0, 3, 7)):
        before, _ = unrolled.unroll(cell, x[:cut, b : b + 1], lane(first, b), engine=engine)
        after, end = unrolled.unroll(
            cell, x[cut:, b : b + 1], None if b < 2 else lane(first, b), engine=engine
        )
        torch.testing.assert_close(y[:, b : b + 1], torch.cat([before, after]), **BOUND)
        if b < 2:
            torch.testing.assert_close(lane(last, b), end, **BOUND)


@engines
def test_fresh_of_one_axis_means_step_0(engine: str) -> None:
    cell, x, first = made()
    marked = torch.tensor([True, False, True])
    full = torch.zeros(7, 3, dtype=torch.bool)
    full[0] = marked
    short, long = (unrolled.unroll(cell, x, first, fresh=f, engine=engine)[0] for f in (marked, full))
    assert torch.equal(short, long)


@cells_and_engines
def test_a_lane_ends_at_its_own_length(name: str, engine: str) -> None:
    cell, x, first = made(name)
    lengths = [4, 0, 7]
    y, last = unrolled.unroll(cell, x, first, lengths=torch.tensor(lengths), engine=engine)
    for b, stop in enumerate(lengths):
        alone, end = unrolled.unroll(
            cell, x[:stop, b : b + 1], lane(first, b), engine=engine if stop else "auto"
        )
        torch.testing.assert_close(y[:stop, b : b + 1], alone, **BOUND)
        torch.testing.assert_close(lane(last, b), end, **BOUND)
        assert not y[stop:, b].any()


@cells_and_engines
def test_each_lane_is_reversed_inside_its_own_length(name: str, engine: str) -> None:
    cell, x, first = made(name)
    lengths = [4, 0, 7]
    y, last = unrolled.unroll(cell, x, first, lengths=lengths, reverse=True, engine=engine)
    for b, stop in enumerate(lengths):
        turned = x[:stop, b : b + 1].flip(0)
        alone, end = unrolled.unroll(cell, turned, lane(first, b), engine=engine)
        torch.testing.assert_close(y[:stop, b : b + 1], alone.flip(0), **BOUND)
        torch.testing.assert_close(lane(last, b), end, **BOUND)
        assert not y[stop:, b].any()


@engines
def test_walking_backwards_a_mark_resets_after_its_step(engine: str) -> None:
    cell, x, first = made(B=1)
    fresh = torch.zeros(7, 1, dtype=torch.bool)
    fresh[3] = True
    y, last = unrolled.unroll(cell, x, first, fresh=fresh, reverse=True, engine=engine)
    late, _ = unrolled.unroll(cell, x[3:].flip(0), first, engine=engine)
    early, end = unrolled.unroll(cell, x[:3].flip(0), None, engine=engine)
    torch.testing.assert_close(y, torch.cat([late, early]).flip(0), **BOUND)
    torch.testing.assert_close(last, end, **BOUND)
    fresh[0] = True
    _, last = unrolled.unroll(cell, x, first, fresh=fresh, reverse=True, engine=engine)
    assert torch.equal(last.c, torch.zeros_like(last.c))


@engines
@pytest.mark.parametrize("reverse", [False, True])
def test_nan_in_the_padding_reaches_nothing(engine: str, reverse: bool) -> None:
    cell, x, first = made()
    padding = torch.arange(7).unsqueeze(1) >= torch.tensor([4, 7, 6])
    found = []
    for filler in (float("nan"), 3.0):
        items = torch.where(padding.unsqueeze(-1), filler, x).requires_grad_()
        y, last = unrolled.unroll(cell, items, first, lengths=[4, 7, 6], reverse=reverse, engine=engine)
        grads = torch.autograd.grad(y.square().sum() + last.c.sum(), [items, *cell.parameters()])
        assert not grads[0][padding].any()
        found.append((y, *last, *grads))
    assert all(map(torch.equal, *found))


@engines
def test_ids_in_the_padding_may_be_anything(engine: str) -> None:
    cell = unrolled.GRU(5, 4)
    ids = torch.tensor([[1, 2], [3, 999]])
    y, _ = unrolled.unroll(cell, ids, lengths=[2, 1], engine=engine)
    assert torch.isfinite(y).all()


@engines
def test_lanes_do_not_leak(engine: str) -> None:
    cell, x, first = made()
    x.requires_grad_()
    y, last = unrolled.unroll(cell, x, first, fresh=torch.rand(7, 3) < 0.3, lengths=[7, 5, 6], engine=engine)
    (grad,) = torch.autograd.grad(y[:, 1].sum() + last.c[1].sum(), x)
    assert not grad[:, [0, 2]].any()
    assert grad[:5, 1].any()


@engines
def test_a_mark_cuts_the_gradient_too(engine: str) -> None:
    cell, x, first = made(B=1)
    x.requires_grad_()
    fresh = torch.zeros(7, 1, dtype=torch.bool)
    fresh[3] = True
    y, _ = unrolled.unroll(cell, x, first, fresh=fresh, engine=engine)
    (grad,) = torch.autograd.grad(y[5].sum(), x)
    assert not grad[:3].any()
    assert grad[3].any()


@engines
def test_a_learned_first_state_gets_its_gradient_from_every_start(engine: str) -> None:
    torch.manual_seed(2)
    cell = LearnedStart(5, 4).double()
    x = torch.randn(6, 2, 5, dtype=torch.float64)
    fresh = torch.zeros(6, 2, dtype=torch.bool)
    fresh[2, 1] = True
    y, _ = unrolled.unroll(cell, x, fresh=fresh, engine=engine)
    (whole,) = torch.autograd.grad(y.square().sum(), cell.start)
    by_hand = torch.zeros_like(whole)
    for b, start, stop in ((0, 0, 6), (1, 0, 2), (1, 2, 6)):
        y, _ = unrolled.unroll(cell, x[start:stop, b : b + 1], engine=engine)
        by_hand += torch.autograd.grad(y.square().sum(), cell.start)[0]
    torch.testing.assert_close(whole, by_hand, **BOUND)


def test_items_may_have_more_axes_than_one() -> None:
    torch.manual_seed(3)
    cell, x = Images(2, 3), torch.randn(6, 2, 2, 4, 4)
    fresh = torch.zeros(6, 2, dtype=torch.bool)
    fresh[3, 0] = True
    y, last = unrolled.unroll(cell, x, fresh=fresh, lengths=[6, 4])
    assert (y.shape, last.shape) == ((6, 2, 3, 4, 4), (2, 3, 4, 4))
    torch.testing.assert_close(y[3:, :1], unrolled.unroll(cell, x[3:, :1])[0], rtol=0, atol=1e-6)
    assert torch.equal(last[1], y[3, 1])
    assert not y[4:, 1].any()


def test_no_steps_give_no_outputs_and_the_first_state() -> None:
    cell, _, first = made()
    y, last = unrolled.unroll(cell, torch.zeros(0, 3, 5, dtype=torch.float64), first)
    assert (y.shape, y.dtype) == ((0, 3, 4), torch.float64)
    assert last is first
    y, last = unrolled.unroll(
        cell, torch.zeros(0, 3, dtype=torch.int64), fresh=torch.ones(3, dtype=torch.bool)
    )
    assert y.shape == (0, 3, 4)


def test_lanes_of_length_0_only_give_zeros_and_the_first_state() -> None:
    cell, x, first = made()
    for engine in ("naive", "torch"):
        y, last = unrolled.unroll(cell, x, first, lengths=[0, 0, 0], engine=engine)
        assert (y.shape, bool(y.any())) == ((7, 3, 4), False)
        assert torch.equal(last.c, first.c)


def test_no_lanes_give_no_outputs() -> None:
    cell = unrolled.LSTM(5, 4)
    y, last = unrolled.unroll(cell, torch.zeros(7, 0, 5))
    assert (y.shape, last.h.shape) == ((7, 0, 4), (0, 4))


def test_detach_cuts_the_history_and_keeps_the_values() -> None:
    cell, x, first = made()
    _, last = unrolled.unroll(cell, x, first)
    cut = unrolled.detach({"lstm": last})["lstm"]
    assert isinstance(cut, unrolled.LSTMState)
    assert last.c.requires_grad
    assert not cut.c.requires_grad
    assert torch.equal(cut.c, last.c)


def test_the_state_that_went_in_is_not_changed() -> None:
    cell, x, first = made()
    copy = map_state(torch.clone, first)
    for engine in ("naive", "torch"):
        unrolled.unroll(cell, x, first, fresh=torch.rand(7, 3) < 0.5, lengths=[7, 3, 0], engine=engine)
        assert all(map(torch.equal, first, copy))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(7)}, r"LSTM takes x \[T, B, 5\], came \[7\]"),
        ({"x": torch.zeros(7, 3, 6)}, r"takes x \[T, B, 5\], came \[7, 3, 6\]; time first, then lanes"),
        ({"x": torch.zeros(7, 3, 5, 2)}, r"takes x \[T, B, 5\], came \[7, 3, 5, 2\]"),
        ({"x": torch.zeros(7, 3, 5, dtype=torch.float64)}, "computes in torch.float32, x is torch.float64"),
        (
            {"x": torch.zeros(7, 3, 5, dtype=torch.int64)},
            r"floats \[T, B, 5\] or whole ids \[T, B\], came torch.int64",
        ),
        ({"x": torch.zeros(7, 3, dtype=torch.bool)}, r"whole ids \[T, B\], came torch.bool"),
        ({"x": [1, 2]}, r"takes x \[T, B, 5\], came a value of type list"),
        (
            {"x": torch.tensor([[1, 2, 0], [0, 5, 1]])},
            "ids from 0 to 4, or -1 for no id; came 5 at step 1, lane 1",
        ),
        ({"x": torch.full((7, 3), -2)}, "came -2 at step 0, lane 0"),
        ({"state": torch.zeros(3, 4)}, r"LSTMState\(h, c\), each \[3, 4\]; came \[3, 4\]"),
        ({"state": (torch.zeros(3, 4), torch.zeros(3, 4))}, "came a tuple of 2"),
        (
            {"state": 2 * [torch.zeros(2, 4)]},
            r"x has 3 lanes, the state's h is \[2, 4\]; give a state of 3 lanes",
        ),
        ({"state": 2 * [torch.zeros(3, 6)]}, r"takes a state of \[3, 4\], the state's h is \[3, 6\]"),
        ({"state": 2 * [torch.zeros(3, 4).double()]}, "the state's h is torch.float64"),
        (
            {"fresh": torch.zeros(7, 3)},
            r"fresh must be bool, \[7, 3\] or \[3\] for step 0; came torch.float32",
        ),
        ({"fresh": torch.zeros(7, dtype=torch.bool)}, r"came torch.bool \[7\]"),
        ({"fresh": True}, "came a value of type bool"),
        ({"lengths": [7, 7]}, r"lengths must be 3 whole numbers, one a lane; came torch.int64 \[2\]"),
        ({"lengths": [7.0, 7.0, 7.0]}, "whole numbers, one a lane; came torch.float32"),
        ({"lengths": [7, 8, 7]}, "lengths must be from 0 to 7, the steps of x; came 8 for lane 1"),
        ({"lengths": [-1, 7, 7]}, "came -1 for lane 0"),
        ({"engine": "naiv"}, "no engine 'naiv'; there are auto, scan, .*; did you mean 'naive'"),
        ({"cell": torch.nn.LSTM(5, 4)}, r"unroll takes a Cell, came LSTM\(5, 4\)"),
    ],
)
def test_a_wrong_argument_gets_one_line(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"cell": unrolled.LSTM(5, 4), "x": torch.zeros(7, 3, 5), **change}
    if isinstance(arguments.get("state"), list):
        arguments["state"] = unrolled.LSTMState(*arguments["state"])
    with pytest.raises(UsageError, match=message) as caught:
        unrolled.unroll(arguments.pop("cell"), arguments.pop("x"), arguments.pop("state", None), **arguments)
    assert "\n" not in str(caught.value)


def test_an_engine_asked_for_that_cannot_serve_says_why() -> None:
    with pytest.raises(UsageError, match=r"engine 'torch' cannot run this: torch has no kernel for Images"):
        unrolled.unroll(Images(2, 3), torch.randn(6, 2, 2, 4, 4), engine="torch")


def test_auto_takes_the_first_that_can_and_says_why_not_the_ones_before() -> None:
    cell, x, _ = made()
    engine, reasons = choose_engine(cell.double(), x.double())
    assert engine.name == "torch"
    assert "float64" in reasons["native"] or "compiler" in reasons["native"]
    cell, x = cell.float(), x.float()
    assert choose_engine(cell, x)[0].name in ("native", "torch")
    assert choose_engine(cell, x, engine="naive") == (choose_engine(cell, x, engine="naive")[0], {})
    engine, reasons = choose_engine(Images(2, 3), torch.randn(6, 2, 2, 4, 4))
    assert engine.name == "naive"
    assert reasons["torch"] == "torch has no kernel for Images"
    assert reasons["scan"] == "it runs linear cells, Images is none"
    assert reasons["native"] == "it runs gated cells, Images is none"


@pytest.mark.parametrize("engine", ["auto", "naive", "torch"])
def test_rows_make_ids_stand_for_rows(engine: str) -> None:
    cell, rows = unrolled.GRU(5, 7), torch.randn(4, 5)
    ids = torch.tensor([[0, 3], [-1, 2], [1, 1]])
    items = torch.where(ids[..., None] >= 0, rows[ids.clamp(min=0)], 0.0)
    y, _ = unrolled.unroll(cell, ids, rows=rows, engine=engine)
    torch.testing.assert_close(y, unrolled.unroll(cell, items, engine=engine)[0], rtol=1e-6, atol=1e-6)


def test_rows_that_do_not_fit_are_told() -> None:
    cell, ids = unrolled.GRU(5, 7), torch.zeros(3, 2, dtype=torch.long)
    with pytest.raises(
        UsageError, match=r"takes rows \[V, 5\] of torch.float32, came torch.float32 \[4, 6\]"
    ):
        unrolled.unroll(cell, ids, rows=torch.randn(4, 6))
    with pytest.raises(UsageError, match=r"rows are for ids \[T, B\] of a gated cell"):
        unrolled.unroll(cell, torch.randn(3, 2, 5), rows=torch.randn(4, 5))
    with pytest.raises(UsageError, match="ids from 0 to 3, or -1 for no id; came 4 at step 0, lane 0"):
        unrolled.unroll(cell, ids + 4, rows=torch.randn(4, 5))
