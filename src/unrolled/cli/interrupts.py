"""A Ctrl-C that can't get lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN = 1.0
"""Seconds after which an interrupt that came to nothing is raised again."""


@contextmanager
def insistent() -> Iterator[None]:
    """Raise KeyboardInterrupt at SIGINT, again each second until it has ended the block, and nothing else.

    One is lost where Python has nobody to give it to: in a callback of a weak reference, in ``__del__``, in
    an import that C++ code makes and whose failure it passes over; or when it comes right before a write to
    a full pipe. One that falls into a library's own tidying up comes out as an error of that library. While
    something is imported nothing is at stake, and the process ends at once: C++ code that is being read in
    may pass the exception over, or abort. Where SIGINT is ignored, as in a shell's background, it stays so.
    """
    ours = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        if _is_importing(frame):
            os.write(2, b"unrolled: interrupted\n")
            os._exit(128 + signal.SIGINT)
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except Exception as error:
        if pressed:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_importing(frame: FrameType | None) -> bool:
    """Tell whether an import is under way in a frame or in one that called it."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
