"""A run is held by one process at a time."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unrolled.errors import UsageError

try:
    import fcntl
except ImportError:  # not on every system; there nothing is held
    fcntl = None  # type: ignore[assignment]


@contextmanager
def held(directory: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold a directory for this process by its file ``lock``; UsageError while another one holds it.

    The lock ends with the process that holds it, however that ends; ``say`` hears whose was left behind, and
    of a file system that knows no locks.
    """
    if fcntl is None:
        yield
        return
    handle = _open(directory / "lock")
    try:
        taken = _take(handle, directory, say)
        if taken:
            _sign(handle, directory, say)
        try:
            yield
        finally:
            if taken:
                _let_go(handle)
    finally:
        os.close(handle)


def _let_go(handle: int) -> None:
    """Unlock by word: closing would not do where a child that was forked meanwhile has the file open too."""
    with suppress(OSError):
        os.ftruncate(handle, 0)
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_UN)


def _open(path: Path) -> int:
    """Open a lock for reading and writing; UsageError for what is no file of its own."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UsageError(f"{path} is no regular file; remove it") from error
        raise UsageError(
            f"{path} can't be opened: {error.strerror}; a training must be able to write to its run"
        ) from error
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(handle)
        what = "has another name too" if found.st_nlink > 1 else "is no regular file"
        raise UsageError(f"{path} {what}; remove it")
    return handle


def _take(handle: int, directory: Path, say: Callable[[str], None]) -> bool:
    """Lock; tell whether that is possible here. UsageError while another process holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UsageError(_refusal(directory, _holder(handle))) from error
    except OSError as error:
        say(f"{directory} can't be locked ({error.strerror}); let no other process train there")
        return False
    return True


def _refusal(directory: Path, holder: int | None) -> str:
    """Say who holds a run, and what to do."""
    who = f"process {holder}" if holder is not None else "another process"
    seen = ""
    if holder is not None and not _is_alive(holder):
        seen = ", which is not seen here: it left a child that holds the lock, or runs in another container"
    return f"{directory} is being trained by {who}{seen}; wait for it, or stop it"


def _sign(handle: int, directory: Path, say: Callable[[str], None]) -> None:
    """Write this process's number into a lock that was taken; say whose was there."""
    before = _holder(handle)
    if before is not None:
        say(f"process {before} ended without letting go of {directory}; its lock is taken over")
    with suppress(OSError):  # a full disk; the lock holds without a number too
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)


def _holder(handle: int) -> int | None:
    """Return the process that a lock names; None where it names none."""
    try:
        words = os.pread(handle, 20, 0).strip()
    except OSError:
        return None
    return int(words) if words.isdigit() and 0 < int(words) < 2**31 else None


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True
