"""A run that goes on from its newest checkpoint, as if it had never stopped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from unrolled.cells import Cell
from unrolled.data import Corpus, catalog
from unrolled.errors import SaveError, UsageError
from unrolled.net import Net, Spec
from unrolled.runs import Run
from unrolled.runs.model import build_net
from unrolled.settings import Settings, from_tables, to_tables
from unrolled.training.beginning import begun, make_learner, make_material, start
from unrolled.training.environment import differences, environment, pick_device, process_settings
from unrolled.training.lesson import Lesson, Text, read_lesson, spec_of
from unrolled.training.listener import Listener
from unrolled.training.memory import estimate_memory
from unrolled.training.own_cells import OwnCell, own_cell
from unrolled.training.reading import Reading, read_examples, read_hdf5, read_text
from unrolled.training.restoring import check_journals, environment_of, position_of, restore
from unrolled.training.schedules import number_of_updates
from unrolled.training.session import Material, Position


def resume(
    directory: Text,
    *,
    epochs: int | None = None,
    max_updates: int | None = None,
    text: Sequence[Text] | None = None,
    cell: str | type[Cell] | None = None,
    device: str | None = None,
    engine: str | None = None,
    listener: Listener | None = None,
) -> Run:
    """Go on with a run from its newest checkpoint, as if it had never stopped; return the run.

    ``epochs`` or ``max_updates`` move the end. ``text`` says where the text is now; its content must be the
    same. ``device`` says where to compute from now on, ``engine`` by what. Nothing on the disk changes before
    all is found to fit.
    """
    listener = listener or Listener()
    run = Run(directory)
    own = own_cell(cell) if cell is not None else None
    _check_cell(run, own, listener)
    settings = _changed(run.settings, epochs, max_updates, {"device": device, "engine": engine})
    with run.locked(listener.said), process_settings(settings.training):
        run.cells = own.cells if own else {}
        find = _from_the_beginning if run.was_never_saved else _from_checkpoint
        start(*find(run, settings, text, listener), listener)
    return run


def _from_checkpoint(
    run: Run, settings: Settings, text: Sequence[Text] | None, listener: Listener
) -> tuple[Material, Position, int]:
    """Return what goes on, from where, and how much memory it takes; the run is made ready for it."""
    update, checkpoint = run.newest(listener.said)
    net = build_net(run.checkpoints / str(update), checkpoint.model, checkpoint.config, run.cells)
    memory, _ = estimate_memory(net.spec, settings, run.cells)
    reading = _same_reading(run, settings, net, text, listener)
    if settings.training != run.settings.training:
        _check_end(run, settings, len(reading), update)
    learner = make_learner(net, settings, pick_device(settings.training.device))
    template = net.initial_state(settings.data.lanes) if reading.carries else {}
    folder, state = run.checkpoints / str(update), checkpoint.state
    position = position_of(folder, state, len(reading), _events(net, reading))
    restore(learner, folder, checkpoint, template, update)
    sizes = check_journals(run, folder, state)
    for line in differences(environment_of(folder, state), environment(net, settings)):
        listener.said(line)
    with _writing(run):
        run.change(settings, replace(run.source, text=reading.paths))
        run.tidy(update)
        run.cut(sizes)
    return make_material(run, net, learner, reading, settings), position, memory


def _from_the_beginning(
    run: Run, settings: Settings, text: Sequence[Text] | None, listener: Listener
) -> tuple[Material, Position, int]:
    """Return what begins, of a run that was stopped before its first checkpoint."""
    source, words = run.source, _words(run, text)
    listener.said(f"{run.directory} was stopped before its first checkpoint; it begins at its beginning")
    lesson = Lesson(tuple(words), spec=source.spec, vocab=source.vocab, hdf5=source.hdf5)
    reading = read_lesson(lesson, settings, listener)
    _check_same(run, reading.sha256, words)
    spec = spec_of(lesson, settings, reading)
    memory, _ = estimate_memory(spec, settings, run.cells)
    device = pick_device(settings.training.device)
    net, learner = begun(spec, settings, reading, run.cells, device)
    with _writing(run):
        run.change(settings, replace(source, text=reading.paths))
        run.tidy(0)
        for journal in run.journals.values():
            journal.cut(0)
    return make_material(run, net, learner, reading, settings), Position(), memory


def _events(net: Net, reading: Reading) -> list[str]:
    """Return what can happen after an update of a training."""
    validates, writes = reading.validation is not None, net.writes_text or bool(reading.shown)
    return ["report", *["validate"] * validates, *["sample"] * writes]


@contextmanager
def _writing(run: Run) -> Iterator[None]:
    """Turn a disk that refuses to make a run ready into a SaveError."""
    try:
        yield
    except OSError as error:
        raise SaveError(
            f"{run.directory} can't be made ready to go on ({error.filename}: {error.strerror}); nothing is "
            "lost. Free some space and resume"
        ) from error


def _changed(
    settings: Settings, epochs: int | None, max_updates: int | None, others: Mapping[str, str | None]
) -> Settings:
    """Return the settings with another end or others; UsageError for a value that no training could have."""
    tables = to_tables(settings)
    if epochs is not None or max_updates is not None:
        for name, value in (("epochs", epochs), ("max_updates", max_updates)):
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')}: wanted more than 0, came {value}")
            tables["training"][name] = value or 0
    tables["training"] |= {name: value for name, value in others.items() if value is not None}
    return from_tables("resume", tables)


def _check_end(run: Run, settings: Settings, per_epoch: int, update: int) -> None:
    """Raise UsageError if a moved end has been passed already."""
    end = number_of_updates(settings.training, per_epoch)
    if end < update:
        raise UsageError(
            f"{run.directory} stands at update {update:,}, epoch {update / per_epoch:.2f}; "
            f"the end asked for is update {end:,}. Ask for a later one"
        )


def _same_reading(
    run: Run, settings: Settings, net: Net, text: Sequence[Text] | None, listener: Listener
) -> Reading:
    """Open what the run learns from; UsageError if it is not what the run began with."""
    words = _words(run, text)
    if net.vocab is None:
        if run.source.hdf5:
            reading = read_hdf5(net.spec, words, settings)
        else:
            reading = read_examples(net.spec, words, settings, net.fields)
        _check_same(run, reading.sha256, words)
        return reading
    paths, _ = catalog.resolve(words)
    corpus = Corpus.open(*paths, units=settings.data.units, boundary=settings.data.boundary)
    _check_same(run, corpus.sha256, list(map(str, paths)))
    if corpus.vocab != net.vocab:
        corpus = Corpus.open(*paths, boundary=settings.data.boundary, vocab=net.vocab)
    return read_text(corpus, settings, listener)


def _words(run: Run, text: Sequence[Text] | None) -> list[str]:
    """Return where the run's text is now; UsageError for more or fewer lists of HDF5 files."""
    if text is None:
        return [_or_catalog_name(path) for path in run.source.text]
    began = run.source.text
    if run.source.hdf5 and len(text) != len(began):
        raise UsageError(
            f"{run.directory} reads {len(began)} lists of HDF5 files, {', '.join(began)}; --text names "
            f"{len(text)}: name each, in that order"
        )
    return list(map(str, text))


