"""Training in one call: a text, a run that goes on, or any net with any tensors."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unrolled.cells import Cell
from unrolled.data import Corpus, Vocab, Window, Windows, catalog
from unrolled.errors import DamagedError, UsageError
from unrolled.net import Chain, Net, Spec, chain, initialise
from unrolled.runs import Run, Source, check_unused, next_run_directory
from unrolled.runs.model import build_net
from unrolled.settings import Settings, TrainingSettings, from_tables, resolve, to_tables
from unrolled.training.environment import differences, environment, pick_device, process_settings
from unrolled.training.evaluation import evaluate
from unrolled.training.learner import Learner
from unrolled.training.listener import Entry, Listener, Plan
from unrolled.training.losses import Loss
from unrolled.training.memory import estimate_memory
from unrolled.training.own_cells import OwnCell, cell_name, own_cell
from unrolled.training.schedules import learning_rate
from unrolled.training.session import Material, Position, Session
from unrolled.training.stop import stop_flag

Text = str | os.PathLike[str]
Parts = tuple[Corpus, Windows, Windows | None]


def train(
    text: Text | Sequence[Text],
    *,
    run: Text | None = None,
    recipe: str | None = None,
    cell: str | type[Cell] | None = None,
    listener: Listener | None = None,
    **settings: Any,
) -> Run:
    """Train a character-level model on a text; return its run.

    ::

        run = unrolled.train("book.txt", hidden=256, max_updates=2000)

    ``text`` is a path, a name of the catalog, or several of them. ``cell`` is a built-in cell's name, a
    class, or PATH.py:NAME. Every setting is a keyword.
    Raises an UnrolledError for whatever is wrong, Interrupted after Ctrl-C with everything saved.
    """
    name = cell_name(cell) if cell is not None else None
    resolved = resolve(recipe, os.environ, {**settings, "cell": name})
    texts = [text] if isinstance(text, str | os.PathLike) else list(text)
    directory = Path(run) if run is not None else None
    return train_with(resolved.settings, [str(t) for t in texts], directory, cell, listener or Listener())


def train_with(
    settings: Settings,
    texts: Sequence[str],
    directory: Path | None,
    cell: str | type[Cell] | None,
    listener: Listener,
) -> Run:
    """Train with settings that are already resolved; otherwise as ``train``."""
    place = directory or next_run_directory(Path(str(texts[0])).stem)
    check_unused(place)
    own = own_cell(cell if cell is not None else settings.net.cell)
    device = pick_device(settings.training.device)
    paths, vocab = catalog.resolve(texts)
    corpus = _open(paths, settings, vocab, listener)
    cells = own.cells if own else {}
    spec = chain_of(settings, len(corpus.vocab))
    memory = estimate_memory(spec, settings, cells)
    listener.estimated(*memory)
    parts = _parts(corpus, settings, listener)
    with process_settings(settings.training), stop_flag() as stop:
        torch.manual_seed(settings.training.seed)
        net = Net(spec, corpus.vocab, cells)
        initialise(net, settings.net.init, settings.net.init_scale, settings.net.forget_bias)
        net.boundary = settings.data.boundary
        corpus.vocab.encode(settings.training.sample_prime or "")
        learner = _learner(net, settings, device)
        run = Run.create(place, settings, _source(paths, corpus, own), own.source if own else None)
        run.cells = cells
        with run.locked():
            material = _material(run, net, learner, parts, settings)
            listener.planned(_plan(material, Position(), memory[0]))
            Session(material, Position(), listener, stop).train()
    return run


def resume(
    directory: Text,
    *,
    epochs: int | None = None,
    max_updates: int | None = None,
    text: Sequence[Text] | None = None,
    cell: str | type[Cell] | None = None,
    device: str | None = None,
    listener: Listener | None = None,
) -> Run:
    """Go on with a run from its newest checkpoint, as if it had never stopped; return the run.

    ``epochs`` or ``max_updates`` move the end. ``text`` says where the text is now; its content must be the
    same. ``device`` says where to compute from now on. Nothing on the disk changes before all is found to
    fit.
    """
    listener = listener or Listener()
    run = Run(directory)
    own = own_cell(cell) if cell is not None else None
    _check_cell(run, own, listener)
    settings = _changed(run.settings, epochs, max_updates, device)
    with run.locked(), process_settings(settings.training), stop_flag() as stop:
        update, checkpoint = run.newest(listener.said)
        run.cells = own.cells if own else {}
        net = build_net(run.checkpoints / str(update), checkpoint.model, checkpoint.config, run.cells)
        memory, _ = estimate_memory(net.spec, settings, run.cells)
        parts = _parts(_same_text(run, settings, net.vocab, text), settings, listener)
        if settings.training != run.settings.training:
            _check_end(run, settings, len(parts[1]), update)
        learner = _learner(net, settings, pick_device(settings.training.device))
        learner.restore(checkpoint.state_tensors, net.initial_state(settings.data.lanes))
        for line in differences(checkpoint.state["environment"], environment(net, settings)):
            listener.said(line)
        run.change(settings, replace(run.source, text=_names(parts[0].paths)))
        run.tidy(update)
        position = _restored(run, checkpoint.state)
        material = _material(run, net, learner, parts, settings)
        listener.planned(_plan(material, position, memory))
        Session(material, position, listener, stop).train()
    return run


def _learner(net: Net, settings: Settings, device: torch.device) -> Learner:
    """Bring a net to where and how it is trained; an engine that can't run it is an error now."""
    net.engine = settings.training.engine
    net.to(device=device, dtype=getattr(torch, settings.training.precision))
    net.engines()
    return Learner(net, settings.training)


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(str(path.resolve()) for path in paths)


