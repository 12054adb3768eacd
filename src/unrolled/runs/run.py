"""A run: the directory in which a training lives."""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from unrolled.cells import Cell
from unrolled.errors import DamagedError, LoadError, UsageError
from unrolled.net import Net
from unrolled.runs.checkpoint import (
    UPDATE,
    Checkpoint,
    Mark,
    check_mark,
    committed,
    read_checkpoint,
    read_state_table,
    write_checkpoint,
)
from unrolled.runs.config import CONFIG, WANTED_UTF8, Source, new_mark, read_config, write_config
from unrolled.runs.files import (
    is_directory,
    is_file,
    make_directory,
    remove,
    replace_file,
    replace_link,
    sync_directory,
)
from unrolled.runs.journal import Journal
from unrolled.runs.lock import held
from unrolled.runs.model import load_checkpoint, newest_usable
from unrolled.runs.notebook import run_table
from unrolled.sample import Choice, Stream, default_prime, text_pieces
from unrolled.settings import Settings

LEFT = re.compile(r"\.\.?\d.*|\.dropped-\d+")
"""Names that a save gives to what is not committed, or not any more."""
IS_ANOTHER = "is a link, or no directory; put the run's own there"


class Run:
    """A run directory: its settings, metrics, diary and checkpoints.

    ``Run.create`` makes one, ``Run(path)`` opens one. LoadError if there is none, or if it can't be read.
    ``cells`` holds the user's own cells where the run uses some and they are at hand.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        if not is_file(self.directory / CONFIG):
            begun = (
                is_directory(self.directory) and any(self.directory.iterdir()) and _is_bare(self.directory)
            )
            advice = f"; a training was stopped while it made it: train again with --run {self.directory}"
            raise LoadError(f"{self.directory} is no run: it has no {CONFIG}{advice if begun else ''}")
        self.settings, self.source = read_config(self.directory / CONFIG)
        self.metrics, self.samples, self.debug = map(self._journal, ("metrics", "samples", "debug"))
        self.checkpoints = self.directory / "checkpoints"
        self.cells: Mapping[str, type[Cell]] = {}

    def __repr__(self) -> str:
        updates = self.updates()
        return f"Run({str(self.directory)!r}, update {updates[0] if updates else 'none saved'})"

    def _repr_html_(self) -> str:
        """Return a table of what the run is, for a notebook."""
        return run_table(self)

    @classmethod
    def create(
        cls, directory: Path, settings: Settings, source: Source, cell_source: str | None = None
    ) -> Run:
        """Make a run directory; UsageError if there is something in it already."""
        check_unused(directory)
        try:
            make_directory(directory / "checkpoints")
            if cell_source is not None:
                replace_file(directory / "cell.py.txt", cell_source.encode())
            write_config(directory / CONFIG, settings, replace(source, run=new_mark(settings, source)))
        except OSError as error:
            raise UsageError(f"the run directory {directory} can't be made: {error.strerror}") from error
        return cls(directory)

    @property
    def words(self) -> str:
        """The run as a command line names it, with its own cell if it has one."""
        return shlex.quote(str(self.directory)) + self.flags

    @property
    def flags(self) -> str:
        """What a command line must say after this run's directory: ``--cell`` if it has one of its own."""
        return f" --cell {shlex.quote(self.source.cell)}" if self.source.cell else ""

    @classmethod
    @contextmanager
    def created(
        cls,
        directory: Path,
        settings: Settings,
        source: Source,
        cell_source: str | None,
        say: Callable[[str], None],
    ) -> Iterator[Run]:
        """Make a run directory and hold it, as ``create`` and ``locked`` do, so that only one process can."""
        try:
            make_directory(directory)
        except OSError as error:
            raise UsageError(f"the run directory {directory} can't be made: {error.strerror}") from error
        with held(directory, say):
            yield cls.create(directory, settings, source, cell_source)

    def change(self, settings: Settings, source: Source) -> None:
        """Replace the settings that the run goes on with, if they are others."""
        if (settings, source) == (self.settings, self.source):
            return
        write_config(self.directory / CONFIG, settings, source)
        self.settings, self.source = settings, source

    @property
    def journals(self) -> dict[str, Journal]:
        """The files that grow with the run; that of ``debug`` is there only where it is asked for."""
        always = {"metrics": self.metrics, "samples": self.samples}
        return {**always, "debug": self.debug} if self.settings.training.debug else always

    def _journal(self, name: str) -> Journal:
        return Journal(self.directory / f"{name}.jsonl", lambda: self._remembered(name))

    def _remembered(self, name: str) -> tuple[int, str] | None:
        """Return the size and hash of a journal that the newest checkpoint remembers, if it does."""
        for update in self.updates():
            folder = self.checkpoints / str(update)
            try:
                check_mark(folder, Mark(update, self.source.run))
                state = read_state_table(folder)
                size, sha256 = state["journals"][name], state["journal_sha256"][name]
            except DamagedError:
                continue
            except (LoadError, LookupError, TypeError):
                return None
            return (size, sha256) if type(size) is int and isinstance(sha256, str) else None
        return None

    def cut(self, sizes: Mapping[str, int]) -> None:
        """Drop the lines of each journal that were written after it had its size."""
        for name, journal in self.journals.items():
            journal.cut(sizes[name])

    def updates(self) -> list[int]:
        """Return the updates that have a committed checkpoint, the newest first."""
        return committed(self.checkpoints)

    @property
    def was_never_saved(self) -> bool:
        """Whether no checkpoint of this run was ever committed, so that it can only begin."""
        if not is_directory(self.checkpoints) or (self.directory / "last").is_symlink():
            return False
        return all(entry.name[0] == "." for entry in self.checkpoints.iterdir())

    def newest(self, say: Callable[[str], None]) -> tuple[int, Checkpoint]:
        """Return the newest checkpoint whose hashes hold; ``say`` hears of each that was passed over."""
        folder, checkpoint = newest_usable(self.directory, read_checkpoint, say, self.source.run)
        return int(folder.name), checkpoint

    def save(self, update: int, checkpoint: Checkpoint, best: int | None, *, replace: bool = False) -> Path:
        """Commit a checkpoint, then drop all but the newest two and the best; OSError leaves no trace.

        One that is there already stays, or is replaced; what is no directory is set aside.
        """
        if _is_another(self.checkpoints):
            raise NotADirectoryError(errno.ENOTDIR, f"checkpoints {IS_ANOTHER}", str(self.checkpoints))
        folder = self.checkpoints / str(update)
        mark = Mark(update, self.source.run)
        if os.path.lexists(folder) and not is_directory(folder):
            self._call_damaged(update)
        if not folder.exists():
            write_checkpoint(folder, checkpoint, mark)
        elif replace:
            fresh = folder.with_name(f".{update}.new")
            remove(fresh)
            write_checkpoint(fresh, checkpoint, mark)
            self._replace(update, fresh)
        there = self.updates()
        replace_link(self.directory / "last", f"checkpoints/{update}")
        if best in there:
            replace_link(self.directory / "best", f"checkpoints/{best}")
        keep = {*there[:2], best if best in there else self._linked_best()}
        for old in there:
            if old not in keep:
                with suppress(OSError):  # the new one is safe; this one goes with the next
                    self._drop(old)
        return folder

    def _linked_best(self) -> int | None:
        """Return the best checkpoint that is there, where the best of all could not be written."""
        try:
            return int((self.directory / "best").readlink().name)
        except (OSError, ValueError):
            return None

    def _drop(self, update: int) -> None:
        """Remove a checkpoint; half removed it has no number any more."""
        doomed = self._set_aside(update)
        sync_directory(self.checkpoints)
        remove(doomed)

    def _replace(self, update: int, fresh: Path) -> None:
        """Put a checkpoint in another's place; OSError leaves the old one."""
        doomed = self._set_aside(update)
        try:
            fresh.rename(self.checkpoints / str(update))
        except OSError:
            doomed.rename(self.checkpoints / str(update))
            raise
        sync_directory(self.checkpoints)
        remove(doomed)

    def _set_aside(self, update: int) -> Path:
        aside = self.checkpoints / f".dropped-{update}"
        remove(aside)
        (self.checkpoints / str(update)).rename(aside)
        return aside

    def tidy(self, newest: int) -> None:
        """Clear what a killed save left, and set aside whatever bears a number above ``newest``."""
        for entry in self.checkpoints.glob(".*"):
            if LEFT.fullmatch(entry.name):
                remove(entry)
        for entry in list(self.checkpoints.glob("[0-9]*")):
            if UPDATE.fullmatch(entry.name) and int(entry.name) > newest:
                try:
                    self._call_damaged(int(entry.name))
                except OSError:  # what a broken disk can't even rename is told by the save that meets it
                    if is_directory(entry):
                        raise

    def _call_damaged(self, update: int) -> None:
        aside = self.checkpoints / f"damaged-{update}"
        remove(aside)
        (self.checkpoints / str(update)).rename(aside)

    @contextmanager
    def locked(self, say: Callable[[str], None] = lambda message: None) -> Iterator[None]:
        """Hold the run for this process; UsageError, with its number, while another one holds it.

        The lock ends with the process that holds it, however that ends; ``say`` hears of one left behind.
        UsageError too where ``checkpoints`` is a link: what is written there may be another run's.
        """
        if _is_another(self.checkpoints):
            raise UsageError(f"{self.checkpoints} {IS_ANOTHER}, and a training writes and deletes there")
        with held(self.directory, say):
            yield

    def load(self, cells: Mapping[str, type[Cell]] | None = None) -> Net:
        """Return the newest model of this run, on the CPU, ready to be used."""
        return load(self.directory, cells=cells or self.cells)

    def sample(
        self,
        length: int = 500,
        *,
        prime: str | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int | None = None,
        stop: str | None = None,
        cells: Mapping[str, type[Cell]] | None = None,
    ) -> str:
        """Return ``length`` characters (bytes of a byte model) in the manner of the text, after ``prime``.

        ``stop`` ends it before its first occurrence; the rest is explained at ``Choice`` and ``Stream``.
        """
        net = self.load(cells)
        if net.vocab is None or not net.writes_text:
            raise UsageError(
                f"{self.directory} holds a net that writes no text by itself: it learned from examples, or "
                "needs more than the text so far"
            )
        stream = Stream(net, Choice(temperature, top_k, top_p, min_p), seed=seed)
        stream.prime(net.vocab.encode(default_prime(net) if prime is None else prime))
        return "".join(text_pieces(stream, length, stop))


