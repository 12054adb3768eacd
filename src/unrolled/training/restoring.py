"""From a checkpoint back to a training: everything is looked at before anything is believed or changed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor

from unrolled.cells import named_tensors
from unrolled.errors import DamagedError, UnrolledError
from unrolled.runs import Checkpoint, Run
from unrolled.runs.checkpoint import STATE, STATE_TENSORS
from unrolled.training.learner import LANES, OPTIMIZER, RANDOM, Learner, first_not_finite, under
from unrolled.training.optimizers import kept_names
from unrolled.training.session import EVENTS, Position

MOST = 2**62


def environment_of(folder: Path, state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what decided the bits so far; DamagedError where the state doesn't say."""
    found = state.get("environment")
    if not isinstance(found, dict):
        raise DamagedError(f"{folder / STATE} has no environment")
    return found


def position_of(
    folder: Path, state: Mapping[str, Any], per_epoch: int, possible: Collection[str] = EVENTS
) -> Position:
    """Return where a checkpoint stands; DamagedError where that is nowhere in such an epoch.

    ``possible`` are the events that such a training has, and so may be due.
    """
    told, kinds = state.get("position"), get_type_hints(Position)
    names = [field.name for field in fields(Position)]
    if not isinstance(told, dict) or set(told) != set(names):
        raise DamagedError(f"{folder / STATE} has no position that holds {', '.join(names)}")
    for name in names:
        if not _fits(told[name], kinds[name]):
            raise DamagedError(f"{folder / STATE}: {name} can't be {str(told[name])[:60]!r}")
    position = Position(**told)
    there = position.epoch * per_epoch + position.window
    if there != position.update or position.window >= per_epoch or str(position.update) != folder.name:
        raise DamagedError(
            f"{folder / STATE} says update {position.update}, epoch {position.epoch}, window "
            f"{position.window}; an epoch has {per_epoch} windows, and this should be update {folder.name}"
        )
    strange = next((event for event in position.due if event not in possible), None)
    if strange is not None:
        raise DamagedError(
            f"{folder / STATE}: due can't hold '{strange}': this training has nothing to {strange}"
        )
    return position


def check_journals(run: Run, folder: Path, state: Mapping[str, Any]) -> dict[str, int]:
    """Return to which sizes the journals are to be cut; DamagedError unless they still begin as they did."""
    sizes, hashes = state.get("journals"), state.get("journal_sha256", {})
    if not isinstance(sizes, dict) or not isinstance(hashes, dict):
        raise DamagedError(f"{folder / STATE} has no sizes of the journals")
    found = {name: sizes.get(name, 0) for name in run.journals}
    for name, journal in run.journals.items():
        if not _fits(found[name], int):
            raise DamagedError(f"{folder / STATE}: the size of {name} can't be {str(found[name])[:60]!r}")
        journal.check(found[name], hashes.get(name))
    return found


def restore(learner: Learner, folder: Path, checkpoint: Checkpoint, template: Any, update: int) -> None:
    """Give a learner back what it had; DamagedError where the tensors are not those of such a learner."""
    tensors, path = checkpoint.state_tensors, folder / STATE_TENSORS
    bad = first_not_finite(tensors.items())
    if bad is not None:
        raise DamagedError(f"{path}: {_name(bad)} holds a NaN or an infinity")
    _check_lanes(path, under(LANES, tensors), named_tensors(template))
    _check_optimizer(path, under(OPTIMIZER, tensors), learner, update)
    if not {"dropout", "torch"} <= set(under(RANDOM, tensors)):
        raise DamagedError(f"{path} lacks a random state")
    try:
        learner.restore(tensors, template)
    except (KeyError, RuntimeError, TypeError, ValueError, UnrolledError) as error:
        raise DamagedError(
            f"{path} holds no state of this training: {' '.join(str(error).split())[:200]}"
        ) from error


def _check_lanes(path: Path, came: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    for name in [*wanted, *came] if came else ():
        here, there = wanted.get(name), came.get(name)
        if here is None or there is None or here.shape != there.shape or here.dtype != there.dtype:
            raise DamagedError(
                f"{path}: the lanes' state {_name(name)} should be {_kind(here)}, is {_kind(there)}"
            )


def _check_optimizer(path: Path, came: Mapping[str, Tensor], learner: Learner, update: int) -> None:
    """Raise DamagedError unless each weight has all that its optimizer keeps for it, or nothing."""
    weights = {name: p for name, p in learner.net.named_parameters() if p.requires_grad}
    kept = kept_names(learner.settings)
    for key, tensor in came.items():
        name, _, what = key.rpartition("/")
        shape = None if name not in weights else weights[name].shape if what != "step" else torch.Size()
        fits = tensor.shape == shape and tensor.is_floating_point() and what in kept
        if not fits or any(f"{name}/{other}" not in came for other in kept):
            raise DamagedError(
                f"{path}: the optimizer has no state {_name(key)} of {_kind(tensor)}, or not it alone"
            )
        if what == "step" and not (0 <= float(tensor) <= update and float(tensor).is_integer()):
            raise DamagedError(f"{path}: {_name(key)} can't be {float(tensor):g} after {update} updates")


def _fits(value: Any, kind: Any) -> bool:
    """Tell whether a value of a state is what its field's type says, and none that no training has."""
    if value is None or isinstance(value, list):
        return (value is None and "None" in str(kind)) or (
            isinstance(value, list) and "list" in str(kind) and all(event in EVENTS for event in value)
        )
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if "float" in str(kind):
        return math.isfinite(value)
    return "int" in str(kind) and isinstance(value, int) and 0 <= value < MOST


def _kind(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"{list(tensor.shape)[:9]} of {tensor.dtype}"


def _name(name: str) -> str:
    return repr(name[:100])
