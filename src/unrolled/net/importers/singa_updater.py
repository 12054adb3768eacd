"""SINGA's updater as Unrolled's training settings."""

from __future__ import annotations

from typing import Any

from unrolled.net.importers.schema import Record
from unrolled.net.importers.singa_fields import OPTIMIZERS

SMALLEST_GAMMA = 1e-300
"""Below it kInverse never leaves base_lr, and 1 / gamma is no number."""


def training_settings(updater: Record, notes: list[str]) -> dict[str, Any]:
    """Return the settings of training by name; what they can't follow is an error, or a line in ``notes``."""
    optimizer = OPTIMIZERS[updater["type"]]
    found: dict[str, Any] = {
        "optimizer": optimizer,
        "epsilon": updater["delta"],
        "weight_decay": updater["weight_decay"],
        **_rates_of_decay(updater, optimizer),
        **_momentum(updater, optimizer, notes),
        **_clipping(updater),
    }
    return found | _learning_rate(updater["learning_rate"], notes)


def _rates_of_decay(updater: Record, optimizer: str) -> dict[str, Any]:
    if optimizer in ("rmsprop", "adadelta"):
        conf = updater[f"{optimizer}_conf"]
        if conf["rho"] is None:
            raise updater.error(
                f"{updater['type']} wants {optimizer}_conf {{ rho: ... }}, and has none", "type"
            )
        return {"decay_rate": conf["rho"]}
    if optimizer in ("adam", "adamax"):
        conf = updater["adam_conf" if optimizer == "adam" else "adammax_conf"]
        return {name: conf[name] for name in ("beta1", "beta2") if conf[name] is not None}
    return {}


def _momentum(updater: Record, optimizer: str, notes: list[str]) -> dict[str, Any]:
    momentum = updater["momentum"]
    if optimizer == "nesterov" and not momentum:
        raise updater.error("kNesterov wants a momentum of more than 0, and has none", "type")
    if optimizer not in ("sgd", "nesterov"):
        if momentum:
            notes.append(f"momentum {momentum:g}: {updater['type']} has none in SINGA, and none here")
        return {"momentum": 0.0}
    if momentum and updater["learning_rate"]["type"] != "kFixed":
        notes.append(
            "momentum: the learning rate multiplies the sum of past gradients (PyTorch), not each as it "
            "comes (SINGA), which differs where the rate moves"
        )
    return {"momentum": momentum}


def _clipping(updater: Record) -> dict[str, Any]:
    low, high = updater["clip_low"], updater["clip_high"]
    if low != -high or high < 0:
        raise updater.error(
            f"gradients are clipped to ±clip_high, came {low:g} to {high:g}; write clip_low: {-abs(high):g}",
            "clip_low" if "clip_low" in updater else "clip_high",
        )
    return {"clip_value": high, "clip_norm": 0.0}


def _learning_rate(rate: Record, notes: list[str]) -> dict[str, Any]:
    found = {"lr": rate["base_lr"], "decay_unit": "update"}
    match rate["type"]:
        case "kFixed":
            return found | {"schedule": "constant"}
        case "kStep":
            conf = _conf(rate, "step_conf")
            return found | {
                "schedule": "step", "decay_factor": conf["gamma"], "decay_every": float(conf["change_freq"])
            }  # fmt: skip
        case "kFixedStep":
            return found | _fixed_step(_conf(rate, "fixedstep_conf"))
        case "kLinear":
            conf = _conf(rate, "linear_conf")
            notes.append(
                f"learning_rate kLinear: after {conf['change_freq']} updates it stays at "
                f"{conf['final_lr']:g}, where SINGA's line would go on"
            )
            return found | {
                "schedule": "linear", "final_lr": conf["final_lr"], "final_after": conf["change_freq"]
            }  # fmt: skip
        case "kExponential":
            every = float(_conf(rate, "exponential_conf")["change_freq"])
            return found | {"schedule": "exponential", "decay_factor": 0.5, "decay_every": every}
        case "kInverse":
            conf = _conf(rate, "inverse_conf")
            if conf["gamma"] < SMALLEST_GAMMA:
                return found | {"schedule": "constant"}
            return found | {
                "schedule": "inverse", "decay_every": 1 / conf["gamma"], "decay_power": conf["pow"]
            }  # fmt: skip
        case _:
            final = _conf(rate, "inverset_conf")["final_lr"]
            return found | {"schedule": "inverse", "decay_every": final, "decay_power": 1.0}


def _fixed_step(conf: Record) -> dict[str, Any]:
    steps, values = conf["step"], conf["step_lr"]
    if len(steps) != len(values) or not steps:
        raise conf.error(f"wanted a step_lr for each step, came {len(steps)} and {len(values)}")
    for index in range(1, len(steps)):
        if steps[index] <= steps[index - 1]:
            what = (
                f"step: each must be more than the one before, came {steps[index]} after {steps[index - 1]}"
            )
            raise conf.error(what, "step", index)
    return {"schedule": "fixed-step", "lr_steps": steps, "lr_values": values}


def _conf(rate: Record, name: str) -> Record:
    found = rate[name]
    if found is None:
        raise rate.error(f"{rate['type']} wants {name} {{ ... }}, and has none", "type")
    assert isinstance(found, Record)
    return found
