"""A net's picture for a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from unrolled.cells import Cell
from unrolled.errors import NetError, UnrolledError, UsageError
from unrolled.net import Spec
from unrolled.net.pictures import draw_svg

STEPS = 4


def drawn(spec: Spec, cells: Mapping[str, type[Cell]] | None, say: Callable[[str], None]) -> str | None:
    """Return a net's picture as SVG; of a net that differs in its phases, that of training.

    None where it can't be drawn, and ``say`` hears why.
    """
    try:
        try:
            return draw_svg(spec, STEPS, cells=cells)
        except NetError:
            raise
        except UsageError:
            return draw_svg(spec, STEPS, phase="train", cells=cells)
    except UnrolledError as error:
        say(f"The net's picture is left out: {error}")
        return None
