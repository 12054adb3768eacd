"""What a picture shows: which layers and steps, in which row and column, and the lines between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace

from unrolled.net.check import phases_of
from unrolled.net.graph import Link, UnrolledGraph, unroll_graph
from unrolled.net.layers import TYPES
from unrolled.net.params import Cells
from unrolled.net.pictures.sharing import Sharing, sharing
from unrolled.net.schedule import schedule
from unrolled.net.spec import Edge, Layer, Length, Spec

MAX_LAYERS = 24
"""How many rows of layers are drawn; of a higher net the middle is left out."""
MOST_MOVED = 1000
"""In nets of more layers none is moved for its lines' sake, which would take the square of their number."""
MORE = "\u2026"
"""The name of what stands for the layers left out; no layer is called so in ``Scene.places``."""


@dataclass(frozen=True)
class Block:
    """Columns of layers that are equally long."""

    length: Length
    copies: int
    steps: tuple[int | None, ...]
    """The step of each column; None stands for all the steps that are left out."""

    @property
    def hidden(self) -> int:
        """How many steps are left out."""
        return self.copies - sum(step is not None for step in self.steps)

    def rolled(self) -> Block:
        """Return the block as one column."""
        return replace(self, steps=(0,))


@dataclass(frozen=True)
class Place:
    """Where a layer stands: its row, from 0 at the bottom, and the blocks that it spans."""

    row: int
    first: int
    last: int
    bar: bool
    """Whether it is one copy that spans the columns of its blocks."""


@dataclass(frozen=True)
class Line:
    """An edge from one box to another; a step is None for a bar, -1 for the steps left out."""

    source: str
    source_step: int | None
    target: str
    target_step: int | None
    kind: str
    """``same``, ``shift``, ``own``, ``all`` or ``last``."""
    shift: int = 0
    label: str = ""


@dataclass(frozen=True)
class Scene:
    """All that is shown, before anything has a coordinate."""

    spec: Spec
    graph: UnrolledGraph
    layers: tuple[Layer, ...]
    """The layers shown, sources first."""
    places: Mapping[str, Place]
    """Where each of them stands, and where ``MORE`` does."""
    blocks: tuple[Block, ...]
    shared: tuple[Sharing, ...]
    parts: int

    @property
    def hidden(self) -> int:
        """How many layers are left out."""
        return len(self.spec.layers) - len(self.layers)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return 1 + max(place.row for place in self.places.values())


def scene(
    spec: Spec,
    steps: int | Mapping[str, int] | None,
    phase: str | None,
    partitions: int,
    cells: Cells | None,
) -> Scene:
    """Choose what is shown of a net; UsageError or NetError as ``unroll_graph`` raises them."""
    graph = unroll_graph(spec, steps, phase=phase, partitions=partitions, cells=cells)
    chosen = spec.in_phase(phase or phases_of(spec)[0])
    below, above = _chosen(chosen)
    shown = (*below, *above)
    blocks = _blocks(chosen, shown, graph)
    names = [layer.name for layer in below]
    if above:
        names += [MORE, *(layer.name for layer in above)]
    places = _places(chosen, shown, blocks, names)
    if any(place.last == len(blocks) for name, place in places.items() if name != MORE):
        blocks += (Block(1, 1, (0,)),)
    if MORE in places:
        places[MORE] = replace(places[MORE], last=len(blocks) - 1)
    return Scene(chosen, graph, shown, places, blocks, sharing(chosen, cells), partitions)


def rolled_lines(scene: Scene) -> Iterator[Line]:
    """Give every edge of the rolled net once; shifted ones between the same two layers are one line."""
    hidden = {layer.name for layer in scene.spec} - set(scene.places)
    found: dict[tuple[str, str, str], list[int]] = {}
    for layer in scene.spec:
        target = MORE if layer.name in hidden else layer.name
        for edge in layer.sources:
            source = MORE if edge.source in hidden else edge.source
            if source != MORE or target != MORE:
                found.setdefault((source, target, _kind(edge)), []).append(edge.shift)
        if layer.type == "recurrent" and target != MORE:
            found[target, target, "own"] = [1]
    for (source, target, kind), shifts in found.items():
        where = [None if scene.places[name].bar else 0 for name in (source, target)]
        label = _shifts(shifts) if kind == "shift" else ""
        yield Line(source, where[0], target, where[1], kind, min(shifts), label)


