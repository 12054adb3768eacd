"""What the lines, colours and tags of a picture mean: only of those that it holds."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

from unrolled.net.pictures import paint, words
from unrolled.net.pictures.scene import MORE, Scene

ROW = 24.0
MAX_SHARED = 6


@dataclass(frozen=True)
class _Entry:
    """A sample, as classes or a colour, and its words."""

    sample: str
    value: str
    words: str


def legend(
    scene: Scene, kinds: Set[str], roles: Set[str], place: tuple[float, float, float]
) -> tuple[str, float]:
    """Write the legend at x, y in a width; return it and the picture's lower end."""
    left, y, width = place
    content = []
    for entries in (list(_lines(kinds)), list(_boxes(scene, roles)), list(_tags(scene))):
        x = left
        for entry in entries:
            taken = 44 + words.room(entry.words, 12) + 14
            if x > left and x + taken > left + width:
                x, y = left, y + ROW
            content.append(_written(entry, x, y, left + width - x - 44))
            x += taken
        y += ROW if entries else 0
    return paint.group("legend", "", content), y + 6


def _lines(kinds: Set[str]) -> Iterator[_Entry]:
    for kind, told in paint.KINDS.items():
        if kind in kinds:
            yield _Entry("line", kind, told)


def _boxes(scene: Scene, roles: Set[str]) -> Iterator[_Entry]:
    for role, told in paint.ROLES.items():
        if role in roles:
            yield _Entry("box", role, told)
    if scene.parts > 1:
        told = f"{scene.parts:,} parts of a split layer; one line joins all parts of two copies that it joins"
        yield _Entry("parts", "", told)


def _tags(scene: Scene) -> Iterator[_Entry]:
    seen = {layer.name for layer in scene.layers}
    shared = [(n, s) for n, s in enumerate(scene.shared) if seen & set(s.layers)]
    for number, sharing in shared[:MAX_SHARED]:
        told = ", ".join(sharing.params[:4]) + (f", {MORE}" if len(sharing.params) > 4 else "")
        users = ", ".join(sharing.layers[:4]) + (f", {MORE}" if len(sharing.layers) > 4 else "")
        yield _Entry("tag", paint.TAGS[number % len(paint.TAGS)], f"shared by {users}: {told}")
    if len(shared) > MAX_SHARED:
        yield _Entry("tag", "none", words.left_out(len(shared) - MAX_SHARED, "shared group"))


def _written(entry: _Entry, x: float, y: float, width: float) -> str:
    told = paint.text(words.shorten(entry.words, 12, max(width, 80)), x + 40, y + 4, 12, "start soft")
    if entry.sample == "line":
        return paint.group(
            f"entry edge {entry.value}", "", [*paint.wire([(x, y), (x + 32, y)], entry.value), told]
        )
    if entry.sample == "box":
        return paint.group(f"entry {entry.value}", "", [paint.rect(x + 4, y - 8, 26, 16, "box", 4), told])
    if entry.sample == "parts":
        return paint.group("entry parts", "", [*paint.strip([0, 1], x - 6, y - 7, 42), told])
    return paint.group("entry shared", "", [paint.rect(x + 6, y - 3, 22, 6, "", 3, entry.value), told])