def load(path: str | os.PathLike[str], *, cells: Mapping[str, type[Cell]] | None = None) -> Net:
    """Load the model of a run, or of one checkpoint, on the CPU, ready to be used.

    ``net.vocab``, ``net.initial_state(lanes)`` and ``logits, state = net(ids, state)`` for ids [T, B]. A
    run's newest checkpoint is taken; one that is damaged is passed over with a warning. ``cells`` holds the
    classes of the user's own cells by the names that the run gave them, such as ``{"my.py:Leaky": Leaky}``.
    """
    return load_checkpoint(Path(path), cells, _warn)


def _warn(message: str) -> None:
    import warnings

    warnings.warn(message, stacklevel=4)


def check_unused(directory: Path) -> None:
    """Raise UsageError if there is something in a directory that is to become a run, or no UTF-8 in its name.

    What names a run of other bytes, in words or in a report, would be no name that can be typed.
    """
    try:
        str(directory).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{WANTED_UTF8}, came {str(directory)!r}; name another with --run") from error
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file; name a directory for the run with --run")
    if directory.exists() and not _is_bare(directory):
        raise UsageError(
            f"{directory} is not empty; name another directory with --run, "
            f"or continue it: unrolled resume {directory}"
        )


def _is_bare(directory: Path) -> bool:
    """Tell whether a directory holds nothing, or no more than a run that was stopped while it was made."""
    for entry in directory.iterdir():
        name = entry.name
        begun = name in ("cell.py.txt", "lock") or name.startswith((f".{CONFIG}.", ".cell.py.txt."))
        if not begun and (name != "checkpoints" or _is_another(entry) or any(entry.iterdir())):
            return False
    return True


