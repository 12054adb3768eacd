"""The native engine against the naive loop, and a row's bits in any company."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import unrolled
from unrolled.cells import BUILT_IN, map_state, named_tensors
from unrolled.engines import ENGINES
from unrolled.engines.native import compiler, memory, running
from unrolled.errors import UsageError
from unrolled.unrolling import choose_engine

pytestmark = pytest.mark.skipif(
    not any(compiler.shutil.which(name) for name in compiler.COMPILERS),
    reason="there is no C++ compiler here",
)
GATED = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "gated.py"))
# Sums of up to some thousand products in float32: a few times √n · 2^-24 of the tensor's norm.
BOUND = 1e-5


class Pair(NamedTuple):
    h: Tensor
    c: Tensor


class Peepholes(unrolled.GatedCell):
    """Two states, two split gates of five, two vectors, and a start that is learned."""

    gates = ("i", "f", "g", "o", "r")
    split = ("r", "g")
    vectors = ("p", "q")
    State = Pair

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.start = torch.nn.Parameter(torch.randn(2, hidden_size))

    def initial_state(self, lanes: int) -> Pair:
        h, c = (part.expand(lanes, -1) for part in self.start)
        return Pair(h, c)

    @staticmethod
    def next_state(
        i: Any, f: Any, g_x: Any, g_h: Any, o: Any, r_x: Any, r_h: Any, p: Any, q: Any, state: Pair
    ) -> Pair:
        inside = torch.nn.functional.gelu(g_x + torch.relu(r_x - r_h) * g_h)
        c = torch.sigmoid(f + p * state.c) * state.c + torch.sigmoid(i) * inside
        h = torch.sigmoid(o + q * c) * torch.tanh(c)
        return Pair(torch.where(h > 0.1, h, 0.5 * h + 0.1 * state.h), c)


TAKE = memory.Pool.take
CELLS: dict[str, Any] = {**BUILT_IN, "coupled": GATED["Coupled"], "peepholes": Peepholes}


@pytest.fixture(autouse=True, scope="module")
def scratch_full_of_nan() -> Iterator[None]:
    """Every room that the engine asks for is full of NaN."""

    def room(*shape: int) -> Tensor:
        return torch.full(shape, torch.nan, dtype=torch.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "room", room)
        patch.setattr(memory.Pool, "take", lambda _, *shape: room(*shape))
        yield


def results(name: str, cell: Any, x: Tensor, state: Any, **request: Any) -> dict[str, Tensor]:
    """Every output and every gradient that a request has, under names; in the cell's dtype."""
    dtype, leaves = cell.bias.dtype, dict(cell.named_parameters())
    if x.is_floating_point():
        x = leaves["x"] = x.detach().to(dtype).requires_grad_()
    if state is not None:
        state = map_state(lambda part: part.detach().to(dtype).requires_grad_(), state)
        leaves |= named_tensors(state, "first")
    y, last = unrolled.unroll(cell, x, state, engine=name, **request)
    found = {"y": y, **named_tensors(last, "last")}
    weigh = torch.Generator().manual_seed(1)
    loss = sum((part * torch.randn(part.shape, generator=weigh).to(dtype)).sum() for part in found.values())
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    for leaf, grad in zip(leaves, grads, strict=True):
        found[f"d {leaf}"] = torch.zeros_like(leaves[leaf]) if grad is None else grad
    return {key: part.detach() for key, part in found.items()}


def assert_twins(kind: Any, cell: Any, x: Tensor, state: Any, **request: Any) -> None:
    """The naive loop in float64 is the reference; each tensor within BOUND of its norm."""
    ours = results("native", cell, x, state, **request)
    exact = kind(cell.input_size, cell.hidden_size).double()
    exact.load_state_dict(cell.state_dict())
    naive = results("naive", exact, x, state, **request)
    assert ours.keys() == naive.keys()
    for name, wanted in naive.items():
        assert ours[name].shape == wanted.shape
        error = (ours[name].double() - wanted).norm()
        # A gradient may cancel to nearly nothing; then what counts is the size of its terms, about 1.
        assert error <= BOUND * max(float(wanted.norm()), 1.0), f"{name}: {error:.2e} of {wanted.norm():.2e}"


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, Any, Tensor, Any, dict[str, Any]]:
    torch.manual_seed(draw(st.integers(0, 10**6)))
    T, B, D = draw(st.integers(1, 9)), draw(st.integers(1, 13)), draw(st.integers(1, 40))
    H = draw(st.sampled_from([1, 2, 3, 7, 15, 16, 17, 33, 48, 63, 64, 65, 100]))
    name = draw(st.sampled_from(sorted(CELLS)))
    cell = CELLS[name](D, H)
    x = torch.randint(-1, D, (T, B)) if draw(st.booleans()) else torch.randn(T, B, D)
    state = map_state(torch.randn_like, cell.initial_state(B)) if draw(st.booleans()) else None
    request: dict[str, Any] = {"reverse": draw(st.booleans())}
    if draw(st.booleans()):
        request["fresh"] = torch.rand(T, B) < draw(st.sampled_from([0.1, 0.5]))
    if draw(st.booleans()):
        request["lengths"] = draw(st.lists(st.integers(0, T), min_size=B, max_size=B))
    return name, cell, x, state, request


