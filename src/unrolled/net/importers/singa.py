"""SINGA's job files: a net, its updater and its data, as a spec and settings of Unrolled's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unrolled.data import Vocab
from unrolled.errors import NetError, TextError, UsageError
from unrolled.net.importers import textformat
from unrolled.net.importers.schema import Record
from unrolled.net.importers.singa_fields import JOB, PHASES
from unrolled.net.importers.singa_net import Places, phases_of, read_net
from unrolled.net.importers.singa_types import check_type
from unrolled.net.importers.singa_updater import training_settings
from unrolled.net.importers.textformat import Field, Message, Word
from unrolled.net.spec import Spec

LANES_NOTE = (
    "lanes are Unrolled's own: each of the {lanes} reads its run of the text to the end and nothing wraps at "
    "a lane's end, where SINGA's offset goes back to 0"
)


AS_GIVEN = (
    "name", "train_steps", "test_steps", "test_freq", "validate_freq", "validate_steps", "checkpoint_freq",
    "disp_freq", "debug",
)  # fmt: skip


@dataclass(frozen=True)
class NamedFile:
    """A file that a job names: as it is written there, and where."""

    written: str
    folder: Path
    """The job file's own folder, where the file is looked for first; then the working directory."""
    place: str
    """``file:line:column`` of the field that names it."""

    def find(self) -> Path:
        """Return the path of the file that there is; UsageError where there is none."""
        try:
            found = [path for path in (self.folder / self.written, Path(self.written)) if path.is_file()]
        except ValueError:
            found = []
        if not found:
            raise UsageError(
                f"{self.place}: there is no file {self.written!r} in {self.folder}, "
                "nor in the working directory"
            )
        return found[0]


@dataclass(frozen=True)
class TextData:
    """What a kCharRNN layer reads."""

    layer: str
    text: NamedFile
    vocab: NamedFile | None
    lanes: int
    window: int


@dataclass(frozen=True)
class Job:
    """A SINGA job: what to build, what to train it with, and what of the file is done otherwise."""

    path: Path
    spec: Spec
    name: str = ""
    train_steps: int = 0
    test_steps: int = 0
    """Characters that a sampling job prints."""
    test_freq: int = 0
    validate_freq: int = 0
    validate_steps: int = 0
    checkpoint_freq: int = 0
    disp_freq: int = 0
    checkpoint_paths: tuple[NamedFile, ...] = ()
    alg: str = "kBPTT"
    debug: bool = False
    training: Mapping[str, Any] = field(default_factory=dict)
    """Settings of training by name, as in ``unrolled.settings``; empty without an updater."""
    data: Mapping[str, TextData] = field(default_factory=dict)
    """By phase (train, validation, test) the text that is read in it."""
    outputs: Mapping[str, NamedFile | None] = field(default_factory=dict)
    """The kCharRNNOutput layers by name, with the file of the vocabulary that they write in."""
    notes: tuple[str, ...] = ()
    """A line for each thing that is read but not followed, or done otherwise than SINGA does it."""
    places: Places = field(default_factory=Places, repr=False, compare=False)
    """Where the layers stand in the file."""

    @property
    def settings(self) -> dict[str, Any]:
        """All settings that the file says, by name: training's, and lanes, window and split of its text.

        SINGA trains on the whole text; where the job validates too, the split stays Unrolled's.
        """
        data = self.data.get("train")
        debug = {"debug": True} if self.debug else {}
        if data is None:
            return {**debug, **self.training}
        split = {} if self.validate_freq else {"split": (1.0,)}
        return {"lanes": data.lanes, "window": data.window, **split, **debug, **self.training}

    def vocab(self) -> Vocab | None:
        """Read the vocabulary file, whose characters in order are the ids; None where the job names none."""
        named = [data.vocab for data in self.data.values()] + list(self.outputs.values())
        file = next((file for file in named if file is not None), None)
        return None if file is None else read_vocab(file)

    def located(self, error: NetError) -> UsageError:
        """Return an error of the net with the place of its layer in the file."""
        return self.places.located(error)


def read_job(path: str | Path) -> Job:
    """Read a job.conf of at most 1 MB; UsageError as ``file:line:column: what`` for anything wrong in it.

    Nothing is imported, and no file that the job names is opened.
    """
    path, notes = Path(path), list[str]()
    message = textformat.read(path)
    _check_types(message)
    job = JOB.read(message)
    batch = job["train_one_batch"]
    if batch["alg"] == "kCD":
        what = "alg kCD: contrastive divergence has no counterpart here; nets are trained by kBPTT or kBP"
        raise batch.error(what, "alg")
    trains = job["updater"] is not None
    spec, places = read_net(job["neuralnet"], job["name"], notes if trains else [])
    found = Job(
        path,
        spec,
        **{name: job[name] for name in AS_GIVEN},
        checkpoint_paths=tuple(
            NamedFile(written, path.parent, job.place_of("checkpoint_path", index))
            for index, written in enumerate(job["checkpoint_path"])
        ),
        alg=batch["alg"] or "kBPTT",
        training=_training(job, notes) if trains else {},
        data=_data(job, spec, path.parent, notes),
        outputs=_outputs(job["neuralnet"], path.parent),
        places=places,
    )
    _note_the_rest(job, notes)
    return replace(found, notes=tuple(dict.fromkeys(notes)))


