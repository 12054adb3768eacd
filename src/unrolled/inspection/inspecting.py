"""Everything about a net that read a text, gathered for people."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unrolled.cells import Cell
from unrolled.errors import UsageError
from unrolled.inspection.drawing import drawn
from unrolled.inspection.gates import Saturation, saturation
from unrolled.inspection.passage import LENGTH, Passage, passage
from unrolled.inspection.predicates import PREDICATES, Predicate
from unrolled.inspection.recording import Recording, record
from unrolled.inspection.ruler import Memory, measure_memory
from unrolled.inspection.units import Findings, find_units
from unrolled.net import Net
from unrolled.runs import Run
from unrolled.runs.checkpoint import is_checkpoint
from unrolled.runs.files import replace_file
from unrolled.runs.model import load_checkpoint

LONGEST = 1000
"""The longest context that the memory ruler tries, where nobody says."""
POSITIONS = 128
LEAST_READ = 200
"""Symbols without which nothing is told of the memory."""
MEGABYTES = 3.0
"""The size of a page, where nobody says."""

Say = Callable[[str], None]
Cells = Mapping[str, type[Cell]]


@dataclass(frozen=True)
class Inspection:
    """What is known of a net that read a text; ``write`` makes a page of it."""

    title: str
    facts: tuple[tuple[str, str], ...]
    """What was read by what, [label, value] each."""
    recording: Recording
    findings: Findings | None
    """None where the text is too short to find anything."""
    saturation: tuple[Saturation, ...] = ()
    memory: Memory | None = None
    """None where it was not asked for, or the text is too short."""
    picture: str | None = None
    """The net, as SVG."""
    notes: tuple[str, ...] = ()
    """Why something is missing."""

    @classmethod
    def of(cls, recording: Recording, predicates: Sequence[Predicate] = PREDICATES) -> Inspection:
        """Look at a recording alone: units and gates; what needs the net is left out.

        UsageError where numbers of it are none, since the net ran away.
        """
        _check_finite(recording)
        findings, notes = None, []
        try:
            findings = find_units(recording.series, recording.symbols, predicates)
        except UsageError as error:
            notes.append(str(error))
        facts = _facts_of(recording)
        return cls(
            "A recording", facts, recording, findings, tuple(saturation(recording)), notes=tuple(notes)
        )

    def page(self, *, megabytes: float | None = MEGABYTES) -> str:
        """Return one HTML file of about ``megabytes`` at most; None takes every unit, at whatever size.

        Units that do not fit are left out, those that mean something last, and the page says so.
        """
        from unrolled.inspection.pages.inspection import inspection_page

        return inspection_page(self, megabytes)

    def write(self, path: str | os.PathLike[str], *, megabytes: float | None = MEGABYTES) -> int:
        """Write the page, whole or not at all; return its size in bytes."""
        content = self.page(megabytes=megabytes).encode()
        replace_file(Path(path), content)
        return len(content)

    def _repr_html_(self) -> str:
        from unrolled.inspection.pages.frame import framed

        return framed(self.page())


def inspect(
    run: str | os.PathLike[str] | Run,
    text: str | os.PathLike[str] | bytes | None = None,
    *,
    length: int = LENGTH,
    longest: int = LONGEST,
    predicates: Sequence[Predicate] = PREDICATES,
    skip_unseen: bool = False,
    cells: Cells | None = None,
    say: Say = lambda message: None,
) -> Inspection:
    """Let the newest model of a run, or of one checkpoint, read a text; return what happened inside.

    ::

        unrolled.inspect("runs/book", "chapter.txt").write("page.html")

    ``text`` is a file, a name of the catalog, or its bytes; None is the run's own validation text. Its first
    ``length`` symbols are read; those that the vocabulary lacks are left out if ``skip_unseen``. ``longest``
    is the longest context that the memory ruler tries, 0 leaves it out; ``predicates`` are what units are
    held against. ``cells`` are the user's own, as for ``load``. ``say`` hears what is being done. UsageError,
    TextError and LoadError for what is wrong with run or text.
    """
    path = run.directory if isinstance(run, Run) else Path(run)
    net = load_checkpoint(path, cells, say)
    whole = None if is_checkpoint(path) else run if isinstance(run, Run) else Run(path)
    given = text if isinstance(text, bytes) or text is None else str(text)
    read = passage(net, given, run=whole, length=length, skip_unseen=skip_unseen)
    for notice in read.notices:
        say(notice)
    say(f"reading {read.words}")
    recording = record(net, read.ids)
    say(f"holding {sum(values.shape[1] for values in recording.series.values()):,} series against the text")
    found, notes = Inspection.of(recording, predicates), list[str]()
    memory = _memory(net, read, whole, longest, (say, notes.append))
    return Inspection(
        path.resolve().name if whole is not None else f"{path.resolve().parents[1].name}, update {path.name}",
        (*_facts_of_net(net, whole), ("text", read.words), *found.facts[1:]),
        recording,
        found.findings,
        found.saturation,
        memory,
        drawn(net.spec, cells, notes.append),
        (*found.notes, *notes),
    )


def _memory(net: Net, read: Passage, run: Run | None, wanted: int, told: tuple[Say, Say]) -> Memory | None:
    """Measure the memory, with a shorter ruler where the text is short; ``told`` hear what and why not.

    Of a ruler that is no longer than the training window nobody can tell whether that was needed.
    """
    say, note = told
    if wanted == 0:
        return None
    if len(read.ids) < LEAST_READ:
        note(f"the memory ruler needs {LEAST_READ} symbols or more, came {len(read.ids)}")
        return None
    longest = min(wanted, len(read.ids) // 2)
    say(f"measuring what is lost with less than {longest:,} symbols of context")
    window = None
    if run is not None:
        window = max(run.settings.data.window, run.settings.training.reach)
    if window is not None and window >= longest:
        window = None
    positions = min(POSITIONS, len(read.ids) - longest)
    return measure_memory(net, read.ids, window=window, longest=longest, positions=positions)


def _check_finite(recording: Recording) -> None:
    for name, array in (*recording.series.items(), ("probabilities", recording.probabilities)):
        wrong = ~np.isfinite(array).all(axis=1)
        if wrong.any():
            raise UsageError(
                f"wanted finite numbers, {name} has others from symbol {int(wrong.argmax())} on: "
                "the net ran away; give an earlier checkpoint"
            )


def _facts_of(recording: Recording) -> tuple[tuple[str, str], ...]:
    units = {layer: _units(recording, layer) for layer in recording.layers}
    layers = ", ".join(f"{layer} {H:,}" for layer, H in units.items())
    facts = [("units", layers)] if layers else []
    if len(recording) > 1:
        facts.append(("surprise", f"{np.nanmean(recording.surprise):.3f} bits a symbol"))
    return (("symbols", f"{len(recording):,}"), *facts)


def _units(recording: Recording, layer: str) -> int:
    own = (recording.series[name] for name, owner in recording.layer_of.items() if owner == layer)
    return int(next(own).shape[1])


def _facts_of_net(net: Net, run: Run | None) -> tuple[tuple[str, str], ...]:
    facts = [("parameters", f"{net.num_parameters:,}")]
    if run is not None:
        updates = run.updates()
        facts.append(("updates", f"{updates[0]:,}" if updates else "none"))
    return tuple(facts)
