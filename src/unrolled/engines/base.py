"""What an engine is asked and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from unrolled.cells import Cell, map_state


@dataclass(frozen=True)
class Request:
    """One unroll, checked: run ``cell`` over ``x`` [T, B, …] from ``state``."""

    cell: Cell
    x: Tensor
    """Items [T, B, *D], or ids [T, B]. In padded steps anything, NaN too."""
    state: Any
    """The first state."""
    initial: Any = None
    """``cell.initial_state(B)``; only there with ``fresh``."""
    fresh: Mapping[int, Tensor] = field(default_factory=dict)
    """The lanes [B] bool that start anew at a step, on x's device; only steps with such lanes, ascending.
    Never a padded step."""
    lengths: tuple[int, ...] | None = None
    """Each lane's number of steps, 0 to T; None where all are T."""
    reverse: bool = False
    """Walk from the last step to the first; a mark resets after its step."""
    rows: Tensor | None = None
    """What ids stand for, [V, D]: an embedding's table. None: one-hot rows, or there are no ids."""
    bf16: bool = False
    """Round the factors of matrix products to bfloat16; sums, states and everything else stay float32."""

    def looked_up(self) -> Request:
        """Return the request with items in place of ids that stand for ``rows``."""
        if self.rows is None:
            return self
        ids = self.x if self.lengths is None else blank(self.x, self.active())
        return replace(self, x=look_up(self.rows, ids), rows=None)

    def active(self) -> Tensor:
        """Return [T, B] bool on x's device: which steps are inside their lane's length."""
        T, B = self.x.shape[:2]
        stops = torch.tensor(self.lengths if self.lengths is not None else [T] * B, device=self.x.device)
        return torch.arange(T, device=self.x.device).unsqueeze(1) < stops


class Engine(Protocol):
    """A way to run a cell over time; whatever it does must equal the naive engine's loop."""

    @property
    def name(self) -> str:
        """What ``engine=`` calls it."""

    @property
    def reads_rows(self) -> bool:
        """Whether it takes ids that stand for ``Request.rows``; else it is given items."""

    def why_not(self, request: Request) -> str | None:
        """Return None if the engine can serve ``request``, else the reason in words."""

    def why_slow(self, request: Request) -> str | None:
        """Return None, or the reason why ``auto`` should leave ``request`` to a slower engine."""

    def run(self, request: Request) -> tuple[Tensor, Any]:
        """Return y [T, B, H], zero in padded steps, and each lane's state after its last step. T ≥ 1."""


def look_up(rows: Tensor, ids: Tensor) -> Tensor:
    """Return the rows [*ids, D] of ``rows`` [V, D] at ``ids``; id -1 gives zeros."""
    found = functional.embedding(ids.clamp(min=0), rows)
    return torch.where((ids >= 0)[..., None], found, found.new_zeros(()))


def choose(mask: Tensor, chosen: Any, other: Any) -> Any:
    """Return the state ``chosen`` in the lanes where ``mask`` [B] is true, ``other`` elsewhere."""
    return map_state(lambda a, b: torch.where(lift(mask, a), a, b), chosen, other)


def lift(mask: Tensor, like: Tensor) -> Tensor:
    """Give ``mask`` trailing axes of length 1 until it has as many axes as ``like``."""
    return mask.reshape(mask.shape + (1,) * (like.dim() - mask.dim()))


def blank(x: Tensor, active: Tensor) -> Tensor:
    """Replace the items where ``active`` is false: zeros, or −1 for ids [B] or [T, B], which means no id."""
    is_ids = x.dim() == active.dim() and not x.is_floating_point() and x.dtype.is_signed
    return torch.where(lift(active, x), x, -1 if is_ids else 0)
