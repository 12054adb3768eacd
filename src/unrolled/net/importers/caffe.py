"""Read Caffe's prototxt nets.

::

    net = read_net("binary_addition.prototxt")
    net.spec                                # layers, edges, parameters, by their names in Caffe
    net.data                                # what its HDF5Data layers ask for

Values are [n, B, *features] here. In a net without RNN and LSTM layers every layer has one copy, and axis a
of a blob [N × ...] is feature axis a - 1; in a net with such layers, or with an input ``cont``, blobs are
[T × N × ...] and axis a is feature axis a - 2. A type or field without a counterpart is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from unrolled.errors import NetError, UsageError, nearest
from unrolled.net.check import check
from unrolled.net.importers.caffe_blobs import Input, Phase
from unrolled.net.importers.caffe_fields import BLOCKS, NET, REFUSED, layer_schema
from unrolled.net.importers.caffe_types import TYPES
from unrolled.net.importers.schema import Record
from unrolled.net.importers.textformat import Field, Message, error_at, read, shown
from unrolled.net.phases import in_order, merged
from unrolled.net.spec import Layer, Param, Spec

FIELDS = {"sources": "bottom", "params": "param", "name": "name"}
"""Our fields of a layer, and Caffe's."""
PHASES = {"TRAIN": ("train",), "TEST": ("validation", "test")}
"""Caffe's phases, and ours."""


@dataclass(frozen=True)
class HDF5Source:
    """What an HDF5Data layer asks for."""

    source: str
    """A text file that lists HDF5 files, one a line, as the net's file names it."""
    batch_size: int
    """How many rows a time."""
    shuffle: bool
    """Whether files and rows come in another order each time."""
    tops: tuple[str, ...]
    """The data sets that are read."""
    layers: tuple[str, ...]
    """The input layers that they go to, one a top."""
    phases: tuple[str, ...]
    """The phases in which they are."""


@dataclass(frozen=True)
class CaffeNet:
    """A net of Caffe's, read."""

    spec: Spec
    name: str
    notes: tuple[str, ...] = ()
    """What is not quite the same here, a sentence each."""
    data: tuple[HDF5Source, ...] = ()
    """What its HDF5Data layers ask for."""
    places: Mapping[str, Record] = field(default_factory=dict, repr=False, compare=False)
    """Where each layer stands in the file, and under no name the net."""

    def located(self, error: NetError) -> UsageError:
        """Return an error of the net with the place of its layer in the file, or of the net."""
        at = self.places.get(error.layer)
        return error if at is None else at.error(str(error), FIELDS.get(error.field))


def read_net(path: str | Path, shapes: Mapping[str, Sequence[int]] | None = None) -> CaffeNet:
    """Read a prototxt file; UsageError as ``file:line:column: what`` for all that has no counterpart.

    ``shapes`` gives the shapes of tops of HDF5Data layers, batch and all, ``{"data": (50, 1, 2, 8)}``; others
    are looked up in the HDF5 files, which are sought from the current directory and from the net's. Where
    there are none, those of labels of a loss, of ids for an Embed layer and of ``cont`` follow from the net.
    """
    root = read(path)
    head, layers = _head(root)
    recurrent = _is_recurrent(layers)
    chosen = {phase: [r for r in layers if _belongs(r, phase)] for phase in PHASES}
    with_input = [phase for phase in PHASES if any(_is_input(r) for r in chosen[phase])]
    if not with_input:
        raise error_at(
            root.file, 1, 1, f"a net wants an input layer, {' or '.join(_inputs())}; this one has none"
        )
    built = {
        phase: _build(phase, chosen[phase], recurrent, shapes, Path(path).parent) for phase in with_input
    }
    parts = [(PHASES[phase], _layers(p)) for phase, p in built.items()]
    spec = Spec(in_order(merged(parts)), head["name"], _steps(recurrent, built))
    places = {"": head, **{name: r for p in built.values() for name, r in p.records.items()}}
    net = CaffeNet(spec, head["name"], _notes(head, built), _data(chosen), places)
    try:
        check(spec)
        for phase in built:
            check(spec, PHASES[phase][0])
    except NetError as error:
        raise net.located(error) from error
    return net


def _head(root: Message) -> tuple[Record, list[Record]]:
    """Return the net's own fields, and its layers, inputs first."""
    old = next((item for item in root.fields if item.name == "layers"), None)
    if old is not None:
        raise error_at(
            root.file,
            old.line,
            old.column,
            "'layers' is the old form of a net; convert it with Caffe's upgrade_net_proto_text",
        )
    head = NET.read(replace(root, fields=[item for item in root.fields if item.name != "layer"]))
    if head["state"]["stage"]:
        raise head["state"].error("stages have no counterpart; leave them out", "stage")
    if "input" in head:
        _input_shapes(head)
    layers = [_layer(root.file, item) for item in root.fields if item.name == "layer"]
    return head, [*_inputs_of(root, head), *layers]


