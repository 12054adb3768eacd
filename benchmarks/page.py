"""RESULTS.md, made from the results of all machines: python benchmarks/page.py"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
PAGE = Path(__file__).parent / "RESULTS.md"
HEAD = """\
# Results

Made by `make bench` from the files in `results/`, one for each kind of machine; not to be edited by hand.

A training row is a whole update of a char-RNN: an embedding of 96 symbols, 2 layers, a linear layer, cross-
entropy, clipping by the norm of all gradients, Adam. 512 means 2 × 512 units, 100 lanes × 100 steps; 128
means 2 × 128 units, 50 × 50. A sampling row draws characters one by one at temperature 0.8. All contenders
of a row run in turns, A B C A B C, each runtime in a process of its own; numbers are medians. A round in
which other processes took more than 8 % of the processors is dropped; where too few were left, the least
disturbed ones count, and the number is marked ~. Ratios are of one run; milliseconds of different rows may
be of different days.
"""
Rows = Mapping[str, Mapping[str, Any]]


def make(folder: Path = FOLDER, target: Path = PAGE) -> Path:
    """Write the page; return its path."""
    target.write_text(page(folder), encoding="utf-8")
    return target


def page(folder: Path = FOLDER) -> str:
    """Return the page for the results in ``folder``."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    parts = [HEAD, *(_machine(results) for results in found), _side_by_side(found)]
    return "\n".join(parts)


def _machine(results: Mapping[str, Any]) -> str:
    rows = results.get("rows", {})
    parts = [f"## {_title(results)}\n", _facts(results), _bars(rows)]
    parts.append(_matrix("Training, milliseconds an update", rows, "train/", _milliseconds))
    parts.append(_matrix("Sampling, characters a second", rows, "sample/", _rate))
    for title, table in results.get("tables", {}).items():
        parts.append(_section(title, table["head"], table["lines"]))
    parts.append(_details(rows))
    return "\n".join(part for part in parts if part)


def _title(results: Mapping[str, Any]) -> str:
    facts = results["machine"]
    return str(facts.get("gpu") or f"{facts['processor']}, {facts['processors']} processors")


def _facts(results: Mapping[str, Any]) -> str:
    facts = results["machine"]
    told = [
        f"Processor {facts['processor']} (family and model {facts['family'] or 'unknown'}), "
        f"{', '.join(facts['features']) or 'features unknown'}; torch {facts['torch']} with "
        f"{', '.join(facts['libraries'])}."
    ]
    for threads, peak in sorted(results.get("gflops", {}).items()):
        products = ", ".join(f"{speed:.0f} GFLOP/s in {numbers}" for numbers, speed in peak.items())
        told.append(f"A large matrix product by torch with {_threads(threads)}: {products}.")
    return " ".join(told) + "\n"


def _threads(threads: str) -> str:
    return "the GPU" if threads == "0" else f"{threads} thread{'s' * (threads != '1')}"


def _bars(rows: Rows) -> str:
    """Return where each bar stands: a column for each number of threads."""
    bars: dict[str, dict[str, Any]] = {}
    for _, threads, entry in _entries(rows):
        for bar in entry["bars"]:
            bars.setdefault(bar["bar"], {})[threads] = bar
    counts = sorted({threads for found in bars.values() for threads in found})
    lines = []
    for name, found in bars.items():
        any_bar = next(iter(found.values()))
        floors = sorted(
            {f"{bar['floor']:g}" for bar in found.values() if bar["floor"] is not None}, key=float
        )
        goal = "" if any_bar["goal"] is None else f"{any_bar['goal']:g}"
        lines.append([name, " / ".join(floors), goal, *(_bar(found.get(threads)) for threads in counts)])
    head = ["how many times as fast", "floor", "goal", *map(_threads, counts)]
    return _section("Bars", head, lines)


def _bar(bar: Mapping[str, Any] | None) -> str:
    if bar is None:
        return "not measured"
    verdict = "" if bar["met"] is None else ", met" if bar["met"] else ", **missed**"
    return f"{'~' if bar['noisy'] else ''}{bar['ratio']:.2f}{verdict}"


