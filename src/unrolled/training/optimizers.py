"""PyTorch's optimizers from settings, and their state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from unrolled.errors import DamagedError
from unrolled.net import Net
from unrolled.settings import TrainingSettings

SLOTS = {
    "sgd": 0,
    "nesterov": 0,
    "adagrad": 1,
    "rmsprop": 1,
    "adam": 2,
    "adamw": 2,
    "adadelta": 2,
    "adamax": 2,
}
"""How many numbers each optimizer keeps for each weight (one more with momentum)."""


def kept_names(settings: TrainingSettings) -> tuple[str, ...]:
    """Return what PyTorch's optimizer calls the numbers that it keeps for each weight."""
    names = {
        "adagrad": ("step", "sum"),
        "rmsprop": ("step", "square_avg"),
        "adadelta": ("step", "square_avg", "acc_delta"),
        "adamax": ("step", "exp_avg", "exp_inf"),
        **dict.fromkeys(("adam", "adamw"), ("step", "exp_avg", "exp_avg_sq")),
    }.get(settings.optimizer, ())
    momentum = settings.momentum and settings.optimizer in ("sgd", "nesterov", "rmsprop")
    return (*names, "momentum_buffer") if momentum else names


def make_optimizer(settings: TrainingSettings, net: nn.Module) -> Optimizer:
    """Return the optimizer that the settings name, over all parameters of ``net``."""
    parameters = _groups(net, settings.weight_decay)
    lr, decay, eps = settings.lr, settings.weight_decay, settings.epsilon
    betas = (settings.beta1, settings.beta2)
    fused = all(p.device.type == "cpu" for p in net.parameters())
    optim = torch.optim
    match settings.optimizer:
        case "sgd" | "nesterov" as rule:
            return optim.SGD(
                parameters,
                lr,
                momentum=settings.momentum,
                weight_decay=decay,
                nesterov=rule == "nesterov",
                fused=fused,
            )
        case "adagrad":
            return optim.Adagrad(parameters, lr, weight_decay=decay, eps=eps, fused=fused)
        case "rmsprop":
            alpha, momentum = settings.decay_rate, settings.momentum
            return optim.RMSprop(parameters, lr, alpha=alpha, eps=eps, weight_decay=decay, momentum=momentum)
        case "adam":
            return optim.Adam(parameters, lr, betas=betas, eps=eps, weight_decay=decay, fused=fused)
        case "adamw":
            return optim.AdamW(parameters, lr, betas=betas, eps=eps, weight_decay=decay, fused=fused)
        case "adadelta":
            return optim.Adadelta(parameters, lr, rho=settings.decay_rate, eps=eps, weight_decay=decay)
        case "adamax":
            return optim.Adamax(parameters, lr, betas=betas, eps=eps, weight_decay=decay)


def _groups(net: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Return the parameters in groups of one scale of learning rate and weight decay."""
    scales = net.scales() if isinstance(net, Net) else {}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(scales.get(name, (1.0, 1.0)), []).append(parameter)
    return [
        {"params": parameters, "scale": scale, "weight_decay": decay * decay_scale}
        for (scale, decay_scale), parameters in groups.items()
    ]


def optimizer_tensors(optimizer: Optimizer, net: nn.Module) -> dict[str, Tensor]:
    """Return the optimizer's state as tensors, named ``<parameter>/<what>``."""
    found = {}
    for name, parameter in net.named_parameters():
        for what, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                found[f"{name}/{what}"] = value
    return found


def restore_optimizer(optimizer: Optimizer, net: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a new optimizer the state that ``optimizer_tensors`` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    order = {id(p): n for n, p in enumerate(p for group in optimizer.param_groups for p in group["params"])}
    index = {name: order[id(p)] for name, p in net.named_parameters() if id(p) in order}
    for key, value in tensors.items():
        name, _, what = key.rpartition("/")
        if name not in index:
            raise DamagedError(
                f"the checkpoint holds optimizer state of a weight '{name}' that the net lacks"
            )
        state.setdefault(index[name], {})[what] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
