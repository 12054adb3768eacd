"""The sampling loop against the engine that trains, to the bit, and a lane's bits in any company."""

from __future__ import annotations

import ctypes
import runpy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import unrolled
from unrolled.cells import BUILT_IN, named_tensors
from unrolled.engines.native import compiler, sampler
from unrolled.engines.native.generation import WEIGHTS, sampling_source
from unrolled.engines.native.sampler import Lane, Pace, Packed, Straight, why_not
from unrolled.engines.native.tracing import trace
from unrolled.sample import Choice, draw

pytestmark = pytest.mark.skipif(
    not any(compiler.shutil.which(name) for name in compiler.COMPILERS),
    reason="there is no C++ compiler here",
)
GATED = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "gated.py"))


class Pair(NamedTuple):
    h: Tensor
    c: Tensor


class Rectified(unrolled.GatedCell):
    """Two gates and a relu."""

    gates = ("n", "z")

    @staticmethod
    def next_state(n: Any, z: Any, state: Any) -> Any:
        keep = torch.sigmoid(z)
        return keep * state + (1 - keep) * torch.relu(n)


class Five(unrolled.GatedCell):
    """Five gates, two of them split, two fields, peepholes, and a start that is learned."""

    gates = ("i", "f", "g", "o", "r")
    split = ("r", "g")
    vectors = ("p", "q")
    State = Pair

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.start = torch.nn.Parameter(torch.randn(2, hidden_size))

    def initial_state(self, lanes: int) -> Pair:
        h, c = (part.expand(lanes, -1) for part in self.start)
        return Pair(h, c)

    @staticmethod
    def next_state(
        i: Any, f: Any, g_x: Any, g_h: Any, o: Any, r_x: Any, r_h: Any, p: Any, q: Any, state: Pair
    ) -> Pair:
        inside = torch.nn.functional.gelu(g_x + torch.relu(r_x - r_h) * g_h)
        c = torch.sigmoid(f + p * state.c) * state.c + torch.sigmoid(i) * inside
        h = torch.sigmoid(o + q * c) * torch.tanh(c)
        return Pair(torch.where(h > 0.1, h, 0.5 * h + 0.1 * state.h), c)


class Peephole(unrolled.GatedCell):
    """Three gates that see the cell."""

    gates = ("i", "f", "g")
    vectors = ("p_i", "p_f")
    State = Pair

    @staticmethod
    def next_state(i: Any, f: Any, g: Any, p_i: Any, p_f: Any, state: Pair) -> Pair:
        c = torch.sigmoid(f + p_f * state.c) * state.c + torch.sigmoid(i + p_i * state.c) * torch.tanh(g)
        return Pair(torch.tanh(c), c)


class Identity(unrolled.GatedCell):
    """y = x W + b, in the engine's order: what an output layer must equal."""

    gates = ("a",)

    @staticmethod
    def next_state(a: Any, state: Any) -> Any:
        return a


KINDS: dict[str, Any] = {
    **BUILT_IN,
    "coupled": GATED["Coupled"],
    "rectified": Rectified,
    "five": Five,
    "peephole": Peephole,
}


@pytest.fixture(autouse=True, scope="module")
def scratch_full_of_nan() -> Iterator[None]:
    def room(*shape: int) -> Tensor:
        return torch.full(shape, torch.nan, dtype=torch.float32)

    take = sampler.Store.take
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "room", room)
        patch.setattr(sampler.Store, "take", lambda store, size: take(store, size).fill_(torch.nan))
        yield


def make(kinds: Sequence[Any], widths: Sequence[int], V: int, E: int = 0, bias: bool = True) -> Straight:
    """A net with random weights; E = 0 reads ids one-hot."""
    sizes = [E or V, *widths]
    cells = tuple(kind(*size) for kind, *size in zip(kinds, sizes[:-1], sizes[1:], strict=True))
    output = torch.randn(V, sizes[-1]).t() / sizes[-1] ** 0.5
    embedding = torch.randn(V, E) if E else None
    return Straight(cells, output, torch.randn(V) if bias else None, embedding, None)


