"""What a net is called with: checked, and brought into the one form that its execution sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.cells import Cell
from unrolled.errors import UsageError, nearest
from unrolled.net.execution import HELD, REAL, Call, State
from unrolled.net.layers import Dropout
from unrolled.net.spec import Length
from unrolled.net.wiring import AGE, Wiring
from unrolled.unrolling import check_state

Lengths = Tensor | Mapping[Length, Tensor] | None
DRAWN_STEPS = 64


@dataclass(frozen=True)
class Arguments:
    """The arguments of one call, as they came."""

    inputs: Mapping[str, Tensor]
    state: State | None = None
    fresh: Tensor | None = None
    lengths: Lengths = None
    steps: int | None = None


def checked(given: Arguments, wiring: Wiring) -> Call:
    """Return the call that the arguments make; UsageError, naming what was wanted, for what makes none."""
    inputs = {name: _input(name, x, wiring) for name, x in given.inputs.items()}
    lanes = _lanes(inputs, given.state)
    counts = _counts(inputs, given, wiring)
    long = wiring.lengths[wiring.output]
    stops = _stops(given.lengths, counts, lanes)
    state = _state(given.state, lanes, wiring)
    fresh = _fresh(given.fresh, inputs, (counts[long], lanes), wiring)
    if fresh is not None:
        fresh = _only_real(fresh, stops.get(long), given.state is None)
    if fresh is not None and wiring.reads_future is not None:
        raise UsageError(
            whole_message(wiring, "can't start anew inside a window; give each sequence a lane of its own")
        )
    return Call(inputs, lanes, counts, state, fresh, stops)


def whole_message(wiring: Wiring, what: str) -> str:
    """Return what to tell who takes a net that reads the future for one that streams."""
    return f"layer '{wiring.reads_future}' reads a whole sequence, so this net {what}"


def masks(call: Call, wiring: Wiring, generator: torch.Generator | None) -> dict[str, Tensor]:
    """Draw each dropout layer's mask for the whole window, so that no engine can change it.

    They are drawn ``DRAWN_STEPS`` steps at a time, so that windows cut there drop what the whole one drops.
    """
    found, kept = dict[str, Tensor](), dict[str, float]()
    for name, module in wiring.modules.items():
        ratio = module.ratio if isinstance(module, Dropout) else 0.0
        length = wiring.data_length(name)
        if ratio and length in call.counts:
            size = (call.counts[length], call.lanes, *wiring.shapes[name].features)
            found[name] = torch.empty(size, dtype=wiring.like.dtype, device=wiring.device)
            kept[name] = 1 - ratio
    for begin in range(0, max(map(len, found.values()), default=0), DRAWN_STEPS):
        for name, mask in found.items():
            if begin < len(mask):
                part = mask[begin : begin + DRAWN_STEPS]
                part.bernoulli_(kept[name], generator=generator).div_(kept[name])
    return found


def _input(name: str, x: Tensor, wiring: Wiring) -> Tensor:
    if name not in wiring.inputs:
        known = ", ".join(wiring.inputs) or "none"
        raise UsageError(
            f"this net has no input '{name}'; its inputs are {known}" + nearest(name, wiring.inputs)
        )
    if wiring.layers[name].type == "continues":
        if x.dim() != 2:
            raise UsageError(
                f"input '{name}' wants marks [T, B], 0 where a sequence starts; "
                f"came {x.dtype} {list(x.shape)}"
            )
        return x
    size = wiring.inputs[name]
    axes = () if size else wiring.shapes[name].features
    if x.dim() != 2 + len(axes) or tuple(x.shape[2:]) != axes or x.is_floating_point() == bool(size):
        wanted = "whole numbers [T, B]" if size else f"floats [T, B{''.join(f', {n}' for n in axes)}]"
        raise UsageError(f"input '{name}' wants {wanted}, came {x.dtype} {list(x.shape)}")
    _check_place(name, x, wiring)
    if not size:
        return x
    if x.device.type == "cpu" and x.numel():
        low, high = map(int, x.aminmax())
        if not -1 <= low <= high < size:
            raise UsageError(f"this net reads ids from 0 to {size - 1}, or -1 for none; came {low} to {high}")
    return x.long()


def _check_place(name: str, x: Tensor, wiring: Wiring) -> None:
    """Check device and number format; autocast brings formats together itself."""
    if x.device != wiring.device:
        raise UsageError(
            f"the net is on {wiring.device}, input '{name}' is on {x.device}; move one with .to()"
        )
    other = wiring.has_weights and x.is_floating_point() and x.dtype != wiring.like.dtype
    if other and not torch.is_autocast_enabled(x.device.type):
        raise UsageError(
            f"the net computes in {wiring.like.dtype}, input '{name}' is {x.dtype}; "
            "bring one to the other with .to()"
        )


def _lanes(inputs: Mapping[str, Tensor], state: State | None) -> int:
    found = {name: x.shape[1] for name, x in inputs.items()}
    if len(set(found.values())) > 1:
        told = ", ".join(f"'{name}' has {lanes}" for name, lanes in found.items())
        raise UsageError(f"all inputs need one number of lanes; {told}")
    if found:
        return next(iter(found.values()))
    for part in state.values() if isinstance(state, dict) else ():
        tensor = part if isinstance(part, Tensor) else part[0] if isinstance(part, tuple) else None
        if tensor is not None:
            return int(tensor.shape[0])
    return 1


def _counts(inputs: Mapping[str, Tensor], given: Arguments, wiring: Wiring) -> dict[Length, int]:
    """Return how many copies layers of each length have, as the inputs or ``steps`` say."""
    steps = given.steps
    if steps is not None and steps < 0:
        raise UsageError(f"steps: wanted 0 or more, came {steps}")
    counts: dict[Length, int] = {1: 1}
    said_by: dict[Length, str] = {}
    for name, x in inputs.items():
        length = wiring.data_length(name)
        wanted = length if isinstance(length, int) else counts.get(length, len(x))
        if len(x) != wanted:
            whose = f", as '{said_by[length]}' has" if length in said_by else ""
            raise UsageError(f"input '{name}' wants {wanted} steps{whose}; came {len(x)}")
        counts[length] = wanted
        said_by[length] = name
    for length in wiring.data_lengths:
        if isinstance(length, int):
            counts.setdefault(length, length)
        elif length not in counts and steps is not None:
            counts[length] = steps
    streams = wiring.lengths[wiring.output]
    if streams not in counts:
        waiting = [name for name in wiring.inputs if wiring.data_length(name) == streams]
        advice = f"give {', '.join(waiting)}, or steps=" if waiting else "say steps="
        raise UsageError(f"nothing says how many steps to take; {advice}")
    if steps is not None and counts[streams] != steps:
        raise UsageError(f"the inputs have {counts[streams]} steps, steps= says {steps}")
    return counts


def _stops(lengths: Lengths, counts: Mapping[Length, int], lanes: int) -> dict[Length, Tensor]:
    """Return each lane's number of copies, on the CPU, for the lengths of which not all copies are real."""
    if lengths is None:
        return {}
    if not isinstance(lengths, Mapping):
        long = [length for length in counts if length != 1]
        if len(long) > 1 and None not in long:
            names = ", ".join(map(str, long))
            raise UsageError(f"this net has several lengths, {names}; give lengths by name")
        lengths = {None if None in long or not long else long[0]: lengths}
    found: dict[Length, Tensor] = {}
    for length, given in lengths.items():
        if length not in counts:
            raise UsageError(f"this net has no length '{length}'")
        stops = torch.as_tensor(given)
        if list(stops.shape) != [lanes] or stops.is_floating_point() or stops.dtype == torch.bool:
            came = f"{stops.dtype} {list(stops.shape)}"
            raise UsageError(f"lengths must be {lanes} whole numbers, one a lane; came {came}")
        stops = stops.cpu()
        if lanes and not 0 <= int(stops.min()) <= int(stops.max()) <= counts[length]:
            raise UsageError(f"lengths must be from 0 to {counts[length]}; came {stops.tolist()}")
        if bool((stops < counts[length]).any()):
            found[length] = stops
    return found


