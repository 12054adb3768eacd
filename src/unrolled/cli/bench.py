"""The verb bench: what to measure, and the table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unrolled.errors import UsageError, nearest

if TYPE_CHECKING:
    from unrolled.cells import Cell
    from unrolled.measuring.comparison import Measured, Plan, Report

CELLS = ("lstm", "gru", "rnn")


@dataclass(frozen=True)
class Wanted:
    """What the command line says."""

    cells: str | None
    own_cell: str | None
    sizes: str
    engines: str | None
    threads: int
    rounds: int
    precision: str
    device: str


def bench(wanted: Wanted, as_json: bool) -> None:
    """Measure, and print a table or JSON."""
    from rich.console import Console

    from unrolled.measuring.comparison import compare

    plan = _plan(wanted)
    aside = Console(stderr=True)
    with aside.status("") as status:

        def told(what: str) -> None:
            if aside.is_terminal:
                status.update(f"measuring {what}")
            else:
                print(f"measuring {what}", file=sys.stderr)

        report = compare(plan, told)
    if as_json:
        print(json.dumps(report.to_dict()))
        return
    _print_table(report)
    for line in _lines(report):
        print(line)


def _plan(wanted: Wanted) -> Plan:
    from unrolled.cells import load_cell
    from unrolled.engines import ENGINES
    from unrolled.measuring.comparison import Plan
    from unrolled.measuring.rounds import Manner
    from unrolled.measuring.works import size_of

    own: dict[str, type[Cell]] = {}
    if wanted.own_cell is not None:
        own[wanted.own_cell] = load_cell(wanted.own_cell).cls
    names = wanted.cells if wanted.cells is not None else "" if own else ",".join(CELLS)
    cells = {name: _built_in(name) for name in _split(names)}
    sizes = [size_of(size) for size in _split(wanted.sizes)]
    engines = list(ENGINES) if wanted.engines is None else _split(wanted.engines)
    for flag, found in (("cells", {**cells, **own}), ("sizes", sizes), ("engines", engines)):
        if not found:
            raise UsageError(f"--{flag}: wanted at least one, separated by commas; came none")
    return Plan(
        {**cells, **own},
        sizes,
        engines,
        wanted.precision,
        wanted.device,
        wanted.threads,
        Manner(wanted.rounds),
    )


def _split(words: str) -> list[str]:
    """Return the parts of a list that is separated by commas, each once."""
    return list(dict.fromkeys(part.strip() for part in words.split(",") if part.strip()))


def _built_in(name: str) -> type[Cell]:
    from unrolled.cells import NAMED

    if name not in NAMED:
        known = ", ".join(NAMED)
        raise UsageError(
            f"there is no cell {name!r}; there are {known}{nearest(name, NAMED)}; yours goes to --cell"
        )
    return NAMED[name]


HEAD = ("cell", "size", "work", "engine", "ms", "quartiles", "chars/s", "ratio", "dropped", "others")
LEFT = 4


def _print_table(report: Report) -> None:
    """Print a table: the terminal's own, or plain columns."""
    from rich.console import Console
    from rich.table import Table

    console, rows = Console(), [_row(row) for row in report.measured]
    if not console.is_terminal:
        for line in _columns([HEAD, *rows]):
            print(line)
        return
    table = Table(box=None)
    for number, name in enumerate(HEAD):
        table.add_column(name, justify="left" if number < LEFT else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield ``rows`` as lines with aligned columns: words to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            text.ljust(width) if column < LEFT else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _row(row: Measured) -> tuple[str, ...]:
    low, high = (1e3 * seconds for seconds in row.timing.quartiles)
    foreign = row.timing.foreign
    return (
        _short(row.cell),
        row.size.label,
        row.work,
        row.engine,
        f"{1e3 * row.timing.median:.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{row.chars_per_second:,.0f}",
        f"{row.ratio:.2f} ×",
        str(row.timing.dropped),
        "?" if foreign is None else f"{foreign:.1%}{' !' if row.timing.noisy else ''}",
    )


def _lines(report: Report) -> Iterator[str]:
    """Say what the table means: who won, what was left out, what was disturbed."""
    yield (
        f"ratio: times as fast as {report.base}; others: the share of the processor that other processes "
        f"took; {report.threads} thread{'s' * (report.threads != 1)}"
    )
    for kernel in report.kernels:
        yield f"{kernel['kernel']}: {1e3 * kernel['seconds']:.2f} ms an update"
    for cell, auto in report.auto.items():
        best = _fastest(report, cell)
        hint = "" if auto == best.engine else f"; auto takes {auto}, so write --engine {best.engine}"
        yield (
            f"{_short(cell)} {best.size.label}: {best.engine} trains fastest, "
            f"{best.ratio:.1f} × {report.base}{hint}"
        )
    for engine, why in dict.fromkeys((engine, why) for _, engine, why in report.left_out):
        cells = [_short(cell) for cell, *rest in report.left_out if rest == [engine, why]]
        yield f"left out: {engine} for {', '.join(cells)} ({why})"
    if any(row.timing.foreign is None for row in report.measured):
        yield "what other processes did isn't known on this system, so no timing was dropped"
    if any(row.timing.noisy for row in report.measured):
        yield "! other processes kept disturbing this; measure again on a quiet machine"


def _fastest(report: Report, cell: str) -> Measured:
    """Return the fastest training of a cell, in the last size measured."""
    mine = [row for row in report.measured if row.cell == cell and row.work == "train"]
    return min((row for row in mine if row.size == mine[-1].size), key=lambda row: row.timing.median)


def _short(cell: str) -> str:
    """Return a cell's name without its file."""
    return cell.rpartition(":")[2]
