"""A checkpoint: a directory that is committed by one rename, and believed only if every hash holds.

Nothing in it is a pickle; tensors are safetensors, the rest is JSON.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from unrolled.errors import DamagedError, LoadError, NewerFormatError
from unrolled.runs.files import make_directory, sha256, sync_directory, write_synced

FORMAT = 1
MODEL, CONFIG = "model.safetensors", "config.json"
STATE_TENSORS, STATE = "state.safetensors", "state.json"
MANIFEST, CARD = "manifest.json", "README.md"

Tensors = dict[str, Tensor]
Json = dict[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: the model, and everything that training needs to go on."""

    model: Tensors
    """Weights by name."""
    config: Json
    """Spec, vocab and versions: what is needed to use the model."""
    state_tensors: Tensors
    """Optimizer, lane states and random states by name."""
    state: Json
    """Cursor, schedule, best so far, counters."""
    card: str = ""
    """The model card, Markdown for people; it is not hashed."""


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Commit a checkpoint as ``folder``: all of it, on the disk, or nothing.

    OSError leaves no trace.
    """
    files = {
        MODEL: _tensor_bytes(checkpoint.model),
        CONFIG: _json_bytes({"format": FORMAT, **checkpoint.config}),
        STATE_TENSORS: _tensor_bytes(checkpoint.state_tensors),
        STATE: _json_bytes(checkpoint.state),
    }
    files[MANIFEST] = _json_bytes({name: sha256(data) for name, data in files.items()})
    files[CARD] = checkpoint.card.encode()
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    renamed = False
    try:
        make_directory(temporary)
        for name, data in files.items():
            write_synced(temporary / name, data)
        sync_directory(temporary)
        temporary.rename(folder)
        renamed = True
        sync_directory(folder.parent)
    except BaseException:
        if renamed:
            with suppress(OSError):
                folder.rename(temporary)
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read_model(folder: Path) -> tuple[Tensors, Json]:
    """Return the weights and the config of a checkpoint whose hashes hold.

    LoadError if this is no checkpoint, DamagedError if a file changed, NewerFormatError if it was written
    by a later version.
    """
    manifest = _manifest(folder)
    config = _json(folder / CONFIG, _hashed(folder, CONFIG, manifest))
    found = config.get("format")
    if not isinstance(found, int) or found > FORMAT:
        raise NewerFormatError(
            f"{folder} has the format {found!r}, this version of Unrolled reads up to {FORMAT}; "
            "install a newer one"
        )
    return _tensors(folder / MODEL, _hashed(folder, MODEL, manifest)), config


def read_state(folder: Path) -> tuple[Tensors, Json]:
    """Return what training needs to go on; errors as for ``read_model``."""
    manifest = _manifest(folder)
    state = _json(folder / STATE, _hashed(folder, STATE, manifest))
    return _tensors(folder / STATE_TENSORS, _hashed(folder, STATE_TENSORS, manifest)), state


def read_checkpoint(folder: Path) -> Checkpoint:
    """Return all of a checkpoint; errors as for ``read_model``."""
    model, config = read_model(folder)
    state_tensors, state = read_state(folder)
    return Checkpoint(model, config, state_tensors, state)


def committed(folder: Path) -> list[int]:
    """Return the updates whose checkpoints are committed in a folder, the newest first."""
    if not folder.is_dir():
        return []
    names = (entry.name for entry in folder.iterdir() if entry.is_dir())
    return sorted((int(name) for name in names if re.fullmatch(r"0|[1-9][0-9]{0,17}", name)), reverse=True)


def is_checkpoint(folder: Path) -> bool:
    """Tell whether a directory looks like a checkpoint."""
    return (folder / MANIFEST).is_file() or (folder / CONFIG).is_file()


def _tensor_bytes(tensors: Tensors) -> bytes:
    """Return tensors as safetensors; what shares storage is written twice."""
    separate, seen = {}, set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        if plain.untyped_storage().data_ptr() in seen:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        separate[name] = plain
    return safetensors.torch.save(separate)


def _json_bytes(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, ensure_ascii=True, allow_nan=False) + "\n").encode()


def _manifest(folder: Path) -> Json:
    return _json(folder / MANIFEST, _read(folder / MANIFEST))


def _read(path: Path) -> bytes:
    if not path.is_file() or path.is_symlink():
        raise DamagedError(f"{path} is missing, or is no regular file")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DamagedError(f"{path} is missing") from error
    except OSError as error:
        raise LoadError(f"{path} can't be read: {error.strerror}") from error


def _hashed(folder: Path, name: str, manifest: Json) -> bytes:
    data = _read(folder / name)
    if sha256(data) != manifest.get(name):
        raise DamagedError(f"{folder / name} is damaged: its bytes are not those that were written")
    return data


def _json(path: Path, data: bytes) -> Json:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: it is not JSON") from error
    if not isinstance(value, dict):
        raise DamagedError(f"{path} is damaged: it holds no table")
    return value


def _tensors(path: Path, data: bytes) -> Tensors:
    try:
        return safetensors.torch.load(data)
    except (SafetensorError, ValueError, RuntimeError, KeyError) as error:
        raise DamagedError(f"{path} is damaged: {error}") from error
