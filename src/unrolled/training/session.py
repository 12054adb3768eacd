"""One training with its run: windows in, events out, exact in the face of any stop.

Between two updates, in this order: report, validation, sample, checkpoint. What a signal cut short is noted
in the checkpoint as ``due`` and done first after a resume.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from unrolled.errors import Interrupted, NonFiniteError, SaveError
from unrolled.net import Net
from unrolled.runs import Checkpoint, Run, model_config
from unrolled.settings import Settings
from unrolled.training.card import model_card
from unrolled.training.diary import diary_entry
from unrolled.training.environment import environment
from unrolled.training.evaluation import Stopped, evaluate
from unrolled.training.learner import ADVICE, Learned, Learner, first_not_finite
from unrolled.training.listener import Listener
from unrolled.training.reading import Reading
from unrolled.training.schedules import learning_rate
from unrolled.training.summary import summary

SECONDS_BETWEEN_CHECKPOINTS = 60.0
MISSES_ALLOWED = 3
EVENTS = ("report", "validate", "sample")
"""What may happen after an update, in order."""


@dataclass
class Position:
    """Where a training stands; all of it is in the checkpoint."""

    update: int = 0
    """Updates done."""
    epoch: int = 0
    """Epochs finished."""
    window: int = 0
    """Windows of this epoch done."""
    total: float = 0.0
    count: int = 0
    correct: int = 0
    norms: float = 0.0
    norms_count: int = 0
    learning_seconds: float = 0.0
    """Sums since the last report."""
    seconds: float = 0.0
    """Spent in all, over every part of the run."""
    train_nats: float | None = None
    """Of the last report."""
    validation_nats: float | None = None
    """Of the last validation."""
    best_nats: float | None = None
    best_update: int | None = None
    stale: int = 0
    """Validations since the best."""
    due: list[str] = field(default_factory=list)
    """Events of this update that a signal kept from happening."""

    def add(self, learned: Learned, seconds: float) -> None:
        """Count one update."""
        self.update += 1
        self.total += learned.total
        self.count += learned.count
        self.correct += learned.correct
        self.norms += learned.grad_norm
        self.norms_count += 1
        self.learning_seconds += seconds

    def clear(self) -> None:
        """Begin the next report."""
        self.total, self.count, self.correct, self.norms, self.norms_count = 0.0, 0, 0, 0.0, 0
        self.learning_seconds = 0.0


@dataclass(frozen=True)
class Material:
    """What a session trains with."""

    run: Run
    net: Net
    learner: Learner
    reading: Reading
    settings: Settings
    updates: int
    """Updates to be done in all."""


class Session:
    """Train until the updates are done, a stop is asked for, or the best is long past."""

    def __init__(
        self, material: Material, position: Position, listener: Listener, stop: Callable[[], bool]
    ) -> None:
        self.material, self.at, self.listener, self.stop = material, position, listener, stop
        self.settings = material.settings.training
        self._clock = time.monotonic()
        self._last_save = time.monotonic()
        self._misses = 0
        self._saved_update: int | None = None
        self._save_wanted = False
        self._replaces: int | None = None
        self._has_diary = material.net.writes_text or bool(material.reading.shown)

    def train(self) -> None:
        """Do all updates that are left, and the events that belong to them.

        Raises Interrupted after a signal, with everything saved.
        """
        if self._saved_update is None and not self.material.run.updates():
            self._save(())
        due, self.at.due = self.at.due, []
        if due:
            self._replaces, self._save_wanted = self.at.update, True
        self._happen(due)
        while not self.finished:
            self._update()
            self._happen(self._events())
        if self._gave_up:
            self.listener.said(self._why_ended)
        self._save((), last=True)
        if self.stop():
            self._interrupt(())

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be done."""
        return self.at.update >= self.material.updates or self._gave_up

    @property
    def _gave_up(self) -> bool:
        return self.settings.patience > 0 and self.at.stale >= self.settings.patience

    @property
    def _why_ended(self) -> str:
        return (
            f"{self.at.stale} validations in a row were no better, and patience is {self.settings.patience}: "
            f"the training ended at update {self.at.update:,}, for good"
        )

    def _update(self) -> None:
        began = time.monotonic()
        at, reading = self.at, self.material.reading
        window = reading.window(at.epoch, at.window)
        rate = learning_rate(self.settings, at.update, len(reading), self.material.updates)
        try:
            learned = self.material.learner.learn(window, rate)
        except NonFiniteError as error:
            raise NonFiniteError(f"update {at.update + 1}: {error}", error.tensor) from error
        at.add(learned, time.monotonic() - began)
        at.window += 1
        if at.window == len(reading):
            at.epoch, at.window = at.epoch + 1, 0
        self.listener.updated(at.update, self.epoch, learned.total / max(1, learned.count))

    @property
    def epoch(self) -> float:
        """Epochs done, with the fraction of the one under way."""
        return self.at.epoch + self.at.window / len(self.material.reading)

    def _events(self) -> list[str]:
        """Return what happens after this update, in order."""
        update, settings, last = self.at.update, self.settings, self.at.update >= self.material.updates
        due = []
        if settings.report_every and (last or update % settings.report_every == 0):
            due.append("report")
        if self.material.reading.validation and (last or self._validates_anyway):
            due.append("validate")
        wanted = settings.sample_every and update % settings.sample_every == 0
        if self._has_diary and (wanted or update in settings.sample_at):
            due.append("sample")
        every, since = settings.checkpoint_every, time.monotonic() - self._last_save
        if update % every == 0 if every else since > SECONDS_BETWEEN_CHECKPOINTS:
            self._save_wanted = True
        return due

    @property
    def _validates_anyway(self) -> bool:
        """Whether a validation is due wherever the end is; only those count for patience."""
        every = self.settings.validate_every
        return self.at.update % every == 0 if every else self.at.window == 0

    def _happen(self, events: list[str]) -> None:
        """Let events happen, then save if that is wanted; a stop in between saves what is left of them."""
        actions = {"report": self._report, "validate": self._validate, "sample": self._sample}
        for number, event in enumerate(events):
            try:
                if self.stop():
                    raise Stopped
                actions[event]()
            except Stopped:
                self._interrupt(tuple(events[number:]))
        if self.stop():
            self._interrupt(())
        if self._save_wanted:
            self._save(())

    def _interrupt(self, due: tuple[str, ...]) -> None:
        self._save(due, last=True)
        number = getattr(self.stop, "signal", None) or 2
        run = self.material.run
        command = f"unrolled resume {run.words}"
        raise Interrupted(f"stopped at update {self.at.update}; go on with: {command}", number)

    def _report(self) -> None:
        at = self.at
        at.train_nats = at.total / max(1, at.count)
        self._log(
            {
                "kind": "train",
                **self._measures(at.train_nats, at.correct / max(1, at.count)),
                "lr": learning_rate(
                    self.settings, at.update - 1, len(self.material.reading), self.material.updates
                ),
                "grad_norm": at.norms / max(1, at.norms_count),
                **self._speed(at.count / max(1e-9, at.learning_seconds)),
            }
        )
        at.clear()
        if self.settings.debug:
            self._summarise()

    def _summarise(self) -> None:
        """Write the size of every layer's values and gradients in the window that comes next."""
        window = self.material.reading.window(self.at.epoch, self.at.window)
        for line in summary(self.material.net, window, self.material.learner.state):
            self._write(self.material.run.debug, {"update": self.at.update, **line})

    def _validate(self) -> None:
        began, at = time.monotonic(), self.at
        windows = self.material.reading.validation_windows()
        found = evaluate(self.material.net, windows, stop=self.stop)
        if not math.isfinite(found.nats):
            error = self.material.learner.cause() or NonFiniteError(
                f"the validation loss is {found.nats}; {ADVICE}", "validation loss"
            )
            raise NonFiniteError(f"update {at.update}: {error}", error.tensor)
        rate = found.targets / max(1e-9, time.monotonic() - began)
        exact = {"exact": found.exact} if self.material.net.fields else {}
        measures = {**self._measures(found.nats, found.accuracy), **exact}
        self._log({"kind": "validation", **measures, **self._speed(rate)})
        at.validation_nats = found.nats
        if at.best_nats is None or found.nats < at.best_nats:
            at.best_nats, at.best_update, at.stale = found.nats, at.update, 0
            self._save_wanted = True
        elif self._validates_anyway:
            at.stale += 1

    def _sample(self) -> None:
        at = (self.at.update, self.epoch)
        rows = self.material.reading.shown
        entry = diary_entry(self.material.net, self.settings, at, self.stop, rows)
        self._write(self.material.run.samples, entry)
        self.listener.sampled(entry)

    def _measures(self, nats: float, accuracy: float) -> dict[str, Any]:
        return {
            "update": self.at.update,
            "epoch": round(self.epoch, 6),
            "nats": nats,
            "bits_per_char": nats / math.log(2),
            "accuracy": accuracy,
        }

    def _speed(self, rate: float) -> dict[str, Any]:
        self._tick()
        return {"chars_per_second": round(rate, 1), "seconds": round(self.at.seconds, 3)}

    def _tick(self) -> None:
        now = time.monotonic()
        self.at.seconds += now - self._clock
        self._clock = now

    def _log(self, entry: dict[str, Any]) -> None:
        self._write(self.material.run.metrics, entry)
        self.listener.reported(entry)

    def _write(self, journal: Any, entry: dict[str, Any]) -> None:
        try:
            journal.append(entry)
        except OSError as error:
            self.listener.said(
                f"{journal.path} can't be written ({error.strerror}); the line is kept for later"
            )

    def _save(self, due: tuple[str, ...], last: bool = False) -> None:
        """Commit a checkpoint; a failed one is warned of, and the last or the third in a row is an error."""
        if self._saved_update == self.at.update and not due:
            return
        self._last_save, self._save_wanted = time.monotonic(), False
        try:
            checkpoint = self._checkpoint(due)
            folder = self.material.run.save(
                self.at.update, checkpoint, self.at.best_update, replace=self._replaces == self.at.update
            )
        except OSError as error:
            self._missed(error, last)
            return
        self._misses, self._saved_update = 0, self.at.update
        self.listener.saved(folder)

    def _missed(self, error: OSError, last: bool) -> None:
        self._misses += 1
        run = self.material.run
        message = f"checkpoint {self.at.update} can't be written to {run.directory} ({error.strerror})"
        if last or self._misses >= MISSES_ALLOWED:
            times = f", {self._misses} times in a row" if self._misses > 1 else ""
            kept = f"the newest saved is update {run.updates()[0]}" if run.updates() else "none is saved"
            raise SaveError(f"{message}{times}; {kept}. Free some space and resume") from error
        self.listener.said(f"{message}; training goes on and will try again")

    def _checkpoint(self, due: tuple[str, ...]) -> Checkpoint:
        net, learner, run = self.material.net, self.material.learner, self.material.run
        weights, tensors = net.weights(), learner.tensors()
        for name, group in (("weight", weights), ("state", tensors)):
            bad = first_not_finite(group.items())
            if bad is not None:
                raise NonFiniteError(
                    f"update {self.at.update}: the {name} {bad} is not finite; the last checkpoint is kept",
                    bad,
                )
        sizes = {name: journal.sync() for name, journal in run.journals.items()}
        state = {
            "position": {**asdict(self.at), "due": list(due)},
            "journals": sizes,
            "journal_sha256": {name: run.journals[name].sha256(size) for name, size in sizes.items()},
            "updates": self.material.updates,
            "environment": environment(net, self.material.settings),
        }
        card = model_card(run, net, self.at)
        return Checkpoint(weights, model_config(net), tensors, state, card)
