"""Random nets: the schedule, windows, marks, lengths and single steps all equal the unrolled graph.

``UNROLLED_NETS=3000 pytest tests/net/test_equality.py`` draws that many nets, new ones each time; without
it there are about 300, the same each time.
"""

from __future__ import annotations

import os
import random
import runpy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from unrolled.cells import BUILT_IN, LINEAR, map_state, named_tensors
from unrolled.net import Net, Spec, reference
from unrolled.net.layers import TYPES, Loss

STRATEGIES = runpy.run_path(str(Path(__file__).with_name("strategies.py")))
nets, make, inputs_of, features = (STRATEGIES[name] for name in ("nets", "make", "inputs_of", "features"))
CELLS = STRATEGIES["CELLS"]
NETS = int(os.environ.get("UNROLLED_NETS", "300"))
TOLERANCE = 1e-10

Drawn = Any
Tensors = dict[str, Tensor]
Lengths = dict[Any, Tensor]

TYPES_LEFT_OUT = {"continues", "sample"}
"""What marks or draws, and has tests of its own."""
WANTED = [
    *(f"type {name}" for name in TYPES.keys() - TYPES_LEFT_OUT),
    *(f"cell {name}" for name in [*BUILT_IN, *LINEAR, *CELLS]),
    *(f"{kind}{ids}" for kind in ("same 0", "same 1", "same 2", "same 3") for ids in ("", " of ids")),
    *(f"{n} steps" for n in range(1, 10)),
    *(f"lanes {n}" for n in range(1, 5)),
    *(f"length {length}" for length in (1, 3, None, "source")),
    *(f"operation {name}" for name in ("sum", "product", "max")),
    *(f"last {to} {of}" for to in ("into a cell", "into another") for of in ("from a cell", "from another")),
    *(f"{what} of several parts" for what in ("last of the same state", "last of another state")),
    *(
        "all 0",
        "all 0 of ids",
        "same of backward",
        "all of backward",
        "last of backward",
        "last into backward",
    ),
    *("initial", "initial of ids", "shift longer than the window", "coefficients"),
    *("several layers in a cycle", "a layer reads itself", "said ids read later"),
    *("gathered one-hot", "dense one-hot", "gathered ids in a delay line"),
    *("one-hot from outside", "embedding from outside", "no bias", "transpose True"),
    *("share_from", "shared by name", "streaming", "whole", "direction backward"),
]


def among(share: float) -> Callable[[Any], Any]:
    """Return hypothesis's settings for a share of all the nets."""
    return settings(
        max_examples=max(1, round(share * NETS)),
        derandomize="UNROLLED_NETS" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )


def assert_near(found: Any, wanted: Any) -> None:
    torch.testing.assert_close(found, wanted, rtol=TOLERANCE, atol=TOLERANCE)


def assert_same_state(found: Any, wanted: Any) -> None:
    mine, theirs = named_tensors(found), named_tensors(wanted)
    assert mine.keys() == theirs.keys()
    assert_near(mine, theirs)


