"""The layers that are no recurrent cell: one-hot, embedding, linear."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class OneHot(nn.Module):
    """Show ids [T, B] one-hot: as ids to a cell that gathers, as [T, B, V] to any other layer."""

    def __init__(self, size: int, dense: bool) -> None:
        super().__init__()
        self.size, self.dense = size, dense
        self.register_buffer("_like", torch.empty(0), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Return ids [T, B] unchanged, or one-hot rows [T, B, V]; the row of id -1 is zero."""
        if not self.dense:
            return ids
        rows = torch.zeros(*ids.shape, self.size, dtype=self._like.dtype, device=ids.device)
        return rows.scatter_(-1, ids.clamp(min=0)[..., None], (ids >= 0).to(rows.dtype)[..., None])

    _like: Tensor


class Embedding(nn.Module):
    """Look ids [T, B] up in a learned table: [T, B, E]; id -1 gives zeros."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.id_to_x = nn.Parameter(torch.empty(size, width))
        nn.init.normal_(self.id_to_x)

    def forward(self, ids: Tensor) -> Tensor:
        """Return rows [T, B, E] of the table."""
        rows = functional.embedding(ids.clamp(min=0), self.id_to_x)
        return torch.where((ids >= 0)[..., None], rows, rows.new_zeros(()))


class Linear(nn.Module):
    """Multiply by a matrix and add a bias: x [..., D] -> [..., K]."""

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        bound = input_size**-0.5
        self.x_to_y = nn.Parameter(torch.empty(input_size, output_size).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(output_size).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Return x @ W + b."""
        return torch.addmm(self.bias, x.flatten(0, -2), self.x_to_y).view(*x.shape[:-1], self.bias.shape[0])
