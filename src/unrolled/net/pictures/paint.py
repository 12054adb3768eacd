"""Colours, line styles and the elements of an SVG, by hand and without a reference to anything outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

Point = tuple[float, float]

KINDS: Mapping[str, str] = {
    "same": "same step",
    "own": "a recurrent layer's own state",
    "shift": "an earlier step (shift)",
    "all": "all: each slice, or every copy",
    "last": "last: the last copy, to the first",
}
"""The kinds of lines and what the legend calls them."""

ROLES: Mapping[str, str] = {
    "input": "from outside",
    "recurrent": "recurrent",
    "function": "function",
    "loss": "loss, accuracy",
}

TAGS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours, for those who see fewer; a tag also carries a name, a part its number."""

DARK_WORDS = TAGS[3:]
"""Those that are too light for white words."""

_LIGHT = {
    "paper": "#fff", "ink": "#1d2733", "soft": "#5b6673", "faint": "#d9dee4", "band": "#f4f6f8",
    "same": "#4a5560", "own": "#0072b2", "shift": "#c04e00", "all": "#00805c", "last": "#a3447f",
    "input": "#fdf3d9", "input-rim": "#c79a2c", "recurrent": "#e1eefa", "recurrent-rim": "#3c82b8",
    "function": "#f3f5f7", "function-rim": "#8b96a2", "loss": "#fae6ee", "loss-rim": "#b86591",
}  # fmt: skip
_DARK = {
    "paper": "#14191f", "ink": "#e9edf1", "soft": "#a3aebb", "faint": "#38424d", "band": "#1b222a",
    "same": "#b4bfca", "own": "#5fb4ea", "shift": "#ff9a52", "all": "#3fcf9f", "last": "#e59cc6",
    "input": "#3a3114", "input-rim": "#d9b04a", "recurrent": "#15324a", "recurrent-rim": "#5aa5dc",
    "function": "#232b34", "function-rim": "#7d8996", "loss": "#44202f", "loss-rim": "#d987ae",
}  # fmt: skip


def _css() -> str:
    """Return the style sheet; every rule is of ``.unrolled-net``, so that a page around it keeps its own."""
    light, dark = (";".join(f"--{name}:{value}" for name, value in each.items()) for each in (_LIGHT, _DARK))
    rules = [
        "text{font-family:Helvetica,Arial,sans-serif;fill:var(--ink);text-anchor:middle}",
        ".paper{fill:var(--paper)}",
        ".heading,.name,.tag{font-weight:600}",
        ".aside{font-weight:400;fill:var(--soft)}",
        ".soft{fill:var(--soft)}",
        ".start{text-anchor:start}",
        ".tag{fill:#fff}",
        ".dark{fill:#1d2733;font-weight:600}",
        ".halo{stroke:var(--paper);stroke-width:4px;paint-order:stroke;stroke-linejoin:round}",
        ".rule{stroke:var(--faint);fill:none}",
        ".band{fill:var(--band);stroke:var(--faint);stroke-dasharray:4 4}",
        ".edge path{fill:none;stroke-width:1.5}",
        ".own path{stroke-width:2.1}",
        ".edge .arrow{stroke-width:1.3}",
        ".shift .wire{stroke-dasharray:6 4}",
        ".last .wire{stroke-dasharray:9 3 2 3}",
    ]
    for kind in KINDS:
        rules.append(f".{kind} path{{stroke:var(--{kind})}}")
        rules.append(f".{kind} text,.{kind} .filled{{fill:var(--{kind})}}")
        rules.append(f".{kind} .hollow{{fill:var(--paper)}}")
    for role in ROLES:
        rules.append(f".{role} .box{{fill:var(--{role});stroke:var(--{role}-rim);stroke-width:1.4}}")
    return (
        f".unrolled-net{{{light};max-width:100%;height:auto}}"
        f"@media (prefers-color-scheme:dark){{.unrolled-net{{{dark}}}}}"
        + "".join(".unrolled-net " + rule.replace(",.", ",.unrolled-net .") for rule in rules)
    )


CSS = _css()


def number(value: float) -> str:
    """Write a coordinate with at most one digit after the point."""
    return f"{value:.1f}".removesuffix(".0").replace("-0", "-0" if value <= -0.05 else "0")


def text(
    words: str, x: float, y: float, size: float, classes: str = "", *, turn: bool = False, aside: str = ""
) -> str:
    """Write words, centred on x unless ``start`` is among the classes; turned to run upwards if asked."""
    turned = f' transform="rotate(-90 {number(x)} {number(y)})"' if turn else ""
    named = f' class="{classes}"' if classes else ""
    more = f'<tspan class="aside"> \u00b7 {escape(aside)}</tspan>' if aside else ""
    place = f'x="{number(x)}" y="{number(y)}" font-size="{number(size)}"'
    return f"<text {place}{named}{turned}>{escape(words)}{more}</text>"