def assert_equal_state(found: Any, wanted: Any) -> None:
    mine, theirs = named_tensors(found), named_tensors(wanted)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def leaves_of(net: Net, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Return what a gradient is taken for: what learns, and the inputs that are floats."""
    learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
    return [*learned, *(x for x in inputs.values() if x.requires_grad)]


def gradients(total: Tensor, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    if not leaves or not total.requires_grad:
        return tuple(torch.zeros_like(leaf) for leaf in leaves)
    return torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)


class Projection:
    """A sum over all numbers that a net gives, each with a random weight, so that no gradient is missed."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        source = torch.Generator().manual_seed(1)
        self.weights = {
            name: torch.randn(x.shape, generator=source, dtype=torch.float64)
            for name, x in values.items()
            if x.is_floating_point()
        }

    def __call__(self, values: Mapping[str, Tensor], part: Callable[[str, Tensor], Tensor] | None) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for name, w in self.weights.items():
            total = total + (values[name] * (w if part is None else part(name, w))).sum()
        return total


def total_loss(net: Net, values: Mapping[str, Tensor]) -> Tensor:
    """Return the sum of all losses in ``values``."""
    scales = {name: m.scale for name, m in net.layers.named().items() if isinstance(m, Loss)}
    return sum((values[n].sum() * scale for n, scale in scales.items()), torch.zeros((), dtype=torch.float64))


def long_names(net: Net) -> set[str]:
    """Return the layers, and texts, that are as long as the output."""
    long = net.wiring.lengths[net.wiring.output]
    texts = net.wiring.texts if long is None else set()
    return {name for name, length in net.wiring.lengths.items() if length == long} | texts


def window(net: Net, inputs: Mapping[str, Tensor], begin: int, end: int) -> Tensors:
    """Return the steps of a window; what has another length goes along whole."""
    long = long_names(net)
    return {name: x[begin:end] if name in long else x for name, x in inputs.items()}


def cuts_of(drawn: Drawn, steps: int) -> list[tuple[int, int]]:
    source = random.Random(drawn.seed)
    cuts = sorted({0, steps, *(source.randrange(steps + 1) for _ in range(3))})
    return list(pairwise(cuts))


def by_windows(
    net: Net,
    inputs: Mapping[str, Tensor],
    cuts: list[tuple[int, int]],
    state: Any = None,
    fresh: Tensor | None = None,
) -> tuple[Tensors, Any]:
    """Run a net window by window; return the values of the long layers, joined, and the last state."""
    pieces: dict[str, list[Tensor]] = {}
    for begin, end in cuts:
        marks = None if fresh is None else fresh[begin:end]
        values, state = net(window(net, inputs, begin, end), state, fresh=marks)
        for name in long_names(net) & values.keys():
            pieces.setdefault(name, []).append(values[name])
    return {name: torch.cat(piece) for name, piece in pieces.items()}, state


def only_long(net: Net, values: Mapping[str, Tensor]) -> Tensors:
    long = long_names(net)
    return {name: x for name, x in values.items() if name in long}


@among(0.3)
@given(nets())
def test_a_scheduled_net_equals_its_unrolled_graph_in_values_loss_and_gradients(drawn: Drawn) -> None:
    net = make(drawn)
    inputs = inputs_of(drawn, net)
    values, _ = net(inputs)
    wanted = reference(net, inputs)
    assert values.keys() - net.wiring.texts == wanted.keys()
    assert_near({name: values[name] for name in wanted}, wanted)
    project, leaves = Projection(wanted), leaves_of(net, inputs)
    found = project(values, None)
    if net.has_loss:
        score, _ = net.judge(inputs)
        assert_near(score.total, total_loss(net, wanted))
        found = found + score.total
    graph = gradients(project(wanted, None) + total_loss(net, wanted), leaves)
    assert_near(gradients(found, leaves), graph)


@among(0.15)
@given(nets("streaming"))
def test_a_net_that_streams_gives_the_same_whole_in_windows_and_step_by_step(drawn: Drawn) -> None:
    net = make(drawn)
    inputs = inputs_of(drawn, net)
    T = drawn.count(net.wiring.output)
    values, state = net(inputs)
    project, leaves = Projection(only_long(net, values)), leaves_of(net, inputs)
    parts, last = by_windows(net, inputs, cuts_of(drawn, T))
    assert_near(parts, only_long(net, values))
    assert_same_state(last, state)
    assert_near(gradients(project(parts, None), leaves), gradients(project(values, None), leaves))
    from_start, _ = by_windows(net, inputs, cuts_of(drawn, T), net.initial_state(drawn.lanes))
    assert_near(from_start, only_long(net, values))
    net.engine = "naive"
    naive, naive_state = net(inputs)
    steps, step_state = by_windows(net, inputs, [(t, t + 1) for t in range(T)])
    assert all(torch.equal(steps[name], naive[name]) for name in steps)
    assert_equal_state(step_state, naive_state)
    assert_near(naive, values)
    assert_same_state(naive_state, state)
    assert_near(gradients(project(naive, None), leaves), gradients(project(values, None), leaves))


@among(0.1)
@given(nets("streaming"))
def test_a_single_step_is_a_window_of_one_step_to_the_bit(drawn: Drawn) -> None:
    net = make(drawn)
    net.engine = "naive"
    inputs = inputs_of(drawn, net)
    feeding = set(inputs) - set(net.target_names)
    if len(feeding) == 1 and long_names(net) >= feeding:
        x = inputs[feeding.pop()]
        wanted, last = net(x)
        state = net.initial_state(drawn.lanes)
        for t in range(len(x)):
            y, state = net.step(x[t], state)
            assert torch.equal(y, wanted[t])
        assert_equal_state(state, last)


@among(0.12)
@given(nets("streaming", last=False), st.integers(1, 6))
def test_marks_give_each_document_what_it_has_in_a_lane_of_its_own(drawn: Drawn, tenths: int) -> None:
    net = make(drawn)
    inputs = inputs_of(drawn, net)
    T, B = drawn.count(net.wiring.output), drawn.lanes
    fresh = torch.rand(T, B, generator=torch.Generator().manual_seed(drawn.seed)) < tenths / 10
    fresh[0] = True
    start = map_state(lambda x: torch.randn_like(x) if x.is_floating_point() else x, net.initial_state(B))
    values, state = net(inputs, start, fresh=fresh)
    project, leaves, long = Projection(only_long(net, values)), leaves_of(net, inputs), long_names(net)
    total = torch.zeros((), dtype=torch.float64)
    for b in range(B):
        starts = [t for t in range(T) if fresh[t, b]]
        for begin, end in zip(starts, [*starts[1:], T], strict=True):
            document = {name: x[:, b : b + 1] for name, x in window(net, inputs, begin, end).items()}
            alone = reference(net, document)
            for name in long & alone.keys():
                assert_near(values[name][begin:end, b : b + 1], alone[name])
            total = total + total_loss(net, alone)
            total = total + project(alone, lambda n, w, at=slice(begin, end), b=b: w[at, b : b + 1])
        _, end_state = net(document)
        assert_ends_alike(net, state, b, end_state, end - begin)
    assert_near(project(values, None) + total_loss(net, values), total)
    assert_near(gradients(project(values, None) + total_loss(net, values), leaves), gradients(total, leaves))
    parts, last = by_windows(net, inputs, cuts_of(drawn, T), start, fresh)
    assert_near(parts, only_long(net, values))
    assert_same_state(last, state)
    net.engine = "naive"
    naive, naive_state = net(inputs, start, fresh=fresh)
    assert_near(naive, values)
    assert_same_state(naive_state, state)


def assert_ends_alike(net: Net, state: Any, lane: int, alone: Any, age: int) -> None:
    """Compare one lane's state with that of a lane alone, but for what it read before it started anew."""
    for key, wanted in named_tensors(alone).items():
        found = named_tensors(state)[key][lane : lane + 1]
        kept = min(age, net.wiring.shifted[key].shift) if key in net.wiring.shifted else None
        assert_near(*((x if kept is None else x[:, x.shape[1] - kept :]) for x in (found, wanted)))


def random_lengths(drawn: Drawn, net: Net, inputs: Mapping[str, Tensor], least: int) -> Lengths:
    """Return lengths from ``least`` on for each length by name that the inputs have."""
    source = torch.Generator().manual_seed(drawn.seed)
    present = {net.wiring.data_length(name) for name in inputs} - {1}
    return {
        name: torch.randint(least, drawn.counts[name] + 1, (drawn.lanes,), generator=source)
        for name in sorted(present, key=str)
    }


class Lanes:
    """How to cut each lane's real steps out of a net's values."""

    def __init__(self, net: Net, lengths: Lengths) -> None:
        self.net, self.lengths = net, lengths

    def stop(self, name: str, lane: int) -> int:
        length = self.net.wiring.data_length(name)
        return int(self.lengths[length][lane]) if length in self.lengths else 1

    def cut(self, name: str, x: Tensor, lane: int) -> Tensor:
        return x[: self.stop(name, lane), lane : lane + 1]


@among(0.16)
@given(nets(named_only=True), st.sampled_from(["auto", "naive"]))
def test_a_padded_lane_is_that_lane_run_alone_at_its_own_length(drawn: Drawn, engine: str) -> None:
    net = make(drawn)
    net.engine = engine
    inputs = inputs_of(drawn, net)
    lengths = random_lengths(drawn, net, inputs, least=1)
    values, state = net(inputs, lengths=lengths)
    lanes, project, leaves = Lanes(net, lengths), Projection(values), leaves_of(net, inputs)
    padded = alone = losses = torch.zeros((), dtype=torch.float64)
    for b in range(drawn.lanes):
        found, alone_state = net({name: lanes.cut(name, x, b) for name, x in inputs.items()})
        for name, x in found.items():
            assert_near(lanes.cut(name, values[name], b), x)
        real = {name: lanes.cut(name, x, b) for name, x in values.items()}
        padded = padded + project(real, lambda name, w, b=b: lanes.cut(name, w, b))
        alone = alone + project(found, lambda name, w, b=b: lanes.cut(name, w, b))
        losses = losses + total_loss(net, found)
        if not net.is_whole:
            assert_same_state(map_state(lambda x, b=b: x[b : b + 1], state), alone_state)
    assert_near(gradients(padded, leaves), gradients(alone, leaves))
    if net.has_loss:
        score, _ = net.judge(inputs, lengths=lengths)
        assert_near(score.total, losses)
        assert_near(gradients(score.total, leaves), gradients(losses, leaves))


@among(0.1)
@given(nets(named_only=True), st.sampled_from(["auto", "naive"]))
def test_what_is_in_the_padding_changes_nothing_in_empty_lanes_too(drawn: Drawn, engine: str) -> None:
    net = make(drawn)
    net.engine = engine
    inputs, other = inputs_of(drawn, net), inputs_of(drawn._replace(seed=drawn.seed + 1), net)
    lengths = random_lengths(drawn, net, inputs, least=0)
    lanes = Lanes(net, lengths)
    for name, x in other.items():
        for b in range(drawn.lanes):
            stop = lanes.stop(name, b)
            x.data[:stop, b] = inputs[name].data[:stop, b]
    results = []
    for given_ in (inputs, other):
        values, state = net(given_, lengths=lengths)
        real = [lanes.cut(name, values[name], b) for name in values for b in range(drawn.lanes)]
        score = net.judge(given_, lengths=lengths)[0] if net.has_loss else None
        total = sum(x.sum() for x in real if x.is_floating_point()) if score is None else score.total
        learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
        counts = () if score is None else (score.count, int(score.correct), score.sequences)
        parts = {} if net.is_whole else named_tensors(state)
        results.append((real, counts, parts, total, gradients(total, learned)))
    assert_near(results[1], results[0])


@among(0.1)
@given(nets("decoder"), st.booleans())
def test_a_decoder_goes_on_from_start_in_windows_and_steps_as_in_the_whole(drawn: Drawn, some: bool) -> None:
    net = make(drawn)
    inputs = inputs_of(drawn, net)
    T, long = drawn.count(net.wiring.output), long_names(net)
    before = {name: x for name, x in inputs.items() if name not in long}
    after = {name: x for name, x in inputs.items() if name in long}
    lengths = None
    if some and "source" in net.wiring.lengths.values():
        n = drawn.counts["source"]
        lengths = {"source": torch.randint(n + 1, (drawn.lanes,), generator=torch.Generator().manual_seed(1))}
    values, _ = net(inputs, lengths=lengths)
    project, leaves = Projection(only_long(net, values)), leaves_of(net, inputs)
    for engine in ("auto", "naive"):
        net.engine = engine
        for cuts in (cuts_of(drawn, T), [(t, t + 1) for t in range(T)]):
            parts, _ = by_windows(net, after, cuts, net.start(before, lengths=lengths))
            assert_near(parts, only_long(net, values))
            assert_near(gradients(project(parts, None), leaves), gradients(project(values, None), leaves))


@among(0.05)
@given(nets("streaming", dropout=True))
def test_in_training_the_engine_changes_no_mask(drawn: Drawn) -> None:
    net = make(drawn, training=True)
    inputs = inputs_of(drawn, net)
    found = []
    for engine in ("auto", "naive"):
        net.engine = engine
        net.dropout_generator = torch.Generator().manual_seed(7)
        found.append(net(inputs))
    (values, state), (naive, naive_state) = found
    assert_near(naive, values)
    assert_same_state(naive_state, state)


@among(0.07)
@given(nets(shared=True))
def test_weights_go_out_and_back_each_shared_parameter_once(drawn: Drawn) -> None:
    net, twin = make(drawn), make(drawn._replace(seed=drawn.seed + 1))
    inputs = inputs_of(drawn, net)
    weights = net.weights()
    assert len(weights) == len(list(net.parameters()))
    assert sum(weight.numel() for weight in weights.values()) == sum(p.numel() for p in net.parameters())
    twin.load_weights(weights)
    values, found = net(inputs)[0], twin(inputs)[0]
    assert all(torch.equal(found[name], values[name]) for name in values)


@among(0.07)
@given(nets(shared=True))
def test_the_gradient_of_a_shared_parameter_is_the_sum_over_its_uses(drawn: Drawn) -> None:
    net = make(drawn)
    inputs = inputs_of(drawn, net)
    layers = (replace(layer, params=()) for layer in drawn.spec)
    apart = make(drawn._replace(spec=Spec(tuple(layers))))
    uses = []
    with torch.no_grad():
        for name, layer in apart.layers.named().items():
            for role, parameter in layer.named_parameters():
                one = net.layers[name].get_parameter(role)
                parameter.copy_(one)
                uses.append((one, parameter))
    values = net(inputs)[0]
    project = Projection(values)
    shared = [parameter for parameter in net.parameters() if parameter.requires_grad]
    free = [parameter for _, parameter in uses if parameter.requires_grad]
    if shared:
        found = dict(zip(map(id, free), gradients(project(apart(inputs)[0], None), free), strict=True))
        for one, gradient in zip(shared, gradients(project(values, None), shared), strict=True):
            parts = [found[id(mine)] for whole, mine in uses if whole is one]
            assert_near(torch.stack(parts).sum(0), gradient)


@among(0.06)
@given(nets())
def test_a_net_in_another_phase_has_the_same_weights(drawn: Drawn) -> None:
    judges = [layer.name for layer in drawn.spec if "loss" in layer.type]
    layers = tuple(
        replace(layer, exclude=("test",)) if layer.name in judges else layer for layer in drawn.spec
    )
    net = make(drawn._replace(spec=Spec(layers)))
    other = net.in_phase("test")
    assert {id(p) for p in other.parameters()} <= {id(p) for p in net.parameters()}
    inputs = inputs_of(drawn, net)
    if drawn.spec.length_of(drawn.spec[other.wiring.output]) in (None, "source"):
        values, found = net(inputs)[0], other({n: inputs[n] for n in other.input_names})[0]
        assert found.keys() == values.keys() - set(judges)
        assert_near(found, {name: values[name] for name in found})


def test_every_kind_of_layer_edge_and_cell_is_drawn_often() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=300, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(nets())
    def count(drawn: Drawn) -> None:
        seen.update(features(drawn))

    count()
    rare = {feature: seen[feature] for feature in WANTED if seen[feature] < 5}
    assert not rare
