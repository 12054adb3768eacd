"""The training report: one page that tells of one run, or compares several."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unrolled.cells import Cell
from unrolled.errors import UsageError
from unrolled.inspection.pages.document import document
from unrolled.inspection.reporting import Effort, summarised
from unrolled.runs import Run

RunOrPath = Run | str | os.PathLike[str]


def report(*runs: RunOrPath, cells: Mapping[str, type[Cell]] | None = None) -> str:
    """Return a page, HTML, that tells of a run: its curves, its diary, and how good what it wrote is.

    Several runs are compared, in the order given. ``cells`` holds the user's own cells, as for ``load``.
    LoadError where there is no run, UsageError if none is given.
    """
    return page(gathered(runs, cells))


def gathered(
    runs: Iterable[RunOrPath],
    cells: Mapping[str, type[Cell]] | None = None,
    effort: Effort | None = None,
) -> list[dict[str, Any]]:
    """Return the numbers behind a report, an object for each run, each with a name of its own."""
    opened = [run if isinstance(run, Run) else Run(run) for run in runs]
    if not opened:
        raise UsageError("report: wanted at least one run, came none")
    found = [summarised(run, cells, effort) for run in opened]
    for one, name in zip(found, names([run.directory for run in opened]), strict=True):
        one["name"] = name
    _tell_texts_apart(opened, found)
    return found


def _tell_texts_apart(runs: list[Run], found: list[dict[str, Any]]) -> None:
    """Name texts by as much of their paths as tells them from the other runs' texts."""
    single = [n for n, run in enumerate(runs) if len(run.source.text) == 1]
    paths = list(dict.fromkeys(Path(runs[n].source.text[0]) for n in single))
    name_of = dict(zip(paths, names(paths), strict=True))
    for n in single:
        found[n]["text"] = name_of[Path(runs[n].source.text[0])]


def page(runs: list[dict[str, Any]]) -> str:
    """Return the page that shows what was gathered."""
    pictures = [run["picture"] for run in runs if run["picture"] is not None]
    return document("report", {"runs": runs}, pictures=pictures)


def names(directories: list[Path]) -> list[str]:
    """Return a name for each directory: its last part, with as many before it as tell it from the others.

    A directory that is given twice gets a number the second time.
    """
    whole = [Path(os.path.abspath(directory)).parts for directory in directories]  # noqa: PTH100
    found: list[str] = []
    for parts in whole:
        others = [other for other in set(whole) if other != parts]
        lengths = range(1, len(parts))
        apart = (n for n in lengths if all(other[-n:] != parts[-n:] for other in others))
        length = next(apart, len(parts))
        name = str(Path(*parts[-length:]))
        times = sum(other == parts for other in whole[: len(found)])
        found.append(f"{name} ({times + 1})" if times else name)
    return found
