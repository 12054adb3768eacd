"""SINGA's ``neuralnet`` as a spec: unroll lengths, edges through time, phases and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from unrolled.errors import NetError, UsageError, nearest
from unrolled.net.check import check
from unrolled.net.importers.schema import Record
from unrolled.net.importers.singa_fields import CONNECTIONS, PHASES
from unrolled.net.importers.singa_types import Ours, our_params, our_type, wanted
from unrolled.net.importers.textformat import shown
from unrolled.net.schedule import schedule
from unrolled.net.spec import PHASES as OUR_PHASES
from unrolled.net.spec import Edge, Kind, Layer, Spec

FIELDS = {"sources": "srclayers", "unroll": "unroll_len", "partition": "partition_dim", "params": "param"}
"""Our names of a layer's fields by SINGA's, where they differ."""


@dataclass
class Places:
    """Where each layer stands in the file."""

    layers: dict[str, Record] = field(default_factory=dict)
    whole: Record | None = None

    def located(self, error: NetError) -> UsageError:
        """Return the error with the place of its layer, or of the net where it names none."""
        at = self.layers.get(error.layer, self.whole)
        assert at is not None
        return at.error(str(error), FIELDS.get(error.field, error.field))


def read_net(net: Record, name: str, notes: list[str]) -> tuple[Spec, Places]:
    """Return the net as a checked spec; UsageError with the place of what is wrong."""
    reader = _Net(net, notes)
    _check_phases(net)
    layers = [layer for record in net["layer"] for layer in reader.layers(record)]
    reader.check_parts()
    spec = Spec(tuple(layers), name, reader.unroll, net["partition_dim"])
    places = Places(reader.by_name, net)
    try:
        check(spec)
        for phase in OUR_PHASES:
            if any(layer.belongs_to(phase) for layer in spec):
                check(spec, phase)
                schedule(spec.in_phase(phase))
    except NetError as error:
        raise places.located(error) from error
    return spec, places


def _check_phases(net: Record) -> None:
    """Refuse include beside exclude, and two layers of one name in one phase."""
    if not net["layer"]:
        raise net.error("the net has no layers")
    first: dict[str, Record] = {}
    seen: dict[tuple[str, str], Record] = {}
    for layer in net["layer"]:
        for said, other in (("include", "exclude"), ("exclude", "include")):
            if said in layer:
                first.setdefault(said, layer)
                if other in first:
                    where = first[other].given[other][0].line
                    raise layer.error(f"{said}: the file says {other} in line {where}; use one of them", said)
        for phase in phases_of(layer):
            twice = seen.setdefault((phase, layer["name"]), layer)
            if twice is not layer:
                line = twice.message.line
                raise layer.error(
                    f"two layers are called '{layer['name']}', the first in line {line}", "name"
                )


def phases_of(layer: Record) -> list[str]:
    """Return the phases, by SINGA's names, that a layer belongs to."""
    include, exclude = layer["include"] or tuple(PHASES), layer["exclude"]
    return [phase for phase in PHASES if phase in include and phase not in exclude]


