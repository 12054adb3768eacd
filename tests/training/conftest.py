"""A small text, and small trainings on it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "rats", "of", "Ned's", "hats;", "'la", "la'"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A text of about 3,000 characters, the same in every test."""
    draw = random.Random(5)
    path = tmp_path / "book.txt"
    path.write_text("\n".join(" ".join(draw.choices(WORDS, k=7)) for _ in range(90)), encoding="utf-8")
    return path


@pytest.fixture
def small() -> dict[str, Any]:
    """Settings of a training that takes a second: 43 windows of 9 steps in 7 lanes an epoch, nearly."""
    return {
        "hidden": 6,
        "layers": 2,
        "lanes": 7,
        "window": 9,
        "epochs": 3,
        "report_every": 5,
        "sample_every": 11,
        "sample_length": 12,
        "validate_every": 13,
        "checkpoint_every": 8,
    }
