"""What a net is to learn from, and which net: a text or examples, opened as the net asks for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from unrolled.cells import Cell
from unrolled.data import Corpus, Vocab, catalog
from unrolled.errors import UsageError
from unrolled.net import Chain, Spec, chain
from unrolled.settings import Settings
from unrolled.training.listener import Listener
from unrolled.training.reading import (
    Reading,
    check_loss,
    read_examples,
    read_hdf5,
    read_text,
    reads_text,
    sized,
)

Text = str | os.PathLike[str]


@dataclass(frozen=True)
class Lesson:
    """What a net is to learn from, and which net."""

    texts: tuple[str, ...]
    """Files, or names of the catalog."""
    cell: str | type[Cell] | None = None
    """A cell of the user's, that the net may use; None takes the settings'."""
    spec: Spec | None = None
    """The net; None is the chain that the settings describe."""
    vocab: Vocab | None = None
    """The vocabulary, where it is not to be found in the text."""
    hdf5: bool = False
    """Whether the texts are lists of HDF5 files, for training and perhaps for validation."""
    name: str = ""
    """What the run is called; empty takes the first text's name."""
    notes: tuple[str, ...] = ()
    """What is worth saying first."""
    cells: Mapping[str, type[Cell]] = field(default_factory=dict)
    """Cells that come with the net."""
    place: str = ""
    """The file of the function that made the net, where one did."""
    telling: Callable[[], AbstractContextManager[None]] = nullcontext
    """Adds to a NetError where in the net's file the layer stands."""


def read_lesson(lesson: Lesson, settings: Settings, listener: Listener) -> Reading:
    """Open what is learned from: a text, or examples, as the net asks for."""
    if lesson.spec is not None:
        check_loss(lesson.spec)
    if lesson.spec is not None and not reads_text(lesson.spec):
        if lesson.hdf5:
            return read_hdf5(lesson.spec, lesson.texts, settings)
        return read_examples(lesson.spec, lesson.texts, settings)
    if settings.data.task:
        raise UsageError(f"the task {settings.data.task} has examples; name a net that reads them with --net")
    if not lesson.texts:
        raise UsageError("train needs a text: a file, or a name that 'unrolled data list' shows")
    paths, vocab = catalog.resolve(lesson.texts)
    return read_text(_open(paths, settings, lesson.vocab or vocab, listener), settings, listener)


def _open(paths: Sequence[Path], settings: Settings, vocab: Vocab | None, listener: Listener) -> Corpus:
    data = settings.data
    if vocab is not None and data.units == "byte":
        vocab = None
    corpus = Corpus.open(*paths, units=data.units, boundary=data.boundary, vocab=vocab)
    for notice in corpus.notices:
        listener.said(notice)
    return corpus


def spec_of(lesson: Lesson, settings: Settings, reading: Reading) -> Spec:
    """Return the net with the sizes of its data."""
    if lesson.spec is not None:
        return sized(lesson.spec, reading.vocab, reading.fields)
    assert reading.vocab is not None
    return chain_of(settings, len(reading.vocab))


def chain_of(settings: Settings, num_symbols: int) -> Spec:
    """Return the spec of the chain that the settings describe, over so many symbols."""
    net = settings.net
    return chain(
        Chain(
            outputs=num_symbols,
            cell=net.cell,
            layers=net.layers,
            hidden=net.hidden,
            dropout=net.dropout,
            embedding=net.embedding,
            embedding_dropout=net.embedding_dropout,
        )
    )
