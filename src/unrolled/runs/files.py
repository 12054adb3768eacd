"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from unrolled.errors import DamagedError, LoadError

CLOSED = (
    os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)
"""How a file is opened that anybody may have made: links are not followed, and a pipe is not waited for."""


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def is_regular(path: Path) -> bool:
    """Tell whether a path is itself a regular file, and no link to one; what can't be asked is none."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Tell whether a path leads to a regular file; what can't be asked leads to none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_directory(path: Path) -> bool:
    """Tell whether a path leads to a directory; what can't be asked leads to none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def read_regular(
    path: Path, most: int | None = None, look: Callable[[BinaryIO, int], None] | None = None
) -> bytes:
    """Return the bytes of a regular file that is no link, without waiting for anybody.

    ``look`` may read its beginning first, given the file and its size, and refuse it. DamagedError if it is
    missing, something else, or of more than ``most`` bytes; LoadError where it can't be read.
    """
    if not is_regular(path):
        raise DamagedError(f"{path} is missing, or is no regular file")
    try:
        with os.fdopen(os.open(path, CLOSED), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DamagedError(f"{path} is missing, or is no regular file")
            if most is not None and status.st_size > most:
                raise DamagedError(
                    f"{path} is damaged: it has {status.st_size:,} bytes, at most {most:,} make sense"
                )
            if look is not None:
                look(file, status.st_size)
                file.seek(0)
            return file.read(status.st_size)
    except OSError as error:
        kind = DamagedError if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO) else LoadError
        raise kind(f"{path} can't be read: {error.strerror}") from error
    except MemoryError as error:
        raise LoadError(f"{path} is too large for this machine's memory") from error


def remove(path: Path) -> None:
    """Remove a directory with all that is in it, or whatever else is there, as far as that is possible."""
    with suppress(OSError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:  # rmtree would wait for whoever writes to a pipe
            path.unlink()


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and wait until the disk has it."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Wait until the disk has the names in a directory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file under another name, then rename it over the old one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        write_synced(temporary, data)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def replace_link(path: Path, target: str) -> None:
    """Point a symbolic link somewhere else, in one rename; leave it where links can't be made."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(path)
    except (OSError, NotImplementedError):
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def make_directory(path: Path) -> None:
    """Make a directory and those above it that are missing, and wait until the disk has their names."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)
