"""What the ancestors' users could do with a cell, one test a requirement."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, sigmoid, tanh

import unrolled
from unrolled.cells import BUILT_IN, LINEAR, map_state, named_tensors
from unrolled.engines import ENGINES, Request
from unrolled.engines.torch_kernels import kernel_of

CELLS: dict[str, Any] = {**BUILT_IN, **LINEAR}
REFERENCES = Path(__file__).parents[1] / "references"


class Leaky(unrolled.Cell):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = 0.9 * h + 0.1 * torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
        return h, h


class Memory(NamedTuple):
    h: Tensor
    c: Tensor


class FourGates(unrolled.GatedCell):
    gates = ("a", "b", "c", "d")
    State = Memory

    @staticmethod
    def next_state(a, b, c, d, state):  # type: ignore[no-untyped-def]
        m = sigmoid(a) * state.c + sigmoid(b) * torch.relu(c)
        return Memory(sigmoid(d) * tanh(m), m)


def engines(kind: Any) -> tuple[str, ...]:
    """The naive engine, and the fast one that needs no compiler, if there is one."""
    fast = "scan" if kind in LINEAR.values() else "torch" if kernel_of(kind(1, 1)) is not None else None
    return ("naive",) if fast is None else ("naive", fast)


def test_b1_a_users_cell_runs_in_every_engine_that_can_serve_it() -> None:
    torch.manual_seed(0)
    for cell in (Leaky(5, 7), FourGates(5, 7)):
        x, state, ys = torch.randn(6, 3, 5), cell.initial_state(3), []
        for t in range(6):
            y, state = cell.step(x[t], state)
            ys.append(y)
        serving = [name for name, engine in ENGINES.items() if not engine.why_not(Request(cell, x, state))]
        assert "naive" in serving
        for engine in (*serving, "auto"):
            torch.testing.assert_close(unrolled.unroll(cell, x, engine=engine)[0], torch.stack(ys))


def test_b2_a_layer_gives_all_outputs_and_the_last_state() -> None:
    for kind in CELLS.values():
        y, last = unrolled.unroll(kind(5, 7), torch.randn(6, 3, 5))
        assert y.shape == (6, 3, 7)
        assert torch.equal(y[-1], last if kind.State is None else last.h)


def test_b3_stacking_feeds_the_outputs_to_the_next_layer() -> None:
    torch.manual_seed(1)
    low, high, x = unrolled.GRU(5, 7), unrolled.LSTM(7, 4), torch.randn(6, 3, 5)
    y, _ = unrolled.unroll(high, unrolled.unroll(low, x)[0])
    low_state, high_state = low.initial_state(3), high.initial_state(3)
    for t in range(6):
        between, low_state = low.step(x[t], low_state)
        expected, high_state = high.step(between, high_state)
        torch.testing.assert_close(y[t], expected)


def test_b5_items_may_have_more_dimensions_than_one() -> None:
    class Shared(unrolled.Cell):
        """One small network for every row of an item [B, R, D]."""

        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__(input_size, hidden_size)
            self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

        def initial_state(self, lanes: int) -> Tensor:
            return torch.zeros(lanes, 4, self.hidden_size)

        def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
            return h, h

    y, last = unrolled.unroll(Shared(5, 7), torch.randn(6, 3, 4, 5))
    assert y.shape == (6, 3, 4, 7)
    assert torch.equal(y[-1], last)


def test_b6_the_loop_over_time_and_the_fast_engine_agree() -> None:
    torch.manual_seed(2)
    for kind in CELLS.values():
        cell, x = kind(5, 7), torch.randint(0, 5, (6, 3))
        naive, *fast = (unrolled.unroll(cell, x, engine=engine)[0] for engine in engines(kind))
        for y in fast:
            torch.testing.assert_close(y, naive, rtol=0, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="B7 needs a CUDA device, and there is none")
def test_b7_the_same_code_runs_on_cpu_and_gpu() -> None:
    torch.manual_seed(3)
    fresh = torch.zeros(6, 3, dtype=torch.bool)
    fresh[2, 1] = True
    for kind, engine in [(cell, engine) for cell in CELLS.values() for engine in engines(cell)]:
        cell, x = kind(5, 7).double(), torch.randn(6, 3, 5, dtype=torch.float64)
        found = []
        for device in ("cpu", "cuda"):
            cell = cell.to(device)
            y, last = unrolled.unroll(cell, x.to(device), fresh=fresh, lengths=[6, 5, 2], engine=engine)
            grads = torch.autograd.grad(y.square().sum(), list(cell.parameters()))
            found.append([part.cpu() for part in (y, *named_tensors(last).values(), *grads)])
        torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-9)


def test_b8_padded_steps_change_neither_loss_nor_final_state() -> None:
    torch.manual_seed(4)
    for kind in CELLS.values():
        cell, x, lengths = kind(5, 7).double(), torch.randn(6, 3, 5, dtype=torch.float64), [4, 6, 1]
        for engine in engines(kind):
            y, last = unrolled.unroll(cell, x, lengths=lengths, engine=engine)
            alone = [
                unrolled.unroll(cell, x[:stop, b : b + 1], engine=engine) for b, stop in enumerate(lengths)
            ]
            loss = sum(one.square().sum() for one, _ in alone)
            torch.testing.assert_close(y.square().sum(), loss, rtol=0, atol=1e-12)
            states = map_state(lambda *parts: torch.cat(parts), *(state for _, state in alone))
            torch.testing.assert_close(last, states, rtol=0, atol=1e-12)


def test_b9_windows_with_carried_state_give_the_unsplit_run_with_resets_per_lane() -> None:
    torch.manual_seed(5)
    x = torch.randn(12, 3, 5, dtype=torch.float64)
    fresh = torch.zeros(12, 3, dtype=torch.bool)
    fresh[0] = fresh[4, 0] = fresh[5, 2] = fresh[9, 2] = True
    for kind in CELLS.values():
        cell = kind(5, 7).double()
        for engine in engines(kind):
            whole, last = unrolled.unroll(cell, x, fresh=fresh, engine=engine)
            state, ys = None, []
            for k in range(0, 12, 4):
                y, state = unrolled.unroll(cell, x[k : k + 4], state, fresh=fresh[k : k + 4], engine=engine)
                ys.append(y)
            torch.testing.assert_close(torch.cat(ys), whole, rtol=0, atol=1e-12)
            torch.testing.assert_close(state, last, rtol=0, atol=1e-12)
            alone, _ = unrolled.unroll(cell, x[5:9, 2:], engine=engine)
            torch.testing.assert_close(whole[5:9, 2:], alone, rtol=0, atol=1e-12)


def test_k1_a_step_is_karpathys_step() -> None:
    torch.manual_seed(6)
    cell, h_to_y = unrolled.RNN(5, 7), torch.nn.Linear(7, 5, bias=False)
    h, state = torch.zeros(1, 7), cell.initial_state(1)
    for _ in range(4):
        x = torch.randn(1, 5)
        h = torch.tanh(h @ cell.h_to_h + x @ cell.x_to_h + cell.bias_h)
        y, state = cell.step(x, state)
        torch.testing.assert_close(h_to_y(y), h @ h_to_y.weight.T)


def test_k2_two_cells_are_stacked_by_hand_with_two_calls() -> None:
    low, high = unrolled.RNN(5, 7), unrolled.RNN(7, 4)
    low_state, high_state = low.initial_state(2), high.initial_state(2)
    y, low_state = low.step(torch.randn(2, 5), low_state)
    y, high_state = high.step(y, high_state)
    assert (y.shape, low_state.shape, high_state.shape) == ((2, 4), (2, 7), (2, 4))


def test_k18_the_numpy_references_are_kept_and_agree() -> None:
    batched = runpy.run_path(str(REFERENCES / "batched_lstm.py"))
    assert "VanillaRNN" in runpy.run_path(str(REFERENCES / "vanilla_rnn.py"))
    draw = np.random.default_rng(7)
    cell, x = unrolled.LSTM(5, 4).double(), draw.normal(size=(6, 3, 5))
    weights = batched["Weights"](*(p.detach().numpy() for p in (cell.x_to_gates, cell.h_to_gates, cell.bias)))
    expected, _, _ = batched["forward"](x, np.zeros((3, 4)), np.zeros((3, 4)), weights)
    for engine in ("naive", "torch"):
        y, _ = unrolled.unroll(cell, torch.tensor(x), engine=engine)
        np.testing.assert_allclose(y.detach().numpy(), expected, rtol=0, atol=1e-12)
