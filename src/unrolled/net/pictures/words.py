"""What a picture says: names, main settings, and how much room words take."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from unrolled.net.graph import dimension
from unrolled.net.layers import TYPES, Loss, settings_of
from unrolled.net.pictures.scene import MORE, Block, Scene
from unrolled.net.spec import Layer, Spec

MAIN: Mapping[str, tuple[str, ...]] = {
    "recurrent": ("hidden",),
    "embedding": ("size", "width"),
    "dropout": ("ratio",),
    "activation": ("function",),
    "eltwise": ("operation",),
    "slice": ("begin", "end"),
    "reshape": ("shape",),
    "constant": ("size", "value"),
}
"""The settings by which a layer is known, of the types that have more to say than their size."""

_NARROW = "fijlrt.,:;'|!()[]I "
_WIDE = "mwMW@%\u2026"


def setting_of(layer: Layer) -> str:
    """Return a layer's type and main setting, such as ``gru, 512``."""
    settings = settings_of(layer.type, layer.settings)
    kind = str(settings["cell"]).rpartition(":")[2] if layer.type == "recurrent" else layer.type
    keys = MAIN.get(layer.type, ("size",))
    told = [_plain(settings[key]) for key in keys if settings.get(key) is not None]
    if layer.type == "embedding":
        told = [" \u2192 ".join(told)]
    if settings.get("direction") == "backward":
        told.append("backward")
    return ", ".join(
        [kind, " \u2192 ".join(told[:2]) if layer.type == "embedding" else ", ".join(told)]
    ).strip(", ")


def role_of(layer: Layer) -> str:
    """Return what a layer is to the net: ``input``, ``recurrent``, ``loss`` or ``function``."""
    cls = TYPES[layer.type]
    if layer.type == "recurrent":
        return "recurrent"
    if cls.reads_outside:
        return "input"
    return "loss" if issubclass(cls, Loss) or layer.type == "accuracy" else "function"


def split_of(spec: Spec, layer: Layer) -> str:
    """Return how a layer is split, as words; empty where it is not."""
    return {0: "split by lanes", 1: "split by features"}.get(dimension(spec, layer), "")


def unrolled_over(scene: Scene) -> str:
    """Return what is unrolled over how many steps, such as ``Unrolled over 5 steps``."""
    blocks = [block for block in scene.blocks if block.length != 1] or scene.blocks
    steps = ["1 step" if block.copies == 1 else f"{block.copies:,} steps" for block in blocks]
    if len(steps) == 1:
        return f"Unrolled over {steps[0]}"
    named = [f"{length_name(block)} {told}" for block, told in zip(blocks, steps, strict=True)]
    return "Unrolled: " + ", ".join(named)


def left_out(number: int, what: str) -> str:
    """Return what stands in the place of things left out."""
    return f"{MORE} {number:,} more {what if number == 1 else what + 's'} {MORE}"


def title_of(scene: Scene) -> str:
    """Return the picture's title."""
    name = f"The net {scene.spec.name}" if scene.spec.name else "A net"
    return f"{name}. {unrolled_over(scene)}"


def describe(scene: Scene) -> str:
    """Return the net in words, layer by layer, for who does not see the picture."""
    told = []
    for layer in scene.layers:
        reads = [
            edge.source
            + (f" ({edge.kind})" if edge.kind != "same" else "")
            + (f" (shift {edge.shift})" if edge.shift else "")
            for edge in layer.sources[:8]
        ]
        if len(layer.sources) > 8:
            reads.append(left_out(len(layer.sources) - 8, "source"))
        told.append(f"{layer.name} ({setting_of(layer)})" + (f" reads {', '.join(reads)}" if reads else ""))
    if scene.hidden:
        told.append(left_out(scene.hidden, "layer"))
    return "; ".join(told) + "."


def room(text: str, size: float) -> float:
    """Return about how wide a text is in a sans-serif font of a size, a little too wide rather than less."""
    return size * sum(map(_advance, text))


def shorten(text: str, size: float, width: float) -> str:
    """Return a text with its middle left out, if it would be wider than ``width``."""
    if room(text, size) <= width:
        return text
    head, tail = (len(text) + 1) // 2, len(text) // 2
    while head + tail and room(text[:head] + MORE + text[len(text) - tail :], size) > width:
        head, tail = (head - 1, tail) if head > tail else (head, tail - 1)
    return text[:head] + MORE + text[len(text) - tail :]


def _advance(sign: str) -> float:
    if unicodedata.combining(sign):
        return 0.0
    if unicodedata.east_asian_width(sign) in "WF":
        return 1.0
    if sign in _WIDE:
        return 0.92
    if sign in _NARROW:
        return 0.34
    return 0.7 if sign.isupper() else 0.58


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return " \u00d7 ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def length_name(block: Block) -> str:
    """Return what a block's length is called."""
    if isinstance(block.length, str):
        return block.length
    if block.length == 1:
        return "one copy"
    return "the net's length" if block.length is None else f"length {block.length:,}"
