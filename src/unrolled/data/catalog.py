"""Texts by name: what Python carries with it, and the small generated ones, written out as files."""

from __future__ import annotations

import os
import platform
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from unrolled.data import cache
from unrolled.data.generated import COUNTING_SYMBOLS, HELLO, HELLO_SYMBOLS, counting_text
from unrolled.data.reading import missing
from unrolled.data.vocab import Vocab
from unrolled.errors import TextError, UsageError, nearest


class CatalogText(NamedTuple):
    """A text of the catalog: its files, its own vocabulary (None: built from the text), what it is."""

    paths: tuple[Path, ...]
    vocab: Vocab | None
    about: str


class CatalogLine(NamedTuple):
    """What ``describe`` says of an entry; ``size`` is in characters, or ``"float task"``."""

    name: str
    about: str
    size: str


class _Entry(NamedTuple):
    about: str
    size: str
    text: Callable[[], str] | None
    symbols: tuple[str, ...] | None = None


def names() -> list[str]:
    """Return the names of all entries."""
    return list(_ENTRIES)


def describe() -> list[CatalogLine]:
    """Return name, what it is, and size of every entry."""
    return [CatalogLine(name, entry.about, entry.size) for name, entry in _ENTRIES.items()]


def find(name: str, cache_dir: str | Path | None = None) -> CatalogText:
    """Write the text ``name`` to the cache, if it isn't there yet, and return where it is.

    An unknown name is a TextError, a float task a UsageError that names the call that makes it.
    """
    entry = _ENTRIES.get(name)
    if entry is None:
        hint = nearest(name, _ENTRIES) or f". It has {', '.join(_ENTRIES)}."
        raise TextError(f"The catalog has no text {name!r}{hint}")
    if entry.text is None:
        raise UsageError(
            f"{name!r} is a task on floats, not a text. In Python, unrolled.data.{name.replace('-', '_')}"
            "(bits, lanes, generator) makes its inputs and targets."
        )
    data = entry.text().encode("utf-8")
    folder = cache.cache_folder(cache_dir)
    path = cache.writable(folder, f"catalog/{platform.python_version()}") / f"{name}.txt"
    try:
        if not path.is_file() or path.read_bytes() != data:
            cache.write_text(path, data)
    except OSError as error:
        raise cache.unwritable(folder, error) from None
    return CatalogText((path,), Vocab.of(entry.symbols) if entry.symbols else None, entry.about)


def resolve(
    words: Sequence[str | Path], cache_dir: str | Path | None = None
) -> tuple[tuple[Path, ...], Vocab | None]:
    """Turn words of a command line into files, and the vocabulary that comes with a single catalog text.

    A word that exists as a file is that file, else a name of the catalog; what is neither is a TextError
    with the nearest of both.
    """
    texts = [_resolve(word, cache_dir) for word in words]
    vocab = texts[0].vocab if len(texts) == 1 else None
    return tuple(path for text in texts for path in text.paths), vocab


def _resolve(word: str | Path, cache_dir: str | Path | None) -> CatalogText:
    path = Path(word)
    known = str(word) in _ENTRIES
    if os.path.lexists(path) and not (known and path.is_dir()):
        return CatalogText((path,), None, "")
    if known:
        return find(str(word), cache_dir)
    raise missing(path, _ENTRIES)


def _pydoc() -> str:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise TextError(
            "The text 'pydoc' needs the module pydoc_data, which this Python lacks. Try 'counting' instead."
        ) from None
    return "\n".join(topics[topic].strip("\n") + "\n" for topic in sorted(topics))


def _stdlib() -> str:
    sources = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        try:
            sources.append(path.read_bytes().decode("utf-8"))
        except (OSError, UnicodeDecodeError):
            continue
    if not sources:
        raise TextError(
            "The text 'stdlib' needs Python's sources, which are not here. Try 'counting' instead."
        )
    return "".join(sources)


_ENTRIES = {
    "pydoc": _Entry("Python's reference manual as its help() prints it, in English", "about 470,000", _pydoc),
    "stdlib": _Entry("the top-level sources of Python's standard library", "about 5,000,000", _stdlib),
    "counting": _Entry(
        "1 2 2 3 3 3 … 9×9, 100 times, without spaces", "4,500", counting_text, COUNTING_SYMBOLS
    ),
    "hello": _Entry("the word of Karpathy's article", "5", lambda: HELLO, HELLO_SYMBOLS),
    "binary-addition": _Entry("two binary numbers to add, bit by bit", "float task", None),
}
