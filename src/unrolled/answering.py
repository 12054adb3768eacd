"""Nets that answer: sequences written from a start of any kind, classes, a tag for each symbol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.data import Batches, Examples, Field
from unrolled.errors import UsageError
from unrolled.net import Net
from unrolled.net.layers import Sample

Answer = str | list[str] | list[int] | list[float] | list[list[float]]


def written(
    net: Net,
    inputs: Mapping[str, Tensor] | None = None,
    *,
    lengths: Mapping[Any, Tensor] | None = None,
    seed: int = 0,
) -> Iterator[Tensor]:
    """Yield what a net of the test phase writes, step by step without end: ids [B].

    ::

        state = net.start(inputs)
        while True:
            values, state = net({}, state, steps=1)
            yield values[output][0]

    The output layer is one that chooses ids, ``sample`` or ``argmax``; the net feeds it back itself.
    Memory stays constant. ``inputs`` are read once at the start, or, in a net that sees no whole sequence,
    given at each step.
    """
    test = net.in_phase("test").seed(seed).eval()
    output = test.wiring.output
    if not test.wiring.shapes[output].ids:
        raise UsageError(
            f"the net ends in '{output}', which gives numbers; to write, end the test phase in a layer of "
            "type sample or argmax"
        )
    given, state = dict(inputs or {}), None
    with torch.inference_mode():
        if test.is_whole:
            given, state = {}, test.start(given, lengths=lengths)
        while True:
            values, state = test(given, state, steps=1)
            yield values[output][0]


def generate(
    net: Net,
    inputs: Mapping[str, Tensor] | None = None,
    *,
    longest: int,
    stop: int | None = None,
    lengths: Mapping[Any, Tensor] | None = None,
    seed: int = 0,
) -> list[list[int]]:
    """Return what a net writes in each lane, up to ``stop`` (left out) or ``longest`` ids."""
    if longest < 0:
        raise UsageError(f"longest: wanted 0 or more, came {longest}")
    test = net.in_phase("test")
    before = test.wiring.generator
    try:
        return _lanes(written(net, inputs, lengths=lengths, seed=seed), longest, stop)
    finally:
        test.draw_from(before)


def _lanes(steps: Iterator[Tensor], longest: int, stop: int | None) -> list[list[int]]:
    lanes: list[list[int]] = []
    done: list[bool] = []
    for _ in range(longest):
        ids = next(steps).tolist()
        lanes, done = lanes or [[] for _ in ids], done or [False for _ in ids]
        for lane, id_ in enumerate(ids):
            done[lane] = done[lane] or id_ == stop
            if not done[lane]:
                lanes[lane].append(id_)
        if all(done):
            break
    return lanes


def set_temperature(net: Net, temperature: float) -> None:
    """Give every layer that draws ids a temperature; 0 takes the likeliest."""
    if not 0 <= temperature < float("inf"):
        raise UsageError(f"temperature: wanted a finite number, 0 or more, came {temperature}")
    for module in net.in_phase("test").layers.named().values():
        if isinstance(module, Sample):
            module.temperature = temperature


def answers(
    net: Net, rows: Sequence[Mapping[str, Any]], *, longest: int = 200, seed: int = 0
) -> list[Answer]:
    """Return what a net that was trained on examples says to each row of plain values.

    A class; a tag, number or id for each step; or, where the net feeds its own output back, a sequence of
    at most ``longest`` ids up to its stop.
    """
    test = net.in_phase("test").eval()
    asked = [field for field in net.fields if field.name in set(test.input_names) - set(test.target_names)]
    if not asked:
        raise UsageError("this net has no inputs that an example could give")
    if not rows:
        return []
    (batch,) = Batches(Examples.from_rows(rows, asked), len(rows), shuffle=False)
    like = test.wiring.like
    inputs = {name: x.to(like.dtype) if x.is_floating_point() else x for name, x in batch.inputs.items()}
    inputs = {name: x.to(test.wiring.device) for name, x in inputs.items()}
    target = _target_field(net)
    long = test.wiring.lengths[test.wiring.output]
    if long != 1 and long not in batch.lengths:
        stop = target.size if target is not None and target.stop else None
        found = generate(net, inputs, longest=longest, stop=stop, lengths=batch.lengths, seed=seed)
        return [_said(target, torch.tensor(ids, dtype=torch.int64)) for ids in found or [[]] * len(rows)]
    with torch.inference_mode():
        values, _ = test(inputs, lengths=batch.lengths)
    output = values[test.wiring.output]
    if not test.wiring.shapes[test.wiring.output].ids and target is not None and target.kind == "ids":
        output = output.argmax(-1)
    stops = batch.lengths.get(long, torch.ones(len(rows), dtype=torch.int64))
    return [_said(target, output[: int(stop), lane]) for lane, stop in enumerate(stops)]


def _target_field(net: Net) -> Field | None:
    """Return the field that the net was trained to predict."""
    names = net.in_phase("train").target_names
    return next((field for field in net.fields if field.name in names), None)


def _said(target: Field | None, values: Tensor) -> Answer:
    """Return ids as what they stand for, and numbers as they are."""
    if target is None or target.kind != "ids":
        found: list[Any] = values.tolist()
        return found
    return target.decode(values.tolist())
