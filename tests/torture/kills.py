"""Signals from outside at random instants, again within the same epoch; then a resume must end exactly.

When a signal is sent is drawn: from the line of metrics that a run has reached, or a file that it writes, and
a delay. Nothing in the product knows of it.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .lessons import (
    LAST,
    NETS,
    OPTIMIZERS,
    PER_EPOCH,
    SCHEDULES,
    Lesson,
    exact,
    lines,
    reached,
    undisturbed,
)
from .runs import check_equal, updates
from .server import Child, Fresh, server
from .trials import Trial, Wrong

KILL, TERM, INT = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
WHERE = ("first step", "mid-epoch", "epoch end", "last step")
PROMPT = 2.0
"""Seconds from a signal to the exit, beyond one step, which takes less than TENTH here."""
TENTH = 0.1
TRIES = 5


@dataclass
class Scene:
    """A run that is being disturbed, in a folder of its own."""

    folder: Path
    lesson: Lesson
    fresh: bool = False
    """Whether each command line gets a Python of its own, not a fork."""
    number: int = 0

    @property
    def run(self) -> Path:
        """The run's directory."""
        return self.folder / "run"

    def start(self, *more: str) -> Child:
        """Start the training, or go on with it where something of it is there."""
        self.number += 1
        said = self.folder / f"{self.number}.txt"
        words = self.lesson.resume(self.run, *more) if self.run.exists() else self.lesson.train(self.run)
        return Fresh(words, said) if self.fresh else server().start(words, said)

    def finish(self, *more: str) -> Child:
        """Go on to the end without being disturbed; Wrong where that fails."""
        child = self.start(*more)
        if child.wait():
            raise Wrong(f"exit code {child.code} undisturbed: {child.words[-300:].strip()}")
        return child

    def check(self) -> None:
        """Raise Wrong unless the run ended as the one that nothing disturbed."""
        check_equal(exact(self.run), undisturbed(self.lesson))


def until(child: Child, happened: Callable[[], Any]) -> bool:
    """Wait until something happened; False where the child ended before."""
    while not happened():
        if child.poll() is not None:
            return False
        time.sleep(0.0003)
    return True


def until_update(child: Child, run: Path, update: int) -> bool:
    """Wait until the metrics tell of an update; False where the child ended before."""
    return until(child, lambda: reached(run) >= update)


def strike(child: Child, number: int, delay: float) -> float:
    """Send a signal after a delay; return the seconds from there to the child's end.

    Those in which it waited for a processor that others had are not counted.
    """
    time.sleep(delay)
    before, began = child.queued(), time.monotonic()
    queued = before
    child.signal(number)
    while child.poll() is None and time.monotonic() < began + 60:
        queued = max(queued, child.queued())
        time.sleep(0.001)
    took = time.monotonic() - began
    child.wait(1)
    return took - (queued - before)


def check_end(child: Child, number: int, took: float) -> bool:
    """Return whether a signal ended the child; Wrong where it did otherwise than it should."""
    if child.code == 0:
        return False
    if child.code == -TERM and "go on with" not in child.words:
        return False  # before it began, or when all was done, it ends as any process does
    wanted = -number if number == KILL else 128 + number
    if child.code != wanted:
        raise Wrong(f"exit code {child.code}, wanted {wanted}: {child.words[-300:].strip()}")
    if number != KILL:
        if took > PROMPT + TENTH:
            raise Wrong(f"{took:.2f} s from the signal to the exit")
        if "go on with: unrolled resume" not in child.words and "interrupted" not in child.words:
            raise Wrong(f"it does not say how to go on: {child.words[-300:].strip()}")
    return True


def _aim(where: str, draw: random.Random) -> tuple[int, float]:
    """Return the update whose line of metrics is waited for, and the longest delay after it."""
    if where == "first step":
        return 1, 0.012
    if where == "mid-epoch":
        return draw.randrange(3, PER_EPOCH - 8), 0.03
    if where == "epoch end":
        return PER_EPOCH - draw.randrange(2), 0.02
    return LAST - draw.randrange(3), 0.03


def at_random(
    number: int, lesson: Lesson, where: str, fresh: bool, folder: Path, draw: random.Random
) -> None:
    """Disturb a run once, twice or three times within an epoch, then let it end."""

    def disturbed(scene: Scene) -> bool:
        return bool(_disturb(scene, number, where, draw)) or where == "last step"

    _until_hit(lambda: Scene(folder, lesson, fresh), disturbed)


def _until_hit(begin: Callable[[], Scene], hit: Callable[[Scene], bool], what: str = "") -> None:
    """Begin scenes until one is hit; that one then ends, as if nothing had happened."""
    for _ in range(TRIES):
        scene = begin()
        if hit(scene):
            scene.finish()
            scene.check()
            return
        shutil.rmtree(scene.run)
    raise Wrong(f"it was never hit{what}")