def whole(straight: Straight, ids: Tensor, fresh: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return logits [T, B, V] and the last states [B, S], by the native engine, all steps at once."""
    x = ids
    if straight.embedding is not None:
        x = torch.where((ids >= 0)[..., None], straight.embedding[ids.clamp(min=0)], 0.0)
    states = []
    output = Identity(*straight.output.shape)
    with torch.no_grad():
        for cell in straight.cells:
            x, state = unrolled.unroll(cell, x, fresh=fresh, engine="native")
            states += named_tensors(state).values()
        for name, weight in (("x_to_a", straight.output), ("bias_a", straight.output_bias)):
            output.get_parameter(name).copy_(torch.zeros(()) if weight is None else weight)
        output.h_to_gates.zero_()
        return unrolled.unroll(output, x, engine="native")[0], torch.cat(states, -1)


def lane(packed: Packed, ids: Any, every: bool = True, **more: Any) -> Lane:
    shape = (len(ids) + 1, packed.num_ids) if every else (packed.num_ids,)
    fed = np.array([int(id_) for id_ in ids], np.int64)
    return Lane(packed.initial.copy(), fed, np.full(shape, np.nan, np.float32), **more)


def logits_of(lanes: Sequence[Lane]) -> Tensor:
    return torch.from_numpy(np.stack([each.logits[1:] for each in lanes], 1))


def states_of(lanes: Sequence[Lane]) -> Tensor:
    return torch.from_numpy(np.stack([each.state for each in lanes]))


@pytest.mark.parametrize("H", [1, 3, 17, 64, 100])
@pytest.mark.parametrize("name", KINDS)
def test_equals_the_engine_that_trains_to_the_bit(name: str, H: int) -> None:
    torch.manual_seed(H)
    for E in (0, 5):
        straight = make([KINDS[name]] * 2, [H, H + 2], V=37, E=E, bias=H != 3)
        assert why_not(straight) is None
        packed, ids = Packed(straight), torch.randint(-1, 37, (9, 7))
        lanes = [lane(packed, ids[:, b]) for b in range(7)]
        packed.run(lanes)
        logits, states = whole(straight, ids)
        assert torch.equal(logits_of(lanes), logits)
        assert torch.equal(states_of(lanes), states)


MIXED: list[tuple[list[str], list[int], int, int]] = [
    (["lstm"], [33], 150, 0),
    (["five", "gru"], [40, 17], 5, 3),
    (["rnn", "peephole", "five"], [70, 1, 129], 200, 11),
    (["gru", "coupled", "lstm"], [16, 48, 31], 16, 0),
]


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize(("names", "widths", "V", "E"), MIXED)
def test_layers_of_unequal_widths_and_different_cells_equal_it_too(
    names: list[str], widths: list[int], V: int, E: int, folded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not folded:
        monkeypatch.setattr(sampler, "_FOLDED", 0)
    torch.manual_seed(V)
    straight = make([KINDS[name] for name in names], widths, V, E)
    packed, ids = Packed(straight), torch.randint(-1, V, (8, 13))
    lanes = [lane(packed, ids[:, b]) for b in range(13)]
    packed.run(lanes)
    logits, states = whole(straight, ids)
    assert torch.equal(logits_of(lanes), logits)
    assert torch.equal(states_of(lanes), states)


@pytest.fixture(scope="module", params=WEIGHTS)
def mixed(request: pytest.FixtureRequest) -> Packed:
    torch.manual_seed(1)
    kinds = [KINDS["five"], KINDS["gru"]]
    return Packed(make(kinds, [40, 19], V=23, E=3), request.param)


Step = tuple[list[int], bool]


@settings(max_examples=350)
@given(st.data())
def test_a_lane_has_the_same_bits_in_any_company(mixed: Packed, data: st.DataObject) -> None:
    """Any lanes of any lengths side by side, cut into any blocks, on any number of threads."""
    seed = data.draw(st.integers(0, 10**6))
    many = np.random.default_rng(seed)
    counts = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=20))
    draws = [bool(many.integers(2)) for _ in counts]
    choices = [
        (float(many.choice([0.0, 0.5, 1.0, 3.0])), int(many.choice([0, 5])), 0.9, 0.01) for _ in counts
    ]
    ids = [many.integers(-1, 23, n) for n in counts]
    uniforms = [many.random(n) for n in counts]
    first = many.normal(size=(len(counts), 23)).astype(np.float32)
    boundary = np.array([3, 4], np.int64) if many.integers(2) else None

    def lanes(cut: slice, standing: list[Lane] | None = None) -> list[Lane]:
        found = []
        for n in range(len(counts)):
            numbers = uniforms[n][cut].copy() if draws[n] else None
            new = lane(mixed, ids[n][cut], uniforms=numbers, choice=choices[n])
            new.logits[0] = first[n]
            if standing is not None:
                new.state, new.tail = standing[n].state.copy(), list(standing[n].tail)
                new.logits[0] = standing[n].logits[-1]
            found.append(new)
        return found

    alone = lanes(slice(None))
    for each in alone:
        mixed.run([each], boundary, threads=1)
    cut = data.draw(st.integers(0, 12))
    threads = data.draw(st.integers(1, 4))
    before = lanes(slice(cut))
    mixed.run(before, boundary, threads)
    after = lanes(slice(cut, None), before)
    mixed.run(after, boundary, threads)
    for one, two, three in zip(alone, before, after, strict=True):
        assert np.array_equal(one.ids, np.concatenate([two.ids, three.ids]))
        assert np.array_equal(one.logits[1:], np.concatenate([two.logits[1:], three.logits[1:]]))
        assert np.array_equal(one.state, three.state) and one.tail == three.tail


def test_more_threads_than_cores_come_to_an_end(mixed: Packed) -> None:
    one, many = (lane(mixed, range(20)) for _ in range(2))
    mixed.run([one], threads=1)
    mixed.run([many], threads=16)
    assert np.array_equal(one.logits[1:], many.logits[1:])


def test_the_number_of_threads_is_what_was_faster_of_late() -> None:
    pace, seconds = Pace(2), {1: 3.0, 2: 2.0}

    def calls(count: int) -> list[int]:
        chosen = []
        for _ in range(count):
            chosen.append(pace.choose())
            pace.note(chosen[-1], 2, seconds[chosen[-1]])
        return chosen

    assert calls(2) == [2, 1]
    assert calls(100).count(2) == 98
    seconds[2] = 9.0
    late = calls(200)
    assert late[-40:].count(1) >= 39 and late.count(2) < 20


def test_many_lanes_walked_apart_have_the_bits_of_few() -> None:
    torch.manual_seed(3)
    packed = Packed(make([KINDS["lstm"]] * 2, [33, 50], V=150))
    ids = torch.randint(0, 150, (5, 64))
    for threads in (1, 2, 3):
        lanes = [lane(packed, ids[:, b]) for b in range(64)]
        packed.run(lanes, threads=threads)
        alone = [lane(packed, ids[:, b]) for b in range(64)]
        for each in alone:
            packed.run([each], threads=threads)
        assert torch.equal(logits_of(lanes), logits_of(alone))
        assert torch.equal(states_of(lanes), states_of(alone))


def test_marks_and_boundaries_start_a_state_anew() -> None:
    torch.manual_seed(4)
    straight = make([KINDS["five"], KINDS["gru"]], [17, 30], V=6)
    packed = Packed(straight)
    ids = torch.randint(0, 2, (60, 3))
    fresh = torch.zeros(60, 3, dtype=torch.bool)
    for b in range(3):
        tail: list[int] = []
        for t in range(60):
            fresh[t, b] = tail == [0, 1, 0]
            tail = [*([] if fresh[t, b] else tail), int(ids[t, b])][-3:]
    assert fresh.any(0).all()
    wanted, _ = whole(straight, ids, fresh)
    by_boundary = [lane(packed, ids[:, b]) for b in range(3)]
    packed.run(by_boundary, np.array([0, 1, 0], np.int64))
    by_marks = [lane(packed, ids[:, b], fresh=fresh[:, b].numpy().copy()) for b in range(3)]
    packed.run(by_marks)
    assert torch.equal(logits_of(by_boundary), wanted)
    assert torch.equal(logits_of(by_marks), wanted)


def test_the_last_logits_alone_are_those_of_all() -> None:
    torch.manual_seed(5)
    packed = Packed(make([KINDS["gru"]], [20], V=9))
    every, last = lane(packed, range(8)), lane(packed, range(8), every=False)
    packed.run([every, last])
    assert np.array_equal(last.logits, every.logits[-1])


def test_weights_that_change_later_do_not_reach_what_was_packed() -> None:
    torch.manual_seed(6)
    straight = make([KINDS["lstm"]] * 2, [20, 8], V=9, E=4)
    packed = Packed(straight)
    before, after = (lane(packed, range(8)) for _ in range(2))
    packed.run([before])
    with torch.no_grad():
        for cell in straight.cells:
            for weight in cell.parameters():
                weight.zero_()
        straight.output.zero_()
    packed.run([after])
    assert np.array_equal(before.logits[1:], after.logits[1:])


# --- the draw ---------------------------------------------------------------------------------------


def draw_one(logits: np.ndarray, uniform: float, choice: Choice) -> int:
    library = sampler._library((unrolled.RNN,), (unrolled.RNN.next_state,), "float32")
    row = sampler._Row(temperature=choice.temperature, top_k=choice.top_k, top_p=choice.top_p)
    row.min_p = choice.min_p
    room = np.full(6 * len(logits) + 400, np.nan)
    address = ctypes.c_void_p(logits.ctypes.data)
    found: int = library.draw_one(
        ctypes.byref(row), address, ctypes.c_double(uniform), len(logits), ctypes.c_void_p(room.ctypes.data)
    )
    return found


@settings(max_examples=600)
@given(
    st.integers(0, 10**6),
    st.integers(1, 130),
    st.sampled_from([0.01, 1.0, 30.0, 3e4]),
    st.floats(0, float(np.nextafter(1.0, 0.0))),
    st.sampled_from([0.0, 1e-320, 1e-3, 0.7, 1.0, 50.0]),
    st.sampled_from([0, 1, 7, 200]),
    st.sampled_from([1e-9, 0.3, 0.95, 1.0]),
    st.sampled_from([0.0, 0.05, 1.0]),
)
def test_the_compiled_draw_is_draw(
    seed: int, V: int, spread: float, uniform: float, temperature: float, k: int, p: float, m: float
) -> None:
    logits = (np.random.default_rng(seed).normal(size=V) * spread).astype(np.float32)
    choice = Choice(temperature, k, p, m)
    found, wanted = draw_one(logits, uniform, choice), draw(logits.astype(np.float64), uniform, choice)
    if found != wanted:  # only where the number hits a border to the last bits
        near = {draw(logits.astype(np.float64), uniform * (1 + e), choice) for e in (-1e-13, 1e-13)}
        assert found in near


def test_equal_logits_and_extreme_ones_are_drawn_as_draw_does() -> None:
    for logits in ([0.0] * 7, [5.0, 5.0, 1.0, 5.0], [-1e30, 0.0, 1.0, -1e30], [3e38, -3e38], [0.0]):
        numbers = np.array(logits, np.float32)
        for uniform in (0.0, 0.2499, 0.5, float(np.nextafter(1.0, 0.0))):
            for choice in (Choice(), Choice(0), Choice(2.0, 2), Choice(1.0, 0, 0.5), Choice(1, 0, 1, 1.0)):
                assert draw_one(numbers, uniform, choice) == draw(numbers.astype(float), uniform, choice)


def test_what_is_no_number_is_drawn_without_harm() -> None:
    for odd in (np.nan, np.inf, -np.inf):
        numbers = np.array([0.0, odd, 1.0, odd], np.float32)
        for choice in (Choice(), Choice(0), Choice(1, 2), Choice(1, 0, 0.5, 0.1)):
            assert 0 <= draw_one(numbers, 0.7, choice) < 4


def test_a_top_k_beyond_all_numbers_of_64_bits_keeps_every_id(mixed: Packed) -> None:
    taken = []
    for top_k in (0, 2**64 + 1):
        lane = sampler.Lane(
            mixed.initial.copy(), np.zeros(50, np.int64), np.zeros((51, mixed.num_ids), np.float32),
            np.random.default_rng(2).random(50), (2.0, top_k, 1.0, 0.0),
        )  # fmt: skip
        mixed.run([lane])
        taken.append(lane.ids.tolist())
    assert taken[0] == taken[1] and len(set(taken[0])) > 2


# --- fewer bits -------------------------------------------------------------------------------------


def rounded(weights: Tensor, how: str) -> Tensor:
    """Return weights [K, N] as they are kept: in bf16, or as whole numbers with a scale a column."""
    if how == "bf16":
        return weights.bfloat16().double()
    scale = weights.abs().amax(0) / 127
    whole_numbers = (weights * (127 / weights.abs().amax(0))).round()
    return whole_numbers.double() * scale.double()


def rounded_row(h: Tensor, how: str) -> Tensor:
    """Return a row as the product sees it."""
    if how == "bf16":
        return h.double()
    largest = h.abs().max()
    if largest == 0:
        return h.double()
    return (h * (127 / largest)).round().double() * (largest / 127).double()


@pytest.mark.parametrize("how", ["bf16", "int8"])
def test_fewer_bits_are_what_they_are_said_to_be(how: str) -> None:
    """One step from a random state, in float64 from rounded weights and, in int8, rounded rows."""
    torch.manual_seed(7)
    straight = make([KINDS["five"], KINDS["gru"]], [37, 50], V=20)
    packed = Packed(straight, how)
    ours = lane(packed, [4])
    ours.state[:] = np.random.default_rng(1).normal(size=len(ours.state)) * 3
    given_state = torch.from_numpy(ours.state.copy())
    packed.run([ours])
    x, at, found = None, 0, []
    for cell in straight.cells:
        H, fields = cell.hidden_size, len(named_tensors(cell.initial_state(1)))
        state = [part[None].double() for part in given_state[at : at + fields * H].view(fields, H)]
        at += fields * H
        W = cell.x_to_gates.detach()
        bias = cell.bias.detach().double()
        from_x = W[4].double() + bias if x is None else rounded_row(x, how) @ rounded(W, how) + bias
        from_h = rounded_row(state[0][0].float(), how) @ rounded(cell.h_to_gates.detach(), how)
        with torch.no_grad():
            exact = type(cell)(cell.input_size, H).double()
            exact.load_state_dict(cell.state_dict())
            slices = exact.join(from_x[None], from_h[None])
            before: Any = state[0] if cell.State is None else cell.State(*state)
            after = exact.next_state(*slices, *exact.vector_parameters, before)
        found += named_tensors(after).values()
        x = (after if cell.State is None else after[0])[0].float()
    wanted = torch.cat([part[0] for part in found])
    torch.testing.assert_close(torch.from_numpy(ours.state).double(), wanted, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(("how", "bound"), [("bf16", 1e-3), ("int8", 6e-3)])
def test_fewer_bits_cost_little_in_the_logits(how: str, bound: float) -> None:
    torch.manual_seed(8)
    straight = make([KINDS["five"], KINDS["gru"]], [128, 100], V=96, E=128)
    ids = torch.randint(0, 96, (40, 3))
    packed = Packed(straight, how)
    lanes = [lane(packed, ids[:, b]) for b in range(3)]
    packed.run(lanes)
    logits, _ = whole(straight, ids)
    error = (logits_of(lanes) - logits).abs().max()
    assert 1e-6 < error < bound


def test_a_row_of_zeros_and_a_row_of_large_numbers_have_a_scale_of_their_own() -> None:
    torch.manual_seed(9)
    packed = Packed(make([KINDS["five"], KINDS["gru"]], [24, 9], V=5), "int8")
    alone = [lane(packed, [1, 2]) for _ in range(3)]
    for each, size in zip(alone, (0.0, 1.0, 1e4), strict=True):
        each.state[:] = size * np.random.default_rng(2).random(len(each.state))
    together = [Lane(each.state.copy(), each.ids, each.logits.copy()) for each in alone]
    packed.run(together)
    for each in alone:
        packed.run([each])
    assert torch.equal(logits_of(alone), logits_of(together))
    assert np.isfinite(together[2].logits[1:]).all()


# --- other processors -------------------------------------------------------------------------------

WAYS = {"avx2": ["-mavx2", "-mfma", "-fopenmp"], "portable": ["-fopenmp"]}


def has(feature: str) -> bool:
    return feature in compiler.processor().split()


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("way", WAYS)
def test_other_processors_compute_the_same(way: str, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fused multiply-adds to the bit; without them within rounding."""
    if way == "avx2" and not (has("avx2") and has("fma")):
        pytest.skip("this processor has no AVX2")
    torch.manual_seed(10)
    straight = make([KINDS["five"], KINDS["gru"]], [40, 19], V=23, E=3)
    ids = np.random.default_rng(3).integers(-1, 23, (9, 5))
    found = []
    build = sampler.build
    for ways in ([["-march=native", "-fopenmp"]], [WAYS[way]]):
        monkeypatch.setattr(sampler, "build", lambda source, ways=ways: build(source, ways))
        sampler._library.cache_clear()
        packed = Packed(straight, weights)
        lanes = [lane(packed, ids[:, b]) for b in range(5)]
        packed.run(lanes)
        found.append(logits_of(lanes))
    sampler._library.cache_clear()
    if way == "avx2" and has("avx512f"):
        assert torch.equal(*found)
    else:
        torch.testing.assert_close(*found, rtol=0, atol=1e-5 if weights != "int8" else 5e-3)


def test_a_net_that_does_not_fit_has_a_reason() -> None:
    class Own(unrolled.RNN):
        def step(self, x: Tensor, state: Any) -> Any:
            return super().step(x, state)

    assert "a step of its own" in str(why_not(make([Own], [3], V=4)))
    double = make([unrolled.RNN], [3], V=4)
    double.cells[0].double()
    assert "float64" in str(why_not(double))
    assert "at most 64 layers" in str(why_not(make([unrolled.RNN] * 65, [2] * 65, V=4)))
    with torch.inference_mode():
        assert "inference mode" in str(why_not(make([unrolled.RNN], [3], V=4)))


def test_the_source_of_a_net_is_the_same_each_time() -> None:
    kinds = [unrolled.LSTM, unrolled.GRU]
    one, two = (sampling_source(kinds, [trace(kind) for kind in kinds], "int8") for _ in range(2))
    assert one == two
