"""From what is asked to be trained, texts and perhaps a net's file, to a lesson and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unrolled.errors import UsageError
from unrolled.settings.fields import GROUP_OF
from unrolled.training.api import Lesson

Tables = tuple[str, Mapping[str, Any]]
JOBS = (".conf", ".prototxt")


def lesson_of(texts: Sequence[str], net: str | None) -> tuple[Lesson, Tables | None]:
    """Return what is learned, and the settings that the net's file holds, as a label and tables.

    A single text that is a job's file is the net, and says itself what it reads.
    """
    if net is None and len(texts) == 1 and texts[0].endswith(JOBS):
        net, texts = texts[0], ()
    if net is None:
        return Lesson(tuple(texts)), None
    if net.endswith(".conf"):
        return _job(net, texts)
    if net.endswith(".prototxt"):
        return _caffe(net, texts)
    from unrolled.net.files import read_net

    loaded = read_net(net)
    lesson = Lesson(tuple(texts), spec=loaded.spec, name=_name(texts, net), notes=loaded.notes)
    return lesson, (net, loaded.tables)


def _job(path: str, texts: Sequence[str]) -> tuple[Lesson, Tables]:
    """Read a SINGA job: its net, its text and vocabulary, its updater's settings."""
    from unrolled.net.importers.singa import read_job

    job = read_job(path)
    data = job.data.get("train")
    if not texts and data is None:
        raise UsageError(f"{path}: this job trains on no text; sample from it: unrolled sample {path}")
    found = tuple(texts) or ((str(data.text.find()),) if data is not None else ())
    tables: dict[str, dict[str, Any]] = {}
    for name, value in job.settings.items():
        tables.setdefault(GROUP_OF[name], {})[name] = value
    lesson = Lesson(
        found, spec=job.spec, vocab=job.vocab(), name=job.name or Path(path).stem, notes=job.notes
    )
    return lesson, (path, tables)


def _caffe(path: str, texts: Sequence[str]) -> tuple[Lesson, Tables]:
    """Read a Caffe net: its layers, and the HDF5 data that it asks for."""
    from unrolled.net.importers.caffe import read_net

    loaded = read_net(path)
    if texts:
        raise UsageError(f"{path}: a Caffe net says itself which HDF5 data it reads; leave the files out")
    lesson = Lesson((), spec=loaded.spec, name=loaded.name or Path(path).stem, notes=loaded.notes)
    return lesson, (path, {})


def _name(texts: Sequence[str], net: str) -> str:
    return "" if texts else Path(net.partition(":")[0]).stem
