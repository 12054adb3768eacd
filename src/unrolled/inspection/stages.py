"""The diary as an evolution: what a net wrote while it learned, and how good it was."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unrolled.errors import UsageError
from unrolled.inspection.closing import Compared, Yardstick, compared, yardstick
from unrolled.inspection.copies import Novelty, Written, novelties
from unrolled.inspection.repeats import Repetition, repetition
from unrolled.inspection.training_text import TrainingText, reads_text
from unrolled.runs import Run

MOST = 12
"""How many stages are chosen from a diary, where nobody says which."""


@dataclass(frozen=True)
class Stage:
    """What a net wrote at an update, ``text`` after ``prime``, and its scores.

    ``structure`` and ``repetition`` are None for a net that answers examples, ``novelty`` also where the
    training text is not at hand.
    """

    update: int
    epoch: float
    temperature: float
    prime: str
    text: str
    structure: list[Compared] | None = None
    repetition: Repetition | None = None
    novelty: Novelty | None = None


def evolution(
    run: Run, training: TrainingText | None = None, *, at: Sequence[int] = (), seed: int = 0
) -> list[Stage]:
    """Read a run's diary: the stages at the updates ``at``, or 12 spaced evenly in the update's logarithm.

    The first and the last entry are always among the 12. ``training`` is what ``training_text(run)`` returns:
    the stages are compared with it in one reading, and excerpts that ``seed`` draws are the yardstick of
    their structure. A run without a diary has no stages; UsageError for an update that has no entry.
    """
    updates = [int(entry["update"]) for entry in run.samples.lines()]
    wanted = set(_named(run, updates, at) if at else chosen(updates))
    entries = {entry["update"]: entry for entry in run.samples.lines() if entry["update"] in wanted}
    stages = [_read(update, entry) for update, entry in sorted(entries.items())]
    return _scored(stages, training, seed) if reads_text(run) else stages


def _read(update: int, entry: Mapping[str, Any]) -> Stage:
    """Read a line of the diary; KeyError where a field is not there, or is nothing that a training writes."""
    read = {name: entry[name] for name in ("epoch", "temperature", "prime", "text")}
    for name, value in read.items():
        is_right = isinstance(value, str) if name in ("prime", "text") else _is_number(value)
        if not is_right:
            raise KeyError(name)
    return Stage(update, **read)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def chosen(updates: Sequence[int], most: int = MOST) -> list[int]:
    """Return at most ``most`` of these updates, the first, the last and those nearest to even logarithms."""
    known = np.unique(np.asarray(updates, np.int64))
    if len(known) <= most:
        return [int(update) for update in known]
    places = np.log(known + 1.0)
    taken: list[int] = []
    for number, place in enumerate(np.linspace(places[0], places[-1], most)):
        low = taken[-1] + 1 if taken else 0
        high = len(known) - (most - 1 - number)
        taken.append(low + int(np.abs(places[low:high] - place).argmin()))
    return [int(known[at]) for at in taken]


def _named(run: Run, updates: Sequence[int], at: Sequence[int]) -> Sequence[int]:
    """Return the updates that were asked for, if each has an entry."""
    missing = next((update for update in at if update not in set(updates)), None)
    if missing is None:
        return at
    if not updates:
        raise UsageError(f"the diary of {run.directory} is empty, so it has no update {missing}")
    near = min(updates, key=lambda update: abs(update - missing))
    raise UsageError(
        f"the diary of {run.directory} has no update {missing}; the nearest is {near}. Name that one, or "
        "train with --sample-at"
    )


def _scored(stages: Sequence[Stage], training: TrainingText | None, seed: int) -> list[Stage]:
    written = [Written(stage.text, stage.prime) for stage in stages]
    new: Sequence[Novelty | None] = [None] * len(stages)
    yardsticks: dict[int, Yardstick] = {}
    if training is not None:
        new = novelties(written, training)
        lengths = {len(training.encode(stage.text)) for stage in stages}
        yardsticks = {length: yardstick(training, length, seed) for length in lengths}
    scored = []
    for stage, novelty in zip(stages, new, strict=True):
        own = yardsticks[len(training.encode(stage.text))] if training is not None else None
        scored.append(
            replace(
                stage,
                structure=compared(stage.text, own),
                repetition=repetition(stage.text),
                novelty=novelty,
            )
        )
    return scored
