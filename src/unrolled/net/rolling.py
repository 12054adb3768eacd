"""Roll up a net that was unrolled by hand, so that it runs at any length.

::

    x1 x2 x3 = slices of data             x   = an input, one slice a step
    a1 = f(x1, h0)                        a_t = f(x_t, a_{t-1}), which starts with h0's number
    a2 = f(x2, a1)              ->
    a3 = f(x3, a2)
    loss of [a1 a2 a3] and label          loss of a_t and label's slice t

A half squared distance over all steps is the sum of those of the steps, so the losses of all steps, added
up, and their gradients are those of the net that was rolled. (Their mean over steps is another number: T
times smaller.) Parameters keep the names by which the steps share them, so weights fit both nets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from unrolled.errors import NetError, UsageError, nearest
from unrolled.net.check import check
from unrolled.net.hand import Cut, Hand, broken, size
from unrolled.net.layers import TYPES
from unrolled.net.phases import in_order, merged
from unrolled.net.rolling_steps import repeated
from unrolled.net.spec import PHASES, Edge, Layer, Spec

ELEMENTWISE = ("activation", "dropout", "copy")
"""What may stand between the outputs of all steps, laid side by side, and their loss."""


def roll(spec: Spec) -> Spec:
    """Return the net of one step, with edges through time, of a net that was unrolled by hand.

    A layer of the result is called as the repeats are without their number. Its inputs are those that
    ``cut`` makes of the hand-unrolled net's. NetError names the layer that breaks the pattern, and how.
    """
    groups: dict[tuple[int, ...], tuple[str, ...]] = {}
    for phase in PHASES:
        there = tuple(index for index, layer in enumerate(spec) if layer.belongs_to(phase))
        groups[there] = (*groups.get(there, ()), phase)
    rolled = {phases: _Rolling(spec, phases[0]) for there, phases in groups.items() if there}
    if not rolled:
        raise NetError("the net has no layers")
    steps = {rolling.hand.repeats.steps for rolling in rolled.values()}
    if len(steps) > 1:
        raise NetError(f"the phases have different numbers of steps, {' and '.join(map(str, sorted(steps)))}")
    layers = in_order(merged((phases, rolling.layers) for phases, rolling in rolled.items()))
    result = Spec(layers, spec.name, unroll=steps.pop(), partition=spec.partition)
    for phases in rolled:
        check(result, phases[0])
    return result


def cut(spec: Spec, values: Mapping[str, Tensor], phase: str = "train") -> dict[str, Tensor]:
    """Return the rolled net's inputs, [T, B, ...], made of the hand-unrolled net's, [1, B, ...].

    ``spec`` is the hand-unrolled net. What hangs on a value that isn't given is left out. UsageError where
    a value has another shape, or is no input's.
    """
    rolling = _Rolling(spec, phase)
    hand, found = rolling.hand, dict[str, Tensor]()
    known = [name for part in rolling.cuts for name in part.sources]
    for name, value in values.items():
        if name not in known:
            told = nearest(name, known) or f"; its inputs are {', '.join(known)}"
            raise UsageError(f"the net has no input '{name}'{told}")
        wanted = hand.shapes[name].features
        if value.dim() < 2 or len(value) != 1 or tuple(value.shape[2:]) != wanted:
            axes = "".join(f", {n}" for n in wanted)
            raise UsageError(f"input '{name}' wants [1, B{axes}], came {list(value.shape)}")
    for part in rolling.cuts:
        if all(name in values for name in part.sources):
            given = [values[name] for name in part.sources]
            found[part.name] = _cut(part, given, hand.repeats.steps)
    return found


def _cut(part: Cut, values: list[Tensor], steps: int) -> Tensor:
    """Return an input [T, B, ...], or [1, B, ...] where it has no steps."""
    if not part.whole:
        return torch.cat(values)
    (value,) = values
    return torch.cat(value.reshape(1, -1, *part.whole).chunk(steps, part.axis + 2))


@dataclass(frozen=True)
class _Joined:
    """The outputs of all steps side by side: the layer that gives one step's, and how they lie."""

    layer: str
    part: tuple[int, ...]
    whole: tuple[int, ...]
    axis: int

    @property
    def is_in_order(self) -> bool:
        """Whether one step's numbers come after the other's."""
        return prod(self.whole[: self.axis]) == 1

    def axes_of(self, target: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return a target's axes such that it can be cut along ``axis``; None where it lies otherwise."""
        fits = target == self.whole or (self.is_in_order and prod(target) == prod(self.whole))
        return self.whole if fits else None


class _Rolling:
    """One phase of a net while it is rolled up: ``layers``, and how its inputs are cut."""

    def __init__(self, spec: Spec, phase: str) -> None:
        self.hand = Hand(spec, phase)
        self.cuts: list[Cut] = []
        self.joined: dict[str, _Joined] = {}
        self.targets: dict[str, Layer] = {}
        # A name stands for a layer that is there once, of which the end of the file says what it becomes.
        made: list[Layer | str] = []
        for name, layer in self.hand.by_name.items():
            at = self.hand.at(name)
            if at is None:
                made += self._single(layer)
            elif at[1] == 0:
                made.append(self._repeated(at[0]))
        found = [entry if isinstance(entry, Layer) else self._kept(entry) for entry in made]
        self.layers = [layer for layer in found if layer is not None]

    def _repeated(self, stem: str) -> Layer:
        made, part = repeated(self.hand, stem)
        if part is not None:
            self.cuts.append(part)
        return made

    def _single(self, layer: Layer) -> list[Layer | str]:
        """Return what a layer of no step becomes."""
        steps = [edge.source for edge in layer.sources if self.hand.at(edge.source)]
        if not steps and not any(edge.source in self.joined for edge in layer.sources):
            return [layer.name]
        if self.hand.lacks(layer.name):
            raise broken(layer, f"is repeated, but {self.hand.lacks(layer.name)}")
        if layer.type == "concat":
            self.joined[layer.name] = self._concat(layer)
            return []
        if steps:
            raise broken(layer, f"reads '{steps[0]}' of one step alone; wanted a concat of all steps")
        return self._after_all(layer)

    def _concat(self, layer: Layer) -> _Joined:
        """Check that a concat lays the outputs of all steps side by side, in order."""
        hand, came = self.hand, [edge.source for edge in layer.sources]
        stem = next(at[0] for at in map(hand.at, came) if at)
        for number, name in enumerate(hand.repeats.stems[stem]):
            if number >= len(came) or came[number] != name:
                other = f"'{came[number]}'" if number < len(came) else "nothing"
                raise broken(
                    layer, f"joins {other} as number {number + 1}; of step {number + 1} it is '{name}'"
                )
        if len(came) > hand.repeats.steps:
            raise broken(layer, f"joins '{came[hand.repeats.steps]}' after all steps")
        whole, part = hand.shapes[layer.name].features, hand.shapes[came[0]].features
        return _Joined(hand.names[stem], part, whole, layer.settings.get("axis", -1) % len(whole))

    def _after_all(self, layer: Layer) -> list[Layer | str]:
        """Run a layer step by step that reads all steps' outputs at once."""
        model = replace(layer, unroll=None)
        joined = next(self.joined[edge.source] for edge in layer.sources if edge.source in self.joined)
        if layer.type == "reshape":
            if not joined.is_in_order:
                raise broken(layer, "reshapes outputs that don't lie one step after the other")
            self.joined[layer.name] = joined
            return []
        if layer.type in ELEMENTWISE:
            self.joined[layer.name] = replace(joined, layer=layer.name)
            return [replace(model, sources=(Edge(joined.layer),))]
        if layer.type == "euclidean-loss":
            return [
                replace(model, sources=tuple(self._of_step(layer, e.source, joined) for e in layer.sources))
            ]
        raise broken(
            layer,
            f"({layer.type}) works on the outputs of all steps at once, which is another thing step by step; "
            f"only {', '.join(ELEMENTWISE)} and euclidean-loss can be rolled there",
        )

    def _of_step(self, layer: Layer, name: str, joined: _Joined) -> Edge:
        """Return an edge to one step's part of a loss's source."""
        if name in self.joined:
            return Edge(self.joined[name].layer)
        target = self.hand.by_name[name]
        if target.type != "floats" or self.hand.readers[name] != [layer.name]:
            raise broken(layer, f"has the target '{name}', wanted an input that nothing else reads")
        whole = joined.axes_of(self.hand.shapes[name].features)
        if whole is None:
            raise broken(
                layer,
                f"has the target '{name}' {self.hand.shapes[name]}, which isn't cut as the outputs "
                f"{list(joined.whole)} are",
            )
        self.targets[name] = Layer(name, "floats", (), {"size": size(joined.part)})
        self.cuts.append(Cut(name, (name,), whole, joined.axis))
        return Edge(name)

    def _kept(self, name: str) -> Layer | None:
        """Return what a layer that is there once is now: a step's target, itself, or None if not read."""
        if name in self.targets:
            return self.targets[name]
        layer, readers = self.hand.by_name[name], self.hand.readers[name]
        starts = layer.type == "constant" and not any(self._keeps(reader, name) for reader in readers)
        if readers and (starts or any(part.whole and name in part.sources for part in self.cuts)):
            return None
        if TYPES[layer.type].reads_outside:
            self.cuts.append(Cut(name, (name,)))
        return replace(layer, unroll=1)

    def _keeps(self, reader: str, name: str) -> bool:
        """Tell whether a constant is more to its reader than where a state starts."""
        at = self.hand.at(reader)
        last = self.hand.by_name[reader if at is None else self.hand.repeats.stems[at[0]][-1]]
        return any(edge.source == name for edge in last.sources)
