"""The text that a run learned from, read again."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unrolled.data import Corpus, Vocab
from unrolled.data.vocab import code_points
from unrolled.errors import TextError
from unrolled.runs import Run

_COUNTED = 1 << 22


@dataclass(frozen=True, eq=False)
class TrainingText:
    """A text as ids [N], mapped from a file or in memory, to compare what a net writes with.

    ``files`` are the paths and the position in the text where each begins.
    """

    ids: npt.NDArray[Any]
    vocab: Vocab
    files: tuple[tuple[Path, int], ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, text: str) -> TrainingText:
        """Return a text that is in memory."""
        vocab = Vocab.of(text)
        return cls(vocab.encode(text).astype(np.min_scalar_type(len(vocab))), vocab)

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Return the ids of any text; a character that this one never has is -1."""
        if self.vocab.units == "byte":
            return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64)
        return self.vocab.lookup(code_points(text))

    def excerpt(self, begin: int, length: int) -> str:
        """Return ``length`` symbols from ``begin`` on, as text."""
        return self.vocab.decode(self.ids[begin : begin + length])

    def place(self, offset: int) -> tuple[Path | None, int]:
        """Return the file that a position is in, if it is known, and its line there, from 1."""
        path, begin = next(((path, at) for path, at in reversed(self.files) if at <= offset), (None, 0))
        newline = self.encode("\n")[0]
        lines = 1
        for at in range(begin, offset, _COUNTED):
            lines += int(np.count_nonzero(self.ids[at : min(at + _COUNTED, offset)] == newline))
        return path, lines


def reads_text(run: Run) -> bool:
    """Tell whether a run learned from one long text, not from examples."""
    spec = run.source.spec
    return not run.source.hdf5 and (spec is None or any(layer.type == "text" for layer in spec))


def training_text(run: Run) -> TrainingText:
    """Read the training part of a run's text again; TextError if it is gone or was changed since."""
    if not reads_text(run):
        raise TextError(
            f"{run.directory} learned from examples, not from a text; there is none to read again"
        )
    data = run.settings.data
    corpus = Corpus.open(*run.source.text, units=data.units, boundary=data.boundary)
    if corpus.sha256 != run.source.text_sha256:
        names = ", ".join(run.source.text)
        raise TextError(
            f"{names} changed since {run.directory} learned from it. Put back the text it was then."
        )
    return TrainingText(corpus.split(data.split)[0].ids, corpus.vocab, _files(corpus, data.boundary))


def _files(corpus: Corpus, boundary: str | None) -> tuple[tuple[Path, int], ...]:
    """Return where each file begins; it is what the starts say, if no documents are inside the files."""
    if len(corpus.paths) == 1:
        return ((corpus.paths[0], 0),)
    if boundary in (None, "file") and len(corpus.starts) == len(corpus.paths):
        return tuple(zip(corpus.paths, corpus.starts.tolist(), strict=True))
    lengths = [len(Corpus.open(path, units=corpus.vocab.units, vocab=corpus.vocab)) for path in corpus.paths]
    return tuple(zip(corpus.paths, itertools.accumulate([0, *lengths[:-1]]), strict=True))