@settings(max_examples=150, deadline=None)
@given(requests())
def test_equals_naive_in_values_and_gradients(drawn: tuple[str, Any, Tensor, Any, dict[str, Any]]) -> None:
    name, cell, x, state, request = drawn
    assert_twins(CELLS[name], cell, x, state, **request)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("B", "D", "H"), [(100, 96, 64), (7, 3, 130), (50, 200, 17)])
def test_equals_naive_at_larger_sizes(name: str, B: int, D: int, H: int) -> None:
    torch.manual_seed(B)
    cell = CELLS[name](D, H)
    assert_twins(CELLS[name], cell, torch.randn(11, B, D), None)
    assert_twins(CELLS[name], cell, torch.randint(-1, D, (11, B)), None, fresh=torch.rand(11, B) < 0.2)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
def test_reads_no_padding_not_even_nan(name: str, reverse: bool) -> None:
    torch.manual_seed(2)
    cell, x = CELLS[name](5, 7), torch.randn(6, 3, 5)
    x[4:, 0] = torch.nan
    x[:, 2] = torch.nan
    assert_twins(CELLS[name], cell, x, None, lengths=[4, 6, 0], reverse=reverse)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_ids_in_padding_may_be_anything(name: str) -> None:
    cell, ids = CELLS[name](5, 7), torch.randint(0, 5, (6, 2))
    ids[3:, 1] = 10**12
    found = results("native", cell, ids, None, lengths=[6, 3])
    ids[3:, 1] = 0
    for key, part in results("native", cell, ids, None, lengths=[6, 3]).items():
        assert torch.equal(found[key], part)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("V", [9, 40])
def test_ids_that_stand_for_rows_give_the_bits_of_the_rows(name: str, V: int) -> None:
    torch.manual_seed(V)
    cell, rows = CELLS[name](5, 19), torch.randn(V, 5, requires_grad=True)
    ids, lengths = torch.randint(-1, V, (6, 3)), [6, 2, 4]
    items = torch.where(ids[..., None] >= 0, rows[ids.clamp(min=0)], 0.0)
    found = []
    for x, table in ((ids, rows), (items, None)):
        y, last = unrolled.unroll(cell, x, lengths=lengths, rows=table, engine="native")
        loss = (y * torch.arange(y.numel()).view(y.shape).sin()).sum()
        grads = torch.autograd.grad(loss, [rows, *cell.parameters()], allow_unused=True)
        found.append([y, *named_tensors(last).values(), *grads])
    for ours, plain in zip(*found, strict=True):
        if ours is None:
            assert plain is None
        else:
            torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
    assert torch.equal(found[0][0], found[1][0])


@pytest.mark.parametrize("kind", ["items", "ids", "rows"])
def test_inputs_may_lie_in_memory_in_any_order(kind: str) -> None:
    torch.manual_seed(6)
    cell, table = unrolled.GRU(33, 40), torch.randn(33, 9).t()
    x = torch.randn(7, 11, 33) if kind == "items" else torch.randint(-1, 9, (7, 11))
    found = []
    for lay in (lambda part: part, Tensor.contiguous):
        turned, rows = lay(x.transpose(0, 1)), lay(table).detach().requires_grad_()
        leaves = [rows, *cell.parameters()] if kind == "rows" else list(cell.parameters())
        y, _ = unrolled.unroll(cell, turned, rows=rows if kind == "rows" else None, engine="native")
        loss = (y * torch.arange(y.numel()).view(y.shape).sin()).sum()
        found.append(torch.autograd.grad(loss, leaves))
    assert all(map(torch.equal, *found))


