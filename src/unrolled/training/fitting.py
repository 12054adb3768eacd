"""Any net with any windows, trained in place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from unrolled.data import Batch, Batches, HDF5Batches, Window, Windows
from unrolled.errors import UsageError
from unrolled.settings import TrainingSettings
from unrolled.training.environment import process_settings
from unrolled.training.evaluation import evaluate
from unrolled.training.learner import Learner
from unrolled.training.listener import Entry, Listener
from unrolled.training.losses import Loss
from unrolled.training.reading import Reading, steps_before
from unrolled.training.recompute import EXAMPLES
from unrolled.training.schedules import learning_rate, number_of_updates
from unrolled.training.session import Position


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