def upwards(words: str, x: float, y: float, height: float) -> str:
    """Write words around x, y, turned to run upwards, or in three lines where there is no height for them."""
    if 7.2 * len(words) < height + 16:
        return text(words, x + 5, y, 14, "soft halo", turn=True)
    first, number_of, *rest = words.split()
    lines = [f"{first} {number_of} ", f"{rest[0]} ", " ".join(rest[1:])]
    spans = (
        f'<tspan x="{number(x)}" y="{number(y + 14 * row - 10)}">{escape(line)}</tspan>'
        for row, line in enumerate(lines)
    )
    return f'<text font-size="11" class="soft halo">{"".join(spans)}</text>'


def rect(
    x: float, y: float, width: float, height: float, classes: str = "", corner: float = 0, fill: str = ""
) -> str:
    """Write a rectangle."""
    extra = (f' class="{classes}"' if classes else "") + (f' fill="{fill}"' if fill else "")
    extra += f' rx="{number(corner)}"' if corner else ""
    size = f'width="{number(width)}" height="{number(height)}"'
    return f'<rect x="{number(x)}" y="{number(y)}" {size}{extra}/>'


def group(classes: str, title: str, content: Sequence[str], **data: str) -> str:
    """Write elements that belong together, with a title that a pointer shows."""
    named = "".join(f" data-{key}={quoteattr(value)}" for key, value in data.items())
    head = f"<title>{escape(title)}</title>" if title else ""
    return f'<g class="{classes}"{named}>{head}{"".join(content)}</g>'


def wire(points: Sequence[Point], kind: str) -> list[str]:
    """Write a line with round corners, and its arrow."""
    *_, before, end = points
    length = abs(end[0] - before[0]) + abs(end[1] - before[1])
    along = ((end[0] - before[0]) / length, (end[1] - before[1]) / length) if length else (0.0, -1.0)
    short = (end[0] - 6 * along[0], end[1] - 6 * along[1])
    return [f'<path class="wire" d="{_rounded([*points[:-1], short])}"/>', arrow(end, along, kind)]


def loop(x: float, y: float, out: float) -> list[str]:
    """Write a loop at the right side of a box, from above its middle y to below it."""
    out += x
    bend = f"C{number(out)} {number(y - 15)} {number(out)} {number(y + 15)} {number(x + 6)} {number(y + 6)}"
    path = f'<path class="wire" d="M{number(x)} {number(y - 6)}{bend}"/>'
    return [path, arrow((x, y + 5), (-0.97, -0.24), "own")]


def arrow(end: Point, along: Point, kind: str) -> str:
    """Write an arrow's head: full, or open for shifted edges, hollow for ``all``, a diamond for ``last``."""
    (x, y), (dx, dy) = end, along

    def at(back: float, aside: float) -> str:
        return f"{number(x - back * dx - aside * dy)} {number(y - back * dy + aside * dx)}"

    if kind == "shift":
        return f'<path class="arrow" d="M{at(7, 4.2)}L{at(0.5, 0)}L{at(7, -4.2)}M{at(6, 0)}L{at(0.5, 0)}"/>'
    if kind == "last":
        return f'<path class="arrow filled" d="M{at(10, 0)}L{at(5, 4)}L{at(0, 0)}L{at(5, -4)}Z"/>'
    shape = "hollow" if kind == "all" else "filled"
    return f'<path class="arrow {shape}" d="M{at(7.5, 3.8)}L{at(0.5, 0)}L{at(7.5, -3.8)}Z"/>'


def _rounded(points: Sequence[Point], radius: float = 7.0) -> str:
    """Return a path through points, with each corner cut by an arc."""
    told = [f"M{number(points[0][0])} {number(points[0][1])}"]
    for (a, b), (_, c) in pairwise(pairwise(points)):
        legs = [abs(p[0] - b[0]) + abs(p[1] - b[1]) for p in (a, c)]
        near = [min(radius, leg / 2) / leg if leg else 0.0 for leg in legs]
        into, out = (
            (b[0] + (p[0] - b[0]) * share, b[1] + (p[1] - b[1]) * share)
            for p, share in zip((a, c), near, strict=True)
        )
        told.append(f"L{number(into[0])} {number(into[1])}")
        told.append(f"Q{number(b[0])} {number(b[1])} {number(out[0])} {number(out[1])}")
    told.append(f"L{number(points[-1][0])} {number(points[-1][1])}")
    return "".join(told)


def tag(words: str, x: float, y: float, width: float, colour: str) -> str:
    """Write a parameter's name on its colour."""
    classes = "dark" if colour in DARK_WORDS else "tag"
    return rect(x, y, width, 15, "", 7.5, colour) + text(words, x + width / 2, y + 11, 10, classes)


def strip(parts: Sequence[int], x: float, y: float, width: float) -> list[str]:
    """Write a box's parts side by side: all of up to four, else the first two and the last."""
    shown: list[int | None] = list(parts) if len(parts) <= 4 else [parts[0], parts[1], None, parts[-1]]
    each = min(width / len(shown), 64.0)
    x += (width - each * len(shown)) / 2
    told = []
    for place, part in enumerate(shown):
        middle = x + (place + 0.5) * each
        if part is None:
            told.append(text("\u2026", middle, y + 10, 10))
            continue
        colour = TAGS[place % len(TAGS)]
        told.append(rect(x + place * each + 1, y, each - 2, 13, "part", 4, colour))
        told.append(text(f"@{part}", middle, y + 10, 9.5, "dark" if colour in DARK_WORDS else "tag"))
    return told
