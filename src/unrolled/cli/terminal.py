"""Training on a terminal: a bar with speed and time left; plain lines elsewhere."""

from __future__ import annotations

import contextlib
import errno
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.rule import Rule
from rich.text import Text

from unrolled.cli.notes import LONGEST
from unrolled.errors import printable
from unrolled.training.listener import Entry, Listener, Plan
from unrolled.training.memory import readable


class Words(Console):
    """A console that tells where nobody reads it any more; Rich's own ends the process then."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError."""
        raise BrokenPipeError(errno.EPIPE, "nobody reads it any more")


class Terminal(Listener):
    """Print what happens in a training to a console, as long as that takes it; the training goes on."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._gone = False
        self.plan: Plan | None = None
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._began = time.monotonic()
        self._rate = ""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            with self._lasting():
                self._bar.stop()
            self._bar = None

    def estimated(self, memory: int, parameters: int) -> None:
        """Print the size."""
        self._line(f"{parameters:,} parameters; training takes about {readable(memory)} of memory")

    def planned(self, plan: Plan) -> None:
        """Print the plan and put up the bar."""
        self.plan, self._began = plan, time.monotonic()
        engines = ", ".join(f"{name} on {engine}" for name, engine in plan.engines.items())
        what = f"{plan.symbols} different; " if plan.text else ""
        self._line(
            f"{plan.chars:,} {'characters' if plan.text else 'targets'} to learn from, "
            f"{plan.validation_chars:,} to validate, {what}{f'{engines} ' if engines else ''}({plan.device})"
        )
        self._line(f"run {plan.run}: {plan.updates:,} updates, {plan.per_epoch:,} an epoch")
        if plan.update:
            self._line(f"going on from update {plan.update:,}")
        if self.console.is_terminal:
            columns = (
                BarColumn(bar_width=None),
                TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
                TextColumn("{task.description}"),
                TimeRemainingColumn(compact=True),
            )
            self._bar = Progress(*columns, console=self.console, transient=True, speed_estimate_period=20)
            self._task = self._bar.add_task("", total=plan.updates, completed=plan.update)
            with self._lasting():
                self._bar.start()

    def updated(self, update: int, epoch: float, nats: float) -> None:
        """Move the bar."""
        if self._bar is not None and self._task is not None:
            unit = self.plan.unit if self.plan else "nats"
            self._bar.update(self._task, completed=update, description=f"{nats:.3f} {unit}{self._rate}")

    def reported(self, entry: Entry) -> None:
        """Print a line of metrics."""
        text, unit = (self.plan.text, self.plan.unit) if self.plan else (True, "nats")
        self._rate = f" {entry['chars_per_second']:,.0f} {'chars' if text else 'targets'}/s"
        validation = entry["kind"] == "validation"
        tail = "" if validation else f"{self._rate}{self._left(entry['update'])}"
        line = (
            f"{'validation' if validation else 'train':>10}  update {entry['update']:>7,}  "
            f"epoch {entry['epoch']:6.2f}  {entry['nats']:.4f} {unit}  "
            + (f"{entry['bits_per_char']:.3f} bits/char  " if text else "")
            + f"{entry['accuracy']:6.1%}"
            + (f"  {entry['exact']:.1%} exact" if "exact" in entry else "")
            + tail
        )
        self._line(line, "bold" if validation else "")

    def _left(self, update: int) -> str:
        """Return the time left, from the speed since this process began."""
        if self.plan is None or self._bar is not None or update <= self.plan.update:
            return ""
        each = (time.monotonic() - self._began) / (update - self.plan.update)
        minutes, seconds = divmod(round(each * (self.plan.updates - update)), 60)
        return f"  {minutes}:{seconds:02d} left"

    def sampled(self, entry: Entry) -> None:
        """Print a sample of the diary."""
        text = entry["prime"].lstrip("\n") + entry["text"]
        self.text(f"update {entry['update']:,}, temperature {entry['temperature']:g}", text)

    def text(self, title: str, text: str) -> None:
        """Print a text that the model wrote."""
        self._print(Rule(title, style="dim", align="left"))
        self._print(Text(visible(text)), soft_wrap=True)
        self._print(Rule(style="dim"))

    def saved(self, checkpoint: Path) -> None:
        """Say nothing: saving is not worth a line."""

    def said(self, message: str) -> None:
        """Print a notice."""
        self._line(f"note: {message}", "yellow")

    def _line(self, line: str, style: str = "") -> None:
        shown = printable(line if len(line) <= LONGEST else f"{line[:LONGEST]} ...")
        self._print(Text(shown, style=style), soft_wrap=True)

    def _print(self, words: Text | Rule, **how: Any) -> None:
        if not self._gone:
            with self._lasting():
                self.console.print(words, **how)

    @contextlib.contextmanager
    def _lasting(self) -> Iterator[None]:
        """Let no output that can't be written, on a full disk or to nobody, end what it tells of."""
        try:
            yield
        except OSError as error:
            self._gone = True
            with contextlib.suppress(OSError, ValueError):
                why = error.strerror or error
                print(f"note: the output can't be written ({why}); training goes on", file=sys.stderr)


def visible(text: str) -> str:
    """Return ``text`` with control characters, which could move a terminal's cursor, as pictures."""
    shown = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
    return text.translate({**shown, 0x7F: 0x2421, **dict.fromkeys(range(0x80, 0xA0), 0xFFFD)})
