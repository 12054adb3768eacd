"""The contract of a cell's step, checked on the first step of an unroll."""

from __future__ import annotations

import inspect
import traceback
from typing import Any

import torch
from torch import Tensor

from unrolled.cells.base import Cell
from unrolled.cells.linear import LinearCell
from unrolled.cells.state import describe, named_tensors
from unrolled.errors import CellError

# What torch and Python raise for a mistake inside a step; running out of memory is none.
_MISTAKES = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError)


def checked_step(cell: Cell, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Do ``cell.step(x, state)`` and raise ``CellError`` unless it gives what a step must give."""
    name = type(cell).__name__
    result = _tried(cell, "step", x, state)
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[0], Tensor):
        raise CellError(
            f"{name}.step must return a pair (y, state), came {describe(result)}; end it with return y, state"
        )
    y, after = result
    _check_state(name, state, after)
    _check_output(cell, x, y)
    return y, after


def checked_coefficients(cell: LinearCell, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return a and b [T, B, H] for ``x``, where a state is ``state`` [B, H]; CellError unless they fit."""
    name, shape = type(cell).__name__, (len(x), *state.shape)
    found = _tried(cell, "coefficients_of", x)
    if not isinstance(found, tuple) or len(found) != 2 or not all(isinstance(p, Tensor) for p in found):
        raise CellError(
            f"{name}.coefficients must return a pair (a, b) of tensors, came {describe(found)}; "
            "end it with return a, b"
        )
    for which, part in zip("ab", found, strict=True):
        if part.dtype != state.dtype or not _spreads(part.shape, shape):
            raise CellError(
                f"{name}.coefficients must return {which} {list(shape)} of {state.dtype} "
                f"for x {describe(x)}, came {describe(part)} of {part.dtype}"
            )
    a, b = (part.expand(shape) for part in found)
    return a, b


def _tried(cell: Cell, method: str, *arguments: Any) -> Any:
    """Call a method that a user may have written; CellError in one line where it fails."""
    try:
        return getattr(cell, method)(*arguments)
    except torch.OutOfMemoryError:
        raise
    except _MISTAKES as error:
        first_line = (str(error).splitlines() or [""])[0]
        given = " and ".join(
            f"{what} {describe(value)}" for what, value in zip(("x", "state"), arguments, strict=False)
        )
        raise CellError(
            f"{type(cell).__name__}.{method.removesuffix('_of')} failed{_where(cell, error)} with {given}: "
            f"{type(error).__name__}: {first_line}"
        ) from error


def _spreads(shape: torch.Size, wanted: tuple[int, ...]) -> bool:
    """Tell whether a tensor of ``shape`` can be expanded to ``wanted``."""
    tail = wanted[len(wanted) - len(shape) :]
    return len(shape) <= len(wanted) and all(n in (1, m) for n, m in zip(shape, tail, strict=True))


def _check_state(name: str, before: Any, after: Any) -> None:
    wanted, came = describe(before), describe(after)
    if type(before) is not type(after) and not (isinstance(before, Tensor) and isinstance(after, Tensor)):
        raise CellError(f"{name}.step must return a state like the one it got, {wanted}; came {came}")
    old, new = named_tensors(before), named_tensors(after)
    if wanted != came or old.keys() != new.keys():
        raise CellError(f"{name}.step must return a state of the shapes it got, {wanted}; came {came}")
    for field in old:
        # Autocast changes dtypes inside a step on purpose.
        if old[field].dtype != new[field].dtype and not torch.is_autocast_enabled(new[field].device.type):
            raise CellError(
                f"{name}.step got a state of {old[field].dtype} and returned {new[field].dtype}"
                f"{f' for {field}' if field else ''}; keep the dtype"
            )


def _check_output(cell: Cell, x: Tensor, y: Tensor) -> None:
    name, lanes, width = type(cell).__name__, x.shape[0], cell.output_size
    flat = x.dim() <= 2
    if y.dim() < 2 or y.shape[0] != lanes or (flat and list(y.shape) != [lanes, width]):
        raise CellError(
            f"{name}.step must return y of shape [{lanes}, {width}] for {lanes} lanes, came {describe(y)}; "
            "set self.output_size in __init__ if y is not as wide as hidden_size"
        )


def _where(cell: Cell, error: BaseException) -> str:
    """Name the line of the cell's own file at which ``error`` arose."""
    try:
        path = inspect.getfile(type(cell))
    except (TypeError, OSError):
        return ""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
    return f" at {path}, line {lines[-1]}," if lines else ""