def _inputs_of(root: Message, head: Record) -> list[Record]:
    """Return an Input layer for each of the net's own ``input`` fields."""
    made = []
    for index, (name, dims) in enumerate(zip(head["input"], _input_shapes(head), strict=True)):
        at = head.given["input"][index]
        place = (at.line, at.column)
        shape = Message(root.file, *place, [Field("dim", dim, *place) for dim in dims])
        block = Message(root.file, *place, [Field("shape", shape, *place)])
        fields = [
            Field("name", name, *place),
            Field("type", "Input", *place),
            Field("top", name, *place),
            Field("input_param", block, *place),
        ]
        made.append(layer_schema(TYPES["Input"].blocks).read(Message(root.file, *place, fields)))
    return made


def _input_shapes(head: Record) -> list[tuple[int, ...]]:
    """Return a shape for each ``input``, from ``input_shape`` or four ``input_dim`` each."""
    names, dims = head["input"], head["input_dim"]
    shapes = [tuple(shape["dim"]) for shape in head["input_shape"]]
    if not shapes and len(dims) == 4 * len(names):
        shapes = [dims[at : at + 4] for at in range(0, len(dims), 4)]
    if len(shapes) != len(names):
        raise head.error(
            f"wanted an input_shape for each of {len(names)} inputs, came {len(shapes)}", "input"
        )
    return shapes


def _layer(file: str, item: Field) -> Record:
    """Read a layer by the schema of its type."""
    if not isinstance(item.value, Message):
        raise error_at(file, item.line, item.column, "layer: wanted { ... }")
    message = replace(item.value, line=item.line, column=item.column)
    kind = _type(message)
    for part in message.fields:
        if part.name in REFUSED:
            raise error_at(file, part.line, part.column, f"{part.name}: {REFUSED[part.name]}")
        if part.name in BLOCKS and part.name not in TYPES[kind].blocks:
            takes = ", ".join(TYPES[kind].blocks) or "no message of its own"
            raise error_at(
                file, part.line, part.column, f"a layer of type {kind} takes {takes}, came {part.name}"
            )
    record = layer_schema(TYPES[kind].blocks).read(message)
    _check_counts(record)
    return record


def _type(message: Message) -> str:
    """Return a layer's type before its other fields are looked at, for they hang on it."""
    item = next((item for item in message.fields if item.name == "type"), None)
    if item is None:
        raise error_at(
            message.file, message.line, message.column, "a layer wants a field 'type', and has none"
        )
    if not isinstance(item.value, str):
        raise error_at(
            message.file, item.line, item.column, 'type: wanted a quoted text such as "InnerProduct"'
        )
    if item.value not in TYPES:
        known = f"; known are {', '.join(TYPES)}"
        by_case = {name.lower(): name for name in TYPES}
        alike = by_case.get(item.value.lower())
        hint = f"; did you mean '{alike}'?" if alike else nearest(item.value, TYPES)
        raise error_at(
            message.file,
            item.line,
            item.column,
            f"the layer type '{shown(item.value)}' has no counterpart{hint or known}",
        )
    return item.value


def _check_counts(r: Record) -> None:
    """Raise UsageError for what holds of a layer of its type whatever the net."""
    kind = TYPES[r["type"]]
    for part, (least, most) in (("bottom", kind.bottoms), ("top", kind.tops)):
        came = len(r[part])
        if came < least or (most is not None and came > most):
            wanted = (
                f"{least}" if least == most else f"{least} or more" if most is None else f"{least} to {most}"
            )
            raise r.error(
                f"a layer of type {r['type']} wants {wanted} {part}{'s' * (wanted != '1')}, came {came}",
                part,
                least if came > least else 0,
            )
    if len(set(r["top"])) < len(r["top"]):
        raise r.error(f"layer '{r['name']}' gives one top twice", "top")
    if any(r["loss_weight"]) and not kind.loss:
        raise r.error(f"a layer of type {r['type']} is no loss here; leave loss_weight out", "loss_weight")
    if r["param"] and not kind.learns:
        raise r.error(f"a layer of type {r['type']} has no parameters", "param")
    if not all(r["propagate_down"]):
        raise r.error("propagate_down has no counterpart but true; leave it out", "propagate_down")
    for rules in (r["include"], r["exclude"]):
        for rule in rules:
            _check_rule(rule)
    if r["include"] and r["exclude"]:
        raise r.error(f"layer '{r['name']}' both includes and excludes; say one", "exclude")


