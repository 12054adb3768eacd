"""Training in one call: a text or examples, and a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unrolled.cells import Cell
from unrolled.data import HDF5Batches, catalog
from unrolled.net import Spec
from unrolled.runs import Run, Source, check_unused, claim_run_directory
from unrolled.runs.config import sealed_config
from unrolled.settings import Settings, resolve
from unrolled.training.beginning import begun, make_material, start
from unrolled.training.environment import pick_device, process_settings
from unrolled.training.lesson import Lesson, Text, read_lesson, spec_of
from unrolled.training.listener import Listener
from unrolled.training.memory import estimate_memory
from unrolled.training.own_cells import OwnCell, cell_name, own_cell, own_cell_of
from unrolled.training.reading import Reading
from unrolled.training.session import Position


def train(
    text: Text | Sequence[Text],
    *,
    run: Text | None = None,
    recipe: str | None = None,
    cell: str | type[Cell] | None = None,
    net: Spec | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> Run:
    """Train a character-level model on a text; return its run.

    ::

        run = unrolled.train("book.txt", hidden=256, max_updates=2000)

    ``text`` is a path, a name of the catalog, or several of them. ``cell`` is a built-in cell's name, a
    class, or PATH.py:NAME. ``net`` is a net in place of the chain that the settings describe; one that
    reads examples takes a file of JSON lines as its text, or () with ``task``. Every setting is a keyword.
    Raises an UnrolledError for whatever is wrong, Interrupted after Ctrl-C with everything saved.
    """
    name = cell_name(cell) if cell is not None else None
    resolved = resolve(recipe, os.environ, {**settings, "cell": name})
    texts = [text] if isinstance(text, str | os.PathLike) else list(text)
    directory = Path(run) if run is not None else None
    lesson = Lesson(tuple(str(t) for t in texts), cell, net)
    return train_with(resolved.settings, lesson, directory, listener or Listener())


def train_with(settings: Settings, lesson: Lesson, directory: Path | None, listener: Listener) -> Run:
    """Train with settings that are already resolved; otherwise as ``train``."""
    if directory is not None:
        check_unused(directory)
    own = own_cell(lesson.cell if lesson.cell is not None else settings.net.cell)
    device = pick_device(settings.training.device)
    for note in lesson.notes:
        listener.said(note)
    reading = read_lesson(lesson, settings, listener)
    cells = {**lesson.cells, **(own.cells if own else {})}
    own = own_cell_of(lesson.cells, lesson.place, own)
    spec = spec_of(lesson, settings, reading)
    with lesson.telling():
        memory = estimate_memory(spec, settings, cells)
    listener.estimated(*memory)
    with process_settings(settings.training):
        net, learner = begun(spec, settings, reading, cells, device)
        source = _source(reading, own, lesson)
        sealed_config(settings, source)  # what it refuses is refused before there is a directory
        place = directory or claim_run_directory(_stem(lesson, settings))
        with Run.created(place, settings, source, own.source if own else None, listener.said) as run:
            run.cells = cells
            material = make_material(run, net, learner, reading, settings)
            start(material, Position(), memory[0], listener)
    return run


def _stem(lesson: Lesson, settings: Settings) -> str:
    return lesson.name or (Path(lesson.texts[0]).stem if lesson.texts else settings.data.task or "run")


def _source(reading: Reading, own: OwnCell | None, lesson: Lesson) -> Source:
    name, sha256 = (own.name, own.sha256) if own else (None, None)
    given = None
    if reading.vocab is not None and reading.vocab.units == "char":
        given = lesson.vocab or catalog.resolve(lesson.texts)[1]
    hdf5 = isinstance(reading.windows, HDF5Batches)
    return Source(reading.paths, reading.sha256, name, sha256, lesson.spec, hdf5, given)