def read_vocab(file: NamedFile) -> Vocab:
    """Return the characters of a file, in order, as a vocabulary; UsageError where that can't be."""
    path = file.find()
    try:
        characters = list(path.read_bytes().decode("utf-8"))
        if not characters:
            raise UsageError(f"{file.place}: {path} is empty; write a vocabulary: unrolled data vocab TEXT")
        return Vocab.of(characters)
    except UnicodeDecodeError as error:
        raise UsageError(f"{file.place}: {path} is no UTF-8 text (byte {error.start})") from error
    except (OSError, TextError) as error:
        raise UsageError(f"{file.place}: {path} is no vocabulary: {error}") from error


def _check_types(message: Message) -> None:
    """Refuse types without a counterpart before their fields are looked at, which are unknown too."""

    def inside(messages: list[Message], *names: str) -> list[Message]:
        fields = [item for each in messages for item in each.fields if item.name in names]
        return [item.value for item in fields if isinstance(item.value, Message)]

    for layer in inside(inside([message], "neuralnet", "net"), "layer"):
        first: dict[str, Field] = {}
        for item in layer.fields:
            first.setdefault(item.name, item)
        kind = first["type"].value if "type" in first else None
        if isinstance(kind, Word) and "user_type" not in first:
            check_type(Record.of(layer, "layer"), kind.text)


def _training(job: Record, notes: list[str]) -> dict[str, Any]:
    found = training_settings(job["updater"], notes)
    if job["train_steps"]:
        found |= {"max_updates": job["train_steps"], "epochs": 0}
    if "disp_freq" in job:
        found["report_every"] = job["disp_freq"]
    if job["checkpoint_freq"]:
        found["checkpoint_every"] = job["checkpoint_freq"]
    if job["validate_freq"]:
        found["validate_every"] = job["validate_freq"]
    if job["debug"]:
        found["debug"] = True
    return found


def _data(job: Record, spec: Spec, folder: Path, notes: list[str]) -> dict[str, TextData]:
    found: dict[str, TextData] = {}
    for layer in job["neuralnet"]["layer"]:
        if layer["type"] not in ("kCharRNN", "kCharRNNInput"):
            continue
        read = _text_data(layer, spec, folder, notes)
        for phase in map(PHASES.__getitem__, phases_of(layer)):
            if phase in found:
                what = f"layer '{found[phase].layer}' reads a text in phase {phase} already; a net reads one"
                raise layer.error(what, "type")
            found[phase] = read
    other = found.get("validation")
    if (
        job["validate_freq"]
        and other
        and "train" in found
        and other.text.written != found["train"].text.written
    ):
        notes.append(
            f"the validation text {other.text.written!r} is not read: validation takes the end of the "
            "training text, see --split"
        )
    return found


def _text_data(layer: Record, spec: Spec, folder: Path, notes: list[str]) -> TextData:
    conf = layer["char_rnn_conf"]
    text = _file(conf, "path", folder)
    if text is None:
        raise layer.error(f"layer '{layer['name']}' ({layer['type']}) wants char_rnn_conf {{ path: ... }}")
    window = spec.unroll if isinstance(spec.unroll, int) else conf["unroll_len"]
    if "unroll_len" in conf and conf["unroll_len"] != window:
        notes.append(f"windows have {window} steps, as the net is unrolled to, not {conf['unroll_len']}")
    notes.append(LANES_NOTE.format(lanes=conf["batchsize"]))
    return TextData(layer["name"], text, _file(conf, "vocab_path", folder), conf["batchsize"], window)


def _outputs(net: Record, folder: Path) -> dict[str, NamedFile | None]:
    return {
        layer["name"]: _file(layer["char_rnn_conf"], "vocab_path", folder)
        for layer in net["layer"]
        if layer["type"] == "kCharRNNOutput"
    }


def _file(conf: Record, name: str, folder: Path) -> NamedFile | None:
    return NamedFile(conf[name], folder, conf.place_of(name)) if conf[name] is not None else None


def _note_the_rest(job: Record, notes: list[str]) -> None:
    cluster = job["cluster"]
    if "cluster" in job:
        asked = ", ".join(
            f"{name} {cluster[name]}"
            for name in cluster.schema.fields
            if name in cluster and name != "workspace"
        )
        notes.append(f"cluster ({asked or 'as usual'}) is read and not followed: one process trains")
    if "workspace" in cluster:
        notes.append(
            f"cluster: workspace {cluster['workspace']!r} is not used: a run has its own folder, --run"
        )
    if job["gpu"]:
        numbers = ", ".join(map(str, job["gpu"]))
        notes.append(f"gpu {numbers} is asked for and not followed: --device chooses where to compute")
    if job["validate_steps"]:
        notes.append(f"validate_steps {job['validate_steps']}: a validation reads its whole text")
    if job["test_freq"]:
        notes.append(f"test_freq {job['test_freq']}: there are no tests while training; see validate_freq")
