"""Weights in the layout of torch.nn.RNN, LSTM and GRU, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unrolled.errors import CellError

if TYPE_CHECKING:
    from unrolled.cells.gated import GatedCell

# torch's own order of gates, and those whose product with h has a bias that cannot be merged.
_GATES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "RNN_TANH": (("h",), ()),
    "RNN_RELU": (("h",), ()),
    "LSTM": (("i", "f", "g", "o"), ()),
    "GRU": (("r", "z", "n"), ("n",)),
}


def load(cell: GatedCell, module: nn.Module, layer: int, reverse: bool) -> None:
    """Copy one layer and direction of ``module`` into ``cell``: x_to_gates = w_ih.T, bias = b_ih + b_hh."""
    kind, name = _kind(module), type(cell).__name__
    if not has_torch_layout(cell) or kind != cell.torch_kind:
        wanted = (
            f"a torch.nn module of kind {cell.torch_kind}" if has_torch_layout(cell) else "no torch weights"
        )
        raise CellError(f"{name}.load_torch takes {wanted}, came {kind or type(module).__name__}")
    w_ih, w_hh, b_ih, b_hh = _weights_of(module, layer, reverse)
    wanted_shapes = [list(cell.x_to_gates.shape[::-1]), list(cell.h_to_gates.shape[::-1])]
    if [list(w_ih.shape), list(w_hh.shape)] != wanted_shapes:
        came = f"input_size={w_ih.shape[1]}, hidden_size={w_hh.shape[1]}"
        raise CellError(
            f"{name} has input_size={cell.input_size}, hidden_size={cell.hidden_size}; layer {layer} of the "
            f"torch.nn.{type(module).__name__} has {came}. Make {name}({came})"
        )
    H, split = cell.hidden_size, cell.split
    with torch.no_grad():
        cell.x_to_gates.copy_(w_ih.T)
        cell.h_to_gates.copy_(w_hh.T)
        if split and cell.h_bias is not None:
            cell.bias.copy_(torch.cat([(b_ih + b_hh)[: 2 * H], b_ih[2 * H :]]))
            cell.h_bias.copy_(b_hh[2 * H :])
        else:
            cell.bias.copy_(b_ih + b_hh)


def torch_weights(cell: GatedCell) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return w_ih [G·H, D], w_hh [G·H, H], b_ih and b_hh [G·H]; gradients reach the cell's parameters."""
    b_hh = torch.zeros_like(cell.bias, requires_grad=False)
    if cell.h_bias is not None:
        b_hh = torch.cat([b_hh[: -cell.h_bias.shape[0]], cell.h_bias])
    return cell.x_to_gates.T, cell.h_to_gates.T, cell.bias, b_hh


def has_torch_layout(cell: GatedCell) -> bool:
    """Tell whether the cell's gates are torch's, in torch's order."""
    return (cell.gates, cell.split) == _GATES.get(cell.torch_kind or "")


def _kind(module: nn.Module) -> str | None:
    if isinstance(module, nn.RNNBase):
        return str(module.mode)
    if isinstance(module, nn.RNNCell):
        return f"RNN_{module.nonlinearity.upper()}"
    if isinstance(module, nn.LSTMCell):
        return "LSTM"
    return "GRU" if isinstance(module, nn.GRUCell) else None


def _weights_of(module: nn.Module, layer: int, reverse: bool) -> list[Tensor]:
    suffix = ""
    if isinstance(module, nn.RNNBase):
        if not 0 <= layer < module.num_layers:
            raise CellError(
                f"the torch module has layers 0 to {module.num_layers - 1}, layer {layer} was asked for"
            )
        if module.proj_size:
            raise CellError("the torch module projects its state (proj_size); load one without")
        if reverse and not module.bidirectional:
            raise CellError("the torch module has no reverse direction; leave out reverse=True")
        suffix = f"_l{layer}" + ("_reverse" if reverse else "")
    elif layer or reverse:
        raise CellError(
            f"a torch.nn.{type(module).__name__} has one layer and direction; leave out layer and reverse"
        )
    weights = [module.get_parameter(f"weight_{side}{suffix}").detach() for side in ("ih", "hh")]
    if module.bias:
        return weights + [module.get_parameter(f"bias_{side}{suffix}").detach() for side in ("ih", "hh")]
    return weights + [weights[0].new_zeros(weights[0].shape[0])] * 2