def _matrix(title: str, rows: Rows, prefix: str, show: Callable[[Mapping[str, Any]], str]) -> str:
    """Return a table of contenders by rows; numbers of several thread counts stand one after the other."""
    names = [name for name in rows if name.startswith(prefix)]
    counts = sorted({threads for name in names for threads in rows[name]})
    labels = dict.fromkeys(
        label for name in names for entry in rows[name].values() for label in entry["contenders"]
    )
    lines = []
    for label in labels:
        cells, library = [], ""
        for name in names:
            found = [rows[name].get(threads, {}).get("contenders", {}).get(label) for threads in counts]
            library = next((one["library"] for one in found if one), library)
            cells.append(
                " / ".join("–" if one is None else show(one) for one in found) if any(found) else "–"
            )
        lines.append([label, library, *cells])
    head = ["", "products by", *(_column(name, prefix) for name in names)]
    told = " / ".join(map(_threads, counts))
    return _section(f"{title}: {told}", head, lines)


def _milliseconds(found: Mapping[str, Any]) -> str:
    return f"{'~' if found['noisy'] else ''}{_short(1e3 * found['seconds'])}"


def _rate(found: Mapping[str, Any]) -> str:
    return f"{'~' if found['noisy'] else ''}{found['chars_per_second']:,.0f}"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}"


def _details(rows: Rows) -> str:
    lines = []
    for name, threads, entry in _entries(rows):
        for label, found in entry["contenders"].items():
            low, high = (_short(1e3 * seconds) for seconds in found["quartiles"])
            share = "unknown" if found["foreign"] is None else f"{found['foreign']:.1%}"
            counted = f"{found['rounds']} ({found['dropped']})"
            spread = f"{low} to {high}"
            lines.append([name, threads, label, _milliseconds(found), spread, counted, share, entry["date"]])
        for label, why in entry["missing"].items():
            lines.append([name, threads, label, why, "", "", "", entry["date"]])
    head = ["row", "threads", "contender", "ms a call", "quartiles", "rounds (dropped)", "others", "measured"]
    return _section("Every number", head, lines)


def _side_by_side(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of processors, GPUs and maths libraries: the best of the thread counts."""
    told = [results.get("rows", {}) for results in found]
    names = list(dict.fromkeys(name for rows in told for name in rows if name.startswith("train/")))
    lines = []
    for results, rows in zip(found, told, strict=True):
        mine = {name: list(rows.get(name, {}).values()) for name in names}
        contenders = [
            pair for entries in mine.values() for entry in entries for pair in entry["contenders"].items()
        ]
        for library, label in dict.fromkeys((one["library"], label) for label, one in contenders):
            cells = [_best(entries, label) for entries in mine.values()]
            lines.append([_title(results), library, label, *cells])
    head = ["machine", "products by", "", *(_column(name, "train/") for name in names)]
    table = _section("Processors, GPUs and maths libraries: milliseconds an update", head, lines, level=2)
    if any("gpu" in results["machine"] for results in found):
        return table
    note = "No GPU has been measured yet: `make bench` on a machine with one adds its rows.\n"
    return f"{table}\n{note}" if table else note


def _best(entries: Sequence[Mapping[str, Any]], label: str) -> str:
    times = [entry["contenders"][label]["seconds"] for entry in entries if label in entry["contenders"]]
    return _short(1e3 * min(times)) if times else "–"


def _column(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).replace("/", " ")


def _entries(rows: Rows) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, by_threads in rows.items():
        for threads, entry in sorted(by_threads.items()):
            yield name, threads, entry


def _section(title: str, head: Sequence[str], lines: Sequence[Sequence[str]], level: int = 3) -> str:
    """Return a heading and a table; nothing where there are no lines."""
    if not lines:
        return ""
    rows = [head, ["---"] * len(head), *lines]
    return f"{'#' * level} {title}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    sys.stdout.write(f"{make()}\n")
