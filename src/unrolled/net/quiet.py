"""Use a net for a while and leave no trace: its modes, its engine and all random states come back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn

from unrolled.net.module import Net


def device_of(net: nn.Module) -> torch.device:
    """Return where ``net`` computes."""
    return next(net.parameters(), torch.empty(0)).device


def forked_random(device: torch.device) -> AbstractContextManager[None]:
    """Keep torch's random states, those of the CPU and of this device, as they are over a block."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


@contextmanager
def undisturbed(net: nn.Module, engine: str | None = None) -> Iterator[None]:
    """Hold ``net`` in evaluation mode, a ``Net`` with another engine if one is named; then put all back."""
    modes = {module: module.training for module in net.modules()}
    before, drawn = (net.engine, net.wiring.generator) if isinstance(net, Net) else (None, None)
    drawn_state = None if drawn is None else drawn.get_state()
    with forked_random(device_of(net)):
        try:
            net.eval()
            if isinstance(net, Net):
                net.engine = engine or net.engine
            yield
        finally:
            if isinstance(net, Net) and before is not None:
                net.engine = before
            for module, training in modes.items():
                module.training = training
            if drawn is not None and drawn_state is not None:
                drawn.set_state(drawn_state)
