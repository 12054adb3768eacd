"""A checkpoint: a directory that is committed by one rename, and believed only if every hash holds.

Nothing in it is a pickle; tensors are safetensors, the rest is JSON.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from unrolled.errors import DamagedError, NewerFormatError
from unrolled.runs.files import (
    is_directory,
    is_regular,
    make_directory,
    read_regular,
    remove,
    sha256,
    sync_directory,
    write_synced,
)
from unrolled.runs.tables import MOST_BYTES, Json, read_table, table_bytes
from unrolled.runs.tensors import Tensors, read_bytes, read_tensors, tensor_bytes

FORMAT = 1
MODEL, CONFIG = "model.safetensors", "config.json"
STATE_TENSORS, STATE = "state.safetensors", "state.json"
MANIFEST, CARD = "manifest.json", "README.md"

UPDATE = re.compile(r"0|[1-9][0-9]{0,17}")
"""What a committed checkpoint's directory is called."""
MOST_MANIFEST = 1 << 16


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


@dataclass(frozen=True)
class Mark:
    """Which update of which run a checkpoint is, so that none is taken for another."""

    update: int
    run: str | None = None
    """None where nobody knows."""


def write_checkpoint(folder: Path, checkpoint: Checkpoint, mark: Mark | None = None) -> None:
    """Commit a checkpoint as ``folder``: all of it, on the disk, or nothing.

    OSError leaves no trace.
    """
    files = {
        MODEL: tensor_bytes(checkpoint.model),
        CONFIG: table_bytes({"format": FORMAT, **checkpoint.config}, CONFIG),
        STATE_TENSORS: tensor_bytes(checkpoint.state_tensors),
        STATE: table_bytes(checkpoint.state, STATE),
    }
    known = {key: value for key, value in vars(mark).items() if value is not None} if mark else {}
    hashes = {name: sha256(data) for name, data in files.items()}
    files[MANIFEST] = table_bytes({**hashes, **known}, MANIFEST)
    files[CARD] = checkpoint.card.encode(errors="backslashreplace")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    remove(temporary)
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
        remove(temporary)
        raise


def read_model(folder: Path) -> tuple[Tensors, Json]:
    """Return the weights and the config of a checkpoint whose hashes hold.

    LoadError if this is no checkpoint, DamagedError if a file changed, NewerFormatError if it was written
    by a later version.
    """
    manifest = _manifest(folder)
    config = _table(folder, CONFIG, manifest)
    found = config.get("format")
    if type(found) is not int or found < 1:
        raise DamagedError(f"{folder / CONFIG} is damaged: its format is {str(found)[:40]!r}, not {FORMAT}")
    if found > FORMAT:
        raise NewerFormatError(
            f"{folder} has the format {found!r}, this version of Unrolled reads up to {FORMAT}; "
            "install a newer one"
        )
    return _tensors(folder, MODEL, manifest), config


def read_state(folder: Path) -> tuple[Tensors, Json]:
    """Return what training needs to go on; errors as for ``read_model``."""
    manifest = _manifest(folder)
    state = _table(folder, STATE, manifest)
    return _tensors(folder, STATE_TENSORS, manifest), state


def check_mark(folder: Path, mark: Mark) -> None:
    """Raise DamagedError if a checkpoint says that it is of another update, or of another run."""
    manifest = _manifest(folder)
    update, run = manifest.get("update", mark.update), manifest.get("run", mark.run)
    if type(update) is not int or update != mark.update:
        raise DamagedError(f"{folder / MANIFEST} is of update {repr(update)[:20]}, not of {mark.update}")
    if mark.run is not None and run != mark.run:
        raise DamagedError(f"{folder / MANIFEST} is of another run than config.toml")


def read_state_table(folder: Path) -> Json:
    """Return what training needs to go on without its tensors; errors as for ``read_model``."""
    return _table(folder, STATE, _manifest(folder))


def read_checkpoint(folder: Path) -> Checkpoint:
    """Return all of a checkpoint; errors as for ``read_model``."""
    model, config = read_model(folder)
    state_tensors, state = read_state(folder)
    return Checkpoint(model, config, state_tensors, state)


def committed(folder: Path) -> list[int]:
    """Return the updates whose checkpoints are committed in a folder, the newest first."""
    try:
        names = [entry.name for entry in folder.iterdir() if is_directory(entry)]
    except (OSError, ValueError):
        return []
    return sorted((int(name) for name in names if UPDATE.fullmatch(name)), reverse=True)


def is_checkpoint(folder: Path) -> bool:
    """Tell whether a directory looks like a checkpoint."""
    return is_regular(folder / MANIFEST) or is_regular(folder / CONFIG)


def _manifest(folder: Path) -> Json:
    return read_table(folder / MANIFEST, read_regular(folder / MANIFEST, MOST_MANIFEST))


def _table(folder: Path, name: str, manifest: Json) -> Json:
    return read_table(
        folder / name, _hashed(folder / name, read_regular(folder / name, MOST_BYTES), manifest)
    )


def _tensors(folder: Path, name: str, manifest: Json) -> Tensors:
    return read_tensors(folder / name, _hashed(folder / name, read_bytes(folder / name), manifest))


def _hashed(path: Path, data: bytes, manifest: Json) -> bytes:
    if sha256(data) != manifest.get(path.name):
        raise DamagedError(f"{path} is damaged: its bytes are not those that {MANIFEST} remembers")
    return data
