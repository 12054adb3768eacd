"""What a training reads: windows of a text, or batches of examples, made to fit a net."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from unrolled.data import (
    Batch,
    Batches,
    Corpus,
    Examples,
    Field,
    HDF5Batches,
    Vocab,
    Window,
    Windows,
    reaching,
    task,
)
from unrolled.errors import UsageError
from unrolled.net import Layer, Spec
from unrolled.net.layers import TYPES, Loss
from unrolled.settings import Settings
from unrolled.training.recompute import chunk_length

Row = Mapping[str, Any]
SHOWN = 5
MAX_MADE = 1_000_000


class Says(Protocol):
    """Hears of what is worth a line."""

    def said(self, message: str) -> None:
        """Say it."""


@dataclass(frozen=True)
class Reading:
    """The training part, the validation part, and what they are read by."""

    windows: Windows | Batches | HDF5Batches | list[Window | Batch]
    validation: Windows | Batches | HDF5Batches | None
    paths: tuple[str, ...]
    sha256: str
    vocab: Vocab | None = None
    fields: tuple[Field, ...] = ()
    shown: tuple[Row, ...] = ()
    """A few examples, as plain values, for the diary."""
    steps_first: bool = False
    """Whether the first axis of HDF5 rows is time."""
    ids: frozenset[str] = frozenset()
    """The inputs that are ids, which HDF5 files hold as floats."""
    before: int = 0
    """How many steps before a window gradients reach back through; 0 for batches."""

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def carries(self) -> bool:
        """Whether a window goes on where the one before it ended."""
        return isinstance(self.windows, Windows | list) or self.steps_first

    @property
    def num_targets(self) -> int:
        """What an epoch predicts."""
        if isinstance(self.windows, HDF5Batches):
            return self.windows.num_rows
        return 0 if isinstance(self.windows, list) else self.windows.num_targets

    @property
    def num_validation_targets(self) -> int:
        """What a validation predicts."""
        if self.validation is None:
            return 0
        counted = self.validation
        return counted.num_rows if isinstance(counted, HDF5Batches) else counted.num_targets

    def window(self, epoch: int, number: int) -> Window | Batch:
        """Return window ``number`` of an epoch."""
        if isinstance(self.windows, Windows | list):
            if self.before:
                return reaching(self.windows, number, self.before)  # type: ignore[arg-type]
            return self.windows[number]
        return self._batch(self.windows[epoch * len(self.windows) + number])

    def validation_windows(self) -> list[Batch] | Windows:
        """Return the windows of the validation part."""
        if isinstance(self.validation, Windows):
            return self.validation
        assert self.validation is not None
        return [self._batch(batch) for batch in self.validation]

    def _batch(self, found: Batch | dict[str, torch.Tensor]) -> Batch:
        if isinstance(found, Batch):
            return found
        inputs = {name: x[0] if self.steps_first else x for name, x in found.items()}
        for name in self.ids & inputs.keys():
            inputs[name] = inputs[name].flatten(1)[:, : inputs[name].shape[1]].long()
        return Batch(inputs, {}, torch.empty(0, dtype=torch.int64), self.steps_first)


def reads_text(spec: Spec | None) -> bool:
    """Tell whether a net reads one long text; a net that isn't told of is a chain over one."""
    return spec is None or any(layer.type == "text" for layer in spec)


def check_loss(spec: Spec) -> None:
    """Raise UsageError for a net that has targets and nothing to compare with them.

    A net that only reads a text needs no loss layer: its output is compared with what the text goes on with.
    """
    training = list(spec.in_phase("train"))
    if any(issubclass(TYPES[layer.type], Loss) for layer in training):
        return
    if not reads_text(spec) or any(layer.type == "label" for layer in training):
        raise UsageError(
            "the net has no loss in phase train, so there is nothing to make small; add a layer of type "
            "softmax-loss or euclidean-loss"
        )


def fields_of(spec: Spec) -> tuple[Field, ...]:
    """Return what a net's inputs want of each example."""
    training = spec.in_phase("train")
    outside = [layer for layer in training if TYPES[layer.type].reads_outside]
    return tuple(_field(spec, layer) for layer in outside)


def _field(spec: Spec, layer: Layer) -> Field:
    size, length = layer.settings.get("size"), spec.length_of(layer)
    if layer.type == "ids":
        own = size if isinstance(size, int) else None
        share, stop = layer.settings.get("share"), layer.settings.get("stop", False)
        return Field(layer.name, "ids", length, own, share=share, stop=stop)
    if layer.type == "floats":
        axes = [size] if isinstance(size, int) else list(size or [])
        if len(axes) != 1:
            raise UsageError(f"layer '{layer.name}': examples hold vectors, not numbers of {len(axes)} axes")
        return Field(layer.name, "floats", length, axes[0])
    raise UsageError(f"layer '{layer.name}' ({layer.type}) can't be read from examples")


def sized(spec: Spec, vocab: Vocab | None, fields: Sequence[Field]) -> Spec:
    """Return a net with the sizes that its data have."""
    ids = [field for field in fields if field.kind == "ids"]
    named = {field.name: field.num_ids for field in ids}
    if vocab is not None:
        named["vocab"] = len(vocab)
    return spec.with_sizes(named, {field.name: field.size or 0 for field in ids})