def _check_rule(rule: Record) -> None:
    for name in rule.given:
        if name != "phase":
            raise rule.error(f"{name} has no counterpart, only phase; leave it out", name)


def _belongs(r: Record, phase: str) -> bool:
    """Tell whether a layer is there in a phase of Caffe's; a rule without a phase holds in all."""
    rules = r["include"] or r["exclude"]
    met = any(rule["phase"] in (None, phase) for rule in rules)
    return met if r["include"] else not met


def _inputs() -> list[str]:
    return [name for name, kind in TYPES.items() if kind.bottoms == (0, 0) and name != "DummyData"]


def _is_input(r: Record) -> bool:
    return r["type"] in _inputs()


def _is_recurrent(layers: list[Record]) -> bool:
    return any(r["type"] in ("RNN", "LSTM") or ("cont" in r["top"] and not r["bottom"]) for r in layers)


def _build(
    phase: str,
    layers: list[Record],
    recurrent: bool,
    shapes: Mapping[str, Sequence[int]] | None,
    folder: Path,
) -> Phase:
    """Read the layers of one phase."""
    p = Phase(phase, recurrent, _static(layers), shapes, folder)
    for r in layers:
        TYPES[r["type"]].read(p, r)
    return p


def _static(layers: list[Record]) -> frozenset[str]:
    """Return the blobs from which a recurrent layer's static input comes: they have no time axis."""
    found: set[str] = set()
    for r in reversed(layers):
        if r["type"] in ("RNN", "LSTM"):
            found.update(r["bottom"][2:])
        elif found.intersection(r["top"]):
            found.update(r["bottom"])
    return frozenset(found)


def _layers(p: Phase) -> list[Layer]:
    """Return a phase's layers, with what is known of inputs and of shared parameters at the end only."""
    layers = [made.layer() if isinstance(made, Input) else made for made in p.made]
    tables = {
        param.name for layer in layers for param in layer.params if param.role == "id_to_x" and param.name
    }
    return [_finished(layer, p.rates, tables) for layer in layers]


def _finished(layer: Layer, rates: Mapping[str, Mapping[str, float]], tables: set[str]) -> Layer:
    params = tuple(_rated(param, rates) for param in layer.params)
    settings = dict(layer.settings)
    if layer.type == "linear" and params[0].name in tables:
        # An embedding's table lies in memory as Caffe's does, other matrices lie the other way round.
        settings["transpose"] = not settings.get("transpose", False)
    return replace(layer, params=params, settings=settings)


def _rated(param: Param, rates: Mapping[str, Mapping[str, float]]) -> Param:
    found = rates.get(param.name, {})
    return replace(param, lr=found.get("lr", param.lr), decay=found.get("decay", param.decay))


def _steps(recurrent: bool, built: Mapping[str, Phase]) -> int | None:
    """Return how many copies a layer has: one, or the steps of the input where it has several."""
    if not recurrent:
        return 1
    found = next((p.steps for p in built.values() if p.steps), None)
    # One step would say that there is never more than one.
    return found if found and found > 1 else None


def _notes(head: Record, built: Mapping[str, Phase]) -> tuple[str, ...]:
    notes = [note for p in built.values() for note in p.notes]
    if len(built) == 1 and (missing := [phase for phase in PHASES if phase not in built]):
        notes.append(f"in phase {missing[0]} the net has no input, so it is not there in {_ours(missing[0])}")
    if head["state"]["phase"]:
        notes.append(
            f"state: the phase is said where the net is run, not {head['state']['phase']} by its file"
        )
    return tuple(dict.fromkeys(notes))


def _ours(phase: str) -> str:
    return " and ".join(PHASES[phase])


def _data(chosen: Mapping[str, list[Record]]) -> tuple[HDF5Source, ...]:
    """Return what the HDF5Data layers ask for, each once."""
    found: dict[int, HDF5Source] = {}
    for phase, layers in chosen.items():
        for r in layers:
            if r["type"] == "HDF5Data":
                block, before = r["hdf5_data_param"], found.get(id(r))
                phases = (*(before.phases if before else ()), *PHASES[phase])
                layers_of = tuple(r["top"]) if len(r["top"]) > 1 else (r["name"],)
                found[id(r)] = HDF5Source(
                    block["source"], block["batch_size"], block["shuffle"], r["top"], layers_of, phases
                )
    return tuple(found.values())
