"""Every engine × cell × size on this machine: an update, sampling one stream, sampling several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from unrolled.cells import Cell
from unrolled.engines import ENGINES
from unrolled.errors import UsageError, nearest
from unrolled.measuring import kernels
from unrolled.measuring.machine import machine
from unrolled.measuring.rounds import Manner, Run, Timing, in_turns, timed
from unrolled.measuring.works import (
    CHARS,
    Case,
    Size,
    draws_of,
    draws_of_several,
    net_of,
    precisions,
    update_of,
)
from unrolled.net import Net
from unrolled.settings import TrainingSettings
from unrolled.training.environment import pick_device, process_settings

STREAMS = 8
"""How many streams "several" are."""
WORKS = ("train", "sample", f"sample {STREAMS}")
"""What each engine is timed at: a whole update, drawing one stream, drawing several."""
BASE = "naive"
"""The engine that others are compared with: the plain loop, which any cell can take."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and how."""

    cells: Mapping[str, type[Cell]]
    """By the names that specs and the table give them."""
    sizes: Sequence[Size]
    engines: Sequence[str] = tuple(ENGINES)
    precision: str = "float32"
    device: str = "cpu"
    threads: int = 0
    """Processor threads; 0 leaves PyTorch's own choice."""
    manner: Manner = field(default_factory=Manner)

    def __post_init__(self) -> None:
        for name in self.engines:
            if name not in ENGINES:
                known = ", ".join(ENGINES)
                raise UsageError(f"there is no engine {name!r}; there are {known}{nearest(name, ENGINES)}")
        if self.precision not in precisions():
            known = ", ".join(precisions())
            raise UsageError(f"precision: wanted one of {known}, came {self.precision!r}")
        if not 1 <= self.manner.rounds <= 1000:
            raise UsageError(f"rounds: wanted a whole number from 1 to 1000, came {self.manner.rounds}")
        if not 0 <= self.threads <= 1024:
            raise UsageError(f"threads: wanted a whole number from 0 to 1024, came {self.threads}")


@dataclass(frozen=True)
class Measured:
    """One work of one engine."""

    cell: str
    size: Size
    work: str
    """One of ``WORKS``."""
    engine: str
    timing: Timing
    chars: int
    """Characters that one call reads or draws."""
    ratio: float
    """How many times as fast it is as the base engine."""

    @property
    def chars_per_second(self) -> float:
        """Characters read or drawn in a second."""
        return self.chars / self.timing.median

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        return {
            "cell": self.cell,
            "size": self.size.label,
            "work": self.work,
            "engine": self.engine,
            **self.timing.to_dict(),
            "chars_per_second": self.chars_per_second,
            "ratio": self.ratio,
        }


@dataclass
class Report:
    """What a comparison found."""

    machine: dict[str, Any]
    threads: int
    base: str
    """The engine that ratios refer to."""
    measured: list[Measured] = field(default_factory=list)
    left_out: list[tuple[str, str, str]] = field(default_factory=list)
    """Cell, engine, and why that engine can't run it."""
    kernels: list[dict[str, Any]] = field(default_factory=list)
    """On a GPU: what the library's own kernels take for an update."""
    auto: dict[str, str] = field(default_factory=dict)
    """By cell: the engine that training takes where none is named."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {
            "machine": self.machine,
            "threads": self.threads,
            "base": self.base,
            "auto": self.auto,
            "kernels": self.kernels,
            "rows": [row.to_dict() for row in self.measured],
            "left_out": [dict(zip(("cell", "engine", "why"), row, strict=True)) for row in self.left_out],
        }


def compare(plan: Plan, told: Callable[[str], None] = lambda _: None) -> Report:
    """Measure what is planned; ``told`` hears what comes next. UsageError where no engine can run a cell."""
    plan = replace(plan, device=str(pick_device(plan.device)))
    with process_settings(TrainingSettings(threads=plan.threads, device=plan.device)):
        base = BASE if BASE in plan.engines else plan.engines[0]
        report = Report(machine(plan.device), torch.get_num_threads(), base)
        for cell in plan.cells:
            for size in plan.sizes:
                nets = _nets(cell, size, plan, report)
                for work in WORKS:
                    told(f"{cell} {size.label}, {work}")
                    report.measured += _measured(work, nets, plan.manner, base)
        if torch.device(plan.device).type == "cuda":
            told("the kernels of the library")
            report.kernels = kernels.measure(plan.device, plan.manner)
    return report


Nets = dict[Case, Net]


def _nets(cell: str, size: Size, plan: Plan, report: Report) -> Nets:
    """Return a net for each engine that can run it, and note why the others can't."""
    nets: Nets = {}
    for engine in plan.engines:
        case = Case(cell, size, engine, plan.precision, plan.device, embedding=False)
        net = net_of(case, plan.cells)
        try:
            net.engines()
        except UsageError as error:
            why = str(error).partition(" cannot run this: ")[2].removesuffix(". Take engine='auto'")
            if (cell, engine, why) not in report.left_out:
                report.left_out.append((cell, engine, why))
            continue
        nets[case] = net
    if not nets:
        reasons = "; ".join(f"not {engine}: {why}" for name, engine, why in report.left_out if name == cell)
        raise UsageError(f"none of the engines asked for can run {cell} ({reasons}); add naive to --engines")
    auto = net_of(Case(cell, size, "auto", plan.precision, plan.device, embedding=False), plan.cells)
    report.auto[cell] = next(iter(auto.engines().values()))
    return nets


def _measured(work: str, nets: Nets, manner: Manner, base: str) -> Iterator[Measured]:
    """Time one work of all nets in turns."""
    runs: dict[str, Run] = {case.engine: timed(_work(work, net, case)) for case, net in nets.items()}
    timings = in_turns(runs, manner)
    compared = timings.get(base) or next(iter(timings.values()))
    for case in nets:
        found, size = timings[case.engine], case.size
        chars = {"train": size.lanes * size.window, "sample": CHARS}.get(work, STREAMS * CHARS)
        ratio = compared.median / found.median
        yield Measured(case.cell, size, work, case.engine, found, chars, ratio)


def _work(work: str, net: Net, case: Case) -> Callable[[], object]:
    """Return one of ``WORKS``."""
    if work == "train":
        return update_of(net, case)
    return draws_of(net) if work == "sample" else draws_of_several(net, STREAMS)
