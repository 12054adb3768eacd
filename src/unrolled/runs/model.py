"""From a checkpoint to a net, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.data import Field, Vocab
from unrolled.errors import DamagedError, LoadError, OwnCellError, UnrolledError, UsageError, one_line
from unrolled.net import Net, Spec
from unrolled.net.check import phases_of
from unrolled.runs.checkpoint import UPDATE, Mark, check_mark, committed, is_checkpoint, read_model
from unrolled.runs.config import CONFIG, mark_of
from unrolled.runs.files import is_directory, is_regular

T = TypeVar("T")
Say = Callable[[str], None]


def model_config(net: Net) -> dict[str, Any]:
    """Return what ``config.json`` says of a net; UsageError for one that is too large to be stored."""
    if len(net.spec.layers) > MOST_LAYERS:
        raise UsageError(
            f"a net of at most {MOST_LAYERS:,} layers can be stored, this one has {len(net.spec.layers):,}"
        )
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
    folder, (weights, config) = newest_usable(path, read_model, say, mark_of(path))
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


def newest_usable(run: Path, read: Callable[[Path], T], say: Say, mark: str | None = None) -> tuple[Path, T]:
    """Return the newest checkpoint that ``read`` accepts; each damaged one is told to ``say``.

    So is one that is of another update than its name says, or of another run than ``mark``. One that a
    training drops or replaces while it is read is no damage: then the newest are read anew.
    """
    updates = committed(run / "checkpoints")
    passed = _missing(run, updates)
    while updates:
        update = updates.pop(0)
        folder = run / "checkpoints" / str(update)
        before = _identity(folder)
        try:
            check_mark(folder, Mark(update, mark))
            found = read(folder)
        except LoadError as error:
            if before is None or _identity(folder) != before:
                updates = committed(run / "checkpoints")
                passed = _missing(run, updates)
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
    if not _exists(run):
        raise LoadError(f"there is no run or checkpoint at {run}")
    place = run / "checkpoints" if is_regular(run / CONFIG) else run
    raise LoadError(f"{place} holds no checkpoint; it was stopped before its first, or is no run")


def _missing(run: Path, updates: list[int]) -> list[str]:
    """Tell of checkpoints after the newest that were here: no directories any more, or named by ``last``."""
    with suppress(OSError, ValueError):
        names = [entry.name for entry in (run / "checkpoints").iterdir()]
        with suppress(OSError):
            names.append((run / "last").readlink().name)
        known = {int(name) for name in names if UPDATE.fullmatch(name)}
        lost = sorted(
            (
                n
                for n in known
                if updates and n > updates[0] and not is_directory(run / "checkpoints" / str(n))
            ),
            reverse=True,
        )
        return [f"{run / 'checkpoints' / str(n)} is missing, or is no directory" for n in lost]
    return []


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


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
        head = _head(config)
        spec = _spec(config, weights)
        with torch.device("meta"):
            empty = Net(spec, head.vocab, cells)
        _check_weights(folder, empty, weights, head.dtype)
        with torch.random.fork_rng(devices=[]):
            net = Net(spec, head.vocab, cells).to(head.dtype)
    except (OwnCellError, MisfitError):
        raise
    except BUILD_ERRORS as error:
        raise LoadError(f"{folder}/config.json describes no net that can be built: {_line(error)}") from error
    except MemoryError as error:
        raise LoadError(f"{folder} holds a net that is too large for this machine's memory") from error
    net.boundary, net.fields = head.boundary, head.fields
    net.load_weights(weights)
    return net.eval()


class MisfitError(LoadError):
    """Weights that are not those of the net."""


class Head(NamedTuple):
    """What a config says beside the layers."""

    vocab: Vocab | None
    fields: tuple[Field, ...]
    boundary: str | None
    dtype: torch.dtype


def _head(config: Mapping[str, Any]) -> Head:
    """Return what a config says beside the layers; LoadError where it says nonsense."""
    for key in ("vocab", "boundary", "dtype", "layers"):
        if key not in config:
            raise LoadError(f"it has no {key}")
    fields, boundary, dtype = config.get("fields", []), config["boundary"], config["dtype"]
    if not isinstance(fields, list):
        raise LoadError(f"fields: wanted a list, came {_line(fields)}")
    if boundary is not None and (not isinstance(boundary, str) or not boundary):
        raise LoadError(f"boundary: wanted a text or nothing, came {_line(boundary)}")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise LoadError(f"dtype: wanted one of {', '.join(DTYPES)}, came {_line(dtype)}")
    vocab = None if config["vocab"] is None else Vocab.from_dict(config["vocab"])
    return Head(vocab, tuple(map(Field.from_dict, fields)), boundary, DTYPES[dtype])


def _spec(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Spec:
    """Return the net of a config; LoadError for one that is too large, or has not as many weights."""
    layers = config["layers"]
    if not isinstance(layers, list) or len(layers) > MOST_LAYERS:
        came = f"{len(layers):,}" if isinstance(layers, list) else _line(layers)
        raise LoadError(f"layers: wanted a list of at most {MOST_LAYERS:,}, came {came}")
    spec = Spec.from_dict(config)
    first = spec.in_phase(phases_of(spec)[0])
    own = sum(layer.type in WITH_WEIGHTS and not layer.params for layer in first)
    if own > len(weights):
        raise LoadError(f"{own:,} layers have weights of their own, the file has {len(weights):,}")
    return spec


MOST_LAYERS = 10_000
"""How many layers a stored net may have."""
WITH_WEIGHTS = ("linear", "embedding")
"""Layers that have weights of their own, unless they share them."""


BUILD_ERRORS = (
    UnrolledError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def _name(name: str) -> str:
    """Return a weight's name as one line that is not long, whatever a file calls it."""
    return name if name.isprintable() and len(name) <= 100 else repr(name[:100])


def _line(what: Any) -> str:
    return one_line(what, 200)


DTYPES = {"float32": torch.float32, "float64": torch.float64}


def _check_weights(folder: Path, net: Net, weights: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in net.weights().items()}
    came = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in [*wanted, *came]:
        if wanted.get(name) != came.get(name):
            raise MisfitError(
                f"{folder}/model.safetensors doesn't fit its config: {_name(name)} should be "
                f"{wanted.get(name, 'absent')}, is {came.get(name, 'absent')}"
            )
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise MisfitError(f"{folder}/model.safetensors: {_name(name)} holds a NaN or an infinity")
        if tensor.is_floating_point() and tensor.dtype != dtype:
            raise MisfitError(
                f"{folder}/model.safetensors: {_name(name)} is {tensor.dtype}, the config says {dtype}"
            )


def _version() -> str:
    from unrolled import __version__

    return __version__
