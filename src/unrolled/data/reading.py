"""Files in: what may be read as a text, and its bytes in blocks that never cut a character in two."""

from __future__ import annotations

import codecs
import io
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from unrolled.data.vocab import Units, not_utf8
from unrolled.errors import TextError, nearest

BLOCK = 256 << 10
"""Bytes read at a time: few enough to stay in the processor's cache, and for most to be ASCII only."""


class Block(NamedTuple):
    """Successive bytes of a source: ``data`` begins at byte ``offset``, after the byte order mark if any."""

    raw: bytes
    data: bytes
    offset: int


class Source:
    """One text: a regular file, or bytes that are in memory already.

    ``identity`` tells a file that was changed from one that wasn't, without reading it; ``modified`` is
    when it was, in seconds. Whatever is no regular file is a TextError at once: it is never opened, for a
    FIFO would block.
    """

    def __init__(self, path: Path | None, data: bytes = b"") -> None:
        self.path = path
        self.name = repr(str(path)) if path else "The text"
        self.identity = _identity(path) if path else {"size": len(data), "mtime_ns": 0}
        self.modified = self.identity["mtime_ns"] / 1e9
        self._data = data

    def check_unchanged(self) -> None:
        """Raise a TextError if the file is no longer the one that it was."""
        if self.path and _identity(self.path) != self.identity:
            raise TextError(f"{self.name} was changed while it was read. Try again when it is finished.")

    def open(self) -> BinaryIO:
        """Open the bytes for reading."""
        if self.path is None:
            return io.BytesIO(self._data)
        try:
            return self.path.open("rb", buffering=0)
        except OSError as error:
            raise unreadable(self.path, error) from None

    def blocks(self, units: Units) -> Iterator[Block]:
        """Yield the bytes in blocks; for chars without a byte order mark and cut between characters."""
        with self.open() as file:
            offset, pending = 0, b""
            while data := self._read(file):
                data = pending + data
                cut = len(data) - (_incomplete(data) if units == "char" else 0)
                raw, pending = data[:cut], data[cut:]
                if raw:
                    yield _block(raw, offset, units)
                offset += len(raw)
            if pending:
                yield _block(pending, offset, units)

    def not_utf8(self, offset: int) -> TextError:
        """Return the error for the byte at ``offset``, with its line."""
        with self.open() as file:
            start = file.read(2)
            file.seek(0)
            line, left = 1, offset
            while left and (data := file.read(min(left, BLOCK))):
                line, left = line + data.count(b"\n"), left - len(data)
            byte = file.read(1)
        utf16 = start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        hint = " It looks like UTF-16: `iconv -f UTF-16 -t UTF-8` converts it." if utf16 else ""
        return not_utf8(byte[0] if byte else 0, offset, line, self.name, hint)

    def _read(self, file: BinaryIO) -> bytes:
        try:
            return file.read(BLOCK)
        except OSError as error:
            raise TextError(
                f"{self.name} cannot be read to its end: {error.strerror}. Copy it, and try again."
            ) from None


def regular(path: Path) -> os.stat_result:
    """Return the status of a regular file; anything else is a TextError."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    if stat.S_ISDIR(status.st_mode):
        raise TextError(f"A text is a file, but {str(path)!r} is a directory. Name the files inside it.")
    if not stat.S_ISREG(status.st_mode):
        raise TextError(
            f"A text is a regular file, but {str(path)!r} is a {_kind(status.st_mode)}."
            " Write what it gives to a file first, and name that file."
        )
    return status


def unreadable(path: Path, error: OSError | ValueError) -> TextError:
    """Return the error for a file that cannot be reached or opened."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return missing(path)
    if isinstance(error, PermissionError):
        return TextError(f"{str(path)!r} may not be read: permission denied. Change its mode or copy it.")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return TextError(f"{str(path)!r} cannot be read: {reason}. Give the path of a text file.")


def missing(path: Path, names: Iterable[str] = ()) -> TextError:
    """Return the error for a file that isn't there, with the nearest name in its folder or in ``names``."""
    try:
        beside = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        beside = []
    hint = nearest(path.name, [*beside, *names])
    return TextError(f"There is no file {str(path)!r}{hint or '. Give the path of a text file.'}")


def _identity(path: Path) -> dict[str, Any]:
    status = regular(path)
    return {
        "path": str(path.absolute()),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
        "inode": status.st_ino,
        "device": status.st_dev,
    }


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    return kinds.get(stat.S_IFMT(mode), "special file")


def _block(raw: bytes, offset: int, units: Units) -> Block:
    if units == "char" and offset == 0 and raw.startswith(codecs.BOM_UTF8):
        return Block(raw, raw.removeprefix(codecs.BOM_UTF8), len(codecs.BOM_UTF8))
    return Block(raw, raw, offset)


def _incomplete(data: bytes) -> int:
    """Return how many bytes at the end of ``data`` begin a UTF-8 character without completing it."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            wanted = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if back < wanted else 0
        if byte < 0x80:
            return 0
    return 0
