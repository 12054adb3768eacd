"""`unrolled train` itself, with its data, its metrics and its checkpoints, timed by its metrics."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from peers import LAYERS, SYMBOLS

REPORTS = 2
"""Stretches between two reports that are counted; what comes before the first report is not."""


class TrainCommand:
    """A text of random characters, and the command that learns from it."""

    def __init__(self, work: dict[str, Any]) -> None:
        self.work = work
        self.every = 100 if work["hidden"] < 256 else 5
        self.folder = tempfile.TemporaryDirectory(prefix="unrolled-bench-")
        draw, updates = random.Random(0), (REPORTS + 2) * self.every
        symbols = [chr(32 + n) for n in range(SYMBOLS - 1)] + ["\n"]
        chars = "".join(draw.choices(symbols, k=updates * work["lanes"] * work["window"]))
        (Path(self.folder.name) / "text.txt").write_text(chars, encoding="utf-8")

    def seconds(self) -> float:
        """Train; return the seconds of an update, from the first report to the last."""
        environment = {**os.environ, "UNROLLED_CACHE": str(Path(self.folder.name) / "cache")}
        with tempfile.TemporaryDirectory(dir=self.folder.name) as place:
            run = Path(place) / "run"
            subprocess.run(self._words(run), check=True, env=environment)
            lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
        told = [entry for entry in map(json.loads, lines) if entry["kind"] == "train"]
        first, last = told[0], told[-1]
        seconds: float = last["seconds"] - first["seconds"]
        return seconds / (last["update"] - first["update"])

    def _words(self, run: Path) -> list[str]:
        work = self.work
        options = {
            "run": run,
            "cell": work["cell"],
            "layers": LAYERS,
            "hidden": work["hidden"],
            "embedding": work["hidden"],
            "lanes": work["lanes"],
            "window": work["window"],
            "engine": work.get("engine", "native"),
            "threads": work["threads"],
            "max-updates": (REPORTS + 1) * self.every,
            "report-every": self.every,
        }
        flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        text = str(Path(self.folder.name) / "text.txt")
        return [sys.executable, "-m", "unrolled", "train", text, *flags, "--quiet"]


def build(work: dict[str, Any]) -> TrainCommand:
    """Return the command, ready to be run."""
    return TrainCommand(work)
