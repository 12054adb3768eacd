"""Where boxes stand and how lines run between them, around boxes and never through one.

Columns of boxes leave gutters between them and rows leave gaps. A line runs straight where nothing is in
its way, else up a gutter, and along a gap where it crosses columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from unrolled.net.pictures.lanes import Lanes
from unrolled.net.pictures.scene import MORE, Block, Line, Place, Scene

Point = tuple[float, float]
Mark = Callable[[], float]

GAP = 34.0
PITCH = 9.0
ARROW = 16.0
"""How much room an arrow has in front of a box."""
BAND = 46.0
"""How wide the place of the steps left out is."""
LEVEL: Mapping[str, float] = {"own": 0.0, "last": 0.0, "shift": -8.0}
"""How far below the middle of a box a level line runs to the next column, of the kinds that may."""
LOW = 14.0
"""The same in the rolled net, where the middle is a loop's."""


@dataclass(frozen=True)
class Sizes:
    """How large one panel's boxes are."""

    width: float
    heights: tuple[float, ...]
    """The height of the boxes of each row."""
    out_pitch: float = PITCH
    loops: float = 0.0
    """Room for loops at the right of each box, which the rolled net has."""


@dataclass(frozen=True)
class Route:
    """A line, and its corners: x, y, then x and y in turn. A loop has none."""

    line: Line
    corners: tuple[Mark, ...]


