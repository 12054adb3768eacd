"""The diary: what the net writes while it learns."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unrolled.answering import answers
from unrolled.net import Net
from unrolled.net.quiet import undisturbed
from unrolled.sample import Choice, Stream, default_prime, text_pieces
from unrolled.settings import TrainingSettings
from unrolled.training.evaluation import Stopped


def diary_prime(net: Net, settings: TrainingSettings) -> str:
    """Return what samples begin with."""
    return default_prime(net) if settings.sample_prime is None else settings.sample_prime


def diary_entry(
    net: Net,
    settings: TrainingSettings,
    at: tuple[int, float],
    stop: Callable[[], bool],
    rows: Sequence[Row] = (),
) -> dict[str, Any]:
    """Sample a text for the diary, from a generator of its own that depends on seed and update alone.

    ``at`` is the update and the epoch. A net that learns from examples answers ``rows`` instead.

    Raises Stopped when ``stop`` says so between two characters.
    """
    if net.vocab is None:
        return _answered(net, settings, at, rows)
    update, epoch = at
    prime = diary_prime(net, settings)
    pieces = []
    with undisturbed(net):
        stream = Stream(net, Choice(settings.sample_temperature), seed=settings.seed * 1_000_003 + update)
        stream.prime(net.vocab.encode(prime))
        for piece in text_pieces(stream, settings.sample_length):
            if stop():
                raise Stopped
            pieces.append(piece)
    return {
        "update": update,
        "epoch": round(epoch, 6),
        "temperature": settings.sample_temperature,
        "prime": prime,
        "text": "".join(pieces),
    }


def _answered(
    net: Net, settings: TrainingSettings, at: tuple[int, float], rows: Sequence[Row]
) -> dict[str, Any]:
    """Return what a net says to a few examples, a line each: inputs -> answer."""
    targets = net.in_phase("train").target_names
    with undisturbed(net):
        said = answers(net, rows, longest=settings.sample_length, seed=settings.seed * 1_000_003 + at[0])
    lines = []
    for row, answer in zip(rows, said, strict=True):
        asked = ", ".join(_short(value) for name, value in row.items() if name not in targets)
        wanted = next((row[name] for name in targets if name in row), None)
        verdict = (
            "" if wanted is None else " (right)" if answer_equals(answer, wanted) else f" ({_short(wanted)})"
        )
        lines.append(f"{asked} -> {_short(answer)}{verdict}")
    return {
        "update": at[0],
        "epoch": round(at[1], 6),
        "temperature": settings.sample_temperature,
        "prime": "",
        "text": "\n".join(lines),
    }


def answer_equals(answer: Any, wanted: Any) -> bool:
    """Tell whether an answer is the wanted one; a single class may come in a list of one."""
    return bool(answer == wanted or answer == [wanted])


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


Row = Mapping[str, Any]
