"""Texts to be read."""

from __future__ import annotations

import random


def speech(seed: int, length: int) -> list[str]:
    """Return random words in sentences, some of them in quotes or in brackets inside brackets."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklm", k=draw.randint(1, 8))) for _ in range(50)]

    def phrase(level: int) -> str:
        parts = []
        for _ in range(draw.randint(2, 8)):
            word = draw.choice(words)
            if level < 2 and draw.random() < 0.2:
                left, right = draw.choice(['""', "()", "[]"][level > 0 :])
                word = left + phrase(level + 1) + right
            parts.append(word)
        return " ".join(parts)

    text = ""
    while len(text) < length:
        text += phrase(0).capitalize() + draw.choice([". ", ".\n", "! ", ": 12\n"])
    return list(text[:length])
