"""How gradients fade on their way back through time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unrolled.cells import from_named_tensors, map_state, named_tensors
from unrolled.net import Net, State
from unrolled.net.quiet import device_of, undisturbed

_STEPS = 32  # gone back at once; what a longer way would keep is computed again instead


def gradient_norms(
    net: Net, ids: Tensor, fresh: Tensor | None, target: Tensor, reach: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return log ‖d loss_t / d state_{t−k}‖ [R, B] for each k in ``reach``, −inf where it is zero.

    ``ids`` [T, B] are read, the last at t, and ``target`` [B] is what comes then; ``fresh`` [T, B] marks
    where lanes start anew. The norm is over the float states of all recurrent layers. Nothing comes back,
    [0, B], if there are none. Each lane's gradient is brought to norm 1 on the way and its logarithm kept,
    so that none is lost for being small.
    """
    back = _Back(net, ids, fresh, target)
    if not back.names:
        return np.empty((0, ids.shape[1]))
    with undisturbed(net, "naive" if back.ids.device.type == "cuda" else None):
        return back.walk({int(k) for k in reach})


class _Back:
    """The way back from a loss, stretch by stretch."""

    def __init__(self, net: Net, ids: Tensor, fresh: Tensor | None, target: Tensor) -> None:
        device = device_of(net)
        self.net, self.ids, self.target = net, ids.to(device), target.to(device)
        self.fresh = None if fresh is None else fresh.to(device)
        self.initial = net.initial_state(ids.shape[1])
        tensors = named_tensors(self.initial)
        self.floats = [name for name, tensor in tensors.items() if tensor.is_floating_point()]
        cells = tuple(net.cells)
        self.names = [n for n in self.floats if any(n == cell or n.startswith(f"{cell}.") for cell in cells)]

    def walk(self, reach: set[int]) -> NDArray[np.float64]:
        """Go forward to keep the states, then back; return the logarithms of norms, [R, B]."""
        T = len(self.ids)
        edges = sorted({T - k for k in reach} | set(range(0, T, _STEPS)) | {0, T})
        states = self._states(edges)
        gradient: dict[str, Tensor] | None = None
        logs = torch.zeros(self.ids.shape[1], dtype=torch.float64, device=self.ids.device)
        found: list[NDArray[np.float64]] = []
        for begin, end in reversed(list(pairwise(edges))):
            gradient = self._stretch(states[begin], begin, end, gradient)
            if T - begin in reach:
                found.append((logs + self._norm(gradient, self.names).log()).cpu().numpy())
            norm = self._norm(gradient, self.floats)
            scale = torch.where(norm > 0, norm, 1.0)
            logs = logs + scale.log()
            gradient = {n: g / scale.reshape(-1, *(1,) * (g.dim() - 1)).to(g) for n, g in gradient.items()}
        return np.stack(found)

    @torch.no_grad()
    def _states(self, edges: list[int]) -> dict[int, State]:
        """Return the state before each step of ``edges`` but the last."""
        state, found = self.initial, dict[int, State]()
        for begin, end in pairwise(edges):
            found[begin] = map_state(torch.clone, state)
            _, state = self._read(begin, end, state)
        return found

    def _read(self, begin: int, end: int, state: State) -> tuple[Tensor, State]:
        marks = None if self.fresh is None else self.fresh[begin:end]
        logits, state = self.net(self.ids[begin:end], state, fresh=marks)
        return logits, state

    def _stretch(
        self, state: State, begin: int, end: int, after: dict[str, Tensor] | None
    ) -> dict[str, Tensor]:
        """Return the gradients of the state before step ``begin``, from those after step ``end`` − 1.

        Without any the stretch ends in the loss.
        """
        tensors = named_tensors(state)
        leaves = {name: tensors[name].detach().requires_grad_() for name in self.floats}
        with torch.enable_grad():
            logits, last = self._read(begin, end, from_named_tensors(state, {**tensors, **leaves}))
            if after is None:
                outputs = {"": functional.cross_entropy(logits[-1], self.target, reduction="sum")}
                after = {"": torch.ones_like(outputs[""])}
            else:
                outputs = {n: x for n, x in named_tensors(last).items() if n in after and x.requires_grad}
        if not any(x.requires_grad for x in outputs.values()):
            return {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
        found = torch.autograd.grad(
            list(outputs.values()),
            list(leaves.values()),
            [after[name] for name in outputs],
            allow_unused=True,
            materialize_grads=True,
        )
        return dict(zip(leaves, found, strict=True))

    @staticmethod
    def _norm(gradient: dict[str, Tensor], names: list[str]) -> Tensor:
        """Return the norm [B] of the gradients of ``names`` together, in float64."""
        squares = [gradient[name].double().flatten(1).square().sum(1) for name in names]
        return torch.stack(squares).sum(0).sqrt()
