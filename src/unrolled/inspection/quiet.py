"""Use a net for a while and leave no trace: its mode, its engine and its random numbers come back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from unrolled.net import Net


def device_of(net: Net) -> torch.device:
    """Return where ``net`` computes."""
    return next(net.parameters(), torch.empty(0)).device


@contextmanager
def undisturbed(net: Net, engine: str | None = None) -> Iterator[None]:
    """Hold ``net`` in evaluation mode, with another engine if one is named, then put everything back."""
    before, drawn = net.engine, net.wiring.generator
    modes = {module: module.training for module in net.modules()}
    drawn_state = None if drawn is None else drawn.get_state()
    device = device_of(net)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            net.eval()
            net.engine = engine or before
            yield
        finally:
            net.engine = before
            for module, training in modes.items():
                module.training = training
            if drawn is not None and drawn_state is not None:
                drawn.set_state(drawn_state)
