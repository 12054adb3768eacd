"""A file of JSON lines that only grows, and that a resume cuts back."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from unrolled.errors import DamagedError
from unrolled.runs.files import is_regular, sync_directory

MOST_BYTES = 32 << 20
"""The longest line that is read."""
BLOCK = 1 << 20
KEPT = 16 << 20
"""The bytes since the last sync that are kept in memory, to be written again where a sync fails."""


class Journal:
    """Append JSON lines to a file; remember its size, so that it can be cut back to it.

    A line that could not be written (a full disk) is kept and written before the next one. ``remembered``
    returns the size and the SHA-256 that the newest checkpoint remembers, if there is one.
    """

    def __init__(self, path: Path, remembered: Callable[[], tuple[int, str] | None] = lambda: None) -> None:
        self.path, self._remembered = path, remembered
        self._waiting: list[bytes] = []
        self._torn_at: int | None = None
        self._named = False
        self._synced: int | None = None
        self._kept, self._unsure = bytearray(), False
        self._hash, self._hashed = hashlib.sha256(), 0

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, entry: dict[str, Any]) -> None:
        """Write one line; OSError leaves the file as it was and keeps the line for later."""
        self._waiting.append(json.dumps(entry, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        self.flush()

    def flush(self) -> None:
        """Write the lines that wait."""
        if not self._waiting:
            return
        self._mend()
        self._torn_at, lines = self.size, b"".join(self._waiting)
        try:
            with self.path.open("ab") as file:
                file.write(lines)
        except OSError:
            with suppress(OSError):  # a disk that refuses this as well is asked again before the next line
                self._mend()
            raise
        if self._synced is None:
            self._synced = self._torn_at
        self._kept += lines
        if len(self._kept) > KEPT:
            self._kept.clear()
        self._torn_at = None
        self._waiting.clear()

    def _mend(self) -> None:
        """Take away what a write that failed left behind."""
        if self._torn_at is not None and self.size > self._torn_at:
            os.truncate(self.path, self._torn_at)
        self._torn_at = None

    def sync(self) -> int:
        """Wait until the disk has every line; return the file's size in bytes.

        What a sync that failed may have lost is written again by the next one.
        """
        self.flush()
        with self.path.open("r+b" if self._unsure else "ab") as file:
            if self._unsure:
                self._write_again(file)
            self._unsure = True
            os.fsync(file.fileno())
        self._unsure, self._synced = False, self.size
        self._kept.clear()
        if not self._named:  # a file that was just made may lose its name with the power
            sync_directory(self.path.parent)
            self._named = True
        return self.size

    def _write_again(self, file: BinaryIO) -> None:
        """Write what came since the last sync: Linux counts pages that it failed to write as written.

        It is what was kept; or, where that was too much, what the file says as long as it is in memory.
        """
        at = file.seek(self._synced or 0)
        if at + len(self._kept) == self.size:
            file.write(self._kept)
        else:
            while data := file.read(BLOCK):
                file.seek(at)
                file.write(data)
                at = file.seek(at + len(data))
        file.flush()

    def sha256(self, size: int) -> str:
        """Return the SHA-256 of the first ``size`` bytes; what was hashed before is not read again."""
        if size < self._hashed:
            self._hash, self._hashed = hashlib.sha256(), 0
        if size > self._hashed:
            with self.path.open("rb") as file:
                file.seek(self._hashed)
                while self._hashed < size and (data := file.read(min(BLOCK, size - self._hashed))):
                    self._hash.update(data)
                    self._hashed += len(data)
        return self._hash.hexdigest()

    def check(self, size: int, sha256: str | None = None) -> None:
        """Raise DamagedError unless the file has ``size`` bytes, and more, and the first have this hash."""
        there = self.path.exists() or self.path.is_symlink()
        if there and not is_regular(self.path):
            raise DamagedError(f"{self.path} is no regular file. Put the file back, or continue in a new run")
        if self.size < size:
            raise DamagedError(
                f"{self.path} has {self.size} bytes, the checkpoint remembers {size}: lines are missing. "
                "Put the file back, or continue in a new run"
            )
        if sha256 is not None and self.sha256(size) != sha256:
            raise DamagedError(
                f"{self.path} is damaged: its first {size} bytes are not those that the checkpoint "
                "remembers. Put the file back, or continue in a new run"
            )

    def cut(self, size: int) -> None:
        """Drop what was written after the file had ``size`` bytes."""
        self.check(size)
        if self.size > size:
            os.truncate(self.path, size)
            self._hash, self._hashed = hashlib.sha256(), 0
            self._synced = None if self._synced is None else min(self._synced, size)
            self._kept.clear()

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield every complete line; DamagedError where one is not as it was written."""
        self.check(*(self._remembered() or (0, None)))
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            number = 0
            while line := file.readline(MOST_BYTES):
                number += 1
                if line.endswith(b"\n"):
                    yield self._entry(line, number)
                elif len(line) == MOST_BYTES:
                    raise DamagedError(f"{self.path}, line {number} is damaged: it has no end")

    def _entry(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise DamagedError(f"{self.path} is damaged: line {number} is no JSON object")
        return entry
