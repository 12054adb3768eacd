"""Sampling: streams of ids that a net draws itself, and their text."""

from unrolled.sample.choice import Choice, draw, log_softmax
from unrolled.sample.reading import Reader
from unrolled.sample.stream import WEIGHTS, Snapshot, Stream, Streams
from unrolled.sample.text import default_prime, pieces_of, text_pieces

__all__ = [
    "WEIGHTS",
    "Choice",
    "Reader",
    "Snapshot",
    "Stream",
    "Streams",
    "default_prime",
    "draw",
    "log_softmax",
    "pieces_of",
    "text_pieces",
]
