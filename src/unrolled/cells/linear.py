"""A linear cell: what it keeps and what it adds depend on the input alone, so its steps need no order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from unrolled.cells.base import Cell
from unrolled.errors import CellError


class LinearCell(Cell):
    """A cell whose state is a linear recurrence, h' = a h + b; inherit from it and write ``coefficients``.

    ::

        class Leaky(LinearCell):
            def __init__(self, input_size, hidden_size):
                super().__init__(input_size, hidden_size)
                self.x_to_h = torch.nn.Linear(input_size, hidden_size)
                self.decay = torch.nn.Parameter(torch.randn(hidden_size))

            def coefficients(self, x):
                return torch.sigmoid(self.decay), torch.tanh(self.x_to_h(x))

    The products are elementwise and y is the state. Since a and b know nothing of the state, they are made
    for all steps in one call, and the engine ``scan`` runs over them without going step by step. Keep a
    within −1 and 1, or the state grows without bound.

    Ids are one-hot rows, as for a gated cell: where there are more ids than rows, the coefficients of each
    row are made once and picked.
    """

    reads_ids = True

    def coefficients(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return a and b [..., H] for ``x`` [..., D], whatever the leading axes; each may be of fewer axes.

        A row of a and b may depend on nothing but its row of x.
        """
        name = type(self).__name__
        raise CellError(
            f"{name} has no coefficients; write def coefficients(self, x): ... return a, b, for h' = a h + b"
        )

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take ``x`` [B, D], or ids [B]; return y [B, H] and the next state, which are the same."""
        a, b = self.coefficients_of(x)
        h = a * state + b
        return h, h

    def coefficients_of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficients for items [..., D] or ids [...]."""
        if x.is_floating_point():
            return self.coefficients(x)
        like, D = self.like(), self.input_size
        if x.numel() <= D:
            rows = x.unsqueeze(-1) == torch.arange(D, device=x.device)
            return self.coefficients(rows.to(like.dtype))
        a, b = self.coefficients(torch.eye(D + 1, D, dtype=like.dtype, device=like.device))
        return _rows(a, x), _rows(b, x)


def _rows(table: Tensor, ids: Tensor) -> Tensor:
    """Return a row of ``table`` [D + 1, ...] for each id, the last for none; one row alone serves all."""
    if table.dim() < 2 or len(table) == 1:
        return table
    return functional.embedding(torch.where(ids < 0, len(table) - 1, ids), table)
