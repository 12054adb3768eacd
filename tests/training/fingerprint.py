"""What must be equal between a run that was stopped and one that never was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unrolled.runs.files import sha256

CLOCKS = ("seconds", "chars_per_second")


def fingerprint(run: Path) -> dict[str, Any]:
    """Return hashes of the last checkpoint's tensors, and the journals without their clocks."""
    last = max(
        (run / "checkpoints").iterdir(), key=lambda entry: int(entry.name) if entry.name.isdigit() else -1
    )
    found: dict[str, Any] = {"update": last.name}
    for name in ("model.safetensors", "state.safetensors"):
        found[name] = sha256((last / name).read_bytes())
    for name in ("metrics.jsonl", "samples.jsonl"):
        lines = [json.loads(line) for line in (run / name).read_text(encoding="utf-8").splitlines()]
        found[name] = [{k: v for k, v in line.items() if k not in CLOCKS} for line in lines]
    return found
