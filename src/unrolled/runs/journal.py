"""A file of JSON lines that only grows, and that a resume cuts back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from unrolled.errors import DamagedError
from unrolled.runs.files import sync_directory


class Journal:
    """Append JSON lines to a file; remember its size, so that it can be cut back to it.

    A line that could not be written (a full disk) is kept and written before the next one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[bytes] = []
        self._torn_at: int | None = None
        self._named = False

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
        self._torn_at = self.size
        try:
            with self.path.open("ab") as file:
                file.write(b"".join(self._waiting))
        except OSError:
            with suppress(OSError):  # a disk that refuses this as well is asked again before the next line
                self._mend()
            raise
        self._torn_at = None
        self._waiting.clear()

    def _mend(self) -> None:
        """Take away what a write that failed left behind."""
        if self._torn_at is not None and self.size > self._torn_at:
            os.truncate(self.path, self._torn_at)
        self._torn_at = None

    def sync(self) -> int:
        """Wait until the disk has every line; return the file's size in bytes."""
        self.flush()
        with self.path.open("ab") as file:
            os.fsync(file.fileno())
        if not self._named:  # a file that was just made may lose its name with the power
            sync_directory(self.path.parent)
            self._named = True
        return self.size

    def cut(self, size: int) -> None:
        """Drop what was written after the file had ``size`` bytes."""
        if self.size < size:
            raise DamagedError(
                f"{self.path} has {self.size} bytes, the checkpoint remembers {size}: lines are missing. "
                "Put the file back, or continue in a new run"
            )
        if self.size > size:
            os.truncate(self.path, size)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield every complete line; DamagedError for one that can't be read."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield self._read(line, number)

    def _read(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise DamagedError(f"{self.path} is damaged: line {number} is no JSON object")
        return entry
