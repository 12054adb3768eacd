"""Training: loss, schedule, optimizer, the loop, and the events between two updates."""

from unrolled.net import Score
from unrolled.training.api import train, train_with
from unrolled.training.evaluation import (
    Evaluation,
    TextEvaluation,
    evaluate,
    evaluate_examples,
    evaluate_text,
)
from unrolled.training.fitting import fit
from unrolled.training.listener import Listener, Plan
from unrolled.training.losses import cross_entropy, euclidean
from unrolled.training.resuming import resume

__all__ = [
    "Evaluation",
    "Listener",
    "Plan",
    "Score",
    "TextEvaluation",
    "cross_entropy",
    "euclidean",
    "evaluate",
    "evaluate_examples",
    "evaluate_text",
    "fit",
    "resume",
    "train",
    "train_with",
]
