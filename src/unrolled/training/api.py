"""Training in one call: a text, a run that goes on, or any net with any tensors."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unrolled.cells import Cell, GatedCell
from unrolled.data import Batch, Batches, Corpus, HDF5Batches, Vocab, Window, Windows, catalog
from unrolled.engines.native.compiler import missing_compiler
from unrolled.engines.native.layers import serves
from unrolled.errors import SaveError, UsageError
from unrolled.net import Chain, Net, Spec, chain, initialise
from unrolled.runs import Run, Source, check_unused, claim_run_directory
from unrolled.runs.model import build_net
from unrolled.sample.native import why_no_loop
from unrolled.settings import Settings, TrainingSettings, from_tables, resolve, to_tables
from unrolled.training.environment import differences, environment, pick_device, process_settings
from unrolled.training.evaluation import evaluate
from unrolled.training.learner import Learner
from unrolled.training.listener import Entry, Listener, Plan
from unrolled.training.losses import Loss
from unrolled.training.memory import estimate_memory
from unrolled.training.own_cells import OwnCell, cell_name, own_cell
from unrolled.training.reading import (
    Reading,
    check_loss,
    read_examples,
    read_hdf5,
    read_text,
    reads_text,
    sized,
    steps_before,
)
from unrolled.training.recompute import EXAMPLES
from unrolled.training.restoring import check_journals, environment_of, position_of, restore
from unrolled.training.schedules import learning_rate
from unrolled.training.session import Material, Position, Session
from unrolled.training.stop import stop_flag

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
    telling: Callable[[], AbstractContextManager[None]] = nullcontext
    """Adds to a NetError where in the net's file the layer stands."""


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
    reading = _read(lesson, settings, listener)
    cells = {**lesson.cells, **(own.cells if own else {})}
    spec = _spec_of(lesson, settings, reading)
    with lesson.telling():
        memory = estimate_memory(spec, settings, cells)
    listener.estimated(*memory)
    with process_settings(settings.training):
        net, learner = _begun(spec, settings, reading, cells, device)
        source = _source(reading, own, lesson)
        place = directory or claim_run_directory(_stem(lesson, settings))
        with Run.created(place, settings, source, own.source if own else None, listener.said) as run:
            run.cells = cells
            material = _material(run, net, learner, reading, settings)
            _do(material, Position(), memory[0], listener)
    return run


def _do(material: Material, position: Position, memory: int, listener: Listener) -> None:
    """Say what is going to happen, and train; until then a signal ends the process as it ends any."""
    _tell_of_engines(material.net, material.settings, listener)
    _compile(material.net, material.settings.training)
    listener.planned(_plan(material, position, memory))
    with stop_flag() as stop:
        Session(material, position, listener, stop).train()


def _compile(net: Net, settings: TrainingSettings) -> None:
    """Have a net's end and its sampling compiled, as its cells are: no signal waits for a compiler."""
    if settings.engine in ("auto", "native"):
        serves(*net.parameters(), bf16=net.bf16)
        if net.writes_text and (settings.sample_every or settings.sample_at):
            why_no_loop(net)


def _begun(
    spec: Spec, settings: Settings, reading: Reading, cells: Mapping[str, type[Cell]], device: torch.device
) -> tuple[Net, Learner]:
    """Return a net with the weights that it begins with, and what teaches it."""
    torch.manual_seed(settings.training.seed)
    net = Net(spec, reading.vocab, cells)
    _check_carries(net, reading, settings.training)
    initialise(net, settings.net.init, settings.net.init_scale, settings.net.forget_bias)
    net.boundary, net.fields = settings.data.boundary, reading.fields
    if reading.vocab is not None:
        reading.vocab.encode(settings.training.sample_prime or "")
    return net, _learner(net, settings, device)


def _check_carries(net: Net, reading: Reading, settings: TrainingSettings) -> None:
    """Raise UsageError for a net that must see whole sequences where windows go on from one another.

    The same for settings of windows where examples are learned.
    """
    if reading.carries and net.is_whole:
        raise UsageError(
            f"layer '{net.wiring.reads_future}' reads a whole sequence, and this one is read in windows; "
            "train the net on examples, or make it read forward only"
        )
    if not isinstance(reading.windows, Windows) and (settings.recompute or settings.reach):
        raise UsageError(EXAMPLES)


def _stem(lesson: Lesson, settings: Settings) -> str:
    return lesson.name or (Path(lesson.texts[0]).stem if lesson.texts else settings.data.task or "run")