class Panel:
    """One half of the picture: the rolled net or the unrolled columns."""

    def __init__(self, scene: Scene, blocks: Sequence[Block], lines: Iterable[Line], sizes: Sizes) -> None:
        self.places, self.blocks, self.sizes = scene.places, blocks, sizes
        self.rolled = bool(sizes.loops)
        self.columns = [(number, step) for number, block in enumerate(blocks) for step in block.steps]
        self.at = {column: number for number, column in enumerate(self.columns)}
        self.full = {
            (place.row, column) for place in self.places.values() for column in self.columns_of(place)
        }
        self.lanes = Lanes()
        self.wide: set[str] = {MORE}
        """The bars that reach over the lanes at their left end, because lines there start or end at them."""
        self.routes = [self._route(line) for line in lines]
        self.left_edges: list[float] = []
        self.bottoms: list[float] = []
        self.gap_tops: list[float] = []

    def columns_of(self, place: Place) -> range:
        """Return the columns that a layer spans."""
        inside = [n for n, (block, _) in enumerate(self.columns) if place.first <= block <= place.last]
        return range(inside[0], inside[-1] + 1)

    def gap_lanes(self, gap: int) -> int:
        """Return how many lines run side by side between row ``gap - 1`` and row ``gap``."""
        return self.lanes.count(("gap", gap))

    def stand(self, left: float, bottoms: list[float], gap_tops: list[float]) -> float:
        """Give every column and row its coordinate; return the right end."""
        self.bottoms, self.gap_tops, self.left_edges = bottoms, gap_tops, []
        for number in range(len(self.columns)):
            left += self._gutter(number)
            self.left_edges.append(left)
            left += self.width(number)
        return left + self._gutter(len(self.columns))

    def width(self, column: int) -> float:
        """Return how wide a column's boxes are."""
        return BAND if self.columns[column][1] is None else self.sizes.width

    def centre(self, name: str, column: int | None) -> float:
        """Return the middle of the columns that a layer's box or bar stands in."""
        first, last = (column, column) if column is not None else self._ends(self.places[name])
        return (self.left_edges[first] + self.left_edges[last] + self.width(last)) / 2

    def ends_of(self, block: int) -> tuple[float, float]:
        """Return the left and the right end of a block's columns."""
        inside = [column for column, (number, _) in enumerate(self.columns) if number == block]
        return self.left_edges[inside[0]], self._right(inside[-1])

    def rows_of(self, block: int) -> tuple[float, float]:
        """Return the upper and the lower end of a block's columns, without the bars over and under them."""
        inside = [name for name, place in self.places.items() if place.first == block and not place.bar]
        return min(map(self._top, inside)), max(map(self._bottom, inside))

    def box(self, name: str, column: int | None = None) -> tuple[float, float, float, float]:
        """Return x, y, width and height of a layer's box in a column, or of its bar."""
        place = self.places[name]
        height = self.sizes.heights[place.row]
        first, last = (column, column) if column is not None else self._ends(place)
        left, right = self.left_edges[first], self.left_edges[last] + self.width(last)
        if column is None:
            left -= self._reach("in", first) if name in self.wide else 0
            right += self._reach("out", last) if name == MORE else 0
        return left, self._middle(name) - height / 2, right - left, height

    def points(self, route: Route) -> list[Point]:
        """Return the corners of a line, from its source to its arrow."""
        values = [corner() for corner in route.corners]
        found: list[Point] = []
        x, y = values[:2]
        for number in range(1, len(values)):
            x, y = (x, values[number]) if number % 2 else (values[number], y)
            if not found or found[-1] != (x, y):
                found.append((x, y))
        return found

    def label_point(self, route: Route) -> Point:
        """Return where a line's label stands, turned: beside the middle of its way up or down."""
        points = self.points(route)
        return points[1][0] + 12, (points[1][1] + points[2][1]) / 2

    def _ends(self, place: Place) -> tuple[int, int]:
        columns = self.columns_of(place)
        return columns[0], columns[-1]

    def _reach(self, side: str, column: int) -> float:
        """Return how far a bar reaches into a gutter, to stand over its lanes."""
        lanes = self.lanes.count((side, self.columns[column][0]))
        pitch = self.sizes.out_pitch if side == "out" else PITCH
        return ARROW + lanes * pitch if lanes else 0.0

    def _gutter(self, number: int) -> float:
        """Return how wide the gutter left of a column is."""
        outs = self._reach("out", number - 1) + self.sizes.loops if number else 0.0
        inside = number < len(self.columns)
        ins = self._reach("in", number) + self._reach("outer", number) if inside else 0.0
        if number in (0, len(self.columns)):
            return outs + ins
        apart = 20.0 if self.columns[number][0] != self.columns[number - 1][0] else 0.0
        return max(34.0, outs + ins) + apart

    def _route(self, line: Line) -> Route:
        source, target = self.column(line, 0), self.column(line, 1)
        if line.label:
            return Route(line, self._back(line))
        if line.source == line.target and source == target:
            return Route(line, ())
        if source is None or target is None or source == target:
            return Route(line, self._upward(line, source, target))
        level = self.places[line.source].row == self.places[line.target].row
        if level and abs(source - target) == 1 and line.kind in LEVEL:
            return Route(line, self._level(line, source, target))
        if target == source + 1 and (line.kind != "all" or self.rolled):
            return Route(line, self._beside(line, source, target))
        return Route(line, self._across(line, source, target))

    def column(self, line: Line, end: int) -> int | None:
        """Return the column of a line's source (end 0) or target (end 1); None for a bar."""
        name, step = ((line.source, line.source_step), (line.target, line.target_step))[end]
        if step is None:
            return None
        return self.at[self.places[name].first, None if step < 0 else step]

    def _upward(self, line: Line, source: int | None, target: int | None) -> tuple[Mark, ...]:
        """Run within a column: straight up, or around what stands between."""
        column = target if source is None else source
        if column is None:
            shared = set(self.columns_of(self.places[line.source]))
            shared &= set(self.columns_of(self.places[line.target]))
            inside = sorted(shared) or [0]
            column = inside[len(inside) // 2]
        rows = self.places[line.source].row, self.places[line.target].row
        ends = (self._top, self._bottom) if rows[0] < rows[1] else (self._bottom, self._top)
        start, end = partial(ends[0], line.source), partial(ends[1], line.target)
        if not any((row, column) in self.full for row in range(min(rows) + 1, max(rows))):
            group = ("straight", line.source, line.target)
            self.lanes.add(group, line.kind)
            centre = partial(self._centre, column, group, line.kind)
            return centre, start, centre, end
        barred = any(
            p.bar and column in self.columns_of(p) and min(rows) < p.row < max(rows)
            for name, p in self.places.items()
            if name != MORE
        )
        if barred:
            return self._around(line, self._ends(self.places[line.source])[0], rows)
        self.wide |= {n for n, at in ((line.source, source), (line.target, target)) if at is None}
        lane = self._lane("in", column, ("skip", line.source, line.kind), rows)
        if source is target is None:
            return lane, start, lane, end
        port, side = self._port(line, 0 if target is None else 1, "left"), partial(self._left, column)
        if source is None:
            return lane, start, lane, port, side
        if target is None:
            return side, port, lane, end
        return side, self._port(line, 0, "left"), lane, port, side

    def _around(self, line: Line, first: int, rows: tuple[int, int]) -> tuple[Mark, ...]:
        """Run from bar to bar around the left end of those between."""
        lane = self._lane("outer", first, (line.source, line.kind), rows)
        ports = self._port(line, 0, "left"), self._port(line, 1, "left")
        ends = partial(self._bar_left, line.source), partial(self._bar_left, line.target)
        return ends[0], ports[0], lane, ports[1], ends[1]

    def _level(self, line: Line, source: int, target: int) -> tuple[Mark, ...]:
        ends = (self._right, self._left) if source < target else (self._left, self._right)
        aside = LOW if self.rolled else LEVEL[line.kind]
        return (
            partial(ends[0], source),
            lambda: self._middle(line.source) + aside,
            partial(ends[1], target),
        )

    def _beside(self, line: Line, source: int, target: int) -> tuple[Mark, ...]:
        """Run to the next column by the gutter between."""
        rows = self.places[line.source].row, self.places[line.target].row
        return (
            partial(self._right, source),
            self._port(line, 0, "right"),
            self._lane("out", source, (line.source, line.kind), rows),
            self._port(line, 1, "left"),
            partial(self._left, target),
        )

    def _across(self, line: Line, source: int, target: int) -> tuple[Mark, ...]:
        """Run over columns in the gap at the target's row."""
        below, above = self.places[line.source].row, self.places[line.target].row
        gap = above if below < above else above + 1
        whole = (line.source, line.kind)
        key: tuple[object, ...] = whole
        if line.kind != "all":
            key = (*whole, line.source_step)
        self.lanes.add(("gap", gap), key, 2 * source + 0.8, 2 * target - 0.8)
        edge = (*whole, line.target)
        return (
            partial(self._right, source),
            self._port(line, 0, "right", below < gap),
            self._lane("out", source, whole, (below, gap - 0.5)),
            partial(self._gap, gap, key),
            self._lane("in", target, edge, (gap - 0.5, above)),
            self._port(line, 1, "left", above < gap),
            partial(self._left, target),
        )

    def _back(self, line: Line) -> tuple[Mark, ...]:
        """Run around the right side of the boxes, as a shifted edge of the rolled net does."""
        names = line.source, line.target
        ends = [self._ends(self.places[name])[1] for name in names]
        rows = self.places[line.source].row, self.places[line.target].row
        loop = line.source == line.target
        column = min(ends)
        lane = self._lane("out", column, names, rows)
        sides: list[tuple[Mark, Mark]] = []
        for end, name in enumerate(names):
            upper = rows[end] < rows[1 - end] or (loop and end == 0)
            port = self._port(line, end, "right", upper)
            sides.append((partial(self._right_of, name, ends[end]), port))
            if name == MORE or ends[end] > column:
                sides[end] = lane, partial(self._top if upper else self._bottom, name)
        return (*sides[0], lane, *reversed(sides[1]))

    def _lane(self, side: str, column: int, key: object, rows: tuple[float, float]) -> Mark:
        group = (side, self.columns[column][0])
        self.lanes.add(group, key, *rows)
        return partial(self._lane_x, side, column, group, key)

    def _port(self, line: Line, end: int, side: str, upper: bool | None = None) -> Mark:
        """Take a place of its own at the side of a box, in the half from which the line comes."""
        mine, other = (line.source, line.target)[:: 1 if end == 0 else -1]
        if upper is None:
            upper = self.places[other].row >= self.places[mine].row
        key = (line.kind, end, "" if end == 0 else other)
        group = ("port", mine, side, upper)
        self.lanes.add(group, key)
        return partial(self._port_y, mine, group, key)

    def _lane_x(self, side: str, column: int, group: object, key: object) -> float:
        lane = self.lanes.lane(group, key)
        if side != "out":
            reach = self._reach("in", column) if side == "outer" else 0.0
            return self.left_edges[column] - reach - ARROW - lane * PITCH
        return self._right(column) + 12 + self.sizes.loops + lane * self.sizes.out_pitch

    def _port_y(self, name: str, group: tuple[str, str, str, bool], key: object) -> float:
        room = self.sizes.heights[self.places[name].row] / 2 - 4
        count = self.lanes.count(group)
        near = 10 if self.rolled and group[2] == "right" else 5 if count == 1 else 3
        away = near + (room - near) * (self.lanes.lane(group, key) + 0.5) / count
        return self._middle(name) + (-away if group[3] else away)

    def _centre(self, column: int, group: object, key: object) -> float:
        aside = self.lanes.lane(group, key) - (self.lanes.count(group) - 1) / 2
        return self.left_edges[column] + self.width(column) / 2 + 12 * aside

    def _left(self, column: int) -> float:
        return self.left_edges[column]

    def _right(self, column: int) -> float:
        return self.left_edges[column] + self.width(column)

    def _bar_left(self, name: str) -> float:
        return self.box(name)[0]

    def _right_of(self, name: str, column: int) -> float:
        x, _, width, _ = self.box(name, None if self.places[name].bar else column)
        return x + width

    def _middle(self, name: str) -> float:
        return self.bottoms[self.places[name].row]

    def _top(self, name: str) -> float:
        return self._middle(name) - self.sizes.heights[self.places[name].row] / 2

    def _bottom(self, name: str) -> float:
        return self._middle(name) + self.sizes.heights[self.places[name].row] / 2

    def _gap(self, gap: int, key: object) -> float:
        return self.gap_tops[gap] + self.lanes.lane(("gap", gap), key) * PITCH


def stack(panels: Sequence[Panel], rows: int, top: float) -> tuple[list[float], list[float], float]:
    """Return the middle of each row, the first lane of each gap, and the lower end, for all panels alike."""
    middles, gaps = [0.0] * rows, [0.0] * (rows + 1)
    y = top
    for row in range(rows, -1, -1):
        lanes = max(panel.gap_lanes(row) for panel in panels)
        room = lanes * PITCH + 8 if lanes else 0.0
        outer = row in (0, rows)
        gaps[row] = y + (8 if outer else GAP / 2)
        y += room + (0 if outer else GAP)
        if row:
            height = max(panel.sizes.heights[row - 1] for panel in panels)
            middles[row - 1] = y + height / 2
            y += height
    return middles, gaps, y