def _disturb(scene: Scene, number: int, where: str, draw: random.Random) -> int:
    """Send up to three signals, each a few updates after the one before; return how many hit."""
    aim, longest = _aim(where, draw)
    times = draw.choice((1, 2, 3))
    for hits in range(times):
        child = scene.start()
        until_update(child, scene.run, aim)
        if not check_end(child, number, strike(child, number, draw.uniform(0, longest))):
            return hits
        aim = reached(scene.run) + draw.randrange(1, 5)
        if aim > LAST:
            return hits + 1
    return times


def _lessons() -> Iterator[tuple[Lesson, str]]:
    """Yield every net with every optimizer, schedule and place, over and over."""
    for net, optimizer, schedule, where in itertools.cycle(
        itertools.product(NETS, OPTIMIZERS, SCHEDULES, WHERE)
    ):
        yield Lesson(net, optimizer, schedule), where


def _random() -> Iterator[Trial]:
    for number, name, count in ((KILL, "kill -9", 200), (TERM, "SIGTERM", 100)):
        for place, (lesson, where) in zip(range(count), _lessons(), strict=False):
            told = f"{name} {place:03d} {lesson.net} {lesson.optimizer} {lesson.schedule} {where}"
            yield Trial(told, partial(at_random, number, lesson, where, place % 10 == 7))


def writing(run: Path, update: int | None = None) -> bool:
    """Tell whether a checkpoint is being written: any, or that of an update."""
    try:
        names = [entry.name for entry in (run / "checkpoints").iterdir()]
    except OSError:
        return False
    return any(name.startswith("." if update is None else f".{update}.") for name in names)


def in_a_save(number: int, update: int, folder: Path, draw: random.Random) -> None:
    """Send a signal while a checkpoint is being written, of an update or, at the end, of the last."""

    def hit(scene: Scene) -> bool:
        child = scene.start()
        until(child, partial(writing, scene.run, update))
        return check_end(child, number, strike(child, number, draw.uniform(0, 0.004)))

    _until_hit(lambda: Scene(folder, Lesson(draw.choice(list(NETS)))), hit)


def at_the_start(number: int, folder: Path, draw: random.Random) -> None:
    """Send a signal to a new Python that imports, reads the text or makes its run."""
    scene = Scene(folder, Lesson("rnn"), fresh=True)
    child = scene.start()
    strike(child, number, draw.uniform(0, 4))
    allowed = {0, -number, 128 + number}
    if child.code not in allowed:
        raise Wrong(f"exit code {child.code}, wanted one of {allowed}: {child.words[-300:].strip()}")
    if scene.run.exists() and not updates(scene.run):
        shutil.rmtree(scene.run)  # nothing was learned yet
    scene.fresh = False
    scene.finish()
    scene.check()


def in_a_resume(number: int, folder: Path, draw: random.Random) -> None:
    """Kill a run, send a signal to its resume while that opens it, and to the next one too."""
    scene = Scene(folder, Lesson(draw.choice(list(NETS))))
    child = scene.start()
    until_update(child, scene.run, 20)
    strike(child, KILL, 0)
    for _ in range(2):
        child = scene.start()
        strike(child, number, draw.uniform(0, 0.35))
        if child.code not in (0, -number, 128 + number):
            raise Wrong(f"exit code {child.code}: {child.words[-300:].strip()}")
    scene.finish()
    scene.check()


def ctrl_c(folder: Path, draw: random.Random) -> None:
    """Interrupt once, as Ctrl-C does."""
    at_random(INT, Lesson(draw.choice(list(NETS))), draw.choice(WHERE), False, folder, draw)


def ctrl_c_twice(first: int, folder: Path, draw: random.Random) -> None:
    """Send a signal and a second one right after: it quits at once, and no more than an interval is lost."""
    for _ in range(3 * TRIES):
        scene = Scene(folder, Lesson(draw.choice(list(NETS))))
        child = scene.start()
        until_update(child, scene.run, draw.randrange(2, PER_EPOCH))
        child.signal(first)
        time.sleep(draw.uniform(0, 0.03))
        took = strike(child, INT, 0)
        if child.code not in (0, 128 + first, 130):
            raise Wrong(f"exit code {child.code}: {child.words[-300:].strip()}")
        if took > PROMPT:
            raise Wrong(f"{took:.2f} s from the second signal to the exit")
        if child.code == 130 and "interrupted" in child.words:
            break
        shutil.rmtree(scene.run)
    else:
        raise Wrong("the second signal never came before the end")
    scene.finish()
    scene.check()


