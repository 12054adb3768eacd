"""The verbs that make pages to look at: inspect, report."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.cli.notes import note
from unrolled.errors import UnrolledError, UsageError

if TYPE_CHECKING:
    from unrolled.inspection import Inspection, Predicate
    from unrolled.runs import Run

INSPECTION, REPORT = "inspection.html", "report.html"


@dataclass(frozen=True)
class Wanted:
    """What an inspection reads, and what units are held against beside the shipped predicates."""

    length: int
    longest: int
    predicates: tuple[str, ...]
    regexes: tuple[str, ...]
    skip_unseen: bool


def inspect(
    run: Path,
    text: str | None,
    cell: str | None,
    wanted: Wanted,
    to: tuple[Path | None, float],
    as_json: bool,
) -> None:
    """Let a model read a text, and write the page."""
    output, megabytes = to
    if not 0 <= megabytes < math.inf:
        raise UsageError(f"--megabytes: wanted 0 or more, came {megabytes:g}; 0 keeps every unit")
    if wanted.length < 1 or wanted.longest < 0:
        came = f"--length {wanted.length}" if wanted.length < 1 else f"--longest {wanted.longest}"
        raise UsageError(f"wanted a length of 1 or more and a longest context of 0 or more, came {came}")
    output = _page(run, output)
    predicates = _predicates(wanted)
    from unrolled.cli.using import cells_of
    from unrolled.inspection import inspect as look

    found = look(
        run,
        sys.stdin.buffer.read() if text == "-" else text,
        length=wanted.length,
        longest=wanted.longest,
        predicates=predicates,
        skip_unseen=wanted.skip_unseen,
        cells=cells_of(run, cell),
        say=note,
    )
    size = write_page(output, found.page(megabytes=megabytes or None))
    if as_json:
        print(json.dumps({"page": str(output), "bytes": size, **_summary(found)}, ensure_ascii=False))
        return
    for finding in found.findings.found[:10] if found.findings is not None else ():
        print(finding.words)
    if found.memory is not None:
        print(found.memory.sentence)
    print(f"The page is {output}, {size / 1e6:.1f} MB; it opens in any browser, without a network")


def _page(run: Path, output: Path | None) -> Path:
    """Return where the page goes; a checkpoint's own directory holds nothing else than a checkpoint."""
    from unrolled.runs.checkpoint import is_checkpoint

    if output is None:
        if is_checkpoint(run):
            raise UsageError("a checkpoint takes no page into its directory; say where with -o page.html")
        return run / INSPECTION
    if output.is_dir() or not output.parent.is_dir():
        what = "a directory" if output.is_dir() else f"in {output.parent}, which is no directory"
        raise UsageError(f"-o: wanted a file to write, came {output}, {what}; name one such as page.html")
    return output


def _predicates(wanted: Wanted) -> tuple[Predicate, ...]:
    from unrolled.inspection import PREDICATES, from_file, from_regex

    own = [from_file(reference) for reference in wanted.predicates]
    for given in wanted.regexes:
        name, equals, pattern = given.partition("=")
        if not equals or not name or not pattern:
            raise UsageError(f"--regex: wanted NAME=PATTERN, came {given!r}; for example 'year=1[89]\\d\\d'")
        own.append(from_regex(name, pattern))
    return (*PREDICATES, *own)


def _summary(found: Inspection) -> dict[str, Any]:
    """Return the numbers behind a page."""
    findings, memory = found.findings, found.memory
    return {
        "facts": dict(found.facts),
        "notes": list(found.notes),
        "tries": findings.tries if findings is not None else 0,
        "found": [
            {
                "words": one.words,
                "series": one.series,
                "unit": one.unit,
                "predicate": one.predicate.name,
                "r": round(one.r, 4),
                "beyond": round(one.beyond, 4),
                "threshold": round(one.threshold, 4),
            }
            for one in (findings.found if findings is not None else ())
        ],
        "memory": None
        if memory is None
        else {
            "used": memory.used,
            "enough": memory.enough,
            "window": memory.window,
            "fades": memory.fades,
            "context": memory.context.tolist(),
            "excess": memory.excess.tolist(),
            "sentence": memory.sentence,
        },
        "gates": [
            {"layer": g.layer, "gate": g.gate, "always_open": g.always_open, "always_closed": g.always_closed}
            for g in found.saturation
        ],
    }


def report(directories: tuple[Path, ...], output: Path | None, cell: str | None, as_json: bool) -> None:
    """Write the report of one run, or of several, and say where it is."""
    if not directories:
        raise UsageError("report needs a run: unrolled report RUN [RUN ...]")
    if output is None and len(directories) > 1:
        raise UsageError(f"-o: {len(directories)} runs on one page need its name: -o compared.html")
    from unrolled.cli.using import cells_of
    from unrolled.inspection.pages.report import gathered, page
    from unrolled.runs import Run

    runs = [Run(directory) for directory in directories]
    cells = {name: cls for run in runs for name, cls in cells_of(run.directory, cell).items()}
    numbers = gathered(runs, cells)
    place = output if output is not None else directories[0] / REPORT
    size = write_page(place, page(numbers))
    if as_json:
        shown = [{key: value for key, value in run.items() if key != "picture"} for run in numbers]
        print(json.dumps({"page": str(place), "bytes": size, "runs": shown}))
    words = f"The page is {place}, {size / 1e6:.1f} MB; it opens in any browser, without a network"
    print(words, file=sys.stderr if as_json else sys.stdout)


def write_page(place: Path, html: str) -> int:
    """Put a page in its place, whole or not at all; return its bytes; UsageError where it can't be."""
    from unrolled.runs.files import replace_file

    data = html.encode()
    if place.is_dir():
        raise UsageError(f"-o: {place} is a directory; name a file in it")
    try:
        replace_file(place, data)
    except OSError as error:
        raise UsageError(f"{place} can't be written: {error.strerror}") from error
    return len(data)


def report_of_training(run: Run, seconds: float) -> tuple[Path | None, str]:
    """Write the report of a training that has ended; return its place, or None and why there is none.

    It takes little time beside the ``seconds`` of the training. What fails here fails no training.
    """
    from unrolled.inspection.pages.report import gathered, page
    from unrolled.inspection.reporting import Effort

    place = run.directory / REPORT
    try:
        write_page(place, page(gathered([run], run.cells, Effort(1 + seconds / 40))))
    except (OSError, UnrolledError) as error:
        return None, " ".join(str(error).split())
    return place, ""