def _is_another(checkpoints: Path) -> bool:
    """Tell whether a run's ``checkpoints`` is there, but is a link or no directory."""
    return os.path.lexists(checkpoints) and (checkpoints.is_symlink() or not is_directory(checkpoints))


def claim_run_directory(stem: str, under: Path = Path("runs")) -> Path:
    """Make ``runs/<stem>-NNN`` with the first number that is free; no other process gets the same."""
    while True:
        directory = next_run_directory(stem, under)
        try:
            make_directory(under)
            directory.mkdir()
        except FileExistsError:
            if not under.is_dir():
                raise UsageError(f"{under} is no directory; name one for the run with --run") from None
        except OSError as error:
            raise UsageError(f"the run directory {directory} can't be made: {error.strerror}") from error
        else:
            sync_directory(under)
            return directory


def next_run_directory(stem: str, under: Path = Path("runs")) -> Path:
    """Return ``runs/<stem>-NNN`` with the first number that is free."""
    safe = re.sub(r"[^\w.-]+", "-", stem).strip(".-") or "run"
    taken = (entry.name for entry in under.glob(f"{safe}-*")) if under.is_dir() else ()
    numbers = [int(match[1]) for name in taken if (match := re.fullmatch(re.escape(safe) + r"-(\d+)", name))]
    return under / f"{safe}-{max(numbers, default=0) + 1:03d}"