def in_an_event(event: str, lesson: Lesson, number: int, folder: Path, draw: random.Random) -> None:
    """Send a signal in the middle of a long validation or a long sample; what is left of it is done later."""
    update = 3
    journal, kind = {"validate": ("metrics.jsonl", "validation"), "sample": ("samples.jsonl", None)}[event]

    def hit(scene: Scene) -> bool:
        child = scene.start()
        until_update(child, scene.run, update)
        ended = check_end(child, number, strike(child, number, draw.uniform(0.03, 0.3)))
        told = [line for line in lines(scene.run, journal) if kind in (None, line.get("kind"))]
        return ended and not told and (number == KILL or event in due(scene.run))

    _until_hit(lambda: Scene(folder, lesson), hit, f" in the middle of what is due: {event}")


def due(run: Path) -> list[str]:
    """Return what a signal kept from happening, as the newest checkpoint says."""
    newest = run / "checkpoints" / str(updates(run)[0]) / "state.json"
    found: list[str] = json.loads(newest.read_text(encoding="utf-8"))["position"]["due"]
    return found


LONG = "--split 0.05,0.95 --max-updates 4 --validate-every 3"
WORDY = "--max-updates 4 --validate-every 0 --sample-at 3 --sample-length 4000"


def further(number: int, folder: Path, draw: random.Random) -> None:
    """Disturb a run, let it end, then give it more updates, disturb it again: as one meant to be so long."""
    net, more = draw.choice(list(NETS)), "--validate-every 20"
    lesson = Lesson(net, "adam", "step", more=f"--max-updates 40 {more}")
    scene = Scene(folder, Lesson(net, "adam", "step", more=f"--max-updates 20 {more}"))
    for aim, words in ((draw.randrange(3, 14), []), (draw.randrange(22, 34), ["--max-updates", "40"])):
        child = scene.start(*words)
        until_update(child, scene.run, aim)
        check_end(child, number, strike(child, number, draw.uniform(0, 0.02)))
        scene.finish(*words)
    check_equal(exact(scene.run), undisturbed(lesson))


def patient(number: int, folder: Path, draw: random.Random) -> None:
    """Disturb a run that ends before its end since it does not get better."""
    more = "--epochs 4 --validate-every 3 --patience 2 --lr 5 --sample-every 0"
    lesson = Lesson(draw.choice(["rnn", "gru"]), "sgd", "step", more=more)
    if int(undisturbed(lesson)["update"]) >= 4 * PER_EPOCH:
        raise Wrong("the run has no early end")
    _twice(Scene(folder, lesson), number, draw)


def debugged(number: int, folder: Path, draw: random.Random) -> None:
    """Disturb a run that writes the journal of its layers too."""
    more = "--max-updates 40 --debug --report-every 2"
    _twice(Scene(folder, Lesson(draw.choice(list(NETS)), more=more)), number, draw)


def _twice(scene: Scene, number: int, draw: random.Random) -> None:
    end = int(undisturbed(scene.lesson)["update"])
    aim = draw.randrange(2, max(3, end // 2))
    for _ in range(2):
        child = scene.start()
        until_update(child, scene.run, aim)
        check_end(child, number, strike(child, number, draw.uniform(0, 0.02)))
        aim = reached(scene.run) + draw.randrange(1, 6)
    scene.finish()
    scene.check()


SIGNALS = {"kill -9": KILL, "SIGTERM": TERM, "SIGINT": INT}


def _special() -> Iterator[Trial]:
    for name, number in SIGNALS.items():
        for n in range(4):
            yield Trial(f"{name} in a save {n}", partial(in_a_save, number, (9, 33)[n % 2]))
            yield Trial(f"{name} in the last save {n}", partial(in_a_save, number, LAST))
            yield Trial(f"{name} at the start {n}", partial(at_the_start, number))
            yield Trial(f"{name} in a resume's start {n}", partial(in_a_resume, number))
        for n, net in enumerate(("own-cell", "gru", "delays")):
            long = Lesson(net, text="long.txt", more=LONG)
            yield Trial(f"{name} in a validation {n} {net}", partial(in_an_event, "validate", long, number))
        for n, net in enumerate(("own-cell", "rnn", "delays")):
            wordy = Lesson(net, more=WORDY)
            yield Trial(f"{name} in a sample {n} {net}", partial(in_an_event, "sample", wordy, number))
        for n in range(2):
            yield Trial(f"{name}, and more updates {n}", partial(further, number))
            yield Trial(f"{name} with patience {n}", partial(patient, number))
            yield Trial(f"{name} with --debug {n}", partial(debugged, number))
    for n in range(6):
        yield Trial(f"SIGINT once {n}", ctrl_c)
        yield Trial(f"SIGINT twice {n}", partial(ctrl_c_twice, INT))
        yield Trial(f"SIGTERM, then SIGINT {n}", partial(ctrl_c_twice, TERM))


def trials() -> Iterator[Trial]:
    """Yield 200 kills, 100 terminations, and the stops at places of their own."""
    yield from _random()
    yield from _special()
