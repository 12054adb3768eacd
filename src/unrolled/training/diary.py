"""The diary: what the net writes while it learns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unrolled.net import Net
from unrolled.sample import Choice, Stream, default_prime, text_pieces
from unrolled.settings import TrainingSettings
from unrolled.training.evaluation import Stopped, undisturbed


def diary_prime(net: Net, settings: TrainingSettings) -> str:
    """Return what samples begin with."""
    return default_prime(net) if settings.sample_prime is None else settings.sample_prime


def diary_entry(
    net: Net, settings: TrainingSettings, update: int, epoch: float, stop: Callable[[], bool]
) -> dict[str, Any]:
    """Sample a text for the diary, from a generator of its own that depends on seed and update alone.

    Raises Stopped when ``stop`` says so between two characters.
    """
    assert net.vocab is not None
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
