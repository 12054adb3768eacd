"""What happened inside: a text read by a trained net, and what its units, gates and memory did."""

from unrolled.inspection.closing import compared, structure, yardstick
from unrolled.inspection.copies import Novelty, novelty
from unrolled.inspection.gates import Saturation, saturation
from unrolled.inspection.inspecting import Inspection, inspect
from unrolled.inspection.predicates import PREDICATES, Predicate, from_file, from_function, from_regex
from unrolled.inspection.recording import Recording, record
from unrolled.inspection.repeats import Repetition, repetition, repetition_by_temperature
from unrolled.inspection.ruler import Memory, measure_memory
from unrolled.inspection.stages import Stage, evolution
from unrolled.inspection.training_text import TrainingText, training_text
from unrolled.inspection.units import Finding, Findings, find_units, units_of_span

__all__ = [
    "PREDICATES",
    "Finding",
    "Findings",
    "Inspection",
    "Memory",
    "Novelty",
    "Predicate",
    "Recording",
    "Repetition",
    "Saturation",
    "Stage",
    "TrainingText",
    "compared",
    "evolution",
    "find_units",
    "from_file",
    "from_function",
    "from_regex",
    "inspect",
    "measure_memory",
    "novelty",
    "record",
    "repetition",
    "repetition_by_temperature",
    "saturation",
    "structure",
    "training_text",
    "units_of_span",
    "yardstick",
]
