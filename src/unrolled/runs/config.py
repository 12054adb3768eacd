"""A run's own file: settings and source, sealed by their hash."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from unrolled.data import Vocab
from unrolled.errors import DamagedError, LoadError, SettingsError, UnrolledError, UsageError, one_line
from unrolled.net import Spec
from unrolled.runs.files import read_regular, replace_file, sha256
from unrolled.settings import Settings, from_tables, to_tables
from unrolled.toml_text import Bounds, check_bounds, read_toml

CONFIG = "config.toml"
MOST_CONFIG = 2 << 20
"""The bytes of the largest config of a run: a net of ten thousand layers takes one million."""
BOUNDS = Bounds(parts=6, marks=400_000, tables=30_000)
"""More than the layers and symbols of that size take, and few enough to be read in seconds."""
SEAL = b'sha256 = "'
"""How a config begins that says its own hash: of all that follows that line."""

QUOTES = ' ,"'
"""What stands around an item of a list in TOML."""
WANTED_UTF8 = "wanted a path or a name that UTF-8 can say"


@dataclass(frozen=True)
class Source:
    """The text a run learns from, and the user's cell it runs, by path and hash."""

    text: tuple[str, ...]
    text_sha256: str
    cell: str | None = None
    cell_sha256: str | None = None
    spec: Spec | None = None
    """The net, where it is not the chain that the settings describe."""
    hdf5: bool = False
    """Whether ``text`` lists HDF5 files."""
    vocab: Vocab | None = None
    """The vocabulary, where it was given and is not made from the text."""
    run: str | None = None
    """What tells this run's checkpoints from another's."""


def mark_of(run: Path) -> str | None:
    """Return what a run's config calls the run; None where it says nothing, or can't be read."""
    path = run / CONFIG
    try:
        found = _tables(path)["text"]["run"]
    except (LoadError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def new_mark(settings: Settings, source: Source) -> str:
    """Return what tells a run from those of other settings, texts, nets or cells."""
    spec = source.spec.to_dict() if source.spec is not None else None
    parts = [to_tables(settings), source.text_sha256, source.cell, source.cell_sha256, spec]
    return sha256(json.dumps(parts, sort_keys=True).encode())


def write_config(path: Path, settings: Settings, source: Source) -> None:
    """Write a run's file, whole or not at all; UsageError as for ``sealed_config``."""
    replace_file(path, sealed_config(settings, source))


def sealed_config(settings: Settings, source: Source) -> bytes:
    """Return what a run's file holds; UsageError for a net that makes it too large, or a name of no UTF-8."""
    text: dict[str, Any] = {"paths": list(source.text), "sha256": source.text_sha256}
    if source.run is not None:
        text["run"] = source.run
    if source.hdf5:
        text["hdf5"] = True
    if source.vocab is not None:
        text["vocab"] = source.vocab.to_dict()
    tables: dict[str, Any] = {"text": text, **to_tables(settings)}
    if source.spec is not None:
        tables["spec"] = source.spec.to_dict()
    if source.cell is not None:
        own = {"name": source.cell, "sha256": source.cell_sha256}
        tables["own_cell"] = {key: value for key, value in own.items() if value is not None}
    words = tomli_w.dumps(tables)
    try:
        body = words.encode()
    except UnicodeEncodeError as error:
        came = words[words.rfind("\n", 0, error.start) + 1 :].partition("\n")[0]
        raise UsageError(f"{WANTED_UTF8}, came {came.strip(QUOTES)!r}; rename it") from error
    sealed = SEAL + sha256(body).encode() + b'"\n' + body
    if len(sealed) > MOST_CONFIG:
        raise UsageError(f"{CONFIG} would have {len(sealed):,} bytes; take a net of fewer layers")
    check_bounds(words, CONFIG, BOUNDS)
    return sealed


def read_config(path: Path) -> tuple[Settings, Source]:
    """Read what ``write_config`` wrote; LoadError, in one line that names the file, for anything else."""
    try:
        tables = _tables(path)
        text, cell, spec = tables.pop("text"), tables.pop("own_cell", {}), tables.pop("spec", None)
        net = None if spec is None else Spec.from_dict(spec)
        source = Source(tuple(text["paths"]), text["sha256"], cell.get("name"), cell.get("sha256"), net)
        vocab = Vocab.from_dict(text["vocab"]) if "vocab" in text else None
        source = replace(source, hdf5=text.get("hdf5", False), vocab=vocab, run=text.get("run"))
        _check_source(source)
        return from_tables(str(path), tables), source
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path} can't be read: {one_line(error, 200)}") from error
    except SettingsError as error:
        more = f"; {len(error.problems) - 1} more" if len(error.problems) > 1 else ""
        raise LoadError(one_line(error.problems[0], 400) + more) from error
    except DamagedError:
        raise
    except UnrolledError as error:
        raise LoadError(f"{path} can't be read: {one_line(error, 400)}") from error


def _tables(path: Path) -> dict[str, Any]:
    """Return what a config says; DamagedError for what is no TOML, or is more than any run says."""
    body = _unsealed(path, read_regular(path, MOST_CONFIG))
    try:
        return read_toml(body, CONFIG, BOUNDS).data
    except UsageError as error:
        raise DamagedError(f"{path} can't be read: {one_line(error, 200)}") from error


def _unsealed(path: Path, data: bytes) -> bytes:
    """Return what follows the first line, if that says its hash; DamagedError if it is another's."""
    if not data.startswith(SEAL):
        return data
    line, _, body = data.partition(b"\n")
    if line != SEAL + sha256(body).encode() + b'"':
        raise DamagedError(
            f"{path} is not as it was written; put it back, or remove its first line "
            "if you changed it on purpose"
        )
    return body


def _check_source(source: Source) -> None:
    """Raise TypeError for what is no source at all."""
    optional = (source.cell, source.cell_sha256, source.run)
    texts = (*source.text, source.text_sha256, *(part for part in optional if part is not None))
    if not all(isinstance(text, str) for text in texts) or not isinstance(source.hdf5, bool):
        raise TypeError("paths, hashes and names are texts")
