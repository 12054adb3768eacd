"""The page of an inspection: text coloured by units, discoveries, memory, gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.inspection.gates import ALWAYS, CLOSED, OPEN, Saturation
from unrolled.inspection.pages.choice import (
    PANES,
    Unit,
    best_of_each,
    passage_begins,
    ranked,
    typical_passage,
)
from unrolled.inspection.pages.document import document
from unrolled.inspection.pages.numbers import eighths, in_threes, plain, smallest
from unrolled.inspection.recording import Recording
from unrolled.inspection.ruler import Memory
from unrolled.inspection.units import Finding, Findings

if TYPE_CHECKING:
    from unrolled.inspection.inspecting import Inspection

LISTED = 200
"""Discoveries that are listed at most."""
_A_UNIT = 48
"""About the bytes that a unit takes beside its values."""
_PANES = 40_000
"""About the bytes that passages take."""


def inspection_page(inspection: Inspection, megabytes: float | None) -> str:
    """Return the page, of about ``megabytes`` at most; None keeps every unit."""
    recording, findings = inspection.recording, inspection.findings
    order = ranked(recording, findings)
    fixed = _document(inspection, [], None)
    room = len(order)
    if megabytes is not None:
        a_unit = len(recording) * 4 / 3 + _A_UNIT
        room = max(min(PANES, len(order)), int((megabytes * 1e6 - len(fixed) - _PANES) / a_unit))
    places = {name: place for place, name in enumerate(recording.series)}
    kept = sorted(order[:room], key=lambda unit: (places[unit[0]], unit[1]))
    return _document(inspection, kept, kept.index(order[0])) if kept else fixed


def _document(inspection: Inspection, kept: Sequence[Unit], first: int | None) -> str:
    """Return the page with some units; ``first`` is the place of the one that is seen when it opens."""
    recording, findings = inspection.recording, inspection.findings
    symbols, numbers = _symbols(recording)
    scales = np.array([np.abs(recording.series[name][:, unit]).max() for name, unit in kept], np.float32)
    columns = [recording.series[name][:, unit] for name, unit in kept]
    values = np.stack(columns, axis=1) if columns else np.zeros((len(recording), 0), np.float32)
    data = {
        "title": inspection.title,
        "facts": inspection.facts,
        "notes": inspection.notes,
        "length": len(recording),
        "symbols": symbols,
        "width": numbers(recording.ids).dtype.itemsize,
        "top": recording.guesses.shape[1],
        "series": _series(recording),
        "units": [[name, unit, scale] for (name, unit), scale in zip(kept, plain(scales), strict=True)],
        "first": first,
        "all": sum(array.shape[1] for array in recording.series.values()),
        "findings": None if findings is None else _findings(recording, findings, kept),
        "gates": [_gate(gate) for gate in inspection.saturation],
        "always": [OPEN, CLOSED, ALWAYS],
        "memory": None if inspection.memory is None else _memory(inspection.memory),
        "picture": inspection.picture,
    }
    arrays = {
        "ids": numbers(recording.ids).tobytes(),
        "guesses": numbers(recording.guesses).tobytes(),
        "probabilities": np.rint(recording.probabilities * 255).astype(np.uint8).tobytes(),
        "surprise": recording.surprise.astype("<f2").tobytes(),
        "values": in_threes(eighths(values, scales).T).tobytes(),
    }
    return document("inspection", data, arrays, pictures=[inspection.picture or ""])


def _symbols(recording: Recording) -> tuple[list[str], Any]:
    """Return the shown text of each symbol that was read or guessed, and what numbers ids by it."""
    used = np.unique(np.concatenate([recording.ids, recording.guesses.ravel()]))
    shown = recording.shown(used)

    def numbers(ids: Any) -> Any:
        return smallest(np.searchsorted(used, ids), len(used))

    return shown, numbers


def _series(recording: Recording) -> list[dict[str, Any]]:
    """Return what is known of each series: its layer, part and kind, and what its values can be."""
    found = []
    for name, array in recording.series.items():
        layer = recording.layer_of[name]
        largest = float(np.abs(array).max(initial=0))
        kind = recording.activations[name] or "pre-activation" if recording.is_gate(name) else "state"
        found.append(
            {
                "name": name,
                "layer": layer,
                "part": name[len(layer) + 1 :],
                "kind": kind,
                "units": array.shape[1],
                "bounded": largest <= 1,
                "positive": bool(array.min(initial=0) >= 0),
            }
        )
    return found


def _findings(recording: Recording, findings: Findings, kept: Sequence[Unit]) -> dict[str, Any]:
    places = {unit: place for place, unit in enumerate(kept)}
    found = findings.found
    return {
        "count": len(found),
        "tries": findings.tries,
        "predicates": len(findings.predicates) - len(findings.left_out),
        "note": findings.note,
        "left_out": [[name, why] for name, why in findings.left_out.items()],
        "panes": [_pane(recording, finding, places) for finding in best_of_each(findings)[:PANES] if kept],
        "list": [_line(finding, places) for finding in found[:LISTED]],
    }


def _line(finding: Finding, places: dict[Unit, int]) -> dict[str, Any]:
    r, beyond, threshold = plain((finding.r, finding.beyond, finding.threshold), 3)
    at = places.get((finding.series, finding.unit))
    return {"words": finding.words, "unit": at, "r": r, "beyond": beyond, "threshold": threshold}


def _pane(recording: Recording, finding: Finding, places: dict[Unit, int]) -> dict[str, Any]:
    """Return a discovery with a passage, and what is true there: 0 to 100."""
    values = recording.series[finding.series][:, finding.unit]
    truth = np.asarray(finding.predicate(recording.symbols), np.float32)
    begin, end = typical_passage(values, truth, finding.r, passage_begins(recording.symbols))
    own = truth[begin:end]
    spread = own.max(initial=0) - own.min(initial=0)
    told = (
        np.rint(100 * (own - own.min(initial=0)) / spread)
        if finding.predicate.numeric and spread
        else 100 * own
    )
    passage = {"begin": begin, "truth": told.astype(int).tolist(), "what": finding.predicate.words}
    return {**_line(finding, places), **passage}


def _gate(gate: Saturation) -> dict[str, Any]:
    return {
        "layer": gate.layer,
        "gate": gate.gate,
        "counts": gate.counts.tolist(),
        "open": plain(gate.open, 3),
        "closed": plain(gate.closed, 3),
        "always_open": gate.always_open,
        "always_closed": gate.always_closed,
        "sentence": gate.sentence,
    }


def _memory(memory: Memory) -> dict[str, Any]:
    return {
        "context": memory.context.tolist(),
        "excess": plain(memory.excess),
        "error": plain(memory.error),
        "whole": memory.whole,
        "reach": memory.reach.tolist(),
        "gradient": plain(memory.gradient),
        "window": memory.window,
        "used": memory.used,
        "enough": memory.enough,
        "sentence": memory.sentence,
    }