class _Net:
    """The layers of one file on their way into a spec."""

    def __init__(self, net: Record, notes: list[str]) -> None:
        self.notes = notes
        self.ours: dict[int, Ours] = {id(layer): our_type(layer) for layer in net["layer"]}
        self.by_name: dict[str, Record] = {layer["name"]: layer for layer in net["layer"]}
        self.unroll, self.flat = _net_length(net)
        self.parts_read = dict.fromkeys(self.by_name, 0)
        self.widths: dict[str, int] = {}

    def layers(self, layer: Record) -> Iterator[Layer]:
        """Yield what one layer of the file becomes: one layer, or one for each part of a kSlice."""
        ours = self.ours[id(layer)]
        made = Layer(
            layer["name"],
            ours.type,
            tuple(self._edges(layer)),
            ours.settings,
            our_params(layer, ours, self.notes),
            self._length(layer, ours),
            layer["partition_dim"],
            tuple(PHASES[phase] for phase in layer["include"]),
            tuple(PHASES[phase] for phase in layer["exclude"]),
        )
        self._note_width(made)
        if ours.type == "slice":
            yield from self._parts(layer, made)
        else:
            yield made

    def check_parts(self) -> None:
        """Refuse a kSlice of which not every part is read once."""
        for name, layer in self.by_name.items():
            wanted, came = layer["slice_conf"]["num_slices"], self.parts_read[name]
            if layer["type"] == "kSlice" and wanted != came:
                raise layer.error(f"layer '{name}' has {wanted} slices, and {came} layers read them", "name")

    def _length(self, layer: Record, ours: Ours) -> int | None:
        """Return a layer's unroll: None is the net's or, where nothing is unrolled, the data's."""
        if self.unroll is None and not self.flat:
            return 1 if ours.type == "text" else None
        if layer["unroll_len"] is None:
            return 1 if self.flat else None
        return int(layer["unroll_len"])

    def _edges(self, layer: Record) -> Iterator[Edge]:
        if layer["type"] == "kRNNDummy":
            yield self._dynamic(layer)
            return
        count = len(layer["srclayers"])
        for name in ("unroll_conn_type", "shift"):
            if len(layer[name]) > count:
                what = f"{name}: wanted one for each of the {count} srclayers, came {len(layer[name])}"
                raise layer.error(what, name, count)
        connections = [*layer["unroll_conn_type"], *["kUnrollOneToOne"] * count][:count]
        shifts = [*layer["shift"], *[0] * count][:count]
        for index, source in enumerate(layer["srclayers"]):
            if source not in self.by_name:
                raise layer.error(self._no_such(source), "srclayers", index)
            kind = CONNECTIONS[connections[index]]
            if shifts[index] and kind != "same":
                what = f"shift: only kUnrollOneToOne has one, not {connections[index]}"
                raise layer.error(what, "shift", index)
            yield Edge(self._part_of(source), self._kind(source, kind), shifts[index])

    def _no_such(self, source: str) -> str:
        return f"there is no layer '{shown(source)}'" + nearest(source, self.by_name)

    def _kind(self, source: str, kind: Kind) -> Kind:
        """Return an edge's kind; where nothing is unrolled, the one copy is all copies."""
        if self.unroll is not None or self.flat or kind == "last":
            return kind
        return "all" if self.ours[id(self.by_name[source])].type == "text" else "same"

    def _dynamic(self, layer: Record) -> Edge:
        conf = layer["rnn_dummy_conf"]
        source = conf["dynamic_srclayer"]
        if source not in self.by_name:
            raise conf.error(self._no_such(source), "dynamic_srclayer")
        drawn = {"low": conf["low"], "high": conf["high"], "integer": conf["integer"]}
        return Edge(source, "same", 1, drawn)

    def _part_of(self, source: str) -> str:
        """Return the layer to read: of a kSlice the part whose turn it is."""
        self.parts_read[source] += 1
        is_slice = self.ours[id(self.by_name[source])].type == "slice"
        return f"{source}-{self.parts_read[source] - 1}" if is_slice else source

    def _note_width(self, layer: Layer) -> None:
        """Remember how many numbers a layer gives, where the file has said so up to here."""
        own = next(
            (layer.settings[key] for key in ("width", "hidden", "size") if key in layer.settings), None
        )
        given = [self.widths.get(edge.source) for edge in layer.sources]
        if own is None and None not in given and given:
            own = sum(width or 0 for width in given) if layer.type == "concat" else given[0]
        if own is not None:
            self.widths[layer.name] = own

    def _parts(self, layer: Record, whole: Layer) -> Iterator[Layer]:
        count, width = wanted(layer, "slice_conf", "num_slices"), self.widths.get(whole.name)
        if width is None:
            what = "kSlice: nothing before this line says how wide its source is; put the source first"
            raise layer.error(what, "srclayers")
        if count > width or width % count:
            raise layer.error(f"kSlice: {width} numbers are not {count} equal parts", "slice_conf")
        for part in range(count):
            name, begin = f"{whole.name}-{part}", part * width // count
            if name in self.by_name:
                raise layer.error(f"slice {part} is called '{name}' here, as another layer is", "name")
            self.widths[name] = width // count
            yield replace(whole, name=name, settings={"begin": begin, "end": begin + width // count})


def _net_length(net: Record) -> tuple[int | None, bool]:
    """Return the spec's length, and whether the layers that say nothing have one copy.

    SINGA's default is 1. A net that sets none, but whose layers say one number, is as long as that.
    """
    if net["unroll_len"] > 1:
        return int(net["unroll_len"]), False
    own = {layer["unroll_len"] for layer in net["layer"]} - {None, 1}
    return (own.pop(), True) if len(own) == 1 else (None, bool(own))
