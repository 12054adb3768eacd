"""The first values of a single parameter, as a spec may give them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unrolled.errors import NetError
from unrolled.net.layers.base import is_number
from unrolled.net.params import params_of
from unrolled.net.sharing import gates_of, parameter_of
from unrolled.net.spec import Layer, Param

if TYPE_CHECKING:
    from unrolled.net.module import Net

RULES = {
    "constant": ("value",),
    "uniform": ("low", "high"),
    "gaussian": ("mean", "std"),
    "uniform-fan-in": ("low", "high"),
    "gaussian-fan-in": ("mean", "std"),
    "uniform-fan-in-out": ("low", "high"),
    "xavier": ("variance",),
    "msra": ("variance",),
}
DEFAULTS = {"value": 0.0, "low": -1.0, "high": 1.0, "mean": 0.0, "std": 1.0}


def fill_params(net: Net) -> None:
    """Give every parameter that its spec gives a beginning that beginning, from torch's generator."""
    with torch.no_grad():
        for layer in net.wiring.spec:
            for param in params_of(layer, net.own_cells) if layer.params else ():
                if param.init is not None and not param.share_from:
                    fill(_place(net, layer, param), param.init, layer)


def fill(tensor: Tensor, init: Mapping[str, Any], layer: Layer) -> None:
    """Fill ``tensor`` [inputs, outputs] or [outputs] in place; NetError for a rule that makes no sense.

    ``constant`` value; ``uniform`` low, high; ``gaussian`` mean, std; ``uniform-fan-in`` and
    ``gaussian-fan-in`` the same divided by the square root of the inputs, ``uniform-fan-in-out`` by that of
    (inputs + outputs) / 6 (SINGA's rules); ``xavier`` uniform within sqrt(3 / n), ``msra`` gaussian with
    deviation sqrt(2 / n), n the inputs, or with ``variance`` "out" or "average" the outputs or the mean.
    """
    rule = init.get("type")
    if not isinstance(rule, str) or rule not in RULES:
        raise NetError(
            f"layer '{layer.name}': there is no init '{rule}'; known are {', '.join(RULES)}",
            layer.name,
            "params",
        )
    numbers = {name: init.get(name, default) for name, default in DEFAULTS.items()}
    for name in init:
        if name != "type" and (name not in RULES[rule] or (name in numbers and not is_number(numbers[name]))):
            raise NetError(
                f"layer '{layer.name}': init '{rule}' takes {', '.join(RULES[rule])} as numbers, "
                f"came {name} = {init[name]!r}",
                layer.name,
                "params",
            )
    fan_in = tensor.shape[0] if tensor.dim() > 1 else tensor.numel()
    fan_out = tensor.shape[-1]
    try:
        _draw(tensor, rule, numbers, init, (fan_in, fan_out))
    except (KeyError, RuntimeError, TypeError) as error:
        told = ", ".join(f"{key} = {value!r}" for key, value in init.items())
        raise NetError(
            f"layer '{layer.name}': nothing can be drawn by the init {told}", layer.name, "params"
        ) from error


def _draw(
    tensor: Tensor, rule: str, numbers: Mapping[str, float], init: Mapping[str, Any], fans: tuple[int, int]
) -> None:
    fan_in, fan_out = fans
    if rule == "constant":
        tensor.fill_(numbers["value"])
    elif rule.startswith("uniform"):
        tensor.uniform_(numbers["low"], numbers["high"])
    elif rule.startswith("gaussian"):
        tensor.normal_(numbers["mean"], numbers["std"])
    else:
        n = {"in": fan_in, "out": fan_out, "average": (fan_in + fan_out) / 2}[init.get("variance", "in")]
        if rule == "xavier":
            tensor.uniform_(-math.sqrt(3 / n), math.sqrt(3 / n))
        else:
            tensor.normal_(0, math.sqrt(2 / n))
    if rule.endswith("fan-in"):
        tensor.div_(math.sqrt(fan_in))
    elif rule.endswith("fan-in-out"):
        tensor.div_(math.sqrt((fan_in + fan_out) / 6))


def _place(net: Net, layer: Layer, param: Param) -> Tensor:
    """Return a parameter, or the part of it that belongs to one gate."""
    module = net.layers[layer.name]
    whole = parameter_of(module, param.role)
    if param.gate is None:
        return whole
    gates = gates_of(module, param.role)
    return whole.chunk(len(gates), dim=-1)[gates.index(param.gate)]
