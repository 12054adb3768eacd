"""Pictures of a net: rolled and unrolled, as SVG or DOT."""

from unrolled.net.pictures.dot import draw_dot
from unrolled.net.pictures.svg import draw_svg

__all__ = ["draw_dot", "draw_svg"]
