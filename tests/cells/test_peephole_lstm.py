"""The peephole LSTM against the equations of Gers, Schraudolph and Schmidhuber, in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import unrolled


def logistic(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def random_cell(seed: int) -> unrolled.PeepholeLSTM:
    torch.manual_seed(seed)
    cell = unrolled.PeepholeLSTM(5, 4).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_()
    return cell


def test_is_the_equations_of_the_paper_step_by_step() -> None:
    cell, T, B = random_cell(0), 6, 3
    x, h, c = (torch.randn(*shape, dtype=torch.float64) for shape in ((T, B, 5), (B, 4), (B, 4)))
    y, last = unrolled.unroll(cell, x, unrolled.LSTMState(h, c))

    p = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    W, U, b = (np.split(p[f"{name}_ifgo"], 4, axis=-1) for name in ("x_to", "h_to", "bias"))
    n_h, n_c = h.numpy(), c.numpy()
    for t in range(T):
        net = [x[t].numpy() @ W[k] + n_h @ U[k] + b[k] for k in range(4)]
        write, forget = logistic(net[0] + p["p_i"] * n_c), logistic(net[1] + p["p_f"] * n_c)
        n_c = forget * n_c + write * np.tanh(net[2])
        n_h = logistic(net[3] + p["p_o"] * n_c) * np.tanh(n_c)
        np.testing.assert_allclose(y[t].detach().numpy(), n_h, rtol=0, atol=1e-12)
    np.testing.assert_allclose(last.c.detach().numpy(), n_c, rtol=0, atol=1e-12)


def test_with_closed_peepholes_it_is_torchs_lstm() -> None:
    cell, twin = unrolled.PeepholeLSTM(5, 4).double(), torch.nn.LSTM(5, 4).double()
    plain = unrolled.LSTM(5, 4).double()
    plain.load_torch(twin)
    cell.load_state_dict({**plain.state_dict(), **{f"p_{gate}": torch.zeros(4) for gate in "ifo"}})
    x = torch.randn(6, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(unrolled.unroll(cell, x)[0], twin(x)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("gate", "ifo")
def test_each_peephole_looks_at_the_memory(gate: str) -> None:
    cell = random_cell(1)
    x, h, c = (torch.randn(*shape, dtype=torch.float64) for shape in ((3, 5), (3, 4), (3, 4)))
    y, _ = cell.step(x, unrolled.LSTMState(h, c))
    with torch.no_grad():
        cell.get_parameter(f"p_{gate}")[2] += 1
    changed, _ = cell.step(x, unrolled.LSTMState(h, c))
    assert ((changed - y).abs() > 1e-6).any(0).tolist() == [False, False, True, False]
