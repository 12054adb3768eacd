"""Results as JSON, one file for each kind of machine."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rows import Row
from unrolled.measuring.rounds import Timing

FOLDER = Path(__file__).parent / "results"


def save(entry: Mapping[str, Any], facts: Mapping[str, Any], peak: Mapping[str, float]) -> Path:
    """Put a measured row in the place of what its machine's file held; return the file."""
    kept, threads = _kept(facts), str(entry["threads"])
    if peak:
        kept.setdefault("gflops", {})[threads] = dict(peak)
    kept.setdefault("rows", {}).setdefault(entry["row"], {})[threads] = dict(entry)
    return _write(kept)


def save_table(title: str, head: list[str], lines: list[list[str]], facts: Mapping[str, Any]) -> Path:
    """Put a table of another benchmark in its machine's file, for the page to show under its title."""
    kept = _kept(facts)
    kept.setdefault("tables", {})[title] = {"head": head, "lines": lines}
    return _write(kept)


def _kept(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a machine's file holds, with the machine as it is now."""
    path = FOLDER / f"{_name(facts)}.json"
    kept: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return {**kept, "machine": dict(facts)}


def _write(kept: Mapping[str, Any]) -> Path:
    path = FOLDER / f"{_name(kept['machine'])}.json"
    FOLDER.mkdir(exist_ok=True)
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _name(facts: Mapping[str, Any]) -> str:
    """Return what tells this kind of machine from others, as a file's name."""
    words = facts.get("gpu") or f"{facts['processor']} {facts['family']} {facts['processors']} processors"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def entry(
    row: Row, timings: Mapping[str, Timing], missing: Mapping[str, str], threads: int
) -> dict[str, Any]:
    """Return one measured row as JSON has it."""
    contenders = {
        one.label: {
            **timings[one.label].to_dict(),
            "chars_per_second": one.chars / timings[one.label].median,
            "library": one.library,
        }
        for one in row.contenders
        if one.label in timings
    }
    return {
        "row": row.name,
        "about": row.about,
        "threads": threads,
        "date": datetime.date.today().isoformat(),
        "contenders": contenders,
        "missing": dict(missing),
        "bars": [bar for bar in (_bar(bar, contenders, threads) for bar in row.bars) if bar],
    }


def _bar(bar: Any, contenders: Mapping[str, Any], threads: int) -> dict[str, Any] | None:
    """Return where a bar stands; None where one side is missing."""
    rates = {name: contenders[name]["chars_per_second"] for name in bar.against if name in contenders}
    if bar.ours not in contenders or not rates:
        return None
    best = max(rates, key=lambda name: rates[name])
    ratio = contenders[bar.ours]["chars_per_second"] / rates[best]
    floor = bar.floor.get(threads)
    return {
        "bar": bar.name,
        "against": best,
        "ratio": ratio,
        "floor": floor,
        "goal": bar.goal,
        "met": None if floor is None else ratio >= floor,
        "noisy": contenders[bar.ours]["noisy"] or contenders[best]["noisy"],
    }


def lines(entry: Mapping[str, Any]) -> Iterator[str]:
    """Return what the terminal shows of a row."""
    yield ""
    yield f"{entry['row']}, {entry['threads']} thread{'s' * (entry['threads'] > 1)}: {entry['about']}"
    for name, found in entry["contenders"].items():
        low, high = (1e3 * seconds for seconds in found["quartiles"])
        yield (
            f"  {name:<36}{1e3 * found['seconds']:10.2f} ms  ({low:.2f} to {high:.2f})"
            f"{found['chars_per_second']:13,.0f} chars/s  {_noise(found)}"
        )
    for name, why in entry["missing"].items():
        yield f"  {name:<36}left out: {why}"
    for bar in entry["bars"]:
        yield f"  {_verdict(bar)}: {bar['bar']}: {bar['ratio']:.2f} × {bar['against']}, floor {bar['floor']}"


def _noise(found: Mapping[str, Any]) -> str:
    share = "foreign share unknown" if found["foreign"] is None else f"{found['foreign']:.1%} foreign"
    dropped = f", {found['dropped']} rounds dropped" if found["dropped"] else ""
    return f"{share}{dropped}{', NOISY' if found['noisy'] else ''}"


def _verdict(bar: Mapping[str, Any]) -> str:
    return "no floor" if bar["met"] is None else "met" if bar["met"] else "MISSED"
