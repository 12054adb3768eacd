"""The built-ins give torch.nn's numbers for torch.nn's weights."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

import unrolled
from unrolled.cells.torch_layout import torch_weights
from unrolled.errors import CellError

KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "rnn": (unrolled.RNN, nn.RNN, {}),
    "relu-rnn": (unrolled.ReluRNN, nn.RNN, {"nonlinearity": "relu"}),
    "lstm": (unrolled.LSTM, nn.LSTM, {}),
    "gru": (unrolled.GRU, nn.GRU, {}),
}
CELL_KINDS: dict[str, Any] = {
    "rnn": nn.RNNCell(5, 7),
    "relu-rnn": nn.RNNCell(5, 7, nonlinearity="relu"),
    "lstm": nn.LSTMCell(5, 7),
    "gru": nn.GRUCell(5, 7),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def stacked(kind: str, **more: Any) -> tuple[Any, Any, Any]:
    """Two torch layers with random biases, and the two cells with their weights."""
    torch.manual_seed(0)
    ours, theirs, options = KINDS[kind]
    module = theirs(5, 7, num_layers=2, **options, **more).double()
    first, second = ours(5, 7).double(), ours(7, 7).double()
    first.load_torch(module)
    second.load_torch(module, layer=1)
    return module, first, second


@kinds
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("engine", ["naive", "torch"])
def test_two_loaded_layers_give_torchs_numbers(kind: str, bias: bool, engine: str) -> None:
    module, first, second = stacked(kind, bias=bias)
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    theirs, last = module(x)
    y, low = unrolled.unroll(first, x, engine=engine)
    y, high = unrolled.unroll(second, y, engine=engine)
    torch.testing.assert_close(y, theirs, rtol=0, atol=1e-12)
    pairs = zip(low, high, strict=True) if kind == "lstm" else [(low, high)]
    for ours, part in zip(pairs, last if kind == "lstm" else [last], strict=True):
        torch.testing.assert_close(torch.stack(ours), part, rtol=0, atol=1e-12)


@kinds
def test_a_torch_cell_gives_its_numbers(kind: str) -> None:
    cell, module = KINDS[kind][0](5, 7), CELL_KINDS[kind]
    cell.load_torch(module)
    x, h = torch.randn(3, 5), torch.randn(3, 7)
    state = unrolled.LSTMState(h, torch.randn(3, 7)) if kind == "lstm" else h
    expected = module(x, tuple(state) if kind == "lstm" else h)
    torch.testing.assert_close(cell.step(x, state)[0], expected[0] if kind == "lstm" else expected)


@kinds
def test_the_reverse_direction_gives_torchs_numbers(kind: str) -> None:
    ours, theirs, options = KINDS[kind]
    module = theirs(5, 7, bidirectional=True, **options).double()
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    halves = []
    for reverse in (False, True):
        cell = ours(5, 7).double()
        cell.load_torch(module, reverse=reverse)
        halves.append(unrolled.unroll(cell, x, reverse=reverse)[0])
    torch.testing.assert_close(torch.cat(halves, dim=-1), module(x)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_no_two_gates_can_be_swapped_unseen(kind: str) -> None:
    module, cell, _ = stacked(kind)
    module = KINDS[kind][1](5, 7).double()
    cell.load_torch(module)
    x = torch.randn(4, 3, 5, dtype=torch.float64)
    expected = module(x)[0]
    for left, right in itertools.combinations(range(len(cell.gates)), 2):
        cell.load_torch(module)
        order = list(range(len(cell.gates)))
        order[left], order[right] = right, left
        with torch.no_grad():
            for weight in (cell.x_to_gates, cell.h_to_gates, cell.bias):
                parts = weight.split(7, dim=-1)
                weight.copy_(torch.cat([parts[gate] for gate in order], dim=-1))
        assert (unrolled.unroll(cell, x)[0] - expected).abs().max() > 1e-3


@kinds
def test_torch_weights_are_torchs_own_layout(kind: str) -> None:
    ours, theirs, options = KINDS[kind]
    module, cell = theirs(5, 7, **options), ours(5, 7)
    module_again = theirs(5, 7, **options)
    cell.load_torch(module)
    with torch.no_grad():
        for parameter, weight in zip(module_again.parameters(), torch_weights(cell), strict=True):
            parameter.copy_(weight)
    x = torch.randn(4, 3, 5)
    torch.testing.assert_close(module_again(x)[0], module(x)[0])


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (
            nn.LSTM(5, 8),
            {},
            r"hidden_size=7; layer 0 of the torch.nn.LSTM has .*8. Make LSTM\(input_size=5, hidden",
        ),
        (nn.LSTM(4, 7), {}, r"LSTM has input_size=5.*has input_size=4, hidden_size=7"),
        (nn.LSTM(5, 7), {"layer": 1}, "has layers 0 to 0, layer 1 was asked for"),
        (nn.LSTM(5, 7), {"layer": -1}, "layer -1"),
        (nn.LSTM(5, 7, proj_size=3), {}, "proj_size"),
        (nn.LSTM(5, 7), {"reverse": True}, "no reverse direction"),
        (nn.LSTMCell(5, 7), {"layer": 1}, "one layer and direction"),
        (nn.GRU(5, 7), {}, "LSTM.load_torch takes a torch.nn module of kind LSTM, came GRU"),
        (nn.Linear(5, 7), {}, "came Linear"),
    ],
)
def test_what_does_not_fit_gets_one_line(module: nn.Module, options: dict[str, Any], message: str) -> None:
    with pytest.raises(CellError, match=message):
        unrolled.LSTM(5, 7).load_torch(module, **options)


def test_tanh_and_relu_are_told_apart() -> None:
    with pytest.raises(CellError, match="kind RNN_RELU, came RNN_TANH"):
        unrolled.ReluRNN(5, 7).load_torch(nn.RNN(5, 7))


def test_a_cell_with_other_gates_takes_no_torch_weights() -> None:
    class Reordered(unrolled.LSTM):
        gates = ("f", "i", "g", "o")

        @staticmethod
        def next_state(f, i, g, o, state):  # type: ignore[no-untyped-def]
            return unrolled.LSTM.next_state(i, f, g, o, state)

    with pytest.raises(CellError, match=r"Reordered.load_torch takes no torch weights"):
        Reordered(5, 7).load_torch(nn.LSTM(5, 7))
