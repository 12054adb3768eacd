"""How much memory a training takes, before any of it is taken."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from unrolled.cells import NAMED, Cell, GatedCell
from unrolled.errors import SettingsError, UnrolledError
from unrolled.net import Layer, Net, Spec
from unrolled.settings import Settings
from unrolled.training.optimizers import SLOTS
from unrolled.training.recompute import chunk_length

WIDTH = {"float32": 4, "float64": 8, "bf16": 4}


def estimate_memory(spec: Spec, settings: Settings, cells: Mapping[str, type[Cell]]) -> tuple[int, int]:
    """Return (bytes, parameters): weights, gradients, optimizer, and what is kept for the way back.

    The net is built without storage; where a user's cell can't be, nothing is known: (0, 0). SettingsError
    if the bytes are more than the machine has free.
    """
    try:
        with torch.device("meta"):
            net = Net(spec, cells=cells)
        parameters = net.num_parameters
        activations = _kept(net, settings) * settings.data.lanes
    except UnrolledError:
        raise
    except (RuntimeError, OverflowError, MemoryError):
        if settings.net.cell not in NAMED and settings.net.hidden < 100_000:
            return 0, 0
        raise SettingsError(
            f"{_sizes(spec, settings)} is larger than any machine's memory; lower --hidden"
        ) from None
    slots = SLOTS[settings.training.optimizer] + (1 if settings.training.momentum else 0)
    needed = (parameters * (2 + slots) + activations) * WIDTH[settings.training.precision]
    free = free_memory()
    if free is not None and needed > free:
        raise SettingsError(
            f"{_sizes(spec, settings)} needs about {readable(needed)} of memory to train "
            f"({parameters:,} parameters), {readable(free)} are free; {_advice(settings)}"
        )
    return needed, parameters


def _sizes(spec: Spec, settings: Settings) -> str:
    data = settings.data
    widest = max((layer for layer in spec), key=_width, default=None)
    told = f" ({_width(widest)} in layer '{widest.name}')" if widest is not None else ""
    return f"this net{told} with {data.lanes} lanes and windows of {data.window}"


def _advice(settings: Settings) -> str:
    lower = "lower --hidden, --lanes or --window"
    training, window = settings.training, settings.data.window
    if training.reach > window:
        lower = "lower --hidden, --lanes or --reach"
    steps = max(window, training.reach)
    return lower if training.recompute or chunk_length(steps) >= steps else f"{lower}, or take --recompute"


def _kept(net: Net, settings: Settings) -> int:
    """Count the numbers kept for one lane: of all steps, or of one chunk and the states at all borders."""
    steps = max(settings.data.window, settings.training.reach)
    length = min(steps, chunk_length(steps)) if settings.training.recompute else steps
    borders = -(-steps // length) if length < steps else 0
    return _activations(net) * length + _state(net) * borders


def _state(net: Net) -> int:
    """Count the numbers of one lane's state."""
    lines = sum(edge.shift * net.wiring.shapes[edge.source].width for edge in net.wiring.shifted.values())
    cells = sum(
        cell.hidden_size * (len(cell.State._fields) if cell.State else 1) for cell in net.cells.values()
    )
    return cells + lines


def _width(layer: Layer) -> int:
    """Return the largest number that a layer's settings give."""
    found = [n for value in layer.settings.values() for n in (value if isinstance(value, list) else [value])]
    return max((n for n in found if isinstance(n, int)), default=0)


def _activations(net: Net) -> int:
    """Count the numbers kept for one step of one lane: gates, states, every layer's values, and gradients."""
    wiring = net.wiring
    kept = sum(2 * shape.width for name, shape in wiring.shapes.items() if name not in wiring.gathered)
    for cell in net.cells.values():
        gates = len(cell.gates) if isinstance(cell, GatedCell) else 4
        kept += 2 * (gates + 3) * cell.hidden_size
    return kept + 2 * net.output_size


def free_memory() -> int | None:
    """Return the bytes that a new process could take, or None where that can't be known."""
    limits = [
        limit for limit in (_free_by_system(), _free_by_cgroup(), _free_by_limit()) if limit is not None
    ]
    return min(limits, default=None)


def _free_by_cgroup() -> int | None:
    """Return what a container's limit leaves (Linux, cgroup v2)."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        return None if limit == "max" else max(0, int(limit) - used)
    except (OSError, ValueError):
        return None


def _free_by_limit() -> int | None:
    """Return what ``ulimit -v`` allows."""
    try:
        import resource
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _free_by_system() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def readable(size: int) -> str:
    """Write a number of bytes for people: 38 MB."""
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if amount < 1000 or unit == "PB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if amount >= 10 or unit == "B" else f"{amount:.1f} {unit}"
