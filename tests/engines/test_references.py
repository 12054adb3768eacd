"""Both engines against the numpy references, which were written from the mathematics."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unrolled

HERE = Path(__file__).parents[1] / "references"
VANILLA = runpy.run_path(str(HERE / "vanilla_rnn.py"))
BATCHED = runpy.run_path(str(HERE / "batched_lstm.py"))
engines = pytest.mark.parametrize("engine", ["naive", "torch"])


def close(ours: torch.Tensor | None, reference: Any) -> None:
    assert ours is not None
    np.testing.assert_allclose(ours.detach().numpy(), reference, rtol=0, atol=1e-12)


def twin(reference: Any) -> tuple[unrolled.RNN, torch.nn.Linear]:
    """The reference's network as a cell and an output layer."""
    w = {name: torch.tensor(weight) for name, weight in reference.weights.items()}
    V, H = w["W_xh"].shape
    cell, readout = unrolled.RNN(V, H).double(), torch.nn.Linear(H, V).double()
    with torch.no_grad():
        for ours, theirs in (
            (cell.x_to_gates, w["W_xh"]),
            (cell.h_to_gates, w["W_hh"]),
            (cell.bias, w["b_h"]),
            (readout.weight, w["W_hy"].T),
            (readout.bias, w["b_y"]),
        ):
            ours.copy_(theirs)
    return cell, readout


@engines
def test_rnn_equals_the_vanilla_rnn_through_three_adagrad_updates(engine: str) -> None:
    reference = VANILLA["VanillaRNN"](vocabulary=6, hidden=4, seed=0)
    cell, readout = twin(reference)
    parameters = [*cell.parameters(), *readout.parameters()]
    adagrad = torch.optim.Adagrad(parameters, lr=0.1, eps=1e-10)
    draw = np.random.default_rng(1)
    h, state = draw.normal(size=4), None
    state = torch.tensor(h).unsqueeze(0).requires_grad_()
    for _ in range(3):
        ids, targets = draw.integers(0, 6, size=(2, 7))
        d, d_h, last = reference.backward(ids, targets, h)
        y, after = unrolled.unroll(cell, torch.tensor(ids).unsqueeze(1), state, engine=engine)
        loss = torch.nn.functional.cross_entropy(
            readout(y.squeeze(1)), torch.tensor(targets), reduction="sum"
        )
        assert loss.item() == pytest.approx(reference.loss(ids, targets, h), abs=1e-12)
        adagrad.zero_grad()
        loss.backward()
        close(cell.x_to_gates.grad, d["W_xh"])
        close(cell.h_to_gates.grad, d["W_hh"])
        close(cell.bias.grad, d["b_h"])
        close(readout.weight.grad, d["W_hy"].T)
        close(readout.bias.grad, d["b_y"])
        close(state.grad, d_h[None])
        adagrad.step()
        reference.update(d, 0.1)
        close(cell.h_to_gates, reference.weights["W_hh"])
        h, state = last, unrolled.detach(after).requires_grad_()
        close(state, h[None])


@engines
def test_lstm_equals_the_batched_lstm(engine: str) -> None:
    T, B, D, H = 7, 3, 5, 4
    draw = np.random.default_rng(2)
    w = BATCHED["Weights"](
        draw.normal(size=(D, 4 * H)), draw.normal(size=(H, 4 * H)), draw.normal(size=4 * H)
    )
    x, h, c = draw.normal(size=(T, B, D)), draw.normal(size=(B, H)), draw.normal(size=(B, H))
    d_y, d_h, d_c = draw.normal(size=(T, B, H)), draw.normal(size=(B, H)), draw.normal(size=(B, H))
    y, c_last, tape = BATCHED["forward"](x, h, c, w)
    d_x, d_h_first, d_c_first, d_w = BATCHED["backward"](d_y, d_h, d_c, tape, w)

    cell = unrolled.LSTM(D, H).double()
    with torch.no_grad():
        for ours, theirs in zip((cell.x_to_gates, cell.h_to_gates, cell.bias), w, strict=True):
            ours.copy_(torch.tensor(theirs))
    x_, h_, c_ = (torch.tensor(part, requires_grad=True) for part in (x, h, c))
    ours_y, ours_last = unrolled.unroll(cell, x_, unrolled.LSTMState(h_, c_), engine=engine)
    torch.autograd.backward([ours_y, *ours_last], [torch.tensor(part) for part in (d_y, d_h, d_c)])

    close(ours_y, y)
    close(ours_last.h, y[-1])
    close(ours_last.c, c_last)
    for ours, theirs in ((x_, d_x), (h_, d_h_first), (c_, d_c_first)):
        close(ours.grad, theirs)
    for ours, theirs in zip((cell.x_to_gates, cell.h_to_gates, cell.bias), d_w, strict=True):
        close(ours.grad, theirs)


@pytest.mark.parametrize("name", ["W_xh", "W_hh", "b_h", "W_hy", "b_y"])
def test_the_vanilla_rnns_gradient_is_its_slope(name: str) -> None:
    net = VANILLA["VanillaRNN"](vocabulary=5, hidden=3, seed=3)
    draw = np.random.default_rng(4)
    (ids, targets), h = draw.integers(0, 5, size=(2, 6)), draw.normal(size=3)
    gradient = net.backward(ids, targets, h)[0][name]
    weight, towards = net.weights[name], draw.normal(size=gradient.shape)
    net.weights[name] = weight + 1e-6 * towards
    above = net.loss(ids, targets, h)
    net.weights[name] = weight - 1e-6 * towards
    slope = (above - net.loss(ids, targets, h)) / 2e-6
    assert (gradient * towards).sum() == pytest.approx(slope, rel=1e-7)
