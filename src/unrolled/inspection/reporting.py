"""What a training report tells of a run, as plain data: curves, diary, scores, repetition, sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unrolled.cells import Cell
from unrolled.errors import LoadError, UnrolledError
from unrolled.inspection.closing import KINDS
from unrolled.inspection.copies import Novelty, Parts
from unrolled.inspection.drawing import drawn
from unrolled.inspection.repeats import Loop, repetition_by_temperature
from unrolled.inspection.stages import Stage, evolution
from unrolled.inspection.thinning import Curve, columns, layer_sizes, rounded, thinned
from unrolled.inspection.training_text import TrainingText, reads_text, training_text
from unrolled.net import Net, Spec
from unrolled.runs import Run
from unrolled.runs.checkpoint import read_model
from unrolled.runs.journal import Journal
from unrolled.runs.model import build_net, newest_usable
from unrolled.runs.tensors import Tensors
from unrolled.sample.native import why_no_loop
from unrolled.settings import GROUP_OF, differences, written

Json = dict[str, Any]
Cells = Mapping[str, type[Cell]]

LENGTH = 2000
"""Symbols that are sampled at each temperature."""
SHOWN = 20_000
"""Characters of a sample that are shown."""
LISTED = 60
"""New words, and new lines, of a sample that are listed."""


@dataclass(frozen=True)
class Effort:
    """How much time the parts of a report may take, in seconds; None sets no limit.

    Nothing is timed, what a part takes is reckoned from sizes: a core multiplies some 10⁹ weights a second; a
    step of a layer that no compiled loop runs takes about 1 ms for all temperatures; a training text is read
    at some 8 million symbols a second.
    """

    seconds: float | None = None

    def length(self, model: Net) -> int:
        """Return how many symbols may be sampled at each temperature."""
        if self.seconds is None:
            return LENGTH
        each = 6e-9 * sum(parameter.numel() for parameter in model.parameters())
        if why_no_loop(model) is not None:
            each += 1e-3 * len(model.layers.named())
        return max(50, min(LENGTH, int(self.seconds / each)))

    def reads(self, training: TrainingText) -> bool:
        """Tell whether a training text may be read through."""
        return self.seconds is None or len(training) <= 8e6 * self.seconds


@contextmanager
def _lines_of(journal: Journal) -> Iterator[None]:
    """Name the journal whose lines are JSON but not what a training writes."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        why = f"{error} is missing or of another kind" if isinstance(error, KeyError) else error
        raise LoadError(f"{journal.path} has a line that no training wrote: {why}") from error


def summarised(run: Run, cells: Cells | None = None, effort: Effort | None = None) -> Json:
    """Return what a report tells of a run; what can't be told is left out, and ``notes`` say why.

    DamagedError where a line of its journals can't be read.
    """
    effort, notes = effort or Effort(), list[str]()
    model = _model(run, cells or run.cells, notes)
    with _lines_of(run.metrics):
        lines = columns(run.metrics.lines())
    training = _training(run, effort, notes)
    with _lines_of(run.samples):
        stages = evolution(run, training)
    with _lines_of(run.debug):
        sizes = layer_sizes(run.debug.lines())
    return {
        **_facts(run, model, lines),
        "notes": notes,
        "picture": drawn(model.spec, model.cells, notes.append) if model.spec is not None else None,
        "settings": {name: written(_setting(run, name)) for name in GROUP_OF},
        "changed": [list(each) for each in differences(run.settings)],
        "curves": {kind: rounded(thinned(curve)) for kind, curve in lines.items()},
        "lines": {kind: len(curve["update"]) for kind, curve in lines.items()},
        "stages": [_stage(stage) for stage in stages],
        "compared": training is not None,
        "temperatures": _temperatures(model, effort),
        "sizes": sizes,
    }


@dataclass(frozen=True)
class _Model:
    """The newest model as far as it is at hand: a net, or its layers and weights, or nothing."""

    net: Net | None = None
    spec: Spec | None = None
    weights: Tensors | None = None
    cells: Cells | None = None


def _model(run: Run, cells: Cells, notes: list[str]) -> _Model:
    try:
        folder, (weights, config) = newest_usable(run.directory, read_model, notes.append)
    except LoadError as error:
        notes.append(f"What needs the model is left out: {error}")
        return _Model()
    try:
        net = build_net(folder, weights, config, cells)
        return _Model(net, net.spec, weights, cells)
    except UnrolledError as error:
        notes.append(f"What needs the model is left out: {error}")
    try:
        return _Model(None, Spec.from_dict(config), weights, cells)
    except LoadError:
        return _Model(None, None, weights)


def _training(run: Run, effort: Effort, notes: list[str]) -> TrainingText | None:
    if not reads_text(run):
        return None
    left_out = "Novelty and the training text's own scores are left out: "
    try:
        training = training_text(run)
    except (UnrolledError, OSError) as error:
        notes.append(left_out + str(error))
        return None
    if effort.reads(training):
        return training
    notes.append(f"{left_out}reading the text takes long. With them: unrolled report {run.words}")
    return None