def unrolled_lines(scene: Scene) -> Iterator[Line]:
    """Give every link between two copies that are shown, and those from and to what is left out."""
    known = {copy.name: (copy.layer.name, copy.step) for copy in scene.graph}
    given = set()
    for copy in scene.graph:
        for link in copy.links:
            line = _line(scene, known[link.source], (copy.layer.name, copy.step), link)
            if line is not None and line not in given:
                given.add(line)
                yield line


def _line(scene: Scene, source: tuple[str, int], target: tuple[str, int], link: Link) -> Line | None:
    (below, at_below), (above, at_above) = _seen(scene, *source), _seen(scene, *target)
    kind = _kind(link.edge)
    if below == above == MORE or (below == above and at_below == at_above):
        return None
    if -1 in (at_below, at_above) and (None in (at_below, at_above) or kind in ("all", "same")):
        return None
    if at_below == at_above == -1:
        return None
    seen = -1 not in (at_below, at_above) and MORE not in (below, above)
    return Line(below, at_below, above, at_above, kind, link.edge.shift if link.edge and seen else 0)


def _seen(scene: Scene, layer: str, step: int) -> tuple[str, int | None]:
    """Return the box that stands for a copy: its own, or that of what is left out."""
    place = scene.places.get(layer)
    if place is None:
        return MORE, None
    if place.bar:
        return layer, None
    return layer, step if step in scene.blocks[place.first].steps else -1


def _kind(edge: Edge | None) -> str:
    if edge is None:
        return "own"
    return "shift" if edge.shift else edge.kind


def _shifts(shifts: list[int]) -> str:
    each = sorted(set(shifts))
    told = ", ".join(map(str, each[:4]))
    return f"shift {told}" + (f", {MORE} {each[-1]}" if len(each) > 4 else "")


def _blocks(spec: Spec, shown: tuple[Layer, ...], graph: UnrolledGraph) -> tuple[Block, ...]:
    copies: dict[Length, int] = {}
    for layer in shown:
        if (length := spec.length_of(layer)) != 1:
            copies.setdefault(length, graph.lengths[layer.name])
    most = {0: 10, 1: 10, 2: 6, 3: 4}.get(len(copies), 2)
    found = [Block(length, number, _steps(number, most)) for length, number in copies.items()]
    return tuple(found) or (Block(1, 1, (0,)),)


def _steps(copies: int, most: int) -> tuple[int | None, ...]:
    """Return the steps that have a column: all, or the first and the last ``most / 2``."""
    if copies <= most + 1:
        return tuple(range(copies))
    half = most // 2
    return (*range(half), None, *range(copies - half, copies))