def _check_same(run: Run, sha256: str, words: Sequence[str]) -> None:
    if sha256 != run.source.text_sha256:
        earlier = run.source.hdf5 and len(words) > 1
        raise UsageError(
            f"{', '.join(words)} is not the text that {run.directory} began with; "
            "put that one back, say where it is with --text PATH, or train a new run"
            + earlier
            * " (also where it began before validation files were part of the hash)"
        )


def _or_catalog_name(path: str) -> str:
    """Return the path, or the name of a catalog text whose file was cleared from the cache."""
    file = Path(path)
    if file.exists():
        return path
    if file.stem in catalog.names() and "catalog" in file.parts:
        return file.stem
    raise UsageError(f"the run's text {path} is not there; if it only moved: --text PATH")


def _check_cell(run: Run, own: OwnCell | None, listener: Listener) -> None:
    name, sha = run.source.cell or _first_own_cell(run.source.spec), run.source.cell_sha256
    if name is None and own is not None:
        raise UsageError(f"{run.directory} runs a built-in cell; leave --cell out")
    if name is not None and own is None:
        raise UsageError(f"{run.directory} runs a cell of your own; name it too: --cell {name}")
    if own is not None and sha is not None and own.sha256 != sha:
        listener.said(
            f"{own.name} has changed since the run began (SHA-256 {str(own.sha256)[:12]}, was {sha[:12]})"
        )


def _first_own_cell(spec: Spec | None) -> str | None:
    """Return what a net calls a cell of the user's; None where it has none."""
    names = (str(layer.settings.get("cell", "")) for layer in spec or ())
    return next((name for name in names if ":" in name), None)
