"""The last steps before the loop, of a new run and of one that goes on."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from unrolled.cells import Cell, GatedCell
from unrolled.data import Windows
from unrolled.engines.native.compiler import missing_compiler
from unrolled.engines.native.layers import serves
from unrolled.errors import UsageError
from unrolled.net import Net, Spec, initialise
from unrolled.runs import Run
from unrolled.sample.native import why_no_loop
from unrolled.settings import Settings, TrainingSettings
from unrolled.training.learner import Learner
from unrolled.training.listener import Listener, Plan
from unrolled.training.reading import Reading
from unrolled.training.recompute import EXAMPLES
from unrolled.training.schedules import number_of_updates
from unrolled.training.session import Material, Position, Session
from unrolled.training.stop import stop_flag


def begun(
    spec: Spec, settings: Settings, reading: Reading, cells: Mapping[str, type[Cell]], device: torch.device
) -> tuple[Net, Learner]:
    """Return a net with the weights that it begins with, and what teaches it."""
    torch.manual_seed(settings.training.seed)
    net = Net(spec, reading.vocab, cells)
    _check_carries(net, reading, settings.training)
    initialise(net, settings.net.init, settings.net.init_scale, settings.net.forget_bias)
    net.boundary, net.fields = settings.data.boundary, reading.fields
    if reading.vocab is not None:
        reading.vocab.encode(settings.training.sample_prime or "")
    return net, make_learner(net, settings, device)


def _check_carries(net: Net, reading: Reading, settings: TrainingSettings) -> None:
    """Raise UsageError for a net that must see whole sequences where windows go on from one another.

    The same for settings of windows where examples are learned.
    """
    if reading.carries and net.is_whole:
        raise UsageError(
            f"layer '{net.wiring.reads_future}' reads a whole sequence, and this one is read in windows; "
            "train the net on examples, or make it read forward only"
        )
    if not isinstance(reading.windows, Windows) and (settings.recompute or settings.reach):
        raise UsageError(EXAMPLES)


def make_learner(net: Net, settings: Settings, device: torch.device) -> Learner:
    """Bring a net to where and how it is trained; an engine that can't run it is an error now."""
    net.engine, net.bf16 = settings.training.engine, settings.training.precision == "bf16"
    net.to(device=device, dtype=torch.float32 if net.bf16 else getattr(torch, settings.training.precision))
    net.engines()
    return Learner(net, settings.training)


def make_material(run: Run, net: Net, learner: Learner, reading: Reading, settings: Settings) -> Material:
    """Return all that a session trains with, and after how many updates it ends."""
    updates = number_of_updates(settings.training, len(reading))
    return Material(run, net, learner, reading, settings, updates)


def start(material: Material, position: Position, memory: int, listener: Listener) -> None:
    """Say what is going to happen, and train; until then a signal ends the process as it ends any."""
    _tell_of_engines(material.net, material.settings, listener)
    _compile(material.net, material.settings.training)
    listener.planned(_plan(material, position, memory))
    with stop_flag() as stop:
        Session(material, position, listener, stop).train()


def _compile(net: Net, settings: TrainingSettings) -> None:
    """Have a net's end and its sampling compiled, as its cells are: no signal waits for a compiler."""
    if settings.engine in ("auto", "native"):
        serves(*net.parameters(), bf16=net.bf16)
        if net.writes_text and (settings.sample_every or settings.sample_at):
            why_no_loop(net)


def _tell_of_engines(net: Net, settings: Settings, listener: Listener) -> None:
    """Say once that a compiler would make the training faster, if it would."""
    training, on_cpu = settings.training, next(net.parameters()).device.type == "cpu"
    gated = any(isinstance(cell, GatedCell) for cell in net.cells.values())
    if gated and on_cpu and training.engine == "auto" and training.precision != "float64":
        note = missing_compiler()
        if note is not None:
            listener.said(note)


def _plan(material: Material, position: Position, memory: int) -> Plan:
    net, reading = material.net, material.reading
    return Plan(
        run=material.run.directory,
        parameters=net.num_parameters,
        chars=reading.num_targets,
        validation_chars=reading.num_validation_targets,
        symbols=net.output_size,
        update=position.update,
        updates=material.updates,
        per_epoch=len(reading),
        engines=net.engines(),
        memory=memory,
        device=str(material.learner.device),
        text=net.vocab is not None,
        unit=net.loss_unit,
    )