def _chosen(spec: Spec) -> tuple[list[Layer], list[Layer]]:
    """Return the layers that are shown, in the schedule's order: those below and above what is left out.

    One copy of what comes from outside, as of a text, goes first where longer layers read it: it belongs
    under all of them.
    """
    order = [layer for component in schedule(spec) for layer in component.layers]
    read = {edge.source for layer in order if spec.length_of(layer) != 1 for edge in layer.sources}
    order.sort(key=lambda l: bool(l.sources) or spec.length_of(l) != 1 or l.name not in read)
    order = _late(spec, order)
    if len(order) <= MAX_LAYERS:
        return order, []
    return order[: MAX_LAYERS // 2], order[-(MAX_LAYERS // 2 - 1) :]


def _late(spec: Spec, order: list[Layer]) -> list[Layer]:
    """Move what comes from outside right below its first reader, so that no line must pass around it.

    In a net of which nearly all is left out anyway, it stays where it is.
    """
    if len(order) > MOST_MOVED:
        return order
    late = list(order)
    for layer in order:
        if not TYPES[layer.type].reads_outside or spec.length_of(layer) == 1:
            continue
        readers = (other for other in late if any(edge.source == layer.name for edge in other.sources))
        if (first := next(readers, None)) is not None:
            late.remove(layer)
            late.insert(late.index(first), layer)
    return late


def _places(
    spec: Spec, shown: tuple[Layer, ...], blocks: tuple[Block, ...], names: list[str]
) -> dict[str, Place]:
    """Give every layer its place.

    One copy is a bar over the columns of its readers and sources; but where that would bar the way between
    other layers, it stands apart, in a column of its own at the right.
    """
    at = {block.length: number for number, block in enumerate(blocks)}
    lengths = {layer.name: spec.length_of(layer) for layer in shown}
    columns = {name: at[length] for name, length in lengths.items() if length in at}
    pairs = [(e.source, l.name) for l in shown for e in l.sources if e.source in lengths]
    ends = [
        (e.source if e.source in lengths else MORE, l.name if l.name in lengths else MORE)
        for l in spec
        for e in l.sources
    ]
    reads = [pair for pair in dict.fromkeys(ends) if pair != (MORE, MORE)]
    while True:
        spans = _spans(list(lengths), pairs, columns, len(blocks))
        spans[MORE] = (0, max(len(blocks) - 1, *columns.values()) if columns else 0)
        places = _rows(names, spans, columns.keys())
        walls = {name for pair in reads for name in _walls(places, *pair)}
        walls |= {name for name, place in places.items() if place.bar and place.first == len(blocks)}
        if not walls:
            return places
        columns |= dict.fromkeys(walls, len(blocks))


def _walls(places: Mapping[str, Place], source: str, target: str) -> list[str]:
    """Return the bars in the way of a line, but those that it can go around, all ending alike at the left.

    A line between columns leaves its own along its gutter, and so is in the way of bars over the source.
    """
    low, high = sorted((places[source], places[target]), key=lambda place: place.row)
    ends = [place for place in (places[source], places[target]) if not place.bar][:1] or [low, high]
    found = {
        name: place
        for name, place in places.items()
        if place.bar and name != MORE and low.row < place.row < high.row
        if all(place.first <= end.last and end.first <= place.last for end in ends)
    }
    alike = low.bar and high.bar and len({place.first for place in (low, high, *found.values())}) == 1
    return [] if alike else list(found)


def _spans(
    names: list[str], pairs: list[tuple[str, str]], columns: Mapping[str, int], blocks: int
) -> dict[str, tuple[int, int]]:
    """Return the first and the last block of each layer; one copy spans all that it has to do with."""
    own = {name: (column, column) for name, column in columns.items()}
    spans: dict[str, tuple[int, int]] = dict(own)
    for name in names:
        ends = [own[other] for pair in pairs if name in pair for other in pair if other in own]
        if name not in own and ends:
            spans[name] = _union(ends)
    for _ in names:
        before = dict(spans)
        for source, target in pairs:
            _meet(spans, own, source, target)
        if spans == before:
            break
    return {name: spans.get(name, (0, blocks - 1)) for name in names}


def _meet(spans: dict[str, tuple[int, int]], own: Mapping[str, object], source: str, target: str) -> None:
    """Make two bars overlap of which one reads the other."""
    if source in own or target in own or not {source, target} & spans.keys():
        return
    if source not in spans:
        spans[source] = spans[target]
    elif target not in spans:
        spans[target] = spans[source]
    elif spans[source][1] < spans[target][0] or spans[target][1] < spans[source][0]:
        spans[target] = _union([spans[source], spans[target]])


def _union(spans: list[tuple[int, int]]) -> tuple[int, int]:
    return min(first for first, _ in spans), max(last for _, last in spans)


def _rows(names: list[str], spans: Mapping[str, tuple[int, int]], columns: Set[str]) -> dict[str, Place]:
    """Put each layer above all those before it that stand in one of its blocks."""
    height: dict[int, int] = {}
    places = {}
    for name in names:
        first, last = spans[name]
        row = max(height.get(block, 0) for block in range(first, last + 1))
        places[name] = Place(row, first, last, name not in columns)
        height.update(dict.fromkeys(range(first, last + 1), row + 1))
    return places
