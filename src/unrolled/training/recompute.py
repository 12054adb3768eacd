"""A pass that keeps only states: chunks of about √T steps, each run again on the way back.

Chen, Xu, Zhang, Guestrin, Training deep nets with sublinear memory cost, 2016; for recurrent nets Gruslys,
Munos, Danihelka, Lanctot, Graves, Memory-efficient backpropagation through time, 2016.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cells import map_state, named_tensors
from unrolled.errors import UsageError
from unrolled.net import Net
from unrolled.net.arguments import DRAWN_STEPS
from unrolled.training.passes import Judge, Piece, summed

EXAMPLES = "recompute and reach are for windows of a text, and examples are learned whole; leave them out"


def chunk_length(T: int) -> int:
    """Return about √T: a multiple of the steps for which masks are drawn together."""
    return DRAWN_STEPS * max(1, round(sqrt(T) / DRAWN_STEPS))


def chunks(pieces: Sequence[Piece]) -> list[Piece]:
    """Cut pieces of a window into chunks of about the root of all their steps."""
    length = chunk_length(sum(len(piece.window.inputs) for piece in pieces))
    return [chunk for piece in pieces for chunk in piece.cut(length)]


class Kept:
    """States of one structure, by number; each of their parts lies in one piece of memory for all numbers.

    Kept as they come they could be views that hold on to a whole chunk, or lie between what comes and goes,
    where they leave holes that nothing large fits in.
    """

    def __init__(self, count: int) -> None:
        self._count, self._blocks = count, None

    def keep(self, number: int, state: Any) -> Any:
        """Copy a state; return the copy."""
        if self._blocks is None:
            self._blocks = map_state(lambda part: part.new_empty((self._count, *part.shape)), state)
        return map_state(lambda block, part: block[number].copy_(part), self._blocks, state)

    def __getitem__(self, number: int) -> Any:
        return map_state(lambda block: block[number], self._blocks)


class RecomputedPass:
    """Chunk by chunk, forward without gradients, then backward with each chunk run once more.

    ::

        for chunk in chunks:                    # nothing but ``state`` is kept
            score, state = judge(chunk, state)
        for chunk in reversed(chunks):
            score, after = judge(chunk, state)  # the state kept before this chunk, as a leaf
            backward from score and, by the gradient of the chunk after it, from ``after``

    The sums of gradients are formed in the order of the plain pass: a chunk's come on top of those of the
    chunks after it, one by one. So where steps are run one at a time the gradients are the same to the bit.
    """

    def __init__(self, judge: Judge, net: nn.Module, chunks: Sequence[Piece], state: Any) -> None:
        self._judge, self._chunks = judge, chunks
        self._parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self._generators = generators_of(net)
        self._first, self._states, self._randoms = state, Kept(len(chunks)), Kept(len(chunks))
        self.next_state, score = state, None
        for number, chunk in enumerate(chunks):
            self._randoms.keep(number, self._random())
            with torch.no_grad():
                found, state = judge(chunk.window, state)
                state = self._states.keep(number, state)
            if chunk.counts:
                score = found if score is None else summed([score, found])
            if chunk.ends:
                self.next_state = map_state(Tensor.clone, state)
        assert score is not None
        self.score = score

    def backward(self) -> None:
        """Run the chunks again, the last one first; the generators end where they are now."""
        end, d_state = self._random(), dict[str, Tensor]()
        try:
            for number in reversed(range(len(self._chunks))):
                self._set_random(self._randoms[number])
                before = map_state(_leaf, self._states[number - 1]) if number else self._first
                d_state = self._back(self._chunks[number], before, d_state)
        finally:
            self._set_random(end)

    def _back(self, chunk: Piece, before: Any, d_after: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Add the gradients of one chunk to the parameters'; return those of the state before it, by name."""
        score, after = self._judge(chunk.window, before)
        roots = [(part, d_after[name]) for name, part in named_tensors(after).items() if name in d_after]
        if chunk.counts:
            mean = score.total / max(1, self.score.count)
            roots.insert(0, (mean, torch.ones_like(mean)))
        backward(roots, self._parameters)
        leaves = named_tensors(before) if before is not None else {}
        return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}

    def _random(self) -> dict[str, Tensor]:
        """Return where the random generators stand."""
        return {str(number): generator.get_state() for number, generator in enumerate(self._generators)}

    def _set_random(self, states: Mapping[str, Tensor]) -> None:
        for number, generator in enumerate(self._generators):
            generator.set_state(states[str(number)].clone())  # torch 2.13 crashes on a part of a tensor


def backward(roots: Iterable[tuple[Tensor, Tensor]], parameters: Iterable[Tensor]) -> None:
    """Run backward from (tensor, its gradient); what the parameters have already comes first in each sum."""
    found = [(tensor, gradient) for tensor, gradient in roots if tensor.requires_grad]
    for parameter in parameters:
        if parameter.grad is not None:
            # autograd runs what was made last first, so this view puts the old sum before the new terms.
            found.append((parameter.view_as(parameter), parameter.grad))
            parameter.grad = None
    if found:
        torch.autograd.backward([tensor for tensor, _ in found], [gradient for _, gradient in found])


def generators_of(net: nn.Module) -> tuple[torch.Generator, ...]:
    """Return the random generators that a net may draw from."""
    found = [torch.default_generator]
    device = next(net.parameters()).device
    if device.type == "cuda":
        found.append(torch.cuda.default_generators[device.index or 0])
    if isinstance(net, Net):
        found += [own for own in (net.dropout_generator, net.wiring.generator) if own is not None]
    return tuple(found)


def check_pieces(net: nn.Module) -> None:
    """Raise UsageError for a net that can't be run piece by piece."""
    if not isinstance(net, Net):
        return
    wiring = net.wiring
    if net.is_whole:
        raise UsageError(
            f"layer '{wiring.reads_future}' reads a whole sequence, which recompute and reach would cut in "
            "pieces; leave them out"
        )
    for name in wiring.modules:
        ratio = getattr(wiring.modules[name], "ratio", 0.0)
        if ratio and name not in wiring.streams:
            raise UsageError(
                f"layer '{name}' drops the same numbers at all steps of a window, which recompute and reach "
                "would cut in pieces; leave them out, or drop at each step"
            )


def _leaf(part: Tensor) -> Tensor:
    return part.detach().requires_grad_(part.is_floating_point())