def _source(paths: Sequence[Path], corpus: Corpus, own: OwnCell | None) -> Source:
    cell = (own.name, own.sha256) if own else (None, None)
    return Source(_names(paths), corpus.sha256, *cell)


def _material(run: Run, net: Net, learner: Learner, parts: Parts, settings: Settings) -> Material:
    _, windows, validation = parts
    updates = number_of_updates(settings.training, len(windows))
    return Material(run, net, learner, windows, validation, settings, updates)


def _plan(material: Material, position: Position, memory: int) -> Plan:
    net, windows, validation = material.net, material.windows, material.validation
    return Plan(
        run=material.run.directory,
        parameters=net.num_parameters,
        chars=windows.num_targets,
        validation_chars=validation.num_targets if validation else 0,
        symbols=net.output_size,
        update=position.update,
        updates=material.updates,
        per_epoch=len(windows),
        engines=net.engines(),
        memory=memory,
        device=str(material.learner.device),
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


def _parts(corpus: Corpus, settings: Settings, listener: Listener) -> Parts:
    """Return the training part, its windows, and the validation part's windows."""
    data = settings.data
    parts = corpus.split(data.split)
    windows = Windows(parts[0], data.lanes, data.window)
    if len(parts) == 1:
        return parts[0], windows, None
    targets = len(parts[1]) - 1
    if targets < 1:
        listener.said(
            f"the validation part has {len(parts[1])} ids, too few to predict: there is no validation"
        )
        return parts[0], windows, None
    lanes = min(data.lanes, max(1, len(parts[1]) // 2))
    if lanes < data.lanes:
        listener.said(
            f"the validation part has {len(parts[1])} ids, so it is read in {lanes} lanes, not {data.lanes}"
        )
    return parts[0], windows, Windows(parts[1], lanes, data.window)


def _changed(settings: Settings, epochs: int | None, max_updates: int | None, device: str | None) -> Settings:
    """Return the settings with another end or device; UsageError for a value that no training could have."""
    tables = to_tables(settings)
    if epochs is not None or max_updates is not None:
        for name, value in (("epochs", epochs), ("max_updates", max_updates)):
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')}: wanted more than 0, came {value}")
            tables["training"][name] = value or 0
    if device is not None:
        tables["training"]["device"] = device
    return from_tables("resume", tables)


def _check_end(run: Run, settings: Settings, per_epoch: int, update: int) -> None:
    """Raise UsageError if a moved end has been passed already."""
    end = number_of_updates(settings.training, per_epoch)
    if end < update:
        raise UsageError(
            f"{run.directory} stands at update {update:,}, epoch {update / per_epoch:.2f}; "
            f"the end asked for is update {end:,}. Ask for a later one"
        )


def _same_text(run: Run, settings: Settings, vocab: Vocab | None, text: Sequence[Text] | None) -> Corpus:
    """Open the run's text; UsageError if it is not the one that the run began with."""
    words = [_or_catalog_name(path) for path in run.source.text] if text is None else list(map(str, text))
    paths, _ = catalog.resolve(words)
    corpus = Corpus.open(*paths, units=settings.data.units, boundary=settings.data.boundary)
    if corpus.sha256 != run.source.text_sha256:
        raise UsageError(
            f"{', '.join(map(str, paths))} is not the text that {run.directory} began with; "
            "put that one back, say where it is with --text PATH, or train a new run"
        )
    if vocab is not None and corpus.vocab != vocab:
        corpus = Corpus.open(*paths, boundary=settings.data.boundary, vocab=vocab)
    return corpus


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


def _restored(run: Run, state: dict[str, Any]) -> Position:
    """Return where the checkpoint stands, with the journals cut back to it."""
    try:
        position = Position(**state["position"])
        sizes = state["journals"]
    except (KeyError, TypeError) as error:
        raise DamagedError(f"the checkpoint's state.json is incomplete: {error!r}") from error
    run.metrics.cut(sizes["metrics"])
    run.samples.cut(sizes["samples"])
    return position


def fit(
    net: nn.Module,
    windows: Windows | Iterable[Window],
    settings: TrainingSettings | None = None,
    *,
    validation: Windows | Sequence[Window] | None = None,
    loss: Loss | None = None,
    listener: Listener | None = None,
) -> list[Entry]:
    """Train any net on any windows, in place; return the metrics, an entry for each report and validation.

    ::

        outputs, state = net(window.inputs, state, fresh=window.fresh, lengths=window.lengths)

    State is carried from window to window within an epoch. Whole targets are learned by cross-entropy,
    floats by half the squared distance, or by ``loss``. Nothing is written to disk.
    """
    settings = settings or TrainingSettings()
    listener = listener or Listener()
    sequence = windows if isinstance(windows, Windows) else list(windows)
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
            learned = learner.learn(sequence[at.window], rate)
            at.add(learned, 0.0)
            at.window = (at.window + 1) % len(sequence)
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


def _fit_entry(kind: str, at: Position, loss: float, accuracy: float, per_epoch: int) -> Entry:
    return {
        "kind": kind,
        "update": at.update,
        "epoch": at.update / per_epoch,
        "nats": loss,
        "bits_per_char": loss / math.log(2),
        "accuracy": accuracy,
    }
