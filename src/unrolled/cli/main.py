"""The entry point: a user's mistake is one line and an exit code, never a traceback."""

from __future__ import annotations

import errno
import gc
import os
import signal
import stat
import sys
from collections.abc import Sequence
from typing import TextIO

from unrolled.cli.interrupts import insistent
from unrolled.cli.notes import LONGEST
from unrolled.cli.overview import overview
from unrolled.errors import SettingsError, UnrolledError, UsageError, printable

FAILED, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    try:
        code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    if (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # all is done; no traceback of tidying up
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(INTERRUPTED))
    gc.freeze()  # Python's end would look for cycles among all that torch imported, for a second
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; return the exit code.

    0 done, 1 failed, 2 wrong usage or settings, 3 nothing loadable, 130 interrupted, 143 terminated.
    """
    try:
        with insistent():
            _call(arguments)
    except KeyboardInterrupt:
        _say("interrupted")
        if _is_pipe(sys.stdout):  # full, with a reader that waits for our end, it would never take the rest
            _let_go(sys.stdout)
        return INTERRUPTED
    except UnrolledError as error:
        _complain(error)
        return error.exit_code
    except BrokenPipeError:
        _let_go(sys.stdout)
        return FAILED
    except (MemoryError, RuntimeError) as error:
        if not _is_want_of_memory(error):
            raise
        _say(
            "the machine has not enough memory for this; lower --hidden, --lanes or --window, or --recompute"
        )
        return FAILED
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        _say(f"{name}{error.strerror or error}")
        return UsageError.exit_code if error.errno == errno.ENAMETOOLONG else FAILED
    return 0


def _call(arguments: Sequence[str]) -> None:
    """Call the verb that the arguments name; UsageError for words that it doesn't know."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    if list(arguments) in ([], ["-h"], ["--help"]):
        print(overview())
        return
    from cyclopts import CycloptsError

    from unrolled.cli.app import app

    try:
        app(
            list(arguments),
            exit_on_error=False,
            print_error=False,
            help_on_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        raise UsageError(f"{' '.join(str(error).split())} (unrolled --help)") from error


def _complain(error: UnrolledError) -> None:
    for line in error.problems if isinstance(error, SettingsError) else [str(error)]:
        _say(" ".join(line.splitlines()))


def _is_want_of_memory(error: Exception) -> bool:
    """Tell torch's ways of saying so from its other errors."""
    words = str(error)
    return isinstance(error, MemoryError) or "allocate" in words or "out of memory" in words


def _is_pipe(stream: TextIO) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # a stream of Python's own has no file
        return False


def _let_go(stream: TextIO) -> None:
    """Send what is still to be written to a stream, at the end of the process too, nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(message: str) -> None:
    line = printable(message)
    print(f"unrolled: {line if len(line) <= LONGEST else line[:LONGEST] + ' ...'}", file=sys.stderr)
