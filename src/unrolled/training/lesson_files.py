"""From what is asked to be trained, texts and perhaps a net's file, to a lesson and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unrolled.errors import UsageError
from unrolled.net.files import Loaded, find_net, read_net
from unrolled.net.importers.caffe import CaffeNet
from unrolled.net.importers.singa import Job
from unrolled.settings.fields import GROUP_OF
from unrolled.settings.toml import Where
from unrolled.training.lesson import Lesson

Tables = tuple[str, Mapping[str, Any], Where | None]
"""A label, tables of settings, and where they stand."""
JOBS = (".conf", ".prototxt")


def lesson_of(texts: Sequence[str], net: str | None) -> tuple[Lesson, Tables | None]:
    """Return what is learned, and the settings that the net's file holds, as a label and tables.

    A single text that is a job's file is the net, and says itself what it reads.
    """
    if net is None and len(texts) == 1 and texts[0].endswith(JOBS):
        net, texts = texts[0], ()
    if net is None:
        _check_no_job(texts)
        return Lesson(tuple(texts)), None
    net = find_net(net)
    loaded = read_net(net)
    if net.endswith(".conf"):
        return _job(loaded, net, texts)
    if net.endswith(".prototxt"):
        return _caffe(loaded, net, texts)
    tables = {name: table for name, table in loaded.tables.items() if name not in ("about", "recipe")}
    if texts and isinstance(tables.get("data"), dict):
        tables["data"] = {name: value for name, value in tables["data"].items() if name != "task"}
    place = net.rpartition(":")[0] if loaded.cells else ""
    lesson = _lesson(loaded, texts, name="" if texts else _name(loaded, net), place=place)
    return lesson, (net, tables, loaded.where)


def _check_no_job(texts: Sequence[str]) -> None:
    """Raise UsageError where a net's file stands among texts, which would be learned as a text."""
    job = next((text for text in texts if text.endswith(JOBS)), None)
    if job is not None:
        raise UsageError(f"{job} is a net's file among {len(texts)} texts; write --net {job}")


def _lesson(loaded: Loaded, texts: Sequence[str], **more: Any) -> Lesson:
    return Lesson(
        tuple(texts),
        spec=loaded.spec,
        notes=loaded.notes,
        cells=loaded.cells,
        telling=loaded.telling,
        **more,
    )


def _name(loaded: Loaded, net: str) -> str:
    """Return what a net is called: by itself, by its function, or by its file."""
    place, colon, function = net.rpartition(":")
    return loaded.spec.name or (function if colon and place.endswith(".py") else Path(net).stem)


def _job(loaded: Loaded, path: str, texts: Sequence[str]) -> tuple[Lesson, Tables]:
    """Read a SINGA job: its net, its text and vocabulary, its updater's settings."""
    job: Job = loaded.job
    data = job.data.get("train")
    if not texts and data is None:
        raise UsageError(f"{path}:1:1: this job trains on no text; sample from it: unrolled sample {path}")
    found = tuple(texts) or ((str(data.text.find()),) if data is not None else ())
    tables: dict[str, dict[str, Any]] = {}
    for name, value in job.settings.items():
        tables.setdefault(GROUP_OF[name], {})[name] = value
    return _lesson(loaded, found, vocab=job.vocab(), name=_name(loaded, path)), (path, tables, None)


def _caffe(loaded: Loaded, path: str, texts: Sequence[str]) -> tuple[Lesson, Tables]:
    """Read a Caffe net: its layers, and the HDF5 data that it asks for."""
    net: CaffeNet = loaded.job
    if texts:
        raise UsageError(f"{path}: a Caffe net says itself which HDF5 data it reads; leave the files out")
    found = {phase: source for source in net.data for phase in source.phases}
    if "train" not in found:
        raise UsageError(
            f"{path}:1:1: this net has no HDF5Data layer to learn from; give it one, or train it from Python "
            "with unrolled.fit"
        )
    train, notes = found["train"], list(loaded.notes)
    if "validation" in found and found["validation"].batch_size != train.batch_size:
        notes.append(f"validation is read in batches of {train.batch_size} too")
    sources = [found[phase] for phase in ("train", "validation") if phase in found]
    lists = [_beside(source.source, Path(path).parent) for source in sources]
    lesson = _lesson(loaded, lists, hdf5=True, name=_name(loaded, path))
    tables = {"data": {"lanes": train.batch_size, "shuffle": train.shuffle}}
    return replace(lesson, notes=tuple(notes)), (path, tables, None)


def _beside(name: str, folder: Path) -> str:
    """Return a file that a net names: in the working directory, as Caffe looks for it, or beside the net."""
    return name if Path(name).is_file() else str(folder / name)
