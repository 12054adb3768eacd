"""The text that a net is to read, where it comes from, and how it is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unrolled.data import Corpus, Vocab, catalog
from unrolled.errors import TextError, UsageError
from unrolled.inspection.training_text import reads_text
from unrolled.net import Net
from unrolled.runs import Run

LENGTH = 20_000
"""Symbols that are read, where nobody says how many."""


@dataclass(frozen=True, eq=False)
class Passage:
    """The first symbols of a text, as ids [T] of a net's vocabulary."""

    ids: NDArray[np.int64]
    name: str
    """What the text is called."""
    whole: int
    """How many symbols the text has, of which these are the first."""
    notices: Sequence[str] = ()

    @property
    def words(self) -> str:
        """The text's name, and how much of it was read."""
        if len(self.ids) == self.whole:
            return f"{self.name}, all {self.whole:,} symbols"
        return f"{self.name}, the first {len(self.ids):,} of {self.whole:,} symbols"


def passage(
    net: Net,
    text: str | Path | bytes | None = None,
    *,
    run: Run | None = None,
    length: int = LENGTH,
    skip_unseen: bool = False,
) -> Passage:
    """Return the first ``length`` symbols of ``text``: a file, a name of the catalog, or its bytes.

    None is the validation part of ``run``'s text, which no update has seen. UsageError and TextError where
    there is none, or where it has symbols that the vocabulary lacks, unless ``skip_unseen``.
    """
    if isinstance(length, bool) or not isinstance(length, int) or length < 1:
        raise UsageError(f"length: wanted 1 symbol or more, came {length!r}")
    vocab = _vocab(net)
    if text is None:
        corpus, name = _validation(run, vocab)
    elif isinstance(text, bytes):
        corpus, name = Corpus.from_text(text, vocab=vocab, skip_unseen=skip_unseen), "the text given"
    else:
        paths, _ = catalog.resolve([str(text)])
        corpus = Corpus.open(*paths, vocab=vocab, skip_unseen=skip_unseen)
        name = Path(str(text)).name
    return Passage(corpus.ids[:length].astype(np.int64), name, len(corpus), corpus.notices)


def _vocab(net: Net) -> Vocab:
    if net.vocab is None:
        raise UsageError("wanted a net that reads text; this one has no vocabulary, it learned from examples")
    return net.vocab


def _validation(run: Run | None, vocab: Vocab) -> tuple[Corpus, str]:
    """Return the part of a run's text that it validates on."""
    if run is None:
        raise UsageError("a checkpoint alone has no validation text; give a text, or name the run")
    data = run.settings.data
    if not reads_text(run):
        raise TextError(f"{run.directory} learned from examples, not from a text; give a text")
    corpus = Corpus.open(*run.source.text, vocab=vocab)
    if corpus.sha256 != run.source.text_sha256:
        raise TextError(
            f"{', '.join(run.source.text)} changed since {run.directory} learned from it; give a text"
        )
    if len(data.split) < 2:
        raise UsageError(f"{run.directory} validates on nothing; give a text")
    name = f"validation text of {', '.join(Path(path).name for path in run.source.text)}"
    return replace(corpus.split(data.split)[1], notices=[]), name