def _read(lesson: Lesson, settings: Settings, listener: Listener) -> Reading:
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


def _spec_of(lesson: Lesson, settings: Settings, reading: Reading) -> Spec:
    """Return the net with the sizes of its data."""
    if lesson.spec is not None:
        return sized(lesson.spec, reading.vocab, reading.fields)
    assert reading.vocab is not None
    return chain_of(settings, len(reading.vocab))


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
        _do(*find(run, settings, text, listener), listener)
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
    learner = _learner(net, settings, pick_device(settings.training.device))
    template = net.initial_state(settings.data.lanes) if reading.carries else {}
    folder, state = run.checkpoints / str(update), checkpoint.state
    position = position_of(folder, state, len(reading))
    restore(learner, folder, checkpoint, template, update)
    sizes = check_journals(run, folder, state)
    for line in differences(environment_of(folder, state), environment(net, settings)):
        listener.said(line)
    with _writing(run):
        run.change(settings, replace(run.source, text=reading.paths))
        run.tidy(update)
        run.cut(sizes)
    return _material(run, net, learner, reading, settings), position, memory


def _from_the_beginning(
    run: Run, settings: Settings, text: Sequence[Text] | None, listener: Listener
) -> tuple[Material, Position, int]:
    """Return what begins, of a run that was stopped before its first checkpoint."""
    source, words = run.source, _words(run, text)
    listener.said(f"{run.directory} was stopped before its first checkpoint; it begins at its beginning")
    lesson = Lesson(tuple(words), spec=source.spec, vocab=source.vocab, hdf5=source.hdf5)
    reading = _read(lesson, settings, listener)
    _check_same(run, reading.sha256, words)
    spec = _spec_of(lesson, settings, reading)
    memory, _ = estimate_memory(spec, settings, run.cells)
    device = pick_device(settings.training.device)
    net, learner = _begun(spec, settings, reading, run.cells, device)
    with _writing(run):
        run.change(settings, replace(source, text=reading.paths))
        run.tidy(0)
        for journal in run.journals.values():
            journal.cut(0)
    return _material(run, net, learner, reading, settings), Position(), memory


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


def _learner(net: Net, settings: Settings, device: torch.device) -> Learner:
    """Bring a net to where and how it is trained; an engine that can't run it is an error now."""
    net.engine, net.bf16 = settings.training.engine, settings.training.precision == "bf16"
    net.to(device=device, dtype=torch.float32 if net.bf16 else getattr(torch, settings.training.precision))
    net.engines()
    return Learner(net, settings.training)


def _tell_of_engines(net: Net, settings: Settings, listener: Listener) -> None:
    """Say once that a compiler would make the training faster, if it would."""
    training, on_cpu = settings.training, next(net.parameters()).device.type == "cpu"
    gated = any(isinstance(cell, GatedCell) for cell in net.cells.values())
    if gated and on_cpu and training.engine == "auto" and training.precision != "float64":
        note = missing_compiler()
        if note is not None:
            listener.said(note)


def _source(reading: Reading, own: OwnCell | None, lesson: Lesson) -> Source:
    name, sha256 = (own.name, own.sha256) if own else (None, None)
    given = None
    if reading.vocab is not None and reading.vocab.units == "char":
        given = lesson.vocab or catalog.resolve(lesson.texts)[1]
    hdf5 = isinstance(reading.windows, HDF5Batches)
    return Source(reading.paths, reading.sha256, name, sha256, lesson.spec, hdf5, given)


def _material(run: Run, net: Net, learner: Learner, reading: Reading, settings: Settings) -> Material:
    updates = number_of_updates(settings.training, len(reading))
    return Material(run, net, learner, reading, settings, updates)


def _plan(material: Material, position: Position, memory: int) -> Plan:
    net, reading = material.net, material.reading
    return Plan(
        run=material.run.directory,
        parameters=net.num_parameters,
        chars=reading.num_targets,
        validation_chars=reading.num_validation_targets,
        symbols=net.output_size,
        update=position.update,
        updates=material.updates,
        per_epoch=len(reading),
        engines=net.engines(),
        memory=memory,
        device=str(material.learner.device),
        text=net.vocab is not None,
        unit=net.loss_unit,
    )


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


def number_of_updates(settings: TrainingSettings, per_epoch: int) -> int:
    """Return after how many updates training ends, by epochs or max_updates, whichever comes first."""
    limits = [settings.epochs * per_epoch, settings.max_updates]
    return min(limit for limit in limits if limit)


