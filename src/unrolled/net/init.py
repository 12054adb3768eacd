"""How a net's weights begin."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unrolled.cells import Cell, GatedCell, MinLSTM
from unrolled.net.fill import fill_params
from unrolled.net.module import Net

RULES = ("default", "uniform", "xavier", "orthogonal")


def initialise(
    net: Net, rule: str = "default", scale: float = 0.08, forget_bias: float | None = None
) -> None:
    """Draw all weights anew from torch's global generator.

    ``default`` keeps what each layer drew for itself (uniform within 1/sqrt of its inputs or units).
    ``uniform`` draws every parameter within ±scale. ``xavier`` (Glorot and Bengio 2010) draws matrices
    gate by gate with variance 2 / (inputs + outputs) and zeroes biases; ``orthogonal`` (Saxe et al. 2014)
    does so too, with orthogonal matrices from state to gates. ``forget_bias`` then sets the bias of
    every gate called f (Jozefowicz et al. 2015). At last come the values that the spec itself gives.
    """
    with torch.no_grad():
        if rule == "uniform":
            for parameter in net.parameters():
                if parameter.requires_grad:
                    parameter.uniform_(-scale, scale)
        elif rule != "default":
            for module in net.layers.named().values():
                _draw(module, orthogonal=rule == "orthogonal")
        if forget_bias is not None:
            for cell in net.cells.values():
                bias = _forget_bias(cell)
                if bias is not None:
                    bias.fill_(forget_bias)
    fill_params(net)


def _draw(module: nn.Module, orthogonal: bool) -> None:
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.dim() < 2:
            if "bias" in name.rpartition(".")[2]:
                parameter.zero_()
            continue
        recurrent = isinstance(module, GatedCell) and parameter is module.h_to_gates
        for block in _gates_of(module, parameter):
            if recurrent and orthogonal:
                block.copy_(nn.init.orthogonal_(torch.empty_like(block)))
            else:
                nn.init.xavier_uniform_(block)


def _gates_of(module: nn.Module, parameter: Tensor) -> tuple[Tensor, ...]:
    if isinstance(module, GatedCell):
        return parameter.chunk(len(module.gates), dim=-1)
    return (parameter,)


def _forget_bias(cell: Cell) -> Tensor | None:
    if isinstance(cell, MinLSTM):
        return cell.x_to_f.bias
    if not isinstance(cell, GatedCell) or "f" not in cell.gates:
        return None
    return cell.bias.chunk(len(cell.gates), dim=-1)[cell.gates.index("f")]
