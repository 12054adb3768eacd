"""How well a net predicts a text, without touching anything that training depends on."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from unrolled.data import Batch, Batches, Corpus, Examples, Window, Windows, lane_bounds
from unrolled.errors import TextError, UsageError
from unrolled.net import Net
from unrolled.net.quiet import undisturbed
from unrolled.sample import Reader, log_softmax
from unrolled.training.learner import judge, on_device
from unrolled.training.losses import Loss

Stop = Callable[[], bool]


class Stopped(Exception):
    """Raised inside a long read when somebody asked for the end."""


@dataclass(frozen=True)
class Evaluation:
    """What a net makes of a text."""

    nats: float
    """Mean loss a target, in nats."""
    accuracy: float
    """Share of targets that were the likeliest id."""
    targets: int
    """How many ids were predicted."""
    exact: float = 0.0
    """Share of examples in which every target was met; of a text's windows it says nothing."""

    @property
    def bits(self) -> float:
        """Mean loss a target, in bits."""
        return self.nats / math.log(2)


def evaluate(
    net: nn.Module, windows: Iterable[Window | Batch], loss: Loss | None = None, stop: Stop | None = None
) -> Evaluation:
    """Read all windows in order with carried state, from a fresh start; return mean loss and accuracy.

    Sums are float64. Raises Stopped when ``stop`` says so between two windows.
    """
    if isinstance(net, Net):
        net = net.in_phase("validation")
    like = next(net.parameters())
    total, correct, count, state = 0.0, 0, 0, None
    sequences, exact = 0, 0
    with undisturbed(net), torch.inference_mode():
        for window in windows:
            if stop is not None and stop():
                raise Stopped
            window = on_device(window, like)
            score, state = judge(net, window, state, loss)
            if isinstance(window, Batch) and not window.carries:
                state = None
            total += float(score.total)
            correct += int(score.correct)
            count += score.count
            sequences += score.sequences
            exact += score.exact
    if not count:
        raise UsageError("an evaluation needs at least one target, there is none; give a longer text")
    return Evaluation(total / count, correct / count, count, exact / max(1, sequences))


@dataclass(frozen=True)
class TextEvaluation:
    """What a net makes of a text, by character and by byte."""

    nats_per_char: float
    bits_per_char: float
    bits_per_byte: float
    """Of the UTF-8 bytes of the predicted characters."""
    accuracy: float
    chars: int
    """How many characters (bytes for a byte model) were predicted: all but the first."""
    shortened: int
    """How many of them had less context than with one lane."""


def evaluate_text(
    net: Net, corpus: Corpus, lanes: int = 1, window: int = 256, weights: str | None = None
) -> TextEvaluation:
    """Predict every character of a text but the first, in one pass with carried state.

    Several lanes are faster; all but the first start in the middle of the text. ``weights`` reads it by the
    loop that samples, with these weights. TextError if the text has fewer than two characters.
    """
    if len(corpus) < 2:
        raise TextError(
            f"a text to predict needs at least 2 characters, this has {len(corpus)}; give more text"
        )
    windows = Windows(corpus, lanes, window)
    found = evaluate(net, windows) if weights is None else _as_sampled(net, windows, weights)
    num_bytes = int(_byte_count(corpus))
    return TextEvaluation(
        nats_per_char=found.nats,
        bits_per_char=found.bits,
        bits_per_byte=found.bits * found.targets / num_bytes,
        accuracy=found.accuracy,
        chars=found.targets,
        shortened=shortened_context(corpus, lanes),
    )


def _as_sampled(net: Net, windows: Iterable[Window], weights: str) -> Evaluation:
    """Read windows by the loop that samples; softmax and sums are float64."""
    reader = Reader(net.in_phase("validation"), weights)
    total, correct, count = 0.0, 0, 0
    for inputs, targets, fresh, lengths, *_ in windows:
        for b, logits in enumerate(reader.read(inputs, fresh, lengths)):
            steps, wanted = np.arange(len(logits)), targets[: len(logits), b].numpy()
            total -= float(log_softmax(logits.astype(np.float64))[steps, wanted].sum())
            correct += int((logits.argmax(-1) == wanted).sum())
            count += len(logits)
    return Evaluation(total / count, correct / count, count)


def evaluate_examples(net: Net, path: str | os.PathLike[str], lanes: int = 50) -> dict[str, float]:
    """Measure a net that learned from examples on a file of JSON lines, its targets among them."""
    if not net.fields:
        raise UsageError("this net learned from no examples; evaluate it from Python")
    examples = Examples.read(Path(path), net.fields)
    found = evaluate(net, Batches(examples, lanes, shuffle=False))
    return {
        "loss": found.nats,
        "accuracy": found.accuracy,
        "exact": found.exact,
        "targets": found.targets,
        "examples": len(examples),
    }


def _byte_count(corpus: Corpus) -> int:
    """Count the UTF-8 bytes of all characters but the first, block by block."""
    widths, block = corpus.vocab.byte_lengths, 1 << 22
    return sum(int(widths[corpus.ids[at : at + block]].sum()) for at in range(1, len(corpus), block))


def shortened_context(corpus: Corpus, lanes: int) -> int:
    """Count the targets whose context a lane's start cut off: up to the lane's next document or end."""
    count = 0
    for start, stop in lane_bounds(len(corpus) - 1, lanes)[1:]:
        following = int(np.searchsorted(corpus.starts, start, side="left"))
        next_start = int(corpus.starts[following]) if following < len(corpus.starts) else stop
        count += min(next_start, stop) - start
    return count
