"""What happened inside: a text read by a trained net, and what its units, gates and memory did."""

from unrolled.inspection.copies import Novelty, novelty
from unrolled.inspection.evolution import Stage, evolution
from unrolled.inspection.gates import Saturation, saturation
from unrolled.inspection.recording import Recording, record
from unrolled.inspection.repetition import Repetition, repetition, repetition_by_temperature
from unrolled.inspection.ruler import Memory, measure_memory
from unrolled.inspection.structure import compared, structure, yardstick
from unrolled.inspection.training_text import TrainingText, training_text

__all__ = [
    "Memory",
    "Novelty",
    "Recording",
    "Repetition",
    "Saturation",
    "Stage",
    "TrainingText",
    "compared",
    "evolution",
    "measure_memory",
    "novelty",
    "record",
    "repetition",
    "repetition_by_temperature",
    "saturation",
    "structure",
    "training_text",
    "yardstick",
]
