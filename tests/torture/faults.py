"""Operations on a folder's files: counted, written down, and made to fail, by standing in for os and io.

It is put into a child process from outside; nothing in the product knows of it. ``fsync`` is noted and not
done: the power fails in ``disk.py`` only, and a trial should not wait for a real disk.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KILLED = 77
"""The exit code of a process that a fault ended."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
NAMES = (
    "open",
    "fsync",
    "rename",
    "replace",
    "unlink",
    "rmdir",
    "mkdir",
    "symlink",
    "truncate",
    "ftruncate",
    "pwrite",
)


@dataclass
class Operation:
    """One operation: its name, the path from the folder on, and what a replay needs."""

    name: str
    path: str
    other: str = ""
    """Where a rename goes, what a link points to."""
    data: str = ""
    """What a write writes, a character a byte."""
    at: int = -1
    """Where it writes, -1 for the end; to what size it truncates; 1 for an open that empties."""
    done: bool = False
    """Whether it went well."""


@dataclass(frozen=True)
class Fault:
    """What happens at operation number ``at``: ``kind`` is one of ``KINDS``."""

    kind: str
    at: int

    KINDS = ("killed", "cut short", "EIO", "ENOSPC", "EIO from there on", "ENOSPC from there on", "SIGTERM")

    def error(self, number: int) -> int | None:
        """Return the errno with which operation ``number`` fails."""
        name, _, lasting = self.kind.partition(" ")
        code = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC}.get(name)
        return code if number == self.at or (lasting and number > self.at) else None


GROWING = ("open", "write", "mkdir", "symlink", "rename", "fsync")
"""What a full disk refuses; to take things away stays possible."""


