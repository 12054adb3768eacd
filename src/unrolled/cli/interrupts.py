"""A Ctrl-C that can't get lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN = 1.0
"""Seconds after which an interrupt that came to nothing is raised again."""


@contextmanager
def insistent() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGINT, and again each second until it has ended the block.

    One is lost where Python has nobody to give it to: in a callback of a weak reference, in ``__del__``, in
    an import that C++ code makes and whose failure it passes over; or when it comes right before a write to
    a full pipe. Where SIGINT is ignored, as in the background of a shell, it stays so.
    """
    if not hasattr(signal, "setitimer") or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    before = signal.signal(signal.SIGALRM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_REAL, AGAIN)
    raise KeyboardInterrupt
