"""States as values: a tensor, a NamedTuple of states, or a dict of states by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from unrolled.errors import CellError, LoadError


def map_state(fn: Callable[..., Tensor], *states: Any) -> Any:
    """Apply ``fn`` to the tensors of one state, or of several states of one structure.

    ::

        LSTMState(fn(a.h, b.h), fn(a.c, b.c))  ==  map_state(fn, a, b)
    """
    first = states[0]
    if isinstance(first, Tensor):
        return fn(*states)
    if isinstance(first, dict):
        return {name: map_state(fn, *(state[name] for state in states)) for name in first}
    if is_named_tuple(type(first)):
        return type(first)(*(map_state(fn, *parts) for parts in zip(*states, strict=True)))
    raise CellError(
        f"a state is a tensor, a NamedTuple of tensors, or a dict of states; came {describe(first)}"
    )


def named_tensors(state: Any, prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors of ``state`` by name: ``h`` and ``c`` for an LSTM, ``prefix`` itself for one tensor.

    Nested names are joined by a dot: ``lstm1.h``. ``from_named_tensors`` is the way back.
    """
    if isinstance(state, Tensor):
        return {prefix: state}
    found: dict[str, Tensor] = {}
    for name, part in _parts(state):
        found |= named_tensors(part, _join(prefix, name))
    return found


def from_named_tensors(template: Any, tensors: Mapping[str, Tensor], prefix: str = "") -> Any:
    """Build a state of ``template``'s structure from the tensors that ``named_tensors`` gave."""
    if isinstance(template, Tensor):
        if prefix not in tensors:
            raise LoadError(
                f"the state needs a tensor named {prefix!r}; there are {', '.join(tensors) or 'none'}"
            )
        return tensors[prefix]
    parts = {name: from_named_tensors(part, tensors, _join(prefix, name)) for name, part in _parts(template)}
    return parts if isinstance(template, dict) else type(template)(**parts)


def is_named_tuple(kind: object) -> bool:
    """Tell whether ``kind`` is a class made by ``typing.NamedTuple``."""
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def describe(value: Any) -> str:
    """Say in a few words what ``value`` is: ``[4, 7]`` for a tensor, ``LSTMState(h [4, 7], c [4, 7])``."""
    if isinstance(value, Tensor):
        return str(list(value.shape))
    if isinstance(value, tuple):
        names = getattr(value, "_fields", None)
        parts = [describe(part) for part in value]
        if names is None:
            return f"a tuple of {len(value)} ({', '.join(parts)})"
        inside = ", ".join(f"{name} {part}" for name, part in zip(names, parts, strict=True))
        return f"{type(value).__name__}({inside})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {describe(part)}" for name, part in value.items()) + "}"
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _parts(state: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(state, dict):
        return iter(state.items())
    if is_named_tuple(type(state)):
        return zip(type(state)._fields, state, strict=True)
    raise CellError(
        f"a state is a tensor, a NamedTuple of tensors, or a dict of states; came {describe(state)}"
    )


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
