"""A disk that loses what was not synced: the states in which a loss of power may leave a folder.

By POSIX, only what was synced is sure: a file's content by fsync of the file, a name by fsync of its
directory. Of the rest anything may be there: names without contents, contents without names.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .faults import Operation


@dataclass
class File:
    """A file: what a reader saw, what was synced last, and how much of its beginning is the same in both."""

    now: bytes = b""
    sure: bytes = b""
    kept: int = 0

    def write(self, at: int, data: bytes) -> None:
        """Write ``data`` at a place; beyond the end there are zeros."""
        self.now = self.now[:at].ljust(at, b"\0") + data + self.now[at + len(data) :]
        self.kept = min(self.kept, at)

    def truncate(self, size: int) -> None:
        """Cut or lengthen to ``size``."""
        self.now = self.now[:size].ljust(size, b"\0")
        self.kept = min(self.kept, size)

    def sync(self) -> None:
        """Bring it to the disk."""
        self.sure, self.kept = self.now, len(self.now)


@dataclass
class Link:
    """A symbolic link."""

    target: str


@dataclass
class Folder:
    """A directory: its names as they were seen, as they are on the disk, and the changes in between."""

    now: dict[str, Node] = field(default_factory=dict)
    sure: dict[str, Node] = field(default_factory=dict)
    changes: list[dict[str, Node | None]] = field(default_factory=list)

    def change(self, **names: Node | None) -> None:
        """Give names to nodes, or None to take them away, all at once."""
        self.changes.append(names)
        _apply(self.now, names)


Node = File | Link | Folder


def _apply(names: dict[str, Node], change: dict[str, Node | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class Disk:
    """What a folder is, was, and may be."""

    def __init__(self, folder: Path | None = None) -> None:
        self.root = Folder() if folder is None else _taken(folder)

    def replay(self, log: Iterable[Operation]) -> None:
        """Do the operations of a log that went well."""
        for operation in log:
            if operation.done:
                getattr(self, f"_{operation.name}")(operation)

    def _at(self, path: str) -> tuple[Folder, str]:
        *folders, name = path.split("/")
        place = self.root
        for part in folders:
            below = place.now[part]
            assert isinstance(below, Folder)
            place = below
        return place, name

    def _file(self, path: str) -> File:
        place, name = self._at(path)
        found = place.now[name]
        assert isinstance(found, File)
        return found

    def _open(self, operation: Operation) -> None:
        place, name = self._at(operation.path)
        if name not in place.now:
            place.change(**{name: File()})
        elif operation.at == 1:
            self._file(operation.path).truncate(0)

    def _write(self, operation: Operation) -> None:
        file, data = self._file(operation.path), operation.data.encode("latin-1")
        file.write(len(file.now) if operation.at < 0 else operation.at, data)

    def _truncate(self, operation: Operation) -> None:
        self._file(operation.path).truncate(operation.at)

    def _fsync(self, operation: Operation) -> None:
        place, name = self._at(operation.path)
        node = place.now[name] if operation.path else self.root
        if isinstance(node, File):
            node.sync()
        elif isinstance(node, Folder):
            node.sure, node.changes = dict(node.now), []

    def _mkdir(self, operation: Operation) -> None:
        place, name = self._at(operation.path)
        place.change(**{name: Folder()})

    def _symlink(self, operation: Operation) -> None:
        place, name = self._at(operation.path)
        place.change(**{name: Link(operation.other)})

    def _unlink(self, operation: Operation) -> None:
        place, name = self._at(operation.path)
        place.change(**{name: None})

    _rmdir = _unlink

    def _rename(self, operation: Operation) -> None:
        (place, name), (target, new) = self._at(operation.path), self._at(operation.other)
        assert place is target, "a rename from one directory to another is no single change"
        place.change(**{new: place.now[name], name: None})

    def lose_power(self, to: Path, manner: str, draw: random.Random) -> None:
        """Write one of the states in which a loss of power may leave it to the folder ``to``.

        ``manner``: 'only what was synced', 'names without contents' (what was not synced is empty),
        'half of the contents', or 'any', drawn.
        """
        _put(self.root, to, manner, draw)


MANNERS = ("only what was synced", "names without contents", "half of the contents", "any", "any other")


def _put(folder: Folder, to: Path, manner: str, draw: random.Random) -> None:
    to.mkdir(exist_ok=True)
    for name, node in _names(folder, manner, draw).items():
        if isinstance(node, Folder):
            _put(node, to / name, manner, draw)
        elif isinstance(node, Link):
            (to / name).symlink_to(node.target)
        else:
            (to / name).write_bytes(_content(node, manner, draw))


def _names(folder: Folder, manner: str, draw: random.Random) -> dict[str, Node]:
    if manner == "only what was synced":
        return folder.sure
    if not manner.startswith("any"):
        return folder.now
    names = dict(folder.sure)
    first, in_order = draw.randint(0, len(folder.changes)), draw.random() < 0.5
    some = [change for change in folder.changes if draw.random() < 0.5]
    for change in folder.changes[:first] if in_order else some:
        _apply(names, change)
    return names


def _content(file: File, manner: str, draw: random.Random) -> bytes:
    if file.now == file.sure or manner == "only what was synced":
        return file.sure
    cut = file.kept
    if manner == "half of the contents":
        cut = (file.kept + len(file.now)) // 2
    elif manner.startswith("any"):
        cut = draw.randint(file.kept, len(file.now))
    torn = file.now[:cut]
    if manner.startswith("any"):
        return draw.choice([file.sure, file.now, torn, torn.ljust(len(file.now), b"\0")])
    return torn


def _taken(folder: Path) -> Folder:
    """Return a real folder as it is, all of it on the disk."""
    found = Folder()
    for entry in folder.iterdir():
        if entry.is_symlink():
            found.now[entry.name] = Link(str(entry.readlink()))
        elif entry.is_dir():
            found.now[entry.name] = _taken(entry)
        else:
            data = entry.read_bytes()
            found.now[entry.name] = File(data, data, len(data))
    found.sure = dict(found.now)
    return found
