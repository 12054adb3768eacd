"""Runs: directories that survive, checkpoints that are believed only if every hash holds."""

from unrolled.runs.checkpoint import Checkpoint
from unrolled.runs.config import Source
from unrolled.runs.journal import Journal
from unrolled.runs.model import model_config
from unrolled.runs.run import Run, check_unused, claim_run_directory, load, next_run_directory

__all__ = [
    "Checkpoint",
    "Journal",
    "Run",
    "Source",
    "check_unused",
    "claim_run_directory",
    "load",
    "model_config",
    "next_run_directory",
]
