"""What Unrolled is compared with: each module builds works of the same sizes.

``build(work)`` takes {"do": "train", "sample" …, "cell", "hidden", "lanes", "window", "threads", …} and
returns a function that does it once: one update, or ``CHARS`` ids drawn; or an object whose ``seconds()``
does it some times and tells what one took. ``Missing`` where it can't.
"""

import os

SYMBOLS, CHARS, LAYERS = 96, 100, 2
"""As in ``unrolled.measuring.works``."""


class Missing(Exception):
    """Why a peer can't do a work here, and how to get it."""


def few_processors(threads: int) -> None:
    """Keep this process on so many processors: some runtimes make as many threads as they can see."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[-threads:])


def not_installed(what: str | None) -> Missing:
    """Return the line that says how to get a peer."""
    return Missing(
        f"{what} is not installed; `make bench` installs benchmarks/requirements.txt in .venv-bench"
    )
