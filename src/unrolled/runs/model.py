"""From a checkpoint to a net, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.data import Field, Vocab
from unrolled.errors import DamagedError, LoadError, OwnCellError, UnrolledError
from unrolled.net import Net, Spec
from unrolled.runs.checkpoint import committed, is_checkpoint, read_model

T = TypeVar("T")
Say = Callable[[str], None]


def model_config(net: Net) -> dict[str, Any]:
    """Return what ``config.json`` says of a net."""
    return {
        "unrolled": _version(),
        "vocab": net.vocab.to_dict() if net.vocab else None,
        "fields": [field.to_dict() for field in net.fields],
        "boundary": net.boundary,
        "dtype": str(next(net.parameters()).dtype).removeprefix("torch."),
        **net.spec.to_dict(),
    }


def load_checkpoint(path: Path, cells: Mapping[str, type[Cell]] | None, say: Say) -> Net:
    """Return the net of a run's newest usable checkpoint, or of the checkpoint at ``path``."""
    if is_checkpoint(path):
        return build_net(path, *_named(path), cells)
    folder, (weights, config) = newest_usable(path, read_model, say)
    return build_net(folder, weights, config, cells)


def _named(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what the checkpoint at ``path`` holds; anew where another came in its place meanwhile."""
    while True:
        folder = path.resolve() if path.is_symlink() else path
        before = _identity(folder)
        try:
            return read_model(folder)
        except LoadError as error:
            if _identity(folder) == before and before is not None:
                raise
            if not path.exists():
                raise LoadError(
                    f"{path} was dropped while it was read: a training keeps the newest two and the best. "
                    "Name the run, for its newest"
                ) from error


def newest_usable(run: Path, read: Callable[[Path], T], say: Say) -> tuple[Path, T]:
    """Return the newest checkpoint that ``read`` accepts; each damaged one is told to ``say``.

    One that a training drops or replaces while it is read is no damage: then the newest are read anew.
    """
    passed: list[str] = []
    updates = committed(run / "checkpoints")
    while updates:
        folder = run / "checkpoints" / str(updates.pop(0))
        before = _identity(folder)
        try:
            found = read(folder)
        except LoadError as error:
            if before is None or _identity(folder) != before:
                passed, updates = [], committed(run / "checkpoints")
                continue
            if not isinstance(error, DamagedError):
                raise
            passed.append(str(error))
            continue
        for message in passed:
            say(f"{message}; using checkpoint {folder.name} instead")
        return folder, found
    if passed:
        raise DamagedError(f"no checkpoint in {run} is usable: " + "; ".join(passed))
    if not run.exists():
        raise LoadError(f"there is no run or checkpoint at {run}")
    raise LoadError(f"{run} holds no checkpoint; it was stopped before its first, or is no run")


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return what tells a directory from another one of the same name; None where there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def build_net(
    folder: Path,
    weights: Mapping[str, Tensor],
    config: Mapping[str, Any],
    cells: Mapping[str, type[Cell]] | None,
) -> Net:
    """Return a net with these weights, in evaluation mode; LoadError if the weights don't fit its spec."""
    try:
        vocab = Vocab.from_dict(config["vocab"]) if config["vocab"] is not None else None
        dtype, boundary = DTYPES[config["dtype"]], config["boundary"]
        fields = tuple(Field.from_dict(field) for field in config.get("fields", ()))
    except (KeyError, TypeError) as error:
        raise DamagedError(f"{folder}/config.json is incomplete: {error!r}") from error
    try:
        spec = Spec.from_dict(config)
        with torch.device("meta"):
            empty = Net(spec, vocab, cells)
        _check_weights(folder, empty, weights, dtype)
        with torch.random.fork_rng(devices=[]):
            net = Net(spec, vocab, cells).to(dtype)
    except (OwnCellError, LoadError):
        raise
    except BUILD_ERRORS as error:
        raise LoadError(f"{folder}/config.json describes no net that can be built: {_line(error)}") from error
    net.boundary, net.fields = boundary, fields
    net.load_weights(weights)
    return net.eval()


BUILD_ERRORS = (
    UnrolledError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


DTYPES = {"float32": torch.float32, "float64": torch.float64}


def _check_weights(folder: Path, net: Net, weights: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in net.weights().items()}
    came = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in [*wanted, *came]:
        if wanted.get(name) != came.get(name):
            raise LoadError(
                f"{folder}/model.safetensors doesn't fit its config: {name} should be "
                f"{wanted.get(name, 'absent')}, is {came.get(name, 'absent')}"
            )
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise LoadError(f"{folder}/model.safetensors: {name} holds a NaN or an infinity")
        if tensor.is_floating_point() and tensor.dtype != dtype:
            raise LoadError(f"{folder}/model.safetensors: {name} is {tensor.dtype}, the config says {dtype}")


def _version() -> str:
    from unrolled import __version__

    return __version__