def _open(paths: Sequence[Path], settings: Settings, vocab: Vocab | None, listener: Listener) -> Corpus:
    data = settings.data
    if vocab is not None and data.units == "byte":
        vocab = None
    corpus = Corpus.open(*paths, units=data.units, boundary=data.boundary, vocab=vocab)
    for notice in corpus.notices:
        listener.said(notice)
    return corpus


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
    """Return where the run's text is now."""
    return [_or_catalog_name(path) for path in run.source.text] if text is None else list(map(str, text))


def _check_same(run: Run, sha256: str, words: Sequence[str]) -> None:
    if sha256 != run.source.text_sha256:
        raise UsageError(
            f"{', '.join(words)} is not the text that {run.directory} began with; "
            "put that one back, say where it is with --text PATH, or train a new run"
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
    name, sha = run.source.cell, run.source.cell_sha256
    if name is None and own is not None:
        raise UsageError(f"{run.directory} runs a built-in cell; leave --cell out")
    if name is not None and own is None:
        raise UsageError(f"{run.directory} runs a cell of your own; name it too: --cell {name}")
    if own is not None and sha is not None and own.sha256 != sha:
        listener.said(
            f"{own.name} has changed since the run began (SHA-256 {str(own.sha256)[:12]}, was {sha[:12]})"
        )


def fit(
    net: nn.Module,
    windows: Windows | Batches | HDF5Batches | Iterable[Window | Batch],
    settings: TrainingSettings | None = None,
    *,
    validation: Windows | Batches | Sequence[Window | Batch] | None = None,
    loss: Loss | None = None,
    listener: Listener | None = None,
) -> list[Entry]:
    """Train any net on any windows, in place; return the metrics, an entry for each report and validation.

    ::

        outputs, state = net(window.inputs, state, fresh=window.fresh, lengths=window.lengths)

    State is carried from window to window within an epoch, and not from one batch of examples to the next.
    A net with loss layers learns by them; otherwise whole targets are learned by cross-entropy, floats by
    half the squared distance, or by ``loss``. Nothing is written to disk.
    """
    settings = settings or TrainingSettings()
    listener = listener or Listener()
    sequence = _as_reading(windows, settings.reach)
    if not len(sequence):
        raise UsageError("fit needs at least one window, came none")
    total = number_of_updates(settings, len(sequence))
    history: list[Entry] = []

    def log(entry: Entry) -> None:
        history.append(entry)
        listener.reported(entry)

    with process_settings(settings):
        torch.manual_seed(settings.seed)
        learner = Learner(net, settings, loss)
        at = Position()
        while at.update < total:
            if at.window == 0:
                learner.state = None
            rate = learning_rate(settings, at.update, len(sequence), total)
            learned = learner.learn(sequence.window(at.epoch, at.window), rate)
            at.add(learned, 0.0)
            at.epoch, at.window = divmod(at.update, len(sequence))
            listener.updated(at.update, at.update / len(sequence), learned.total / max(1, learned.count))
            last = at.update == total
            if at.count and (last or (settings.report_every and at.update % settings.report_every == 0)):
                log(_fit_entry("train", at, at.total / at.count, at.correct / at.count, len(sequence)))
                at.clear()
            every = settings.validate_every or len(sequence)
            if validation is not None and (last or at.update % every == 0):
                found = evaluate(net, validation, loss)
                log(_fit_entry("validation", at, found.nats, found.accuracy, len(sequence)))
    return history


def _as_reading(windows: Windows | Batches | HDF5Batches | Iterable[Window | Batch], reach: int) -> Reading:
    known = isinstance(windows, Windows | Batches | HDF5Batches)
    sequence: Any = windows if known else list(windows)
    before = 0
    if reach and isinstance(sequence, Windows):
        before = steps_before(reach, sequence.length)
    elif reach:
        if not isinstance(sequence, list) or any(isinstance(window, Batch) for window in sequence):
            raise UsageError(EXAMPLES)
        before = steps_before(reach, max((len(window.inputs) for window in sequence), default=0))
    return Reading(sequence, None, (), "", before=before)


def _fit_entry(kind: str, at: Position, loss: float, accuracy: float, per_epoch: int) -> Entry:
    return {
        "kind": kind,
        "update": at.update,
        "epoch": at.update / per_epoch,
        "nats": loss,
        "bits_per_char": loss / math.log(2),
        "accuracy": accuracy,
    }
