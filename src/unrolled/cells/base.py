"""A cell is one step."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from unrolled.cells.state import is_named_tuple
from unrolled.errors import CellError


class Cell(nn.Module):
    """One step of a recurrent network; inherit from it and write ``step``.

    ::

        state = cell.initial_state(lanes)
        for t in range(T):
            y[t], state = cell.step(x[t], state)

    ``State`` is the NamedTuple class of a state with several parts, each [B, H]; without it the state is
    one tensor [B, H]. Masks, dropout, devices and loops over time are not a cell's business.
    """

    State: ClassVar[Any] = None
    reads_ids: ClassVar[bool] = False
    """Whether x is one axis of ``input_size`` floats, or ids in their stead, each of which is a one-hot row;
    −1 is no id, a row of zeros."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        name = type(self).__name__
        for what, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise CellError(f"{name}: {what} must be a whole number of at least 1, came {size!r}")
        if self.State is not None and not is_named_tuple(self.State):
            raise CellError(
                f"{name}.State must be a typing.NamedTuple class or None, came {self.State!r}; "
                "write class MyState(NamedTuple): h: Tensor; c: Tensor"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.output_size = hidden_size

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take ``x`` [B, D] and the state; return ``y`` [B, output_size] and the next state."""
        raise CellError(
            f"{type(self).__name__} has no step; write def step(self, x, state): ... return y, state"
        )

    def initial_state(self, lanes: int) -> Any:
        """Return the state in which ``lanes`` lanes start: zeros [B, H], one for each field of ``State``.

        A subclass may return something else, made of its own parameters too: then where to start is learned.
        """
        like = self.like()

        def zeros() -> Tensor:
            return torch.zeros(lanes, self.hidden_size, dtype=like.dtype, device=like.device)

        return zeros() if self.State is None else self.State(*(zeros() for _ in self.State._fields))

    def like(self) -> Tensor:
        """Return a tensor of the dtype and device that the cell computes in: its first parameter, if any."""
        for parameter in self.parameters():
            if parameter.is_floating_point():
                return parameter
        return torch.empty(0)

    def extra_repr(self) -> str:
        """Show the sizes when the cell is printed."""
        return f"input_size={self.input_size}, hidden_size={self.hidden_size}"
