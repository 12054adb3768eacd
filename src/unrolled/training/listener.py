"""What a training tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
"""One line of ``metrics.jsonl`` or ``samples.jsonl``."""


@dataclass(frozen=True)
class Plan:
    """What is about to be trained."""

    run: Path
    parameters: int
    chars: int
    validation_chars: int
    symbols: int
    update: int
    """Updates done already."""
    updates: int
    """Updates to be done in all."""
    per_epoch: int
    engines: dict[str, str]
    """The engine of each recurrent layer."""
    memory: int
    """About how many bytes training takes."""
    device: str
    text: bool = True
    """Whether what is learned is a text, and not examples."""
    unit: str = "nats"
    """What the loss is counted in."""


class Listener:
    """Hears of everything that happens in a training; each method may be left as it is."""

    def planned(self, plan: Plan) -> None:
        """Training is about to begin."""

    def estimated(self, memory: int, parameters: int) -> None:
        """The size is known; nothing big has been allocated yet."""

    def updated(self, update: int, epoch: float, nats: float) -> None:
        """An update was done; ``nats`` is its window's mean loss."""

    def reported(self, entry: Entry) -> None:
        """A line was added to the metrics."""

    def sampled(self, entry: Entry) -> None:
        """A line was added to the diary."""

    def saved(self, checkpoint: Path) -> None:
        """A checkpoint was committed."""

    def said(self, message: str) -> None:
        """Something worth a line."""
