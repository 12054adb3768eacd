"""Notes: what is worth knowing, on stderr, a line each."""

from __future__ import annotations

import sys

from unrolled.errors import one_line

LONGEST = 1500
"""Signs of a line that are shown; what a file or a flag says in it may be of any length."""


def note(message: str) -> None:
    """Print a note; signs that could move a cursor are written as escapes."""
    print(f"note: {one_line(message, LONGEST)}", file=sys.stderr)