def read_examples(
    spec: Spec, texts: Sequence[str], settings: Settings, fields: Sequence[Field] = ()
) -> Reading:
    """Read examples from JSON lines, or make those of a task; ``fields`` are those of a resumed run."""
    wanted = tuple(fields) or fields_of(spec)
    data, seed = settings.data, settings.training.seed
    if data.task:
        if texts:
            raise UsageError(
                f"the examples are those of the task {data.task}; leave the file out, or the task"
            )
        if data.examples > MAX_MADE:
            raise UsageError(
                f"--examples: made examples are kept in memory: wanted at most {MAX_MADE:,}, "
                f"came {data.examples:,}"
            )
        examples = Examples.from_rows(task(data.task)(data.examples, seed), wanted)
        sha = hashlib.sha256(f"{data.task} {data.examples} {seed}".encode()).hexdigest()
    else:
        if len(texts) != 1:
            raise UsageError(
                f"this net learns from examples: give one file of JSON lines, or --task; came {len(texts)}"
            )
        examples = Examples.read(texts[0], wanted)
        sha = hashlib.sha256(Path(texts[0]).read_bytes()).hexdigest()
    parts = examples.split(data.split)
    target = _target(spec, wanted)
    batches = [
        Batches(
            replace(part, fields=examples.fields),
            data.lanes,
            seed,
            shuffle=data.shuffle and number == 0,
            target=target,
        )
        for number, part in enumerate(parts[:2])
    ]
    validation = batches[1] if len(batches) > 1 else None
    paths = tuple(str(Path(text).resolve()) for text in texts)
    shown = tuple(_row(parts[-1], n) for n in range(min(SHOWN, len(parts[-1]))))
    return Reading(batches[0], validation, paths, sha, fields=examples.fields, shown=shown)


def _row(examples: Examples, n: int) -> Row:
    """Return an example as plain values."""
    found: dict[str, Any] = {}
    for field in examples.fields:
        values = examples[n][field.name]
        plain: Any = field.decode(values.tolist()) if field.kind == "ids" else values.tolist()
        single = field.length == 1 and isinstance(plain, list) and len(plain) == 1
        found[field.name] = plain[0] if single else plain
    return found


def read_hdf5(spec: Spec, lists: Sequence[str], settings: Settings) -> Reading:
    """Read HDF5 files as Caffe does: the first list of files is for training, a second one for validation."""
    data, seed = settings.data, settings.training.seed
    if len(lists) not in (1, 2):
        raise UsageError(
            f"wanted a list of HDF5 files to learn from, and perhaps one to validate with, came {len(lists)}"
        )
    parts = []
    for number, files in enumerate(lists):
        chosen = spec.in_phase(("train", "validation")[number])
        tops = [layer.name for layer in chosen if TYPES[layer.type].reads_outside]
        parts.append(HDF5Batches(files, tops, data.lanes, data.shuffle and number == 0, seed))
    validation = parts[1] if len(parts) > 1 else None
    ids = frozenset(layer.name for layer in spec if layer.type == "ids")
    long = any(layer.type in ("recurrent", "continues") for layer in spec)
    paths = tuple(str(Path(files).resolve()) for files in lists)
    return Reading(parts[0], validation, paths, _sha256(parts), steps_first=long, ids=ids)


def _sha256(parts: Sequence[HDF5Batches]) -> str:
    """Return the hash of a part's files, one after another; of both parts' hashes where there are two."""
    digests = [_files_sha256(part.paths) for part in parts]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _files_sha256(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _target(spec: Spec, fields: Sequence[Field]) -> str | None:
    """Return the input that the first loss layer compares with."""
    for layer in spec.in_phase("train"):
        if layer.type in ("softmax-loss", "euclidean-loss"):
            name = layer.sources[1].source
            return name if name in [field.name for field in fields] else None
    return None


def read_text(corpus: Corpus, settings: Settings, listener: Says) -> Reading:
    """Cut a text into its training part, in windows, and its validation part."""
    data = settings.data
    parts = corpus.split(data.split)
    windows = Windows(parts[0], data.lanes, data.window)
    validation = _validation(parts[1], settings, listener) if len(parts) > 1 else None
    paths = tuple(str(path.resolve()) for path in corpus.paths)
    before = steps_before(settings.training.reach, data.window)
    return Reading(windows, validation, paths, corpus.sha256, corpus.vocab, before=before)


def steps_before(reach: int, window: int) -> int:
    """Return how many steps before a window gradients reach, ``reach`` being counted from its end."""
    if 0 < reach < window:
        raise UsageError(f"reach: wanted 0, or the {window} steps of a window or more, came {reach}")
    return max(0, reach - window)


def _validation(part: Corpus, settings: Settings, listener: Says) -> Windows | None:
    if len(part) < 2:
        listener.said(f"the validation part has {len(part)} ids, too few to predict: there is no validation")
        return None
    lanes = min(settings.data.lanes, max(1, len(part) // 2))
    if lanes < settings.data.lanes:
        listener.said(
            f"the validation part has {len(part)} ids, so it is read in {lanes} lanes, "
            f"not {settings.data.lanes}"
        )
    window = settings.data.window
    return Windows(part, lanes, chunk_length(window) if settings.training.recompute else window)