def _facts(run: Run, model: _Model, lines: Mapping[str, Curve]) -> Json:
    updates = [int(curve["update"][-1]) for curve in lines.values()] + run.updates()[:1]
    speed = lines["train"]["chars_per_second"] if "train" in lines else np.empty(0)
    speed = speed[np.isfinite(speed)]
    return {
        "name": run.directory.name or str(run.directory),
        "path": str(run.directory),
        "text": _text(run),
        "text_id": run.source.text_sha256,
        "reads_text": reads_text(run),
        "unit": _unit(run, model.net),
        "net": _net(run, model.spec),
        "parameters": sum(map(_count, model.weights.values())) if model.weights is not None else None,
        "updates": max(updates, default=0),
        "epochs": max((float(curve["epoch"][-1]) for curve in lines.values()), default=0.0),
        "seconds": max((float(curve["seconds"][-1]) for curve in lines.values()), default=None),
        "chars_per_second": float(np.median(speed)) if len(speed) else None,
        "best": _best(lines.get("validation")),
        "last_train": _point(lines["train"], -1) if "train" in lines else None,
        "last_validation": _point(lines["validation"], -1) if "validation" in lines else None,
    }


def _count(tensor: Any) -> int:
    return int(tensor.numel())


def _setting(run: Run, name: str) -> Any:
    return getattr(getattr(run.settings, GROUP_OF[name]), name)


def _text(run: Run) -> str:
    """Return the names of what a run learned from, without their folders."""
    names = [Path(path).name for path in run.source.text]
    if not names:
        return run.settings.data.task or "–"
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _unit(run: Run, net: Net | None) -> str:
    """Return what losses are counted in; without the net nobody knows for sure."""
    return net.loss_unit if net is not None else "nats" if reads_text(run) else "loss"


def _net(run: Run, spec: Spec | None) -> str:
    """Return the net in a few words."""
    chain, given = run.settings.net, run.source.spec
    if given is None:
        layers = "1 layer" if chain.layers == 1 else f"{chain.layers} layers"
        return f"{chain.cell.rpartition(':')[2]}, {layers} of {chain.hidden} units"
    name = f"{given.name}, " if given.name else ""
    return f"{name}{len((spec or given).layers)} layers"


def _best(validation: Curve | None) -> Json | None:
    if validation is None or not np.isfinite(validation["nats"]).any():
        return None
    return _point(validation, int(np.nanargmin(validation["nats"])))


def _point(curve: Curve, at: int) -> Json:
    point: Json = {key: float(values[at]) for key, values in curve.items() if np.isfinite(values[at])}
    return {**point, "update": int(curve["update"][at])}


def _stage(stage: Stage) -> Json:
    copy = stage.novelty.longest if stage.novelty is not None else None
    begin, end = (copy.begin, copy.begin + len(copy.text)) if copy is not None else (0, 0)
    pieces = [stage.text[:begin], stage.text[begin:end], stage.text[end:]]
    return {
        "update": stage.update,
        "epoch": stage.epoch,
        "temperature": stage.temperature,
        "prime": stage.prime[:SHOWN],
        **_shown(pieces),
        "structure": [
            {"kind": each.kind, "words": KINDS[each.kind], **vars(each.score), "share": each.score.share,
             "training": each.training.share if each.training is not None else None}
            for each in stage.structure or ()
        ],
        "repetition": None if stage.repetition is None else {
            "ngram": stage.repetition.ngram,
            "share": stage.repetition.share,
            "loop": _loop(stage.repetition.loop, stage.text),
        },
        "novelty": None if stage.novelty is None else _novelty(stage.novelty),
    }  # fmt: skip


def _shown(pieces: list[str]) -> Json:
    """Return pieces of a sample, up to SHOWN characters in all, and how many more there are."""
    room, kept = SHOWN, []
    for piece in pieces:
        kept.append(piece[:room])
        room -= len(kept[-1])
    return {"pieces": kept, "hidden": sum(map(len, pieces)) - sum(map(len, kept))}


def _loop(loop: Loop | None, text: str) -> Json | None:
    if loop is None:
        return None
    said = text[loop.begin : loop.begin + min(loop.period, 200)]
    return {**vars(loop), "times": loop.times, "text": said}


def _novelty(novelty: Novelty) -> Json:
    copy = novelty.longest
    return {
        "longest": None if copy is None else {
            "length": copy.length,
            "text": copy.text[:SHOWN],
            "file": copy.path.name if copy.path is not None else None,
            "line": copy.line,
        },
        "ngram": novelty.ngram,
        "copied": novelty.copied,
        "lines": _parts(novelty.lines),
        "words": _parts(novelty.words),
    }  # fmt: skip


def _parts(parts: Parts) -> Json:
    listed = [text[:200] for text in parts.novel[:LISTED]]
    more = len(parts.novel) - len(listed)
    return {
        "count": parts.count, "new": parts.novel_count, "share": parts.share, "listed": listed, "more": more,
    }  # fmt: skip


def _temperatures(model: _Model, effort: Effort) -> list[Json]:
    net = model.net
    if net is None or net.vocab is None or not net.writes_text:
        return []
    found = repetition_by_temperature(net, length=effort.length(net))
    return [
        {
            "temperature": each.temperature,
            "text": each.text[:SHOWN],
            "length": len(each.text),
            "ngram": each.repetition.ngram,
            "share": each.repetition.share,
            "loop": _loop(each.repetition.loop, each.text),
        }
        for each in found
    ]