def test_memory_is_given_back_and_taken_again_without_a_trace() -> None:
    pool = memory.Pool()
    a = memory.room(3, 4)
    pool.give(a)
    with torch.inference_mode():
        b = pool._free[0]
    assert b.data_ptr() == a.data_ptr()
    pool.give(*(memory.room(n + 1) for n in range(30)))
    assert len(pool._free) <= 16


def test_two_threads_never_take_the_same_piece() -> None:
    pool, others, taken = memory.Pool(), list[Thread](), list[Any]()

    class Watched:
        def numel(self) -> int:
            if not others:  # let another thread have its chance between the look and the grasp
                others.append(Thread(target=lambda: taken.append(TAKE(pool, 4))))
                others[0].start()
                others[0].join(0.2)
            return 4

        def view(self, _: Any) -> Watched:
            return self

    pool._free = [Watched(), memory.room(9)]  # type: ignore[list-item]
    assert isinstance(TAKE(pool, 4), Watched)
    others[0].join()
    assert taken[0].shape == (4,)


def test_torchs_default_dtype_does_not_matter() -> None:
    cell, x = unrolled.GRU(5, 7), torch.randn(6, 3, 5)
    fresh = torch.rand(6, 3) < 0.3
    wanted = unrolled.unroll(cell, x, fresh=fresh, engine="native")[0].detach()
    torch.set_default_dtype(torch.float64)
    try:
        y, _ = unrolled.unroll(cell, x, fresh=fresh, engine="native")
        y.sum().backward()
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(y, wanted)
    assert cell.bias.grad is not None and torch.isfinite(cell.bias.grad).all()


def lanes_of(state: Any, chosen: Any) -> Any:
    return map_state(lambda part: part[chosen], state)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize(("D", "H"), [(5, 7), (33, 96)])
def test_a_row_has_the_same_bits_in_any_company(name: str, ids: bool, D: int, H: int) -> None:
    torch.manual_seed(3)
    T, B = 6, 16
    cell = CELLS[name](D, H)
    x = torch.randint(-1, D, (T, B)) if ids else torch.randn(T, B, D)
    state = map_state(torch.randn_like, cell.initial_state(B))
    fresh = torch.rand(T, B) < 0.2
    wanted, last = unrolled.unroll(cell, x, state, fresh=fresh, engine="native")
    threads = torch.get_num_threads()
    try:
        for size in (1, 2, 3, 5, 7, 16):
            rows = torch.randperm(B)[:size]
            torch.set_num_threads(1 + size % 3)
            y, end = unrolled.unroll(
                cell, x[:, rows], lanes_of(state, rows), fresh=fresh[:, rows], engine="native"
            )
            assert torch.equal(y, wanted[:, rows])
            assert all(
                map(torch.equal, named_tensors(end).values(), named_tensors(lanes_of(last, rows)).values())
            )
            # With gradients as without, beside neighbours that are nonsense, and among lanes that end.
            crowd = torch.zeros_like(x) if ids else torch.full_like(x, torch.nan)
            crowd[:, rows] = x[:, rows]
            lengths = [T if b in rows.tolist() else int(b) % T for b in range(B)]
            with torch.set_grad_enabled(size % 2 == 0):
                y, _ = unrolled.unroll(cell, crowd, state, fresh=fresh, lengths=lengths, engine="native")
            assert torch.equal(y[:, rows], wanted[:, rows])
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("reverse", [False, True])
def test_is_step_by_step_and_in_windows_what_it_is_whole(name: str, reverse: bool) -> None:
    torch.manual_seed(4)
    T, B = 29, 3
    cell, x = CELLS[name](5, 37), torch.randn(T, B, 5)
    fresh = torch.rand(T, B) < 0.1
    whole, last = unrolled.unroll(cell, x, fresh=fresh, reverse=reverse, engine="native")
    for window in (1, 7):
        state, ys = None, []
        starts = range(0, T, window)
        for start in reversed(starts) if reverse else starts:
            part = slice(start, start + window)
            y, state = unrolled.unroll(
                cell, x[part], state, fresh=fresh[part], reverse=reverse, engine="native"
            )
            ys.append(y)
        assert torch.equal(torch.cat(ys[::-1] if reverse else ys), whole)
        assert all(map(torch.equal, named_tensors(state).values(), named_tensors(last).values()))


