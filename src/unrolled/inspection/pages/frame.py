"""A page inside another one, such as a notebook."""

from __future__ import annotations

from html import escape

HEIGHT = 820


def framed(page: str) -> str:
    """Return HTML that shows a page in a frame of its own, which can touch nothing around it."""
    return (
        f'<iframe sandbox="allow-scripts" width="100%" height="{HEIGHT}" frameborder="0" '
        f'title="what a net did while it read" srcdoc="{escape(page, quote=True)}"></iframe>'
    )
