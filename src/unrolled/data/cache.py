"""The cache: encoded texts by what is in them, and what is known about files, in one private folder.

::

    <cache>/texts/<key>/{ids.bin, starts.bin, entry.json}   an encoded text; entry.json says what is right
    <cache>/files/<key>.json                                 (path, size, times, inode, samples) → a scan
    <cache>/catalog/…                                        texts that the catalog wrote out

An entry is written under a temporary name, synced, and renamed: it is whole or absent. One that is
damaged is built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unrolled.errors import TextError

SAMPLES, SAMPLE = 16, 64 << 10
"""How many blocks of a file are looked at to recognise it, and their bytes."""

_STALE_SECONDS = 24 * 3600


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Return the cache's folder: the first of these that is set.

    ``cache_dir``, $UNROLLED_CACHE, $XDG_CACHE_HOME/unrolled, ~/.cache/unrolled.
    """
    if cache_dir is not None:
        return Path(cache_dir).absolute()
    if own := os.environ.get("UNROLLED_CACHE"):
        return Path(own).expanduser().absolute()
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(xdg) if Path(xdg).is_absolute() else Path.home() / ".cache") / "unrolled"
    except RuntimeError:
        raise TextError("There is no home folder for the cache. Set UNROLLED_CACHE to a folder.") from None


def writable(folder: Path, part: str) -> Path:
    """Return the folder ``part`` of the cache, made with mode 0700 where it's missing."""
    try:
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        (folder / part).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from None
    return folder / part


def unwritable(folder: Path, error: OSError) -> TextError:
    """Return the error for a cache that takes no more files."""
    return TextError(
        f"The cache must be writable, but writing to {str(folder)!r} failed: {error.strerror or error}."
        " Free some space there, or set UNROLLED_CACHE to another folder."
    )


def write_text(path: Path, text: str | bytes) -> None:
    """Write a small file whole or not at all, by way of a temporary name beside it."""
    data = text.encode("utf-8") if isinstance(text, str) else text
    handle, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_record(path: Path) -> dict[str, Any] | None:
    """Read what ``write_record`` wrote; None if it's missing or not as it was written."""
    try:
        sealed = json.loads(path.read_bytes())
        record = sealed["record"]
        return record if isinstance(record, dict) and sealed["sha256"] == _seal(record) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON, with its own SHA-256."""
    write_text(path, json.dumps({"record": record, "sha256": _seal(record)}))


def build_folder(path: Path, build: Callable[[Path], None]) -> None:
    """Have ``build`` fill a folder under a temporary name, then put it at ``path`` in one rename.

    If another process got there first, its folder is put aside: both hold the same.
    """
    sweep(path.parent)
    work = Path(tempfile.mkdtemp(prefix=".tmp-", dir=path.parent))
    try:
        build(work)
        for file in [*work.iterdir(), work]:
            _sync(file)
        _replace(work, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what a killed process left behind a day ago or more."""
    for left in folder.glob(".tmp-*"):
        try:
            old = time.time() - left.stat().st_mtime > _STALE_SECONDS
        except OSError:
            continue
        if old and left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        elif old:
            left.unlink(missing_ok=True)


def sample(path: Path) -> str:
    """Return the size of a file and the SHA-256 of blocks spread evenly over it (of all of a small one)."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= SAMPLES * SAMPLE:
            digest.update(file.read())
        else:
            for index in range(SAMPLES):
                file.seek((size - SAMPLE) * index // (SAMPLES - 1))
                digest.update(file.read(SAMPLE))
    return f"{size}-{digest.hexdigest()}"


def key_of(*parts: Any) -> str:
    """Return a short name for the values ``parts``, for a file in the cache."""
    return hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()[:32]


def _seal(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode("ascii")).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace(work: Path, path: Path) -> None:
    aside = Path(tempfile.mkdtemp(prefix=".tmp-", dir=path.parent))
    try:
        if path.is_file():
            path.unlink()
        with contextlib.suppress(FileNotFoundError):
            path.rename(aside)
        work.rename(path)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
