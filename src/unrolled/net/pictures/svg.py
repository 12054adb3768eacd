"""A net as an SVG picture: the rolled net at the left, its unrolled columns at the right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape

from unrolled.net.graph import dimension
from unrolled.net.params import Cells
from unrolled.net.pictures import paint, words
from unrolled.net.pictures.layout import Panel, Route, Sizes, stack
from unrolled.net.pictures.legend import legend
from unrolled.net.pictures.scene import MORE, Scene, rolled_lines, scene, unrolled_lines
from unrolled.net.spec import Layer, Spec

MARGIN = 28.0
HEAD = 84.0
"""Room for the headings above the highest row."""
BETWEEN = 64.0


def draw_svg(
    spec: Spec,
    steps: int | Mapping[str, int] | None = 5,
    *,
    phase: str | None = None,
    partitions: int = 1,
    cells: Cells | None = None,
) -> str:
    """Draw a net of one phase, rolled and unrolled, as an SVG of its own, which HTML can hold as it is.

    ``steps`` is as in ``unroll_graph``. Of many steps, layers or partitions the middle is left out, and
    the picture says so; its size is bounded. An edge given twice is drawn once. UsageError and NetError as
    ``unroll_graph`` raises them.
    """
    return _Picture(scene(spec, steps, phase, partitions, cells)).draw()


class _Picture:
    """Both panels of a scene, and what is written in them."""

    def __init__(self, shown: Scene) -> None:
        self.scene = shown
        self.layers = {layer.name: layer for layer in shown.layers}
        self.tags = {name: self._tags(name) for name in self.layers}
        rolled = tuple(block.rolled() for block in shown.blocks)
        self.rolled = Panel(shown, rolled, rolled_lines(shown), self._rolled_sizes())
        self.columns = Panel(shown, shown.blocks, unrolled_lines(shown), self._column_sizes())

    def draw(self) -> str:
        """Give everything its place and write it."""
        panels = (self.rolled, self.columns)
        middles, gaps, low = stack(panels, self.scene.rows, HEAD)
        headings = ("The net", words.unrolled_over(self.scene))
        ends = [MARGIN]
        for panel, heading in zip(panels, headings, strict=True):
            right = panel.stand(ends[-1], middles, gaps)
            if (lack := words.room(heading, 16) - (right - ends[-1])) > 0:
                right = panel.stand(ends[-1] + lack / 2, middles, gaps) + lack / 2
            ends.append(right + BETWEEN)
        right = ends[2] - BETWEEN + MARGIN
        kinds = {route.line.kind for panel in panels for route in panel.routes}
        roles = {words.role_of(layer) for layer in self.scene.layers}
        width = max(right, 380.0)
        below, height = legend(self.scene, kinds, roles, (MARGIN, low + 34, width - 2 * MARGIN))
        rule = ends[1] - BETWEEN / 2
        body = [
            paint.rect(0, 0, width, height, "paper", 6),
            f'<path class="rule" d="M{paint.number(rule)} 26V{paint.number(low + 6)}"/>',
            paint.group("rolled", "", list(self._rolled())),
            paint.group("unrolled", "", list(self._columns())),
            below,
        ]
        return _document(self.scene, width, height, body)

    def _rolled(self) -> Iterator[str]:
        yield self._heading(self.rolled, "The net")
        yield from self._over(self.rolled)
        yield from self._more(self.rolled)
        yield from self._edges(self.rolled)
        for name, place in self.scene.places.items():
            if name == MORE:
                continue
            layer = self.layers[name]
            yield paint.group(
                f"layer {words.role_of(layer)}",
                f"{name}: {words.setting_of(layer)}",
                list(self._large(layer, None if place.bar else place.first)),
                layer=name,
            )

    def _large(self, layer: Layer, column: int | None) -> Iterator[str]:
        """Write a layer of the rolled net: its name, its main setting, and tags of what it shares."""
        x, y, width, height = self.rolled.box(layer.name, column)
        middle = self.rolled.centre(layer.name, column)
        tags = self.tags[layer.name][:2]
        centre = y + (height - 18 * len(tags)) / 2
        setting = words.setting_of(layer)
        split = words.split_of(self.scene.spec, layer) if self.scene.parts > 1 else ""
        yield paint.rect(x, y, width, height, "box", 8)
        yield paint.text(words.shorten(layer.name, 14, width - 14), middle, centre - 3, 14, "name")
        told = f"{setting} \u00b7 {split}" if split else setting
        yield paint.text(words.shorten(told, 11.5, width - 10), middle, centre + 14, 11.5, "soft")
        for number, (colour, label) in enumerate(tags):
            more = len(self.tags[layer.name]) - len(tags)
            told = f"{label} \u2026 {more} more" if more and number == len(tags) - 1 else label
            top = y + height - 20 - 18 * (len(tags) - 1 - number)
            yield paint.tag(words.shorten(told, 10, width - 28), x + 8, top, width - 16, colour)

    def _columns(self) -> Iterator[str]:
        yield self._heading(self.columns, words.unrolled_over(self.scene))
        yield from self._over(self.columns)
        yield from self._heads()
        yield from self._more(self.columns)
        gaps = [(number, block) for number, (block, step) in enumerate(self.columns.columns) if step is None]
        for number, block in gaps:
            x, top, width, low = self._band(number, block)
            yield paint.rect(x, top, width, low - top, "band", 8)
        yield from self._edges(self.columns)
        for number, block in gaps:
            x, top, width, low = self._band(number, block)
            told = words.left_out(self.scene.blocks[block].hidden, "step")
            content = paint.upwards(told, x + width / 2, (top + low) / 2, low - top - 20)
            yield paint.group("elided", "", [content])
        copies = {
            (name, column)
            for name, place in self.scene.places.items()
            for column in ([None] if place.bar else self.columns.columns_of(place))
        }
        order = list(self.scene.places)
        for name, column in sorted(copies, key=lambda c: (order.index(c[0]), c[1] or 0)):
            yield self._copy(name, column)

    def _copy(self, name: str, column: int | None) -> str:
        step = self.columns.columns[column][1] if column is not None else 0
        if step is None or name == MORE:
            return ""
        layer = self.layers[name]
        content = list(self._small(layer, column))
        parts = self._parts(layer)
        copies = [f"{step}#{name}@{part}" for part in parts[:8]] if parts else [f"{step}#{name}"]
        told = ", ".join(copies) + (f", {MORE}" if len(parts) > 8 else "")
        return paint.group(f"copy {words.role_of(layer)}", told, content, copy=f"{step}#{name}")

    def _small(self, layer: Layer, column: int | None) -> Iterator[str]:
        """Write a copy: its name, marks for what it shares, and its parts."""
        x, y, width, height = self.columns.box(layer.name, column)
        yield paint.rect(x, y, width, height, "box", 6)
        parts = self._parts(layer)
        dots = self.tags[layer.name][:4]
        label = words.shorten(layer.name, 12, width - 10)
        line = y + (height - (14 if parts else 0)) / 2 + 4 + (3 if dots else 0)
        centre = self.columns.centre(layer.name, column)
        yield paint.text(label, centre, line, 12, "name", aside="" if column is not None else "one copy")
        for number, (colour, _) in enumerate(dots):
            yield paint.rect(x + 7 + 13 * number, y + 4, 10, 4, "", 2, colour)
        if parts:
            yield from paint.strip(parts, x + 4, y + height - 17, width - 8)

    def _parts(self, layer: Layer) -> list[int]:
        """Return the numbers of a layer's parts; none where it is not split."""
        split = self.scene.parts > 1 and dimension(self.scene.spec, layer) >= 0
        return list(range(self.scene.parts)) if split else []

    def _edges(self, panel: Panel) -> Iterator[str]:
        for route in panel.routes:
            line = route.line
            ends = [_end(line.target, line.target_step), _end(line.source, line.source_step)]
            if panel is self.rolled:
                ends = [line.target, line.source]
            how = line.label or (f"shift {line.shift}" if line.shift else line.kind)
            told = f"{ends[0]} reads {ends[1]} ({how})"
            if not route.corners:
                content = self._loop(panel, route)
            else:
                content = paint.wire(panel.points(route), line.kind)
            if line.label:
                x, y = panel.label_point(route)
                content.append(paint.text(line.label, x, y, 11, "halo", turn=True))
            yield paint.group(f"edge {line.kind}", told, content)

    def _loop(self, panel: Panel, route: Route) -> list[str]:
        x, y, width, height = panel.box(route.line.source, panel.column(route.line, 0))
        return paint.loop(x + width, y + height / 2, 26)

    def _heading(self, panel: Panel, told: str) -> str:
        left, right = panel.ends_of(0)[0], panel.ends_of(len(self.scene.blocks) - 1)[1]
        return paint.text(told, (left + right) / 2, 36, 16, "heading")

    def _over(self, panel: Panel) -> Iterator[str]:
        """Write each block's name over its columns, where there are several."""
        for number, block in enumerate(self.scene.blocks if len(self.scene.blocks) > 1 else ()):
            left, right = panel.ends_of(number)
            told = words.shorten(words.length_name(block), 12.5, right - left + 40)
            yield paint.text(told, (left + right) / 2, 58, 12.5, "name soft")

    def _more(self, panel: Panel) -> Iterator[str]:
        """Write the bar in place of the layers that are left out, if any are."""
        if MORE in self.scene.places:
            x, y, width, height = panel.box(MORE)
            told = words.left_out(self.scene.hidden, "layer")
            inside = [
                paint.rect(x, y, width, height, "band", 8),
                paint.text(told, x + width / 2, y + height / 2 + 4, 12.5, "soft"),
            ]
            yield paint.group("elided", "", inside)

    def _band(self, column: int, block: int) -> tuple[float, float, float, float]:
        """Return left end, upper end, width and lower end of the band in place of steps left out."""
        top, low = self.columns.rows_of(block)
        return self.columns.left_edges[column], top - 10, self.columns.width(column), low + 10

    def _heads(self) -> Iterator[str]:
        """Write each column's step over it."""
        for number, (block, step) in enumerate(self.columns.columns):
            alone = self.scene.blocks[block].length == 1 and len(self.scene.blocks) > 1
            if step is not None and not alone:
                middle = self.columns.left_edges[number] + self.columns.width(number) / 2
                yield paint.text(f"step {step:,}", middle, HEAD - 8, 12, "soft")

    def _tags(self, name: str) -> list[tuple[str, str]]:
        return [
            (paint.TAGS[number % len(paint.TAGS)], sharing.label)
            for number, sharing in enumerate(self.scene.shared)
            if name in sharing.layers
        ]

    def _rolled_sizes(self) -> Sizes:
        told = [(words.setting_of(layer), 11.5) for layer in self.scene.layers]
        told += [(name, 14.0) for name in self.layers]
        told += [(tag + "  ", 10.0) for tags in self.tags.values() for _, tag in tags]
        if self.scene.parts > 1:
            told += [
                (f"{t} \u00b7 {words.split_of(self.scene.spec, layer)}", 11.5)
                for layer in self.scene.layers
                for t in [words.setting_of(layer)]
            ]
        widest = max(words.room(text, size) for text, size in told)
        if self.scene.hidden:
            told.append((words.left_out(self.scene.hidden, "layer"), 12.5))
        heights = [46.0] * self.scene.rows
        for name, tags in self.tags.items():
            row = self.scene.places[name].row
            heights[row] = max(heights[row], 46.0 + 18 * len(tags[:2]) + (2 if tags else 0))
        width = min(max(widest + 26, 108.0), 216.0)
        return Sizes(width, tuple(heights), out_pitch=17.0, loops=18.0)

    def _column_sizes(self) -> Sizes:
        names = [layer.name for layer in self.scene.layers if not self.scene.places[layer.name].bar]
        widest = max((words.room(name, 12) for name in names), default=100.0)
        if self.scene.hidden and len(self.scene.blocks) == len(self.scene.blocks[0].steps) == 1:
            widest = max(widest, words.room(words.left_out(self.scene.hidden, "layer"), 12.5))
        heights = [34.0] * self.scene.rows
        parted = 1
        for layer in self.scene.layers:
            if parts := self._parts(layer):
                heights[self.scene.places[layer.name].row] = 48.0
                parted = min(len(parts), 4)
        return Sizes(min(max(widest + 18, 58.0, 8 + 26.0 * parted), 132.0), tuple(heights))


def _end(name: str, step: int | None) -> str:
    if name == MORE or step == -1:
        return "what is left out"
    return f"{step or 0}#{name}"


def _document(scene: Scene, width: float, height: float, body: list[str]) -> str:
    size = f'width="{paint.number(width)}" height="{paint.number(height)}"'
    view = f'viewBox="0 0 {paint.number(width)} {paint.number(height)}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="unrolled-net" role="img" {size} {view}>'
    title = f"<title>{escape(words.title_of(scene))}</title><desc>{escape(words.describe(scene))}</desc>"
    return "\n".join([head, title, f"<style>{paint.CSS}</style>", *body, "</svg>", ""])
