"""SINGA's sampling jobs: a net that feeds itself, with the weights of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from unrolled.cells import Cell
from unrolled.data import Vocab
from unrolled.errors import LoadError, NetError, UsageError
from unrolled.net import Net
from unrolled.net.importers.singa import Job, read_job
from unrolled.runs.model import load_checkpoint


@dataclass(frozen=True)
class SamplingJob:
    """A net that writes by itself, in which characters, and how many of them."""

    net: Net
    vocab: Vocab
    length: int
    notes: tuple[str, ...]


def sampling_job(
    path: Path,
    model: Path | None,
    cells: Mapping[str, type[Cell]] | None,
    say: Callable[[str], None],
) -> SamplingJob:
    """Read a sampling job, and the weights of ``model`` or of the checkpoint that the job names.

    ``model`` is a run or one of its checkpoints. UsageError for a job that can't sample, LoadError where
    the weights don't fit it.
    """
    job = read_job(path)
    trained = load_checkpoint(model or _checkpoint(job), cells, say)
    vocab = job.vocab() or trained.vocab
    if vocab is None:
        raise UsageError(f"{path}: this job names no vocab_path, and its model has no vocabulary")
    try:
        with torch.device("meta"):
            _check_weights(Net(job.spec, vocab, cells, phase="test"), trained, path)
        net = Net(job.spec, vocab, cells, phase="test")
    except NetError as error:
        raise job.located(error) from error
    net.load_weights(trained.weights())
    return SamplingJob(net.eval(), vocab, job.test_steps, job.notes)


def _checkpoint(job: Job) -> Path:
    for named in job.checkpoint_paths[::-1]:
        for path in (named.folder / named.written, Path(named.written)):
            if path.is_dir():
                return path
    raise UsageError(f"{job.path}: whose weights? Name the run that was trained: --model RUN")


def _check_weights(net: Net, trained: Net, path: Path) -> None:
    """Raise LoadError unless every weight of the net is there, in the same layer and of the same shape."""
    theirs = trained.weights()
    for name, tensor in net.weights().items():
        if name not in theirs or theirs[name].shape != tensor.shape:
            came = list(theirs[name].shape) if name in theirs else "nothing"
            raise LoadError(
                f"{path}: the model doesn't fit this job: {name.removeprefix('layers.')} should be "
                f"{list(tensor.shape)}, the model has {came}"
            )
