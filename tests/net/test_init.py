from __future__ import annotations

import pytest
import torch

import unrolled
from unrolled.cells import GatedCell
from unrolled.net import Chain, Net, chain, initialise

V, H = 9, 40


def drawn(cell: str, rule: str, seed: int = 0, **more: float) -> Net:
    net = Net(chain(Chain(V, cell=cell, layers=2, hidden=H, embedding=6)))
    torch.manual_seed(seed)
    initialise(net, rule, **more)
    return net


def gates(net: Net, name: str) -> tuple[torch.Tensor, ...]:
    cell = net.cells[name]
    assert isinstance(cell, GatedCell)
    return cell.h_to_gates.chunk(len(cell.gates), dim=-1)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_uniform_draws_every_parameter_within_the_scale(cell: str) -> None:
    net = drawn(cell, "uniform", scale=0.08)
    for name, parameter in net.named_parameters():
        assert 0.05 < parameter.abs().max() <= 0.08, name
        assert parameter.unique().numel() > parameter.numel() / 2, name
    matrix = net.cells[f"{cell}1"].h_to_gates  # type: ignore[union-attr]
    assert float(matrix.detach().std()) == pytest.approx(0.08 / 3**0.5, rel=0.1)  # type: ignore[union-attr,arg-type]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_orthogonal_makes_each_gates_matrix_orthogonal_and_biases_zero(cell: str) -> None:
    net = drawn(cell, "orthogonal")
    for layer in net.cells:
        blocks = gates(net, layer)
        for block in blocks:
            torch.testing.assert_close(block @ block.T, torch.eye(H), rtol=0, atol=1e-5)
        assert all(not torch.equal(blocks[0], other) for other in blocks[1:])
    assert all(not p.any() for p in net.parameters() if p.dim() < 2)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_xavier_has_glorots_variance_gate_by_gate(cell: str) -> None:
    net = drawn(cell, "xavier")
    for layer in net.cells:
        for block in gates(net, layer):
            assert float(block.detach().var()) == pytest.approx(2 / (H + H), rel=0.15)
    logits = net.layers["logits"].x_to_y
    assert float(logits.detach().var()) == pytest.approx(2 / (H + V), rel=0.3)
    assert all(not p.any() for p in net.parameters() if p.dim() < 2)


def test_default_keeps_what_each_layer_drew_for_itself() -> None:
    net = Net(chain(Chain(V, layers=1, hidden=H)))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    initialise(net, "default")
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("rule", ["default", "uniform", "xavier", "orthogonal"])
def test_the_forget_bias_sets_the_gates_called_f_and_nothing_else(rule: str) -> None:
    plain, set_to_one = drawn("lstm", rule), drawn("lstm", rule, forget_bias=1.0)
    for layer in plain.cells:
        bias = set_to_one.cells[layer].bias  # type: ignore[union-attr]
        assert torch.equal(bias[H : 2 * H], torch.ones(H))  # type: ignore[index]
        if rule != "default":
            before = plain.cells[layer].bias  # type: ignore[union-attr]
            rest = [i for i in range(4 * H) if not H <= i < 2 * H]
            assert torch.equal(bias[rest], before[rest])  # type: ignore[index]


def test_the_same_seed_draws_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (drawn("gru", "xavier", seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(not torch.equal(first[name], other[name]) for name in first if first[name].dim() > 1)


def test_what_is_no_matrix_and_no_bias_keeps_what_its_layer_gave_it() -> None:
    class Normed(unrolled.Cell):
        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__(input_size, hidden_size)
            self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)
            self.norm = torch.nn.LayerNorm(hidden_size)

    net = Net(chain(Chain(V, cell="Normed", layers=1, hidden=H)), cells={"Normed": Normed})
    initialise(net, "xavier")
    weights = net.state_dict()
    assert torch.equal(weights["layers.normed1.norm.weight"], torch.ones(H))
    assert not weights["layers.normed1.xh_to_h.bias"].any()
