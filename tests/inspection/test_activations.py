from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, sigmoid, tanh

from unrolled.cells import GRU, LSTM, RNN, GatedCell, PeepholeLSTM, ReluRNN
from unrolled.inspection.activations import GateReader

D, H, N = 3, 5, 4


class State(NamedTuple):
    h: Tensor
    c: Tensor


class Silu(GatedCell):
    """Of a the pre-activation is used too; b, f meet in one sum; g meets no activation."""

    gates = ("a", "b", "f", "g")
    State = State

    @staticmethod
    def next_state(a: Tensor, b: Tensor, f: Tensor, g: Tensor, state: State) -> State:
        """Mix."""
        mixed = sigmoid(b + f)
        c = a * sigmoid(a) * mixed + g * state.c
        return State(1 - mixed * c, c)


class Untraceable(GatedCell):
    gates = ("h", "z")

    @staticmethod
    def next_state(h: Tensor, z: Tensor, state: Tensor) -> Tensor:
        """Use what no trace follows."""
        return torch.cos(h) * sigmoid(z)


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        (LSTM, {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": "sigmoid"}),
        (PeepholeLSTM, {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": "sigmoid"}),
        (GRU, {"r": "sigmoid", "z": "sigmoid", "n": "tanh", "n_h": ""}),
        (RNN, {}),
        (ReluRNN, {}),
        (Silu, {"a": "", "b": "sigmoid", "f": "", "g": ""}),
        (Untraceable, {"h": "", "z": ""}),
    ],
)
def test_a_gates_activation_is_found_in_its_cells_own_lines(
    cell: type[GatedCell], wanted: dict[str, str]
) -> None:
    reader = GateReader.of(cell(D, H))
    assert {gate.name: gate.activation for gate in reader.gates} == wanted


@torch.no_grad()
def test_a_peepholes_gates_look_at_the_memory_before_and_after() -> None:
    torch.manual_seed(0)
    cell = PeepholeLSTM(D, H)
    x, before = torch.randn(N, D), cell.State(torch.randn(N, H), torch.randn(N, H))
    i, f, g, o = cell.preactivations(x, before)
    _, after = cell.step(x, before)
    found = GateReader.of(cell).read(x, before)
    torch.testing.assert_close(found["i"], sigmoid(i + cell.p_i * before.c))
    torch.testing.assert_close(found["f"], sigmoid(f + cell.p_f * before.c))
    torch.testing.assert_close(found["g"], tanh(g))
    torch.testing.assert_close(found["o"], sigmoid(o + cell.p_o * after.c))


@torch.no_grad()
def test_a_slice_without_an_activation_of_its_own_is_read_as_it_is() -> None:
    torch.manual_seed(1)
    cell = Silu(D, H)
    ids, before = torch.tensor([2, 0, 1, 2]), State(torch.randn(N, H), torch.randn(N, H))
    a, b, f, g = cell.preactivations(ids, before)
    found = GateReader.of(cell).read(ids, before)
    assert torch.equal(found["a"], a)
    assert torch.equal(found["f"], f)
    assert torch.equal(found["g"], g)
    torch.testing.assert_close(found["b"], sigmoid(b + f))


@torch.no_grad()
def test_a_cell_that_cannot_be_traced_shows_its_slices() -> None:
    torch.manual_seed(2)
    cell = Untraceable(D, H)
    x, before = torch.randn(N, D), torch.randn(N, H)
    found = GateReader.of(cell).read(x, before)
    for name, values in zip(("h", "z"), cell.preactivations(x, before), strict=True):
        assert torch.equal(found[name], values)
