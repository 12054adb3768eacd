"""Trials spread over processes, each of which has all that its trials share: a server, undisturbed runs."""

from __future__ import annotations

import functools
import importlib
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .trials import Row, Trial, attempt, in_order


@dataclass(frozen=True)
class Asked:
    """Which trials: of a family, those whose names hold ``match``, in the order of ``seed``."""

    family: str
    match: str
    seed: int


@functools.lru_cache(maxsize=1)
def chosen(asked: Asked) -> list[Trial]:
    """Return the trials that are asked for, the same in every process."""
    found: Callable[[], Iterable[Trial]] = importlib.import_module(f"{__package__}.{asked.family}").trials
    return in_order([trial for trial in found() if asked.match in trial.name], asked.seed)


def _do(asked: Asked, number: int, folder: Path) -> str | None:
    return attempt(chosen(asked)[number], folder / f"{asked.family}-{number}", asked.seed)


class Pool:
    """Processes that try what they are given; use ``pool``."""

    def __init__(self, jobs: int, folder: Path) -> None:
        self.jobs, self._folder = jobs, folder
        self._processes = self._begin()

    def _begin(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self.jobs, mp_context=multiprocessing.get_context("spawn"))

    def try_all(self, asked: Asked, limit: int | None = None, until: float | None = None) -> Row:
        """Try at most ``limit`` trials, and begin none after the clock ``until`` but the first."""
        trials, began = chosen(asked), time.monotonic()
        row = Row(asked.family, cases=len(trials))
        numbers = iter(range(len(trials[:limit])))
        under_way: dict[Future[str | None], int] = {}
        for number in numbers:
            if number and until is not None and time.monotonic() > until:
                break
            under_way[self._processes.submit(_do, asked, number, self._folder)] = number
            if len(under_way) == self.jobs:
                self._count(row, trials, under_way)
        while under_way:
            self._count(row, trials, under_way)
        row.seconds = time.monotonic() - began
        return row

    def _count(self, row: Row, trials: list[Trial], under_way: dict[Future[str | None], int]) -> None:
        """Wait for one or more, and count them; where a process died, nobody knows whose fault it is."""
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            name = trials[under_way.pop(future)].name
            try:
                row.add(future.result())
            except BrokenProcessPool:
                row.add(f"{name}: the process that tried it died, of this trial or of one beside it")
        if any(isinstance(future.exception(), BrokenProcessPool) for future in done):
            self.close()
            self._processes = self._begin()

    def close(self) -> None:
        """End the processes."""
        self._processes.shutdown(cancel_futures=True)


@contextmanager
def pool(jobs: int, folder: Path) -> Iterator[Pool]:
    """Give processes that end when this does; what fails is kept in ``folder``."""
    made = Pool(jobs, folder)
    try:
        yield made
    finally:
        made.close()