def _fresh(
    fresh: Tensor | None, inputs: Mapping[str, Tensor], size: tuple[int, int], wiring: Wiring
) -> Tensor | None:
    """Return where a lane starts anew [T, B]: where ``fresh`` marks it, or an input of type ``continues``."""
    steps, lanes = size
    marks = [x == 0 for name, x in inputs.items() if wiring.layers[name].type == "continues"]
    if fresh is not None:
        if fresh.dtype != torch.bool or list(fresh.shape) not in ([lanes], [steps, lanes]):
            raise UsageError(
                f"fresh must be bool, [{steps}, {lanes}] or [{lanes}] for step 0; "
                f"came {fresh.dtype} {list(fresh.shape)}"
            )
        if fresh.dim() == 1:
            first, fresh = fresh, torch.zeros(steps, lanes, dtype=torch.bool, device=fresh.device)
            fresh[:1] = first
        marks.append(fresh)
    if len(marks) > 1:
        marks = [mark.to(marks[0].device) for mark in marks]
    return torch.stack(marks).any(0) if marks else None


def _only_real(fresh: Tensor, stops: Tensor | None, begins: bool) -> Tensor | None:
    """Return the marks [T, B] of real steps; None where they change nothing, as at a beginning."""
    if stops is not None:
        fresh = fresh & (torch.arange(len(fresh))[:, None] < stops).to(fresh.device)
    tells = fresh[1:] if begins else fresh
    return fresh if bool(tells.any()) else None


def _state(state: Any, lanes: int, wiring: Wiring) -> State:
    """Return a state whose every part is there and fits; {} for None."""
    if state is None:
        return {}
    if wiring.reads_future is not None and HELD not in (state if isinstance(state, dict) else {}):
        raise UsageError(whole_message(wiring, "takes no state but that of net.start(inputs)"))
    if not isinstance(state, dict) or state.keys() - {HELD, REAL} != set(wiring.state_names):
        came = ", ".join(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise UsageError(
            f"this net's state is a dict with {', '.join(wiring.state_names) or 'nothing in it'}, as from "
            f"initial_state(lanes); came {came}"
        )
    for name in wiring.state_names:
        module = wiring.modules.get(name)
        if isinstance(module, Cell):
            if name in wiring.scanned:  # the others' are checked where they are unrolled
                check_state(module, state[name], lanes)
        else:
            _check_part(name, state[name], wiring.part_shape(name, lanes))
    for kept in (HELD, REAL):
        for name, part in state.get(kept, {}).items():
            _check_part(name, part, [lanes, *part.shape[1:]])
    return state


def _check_part(name: str, part: Any, shape: list[int]) -> None:
    if not isinstance(part, Tensor) or list(part.shape) != shape:
        what = "ages" if name == AGE else f"'{name}'"
        came = list(part.shape) if isinstance(part, Tensor) else type(part).__name__
        raise UsageError(
            f"the state's {what} must be {shape}, came {came}; give a state of {shape[0]} lanes, or none"
        )