class Shim:
    """Stand in for the operations below ``folder`` in this process, for its rest."""

    def __init__(self, folder: Path, fault: Fault | None = None) -> None:
        self.folder = os.path.realpath(folder)
        self.fault = fault
        self.log: list[Operation] = []
        self.real = {name: getattr(os, name) for name in NAMES}
        self.real_open = io.open

    def install(self) -> Shim:
        """Put it in place."""
        for name in NAMES:
            setattr(os, name, getattr(self, f"_{name}"))
        io.open = builtins.open = self._io_open  # type: ignore[assignment]
        return self

    def _inside(self, path: Any, dir_fd: int | None = None) -> str | None:
        """Return a path from the folder on; None where it lies elsewhere."""
        if isinstance(path, int):
            path = _name_of(path)
        elif dir_fd is not None:
            path = Path(_name_of(dir_fd)) / path
        parent, name = os.path.split(os.path.abspath(os.fspath(path)))  # noqa: PTH100
        full = f"{os.path.realpath(parent)}/{name}"
        if full == self.folder:
            return ""
        return full.removeprefix(f"{self.folder}/") if full.startswith(f"{self.folder}/") else None

    def meet(self, operation: Operation, do: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        """Do an operation, unless the fault is here."""
        number, fault = len(self.log), self.fault
        self.log.append(operation)
        if fault is not None:
            error = fault.error(number)
            if error == errno.ENOSPC and operation.name not in GROWING:
                error = None
            if number == fault.at and fault.kind == "cut short" and half is not None:
                half()
                os._exit(KILLED)
            if error is not None:
                if half is not None:
                    half()
                raise OSError(error, os.strerror(error), operation.path)
        try:
            found = do()
            operation.done = True
        finally:
            if fault is not None and number == fault.at:
                self._end(fault)
        return found

    @staticmethod
    def _end(fault: Fault) -> None:
        """End this process right after an operation, if the fault says so."""
        if fault.kind == "killed":
            os._exit(KILLED)
        if fault.kind == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)

    def _simple(self, name: str, path: Any, *rest: Any, dir_fd: int | None = None, **more: Any) -> Any:
        if dir_fd is not None:
            more["dir_fd"] = dir_fd
        inside = self._inside(path, dir_fd)
        if inside is None:
            return self.real[name](path, *rest, **more)
        at = rest[0] if name.endswith("truncate") else -1
        operation = Operation(name.removeprefix("f") if name == "ftruncate" else name, inside, at=at)
        return self.meet(operation, lambda: self.real[name](path, *rest, **more))

    def _unlink(self, path: Any, **more: Any) -> Any:
        return self._simple("unlink", path, **more)

    def _rmdir(self, path: Any, **more: Any) -> Any:
        return self._simple("rmdir", path, **more)

    def _mkdir(self, path: Any, *rest: Any, **more: Any) -> Any:
        return self._simple("mkdir", path, *rest, **more)

    def _truncate(self, path: Any, size: int) -> Any:
        return self._simple("truncate", path, size)

    def _ftruncate(self, path: Any, size: int) -> Any:
        return self._simple("ftruncate", path, size)

    def _pwrite(self, handle: int, data: bytes, at: int) -> int:
        inside = self._inside(handle)
        if inside is None:
            written: int = self.real["pwrite"](handle, data, at)
            return written
        operation = Operation("write", inside, data=data.decode("latin-1"), at=at)
        pwrite, first = self.real["pwrite"], data[: len(data) // 2]
        half = (lambda: pwrite(handle, first, at)) if first else None
        written = self.meet(operation, lambda: pwrite(handle, data, at), half)
        return written

    def _fsync(self, handle: int) -> None:
        inside = self._inside(handle)
        if inside is not None:
            self.meet(Operation("fsync", inside), lambda: None)

    def _rename(self, source: Any, target: Any) -> None:
        inside, other = self._inside(source), self._inside(target)
        if inside is None or other is None:
            self.real["rename"](source, target)
            return
        self.meet(Operation("rename", inside, other), lambda: self.real["rename"](source, target))

    _replace = _rename

    def _symlink(self, target: Any, path: Any, *rest: Any, **more: Any) -> None:
        inside = self._inside(path)
        if inside is None:
            self.real["symlink"](target, path, *rest, **more)
            return
        operation = Operation("symlink", inside, str(target))
        self.meet(operation, lambda: self.real["symlink"](target, path, *rest, **more))

    def _open(self, path: Any, flags: int, *rest: Any, dir_fd: int | None = None) -> int:
        inside = self._inside(path, dir_fd)
        if inside is None or not (flags & WRITING):
            handle: int = self.real["open"](path, flags, *rest, dir_fd=dir_fd)
            return handle
        operation = Operation("open", inside, at=1 if flags & os.O_TRUNC else -1)
        opened: int = self.meet(operation, lambda: self.real["open"](path, flags, *rest, dir_fd=dir_fd))
        return opened

    def _io_open(self, file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **more: Any) -> Any:
        named = not isinstance(file, int)
        inside = self._inside(file) if named or set(mode) & set("wax+") else None
        if inside is None or not set(mode) & set("wax+"):
            return self.real_open(file, mode, buffering, *rest, **more)
        plain = mode.replace("b", "").replace("t", "")
        operation = Operation("open", inside, at=1 if "w" in mode else -1)
        raw = self.meet(operation, lambda: _Raw(file, plain)) if named else _Raw(file, plain)
        raw.shim, raw.inside = self, inside
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **more)


def _name_of(handle: int) -> str:
    """Return the path of an open file, as it is called now."""
    return str(Path(f"/proc/self/fd/{handle}").readlink())


class _Raw(io.FileIO):
    """A file whose writes are met; Python's buffers lie above it, as above any other."""

    shim: Shim
    inside: str

    def write(self, data: Any) -> Any:
        """Write, unless the fault is here; half of it where the fault is a half."""
        whole = bytes(data)
        at = -1 if "a" in self.mode else self.tell()
        operation = Operation("write", self.inside, data=whole.decode("latin-1"), at=at)
        write = super().write
        half = (lambda: write(whole[: len(whole) // 2])) if len(whole) > 1 else None
        return self.shim.meet(operation, lambda: write(whole), half)

    def truncate(self, size: int | None = None) -> Any:
        """Truncate, unless the fault is here."""
        wanted, truncate = self.tell() if size is None else size, super().truncate
        return self.shim.meet(Operation("truncate", self.inside, at=wanted), lambda: truncate(wanted))