def test_threads_change_no_bit_of_a_large_unroll_and_little_of_its_gradients() -> None:
    torch.manual_seed(5)
    cell, x = unrolled.LSTM(64, 96), torch.randn(20, 24, 64)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            found.append(results("native", cell, x, None))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        for name, part in other.items():
            if name in ("y", "last.h", "last.c", "d x"):
                assert torch.equal(part, found[0][name])
            else:
                torch.testing.assert_close(part, found[0][name], rtol=1e-4, atol=1e-4)


def test_the_same_graph_gives_its_gradient_twice() -> None:
    cell, x = unrolled.GRU(5, 7), torch.randn(6, 3, 5, requires_grad=True)
    y, _ = unrolled.unroll(cell, x, engine="native")
    first = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], first)


def test_only_some_gradients_and_only_the_last_state() -> None:
    cell, x = unrolled.LSTM(5, 7), torch.randn(6, 3, 5)
    for part in cell.parameters():
        part.requires_grad_(False)
    cell.bias.requires_grad_()
    found = []
    for name in ("native", "naive"):
        _, last = unrolled.unroll(cell, x, engine=name)
        found.append(torch.autograd.grad(last.c.sum(), cell.bias)[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)


def test_a_weight_changed_before_the_way_back_is_noticed() -> None:
    cell, x = unrolled.GRU(5, 7), torch.randn(6, 3, 5)
    y, _ = unrolled.unroll(cell, x, engine="native")
    with torch.no_grad():
        cell.h_to_gates.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_ids_changed_before_the_way_back_are_noticed() -> None:
    cell, ids = unrolled.GRU(5, 7), torch.randint(0, 5, (6, 2))
    y, _ = unrolled.unroll(cell, ids, engine="native")
    ids.fill_(4)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_a_second_derivative_is_refused_and_a_first_one_with_a_graph_is_not() -> None:
    cell, x = unrolled.GRU(5, 7), torch.randn(6, 3, 5, requires_grad=True)
    y, _ = unrolled.unroll(cell, x, engine="native")
    [d_x] = torch.autograd.grad(y.sum(), x, create_graph=True)
    with pytest.raises(UsageError, match="no second derivatives; run with engine='naive'"):
        d_x.square().sum().backward()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(("B", "D", "H"), [(3, 7, 19), (50, 33, 64), (7, 40, 100), (2, 1, 1)])
@pytest.mark.parametrize("kind", ["items", "ids", "rows"])
def test_bf16_rounds_the_factors_of_products_and_nothing_else(
    name: str, B: int, D: int, H: int, kind: str
) -> None:
    torch.manual_seed(H)
    cell, rows = CELLS[name](D, H), torch.randn(12, D, requires_grad=True)
    x: Any = {
        "items": torch.randn(6, B, D, requires_grad=True),
        "ids": torch.randint(-1, D, (6, B)),
        "rows": torch.randint(-1, 12, (6, B)),
    }[kind]
    table = rows if kind == "rows" else None
    found = {}
    for engine, bf16 in (("native", True), ("naive", True), ("native", False)):
        y, _ = unrolled.unroll(cell, x, rows=table, engine=engine, bf16=bf16)
        loss = (y * torch.arange(y.numel()).view(y.shape).cos()).sum()
        leaves = [*cell.parameters(), *([x] if kind == "items" else [rows] if kind == "rows" else [])]
        found[engine, bf16] = [y.detach(), *torch.autograd.grad(loss, leaves, allow_unused=True)]
    ours, naive, plain = found.values()
    # An h that lies between two bfloat16 may be rounded either way: 2^-9 of one operand, seldom.
    assert (ours[0] - naive[0]).norm() <= 2e-4 * naive[0].norm()
    assert H == 1 or (ours[0] - plain[0]).norm() > 2e-4 * plain[0].norm()
    # Backwards the gradients of pre-activations are rounded too, which the naive loop leaves out.
    for a, b in zip(ours[1:], naive[1:], strict=True):
        if b is not None:
            assert (a - b).norm() <= 2e-2 * max(float(b.norm()), 1.0)


def test_a_row_has_the_same_bits_in_any_company_in_bf16_too() -> None:
    torch.manual_seed(6)
    cell, x = unrolled.LSTM(33, 70), torch.randn(6, 16, 33)
    wanted, last = unrolled.unroll(cell, x, engine="native", bf16=True)
    for size in (1, 2, 5, 11):
        rows = torch.randperm(16)[:size]
        y, middle = unrolled.unroll(cell, x[:4, rows], engine="native", bf16=True)
        more, end = unrolled.unroll(cell, x[4:, rows], middle, engine="native", bf16=True)
        assert torch.equal(torch.cat([y, more]), wanted[:, rows])
        assert torch.equal(end.c, last.c[rows])


def test_bf16_is_for_float32_gated_cells() -> None:
    with pytest.raises(UsageError, match=r"bf16 is for float32 weights, GRU is torch.float64"):
        unrolled.unroll(unrolled.GRU(3, 5).double(), torch.randn(4, 2, 3).double(), bf16=True)
    cell, x = unrolled.cells.ConcatRNN(3, 5), torch.randn(4, 2, 3)
    assert torch.equal(unrolled.unroll(cell, x, bf16=True)[0], unrolled.unroll(cell, x)[0])


class Stepper(unrolled.RNN):
    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        return super().step(x, state)


class Sorter(unrolled.RNN):
    @staticmethod
    def next_state(h: Tensor, state: Tensor) -> Tensor:
        return torch.sort(h).values


def test_says_why_it_cannot_run_what_it_cannot_run() -> None:
    x = torch.randn(4, 2, 3)
    cells = {
        "gated cells, ConcatRNN is none": unrolled.cells.ConcatRNN(3, 5),
        "Stepper has a step of its own": Stepper(3, 5),
        "Sorter.next_state uses torch's sort": Sorter(3, 5),
    }
    for words, cell in cells.items():
        with pytest.raises(UsageError, match=words):
            unrolled.unroll(cell, x, engine="native")
    with pytest.raises(UsageError, match=r"float32 on a CPU, GRU is torch.float64"):
        unrolled.unroll(unrolled.GRU(3, 5).double(), x.double(), engine="native")
    with pytest.raises(UsageError, match="there are no lanes"):
        unrolled.unroll(unrolled.GRU(3, 5), x[:, :0], engine="native")
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(UsageError, match="autocast is on"):
        unrolled.unroll(unrolled.GRU(3, 5), x, engine="native")
    with pytest.raises(UsageError, match="a transform of torch"):
        torch.func.grad(lambda x: unrolled.unroll(unrolled.GRU(3, 5), x, engine="native")[0].sum())(x)


def test_a_transform_of_a_state_or_a_weight_is_left_to_the_loop() -> None:
    cell, x, state = unrolled.GRU(3, 5), torch.randn(4, 2, 3), torch.randn(2, 5)

    def of_state(state: Tensor, engine: str) -> Tensor:
        return unrolled.unroll(cell, x, state, engine=engine)[0].sum()

    def of_weight(h_to_rzn: Tensor, engine: str) -> Tensor:
        class Unrolled(torch.nn.Module):
            def forward(self) -> Tensor:
                return unrolled.unroll(self.cell, x, engine=engine)[0].sum()

        module = Unrolled()
        module.cell = cell
        found: Tensor = torch.func.functional_call(module, {"cell.h_to_rzn": h_to_rzn}, ())
        return found

    for function, point in ((of_state, state), (of_weight, cell.h_to_gates.detach())):
        found, wanted = (
            torch.func.grad(lambda p, e=engine, f=function: f(p, e))(point) for engine in ("auto", "naive")
        )
        torch.testing.assert_close(found, wanted)
        with pytest.raises(UsageError, match="a transform of torch"):
            torch.func.grad(lambda p, f=function: f(p, "native"))(point)
    with torch.autograd.forward_ad.dual_level():
        assert "native" in choose_engine(cell, x)[1]


def test_without_a_compiler_everything_else_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lonely(unrolled.RNN):
        pass

    monkeypatch.setenv("PATH", str(tmp_path))
    cell, x = Lonely(3, 5), torch.randn(4, 2, 3)
    with pytest.raises(UsageError, match=r"there is no C\+\+ compiler"):
        unrolled.unroll(cell, x, engine="native")
    assert choose_engine(cell, x)[0].name in ("torch", "naive")
    assert unrolled.unroll(cell, x)[0].shape == (4, 2, 5)
    assert "native" in ENGINES
