"""A run as a notebook shows it: a plain table."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from unrolled.errors import DamagedError
from unrolled.settings import differences

if TYPE_CHECKING:
    from unrolled.runs.run import Run

_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff"
    r"\ud800-\udfff\U000e0000-\U000e0fff]"
)


def run_table(run: Run) -> str:
    """Return a run as an HTML table: where it is, what it learned from, how far it came, what was set."""
    updates = run.updates()
    rows = [
        ("run", str(run.directory)),
        *(("text", path) for path in run.source.text),
        ("updates", f"{updates[0]:,}" if updates else "none saved"),
        ("best validation", _best(run)),
        *((each.name, f"{each.value} (default {each.default})") for each in differences(run.settings)),
    ]
    cells = (f"<tr><th>{harmless(name)}</th><td>{harmless(value)}</td></tr>" for name, value in rows)
    return f"<table>{''.join(cells)}</table>"


def harmless(text: str) -> str:
    """Return text as HTML that is only text; what can't be seen, or turns its neighbours, as its number."""
    return escape(_UNSEEN.sub(lambda found: f"\u27e8{ord(found.group()):04X}\u27e9", text))


def _best(run: Run) -> str:
    try:
        found = [line for line in run.metrics.lines() if line.get("kind") == "validation"]
        best = min(found, key=lambda line: float(line["nats"]))
        return f"{best['nats']:.4f} at update {best['update']:,}"
    except (DamagedError, KeyError, TypeError):
        return "unreadable"
    except ValueError:
        return "none"
