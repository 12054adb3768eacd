"""Recurrent layers inside a model, as users of Theano, TensorFlow and Keras had them: B4, B6, B8 and B9."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from unrolled.cells import LSTM, LSTMState, map_state, named_tensors
from unrolled.net import Edge, Layer, Net, Spec
from unrolled.unrolling import unroll

Make = Callable[[Spec], Net]


def assert_equal_states(ours: Any, theirs: Any, tolerance: float = 0.0) -> None:
    ours, theirs = named_tensors(ours), named_tensors(theirs)
    assert ours.keys() == theirs.keys() and ours
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=tolerance, atol=tolerance)


def feedback(hidden: int = 5) -> Spec:
    """A net with a delay line, an LSTM that reads its net's own output of two steps before, and a loss."""
    return Spec(
        (
            Layer("x", "floats", settings={"size": 3}),
            Layer(
                "lstm",
                "recurrent",
                (Edge("x"), Edge("y", shift=2), Edge("x", shift=3)),
                {"cell": "lstm", "hidden": hidden},
            ),
            Layer("y", "linear", (Edge("lstm"),), {"size": 2}),
            Layer("target", "floats", settings={"size": 2}),
            Layer("loss", "euclidean-loss", (Edge("y"), Edge("target"))),
        )
    )


def straight() -> Spec:
    """Two recurrent layers, one after the other, which fast engines run, and a loss."""
    return Spec(
        (
            Layer("x", "floats", settings={"size": 3}),
            Layer("lstm", "recurrent", (Edge("x"),), {"cell": "lstm", "hidden": 5}),
            Layer("gru", "recurrent", (Edge("lstm"),), {"cell": "gru", "hidden": 4}),
            Layer("y", "linear", (Edge("gru"),), {"size": 2}),
            Layer("target", "floats", settings={"size": 2}),
            Layer("loss", "euclidean-loss", (Edge("y"), Edge("target"))),
        )
    )


both_nets = pytest.mark.parametrize("spec", [straight(), feedback()], ids=["straight", "feedback"])
both_engines = pytest.mark.parametrize("engine", ["naive", "auto"])


def randn(*sizes: int, seed: int = 3) -> Tensor:
    return torch.randn(sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_B4_one_nets_final_state_starts_another_and_learns_from_it(drawn_net: Make) -> None:
    encoder = drawn_net(Spec(straight().layers[:2]))
    decoder = drawn_net(Spec((Layer("z", "floats", settings={"size": 2}),
                              Layer("lstm", "recurrent", (Edge("z"),), {"cell": "lstm", "hidden": 5}),
                              Layer("out", "linear", (Edge("lstm"),), {"size": 6}))))  # fmt: skip
    x, z = randn(7, 4, 3), randn(5, 4, 2, seed=4)
    _, state = encoder(x)
    y, final = decoder(z, state)
    first, second = encoder.cells["lstm"], decoder.cells["lstm"]
    by_hand = LSTMState(torch.zeros(4, 5).double(), torch.zeros(4, 5).double())
    for t in range(7):
        _, by_hand = first.step(x[t], by_hand)
    for t in range(5):
        h, by_hand = second.step(z[t], by_hand)
        wanted = h @ decoder.layers["out"].x_to_y + decoder.layers["out"].bias
        torch.testing.assert_close(y[t], wanted, rtol=1e-12, atol=1e-12)
    assert_equal_states(final["lstm"], by_hand, 1e-12)
    assert not torch.allclose(y[0], decoder(z)[0][0], atol=1e-3)
    gradients = torch.autograd.grad(y.square().sum(), list(first.parameters()))
    assert all(gradient.abs().max() > 1e-6 for gradient in gradients)


def test_B4_within_one_net_the_last_state_of_an_encoder_starts_a_decoder_at_each_lanes_own_end(
    drawn_net: Make,
) -> None:
    layers = (
        Layer("x", "floats", settings={"size": 3}, unroll="source"),
        Layer("encoder", "recurrent", (Edge("x"),), {"cell": "lstm", "hidden": 5}, unroll="source"),
        Layer("z", "floats", settings={"size": 2}, unroll="target"),
        Layer("decoder", "recurrent", (Edge("z"), Edge("encoder", "last")), {"cell": "lstm", "hidden": 5},
              unroll="target"),
    )  # fmt: skip
    net, x, z = drawn_net(Spec(layers)), randn(7, 4, 3), randn(6, 4, 2, seed=4)
    ends, stops = [7, 2, 5, 1], [6, 3, 1, 4]
    lengths: dict[Any, Tensor] = {"source": torch.tensor(ends), "target": torch.tensor(stops)}
    values, _ = net({"x": x, "z": z}, lengths=lengths)
    encoder, decoder = net.cells.values()
    assert isinstance(encoder, LSTM) and isinstance(decoder, LSTM)
    for lane, (end, stop) in enumerate(zip(ends, stops, strict=True)):
        state = encoder.initial_state(1)
        for t in range(end):
            _, state = encoder.step(x[t, lane : lane + 1], state)
        for t in range(stop):
            y, state = decoder.step(z[t, lane : lane + 1], state)
            torch.testing.assert_close(values["decoder"][t, lane], y[0], rtol=1e-12, atol=1e-12)


def test_B6_the_loop_over_time_is_an_operation_whose_speed_is_reported_against_the_naive_loop(
    cli: Callable[..., Any],
) -> None:
    cell, x = LSTM(3, 5).double(), randn(7, 4, 3)
    state, steps = cell.initial_state(4), []
    for items in x:
        y, state = cell.step(items, state)
        steps.append(y)
    assert torch.equal(unroll(cell, x, engine="naive")[0], torch.stack(steps))
    said = cli("bench", "--cells", "lstm", "--sizes", "5x4x7", "--engines", "torch,naive", "--rounds", "1",
               "--device", "cpu", "--json")  # fmt: skip
    assert said.code == 0
    found = json.loads(said.out)
    rows = {(row["work"], row["engine"]): row for row in found["rows"]}
    assert found["base"] == "naive" and len(rows) == 6
    for (work, _), row in rows.items():
        naive = rows[work, "naive"]
        assert row["seconds"] > 0 and row["ratio"] == pytest.approx(naive["seconds"] / row["seconds"])


@both_engines
@both_nets
def test_B8_padded_steps_change_neither_loss_nor_gradients_nor_final_state(
    spec: Spec, engine: str, drawn_net: Make
) -> None:
    net, T, stops = drawn_net(spec), 8, [8, 3, 0, 6, 1]
    net.engine = engine
    x, target, lengths = randn(T, 5, 3), randn(T, 5, 2, seed=4), torch.tensor(stops)
    padding = torch.arange(T)[:, None] >= lengths
    found = []
    for filled in (0.0, 1e3, float("nan")):
        given = {"x": x.clone(), "target": target.clone()}
        for value in given.values():
            value[padding] = filled
        score, state = net.judge(given, lengths=lengths)
        found.append((score, state, torch.autograd.grad(score.total, list(net.parameters()))))
    first = found[0]
    for score, state, gradients in found[1:]:
        assert torch.equal(score.total, first[0].total) and score.count == sum(stops)
        assert_equal_states(state, first[1])
        assert all(torch.equal(a, b) for a, b in zip(gradients, first[2], strict=True))
    alone = torch.zeros((), dtype=torch.float64)
    for lane, stop in enumerate(stops):
        lanes = slice(lane, lane + 1)
        if stop:
            score, state = net.judge({"x": x[:stop, lanes], "target": target[:stop, lanes]})
            alone = alone + score.total
        else:
            state = net.initial_state(1)
        assert_equal_states(map_state(lambda part, at=lanes: part[at], first[1]), state, 1e-12)  # type: ignore[misc]
    torch.testing.assert_close(first[0].total, alone, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(first[2], torch.autograd.grad(alone, list(net.parameters())), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@both_engines
@both_nets
@pytest.mark.parametrize("length", [1, 4, 10])
def test_B9_equal_windows_with_carried_state_give_what_the_unsplit_run_gives(
    length: int, spec: Spec, engine: str, drawn_net: Make
) -> None:
    net = drawn_net(spec)
    net.engine = engine
    x, tolerance = randn(20, 3, 3), 0.0 if engine == "naive" else 1e-12
    whole, last = net({"x": x})
    state, pieces = None, []
    for begin in range(0, 20, length):
        values, state = net({"x": x[begin : begin + length]}, state)
        pieces.append(values["y"])
    torch.testing.assert_close(torch.cat(pieces), whole["y"], rtol=tolerance, atol=tolerance)
    assert_equal_states(state, last, tolerance)


@both_engines
@both_nets
def test_B9_state_resets_between_sequences_in_each_lane_by_itself(
    spec: Spec, engine: str, drawn_net: Make
) -> None:
    net, T, starts = drawn_net(spec), 20, {0: [0, 7, 9], 1: [0], 2: [0, 1, 2, 15], 3: [0, 10, 19]}
    net.engine = engine
    x, fresh = randn(T, 4, 3), torch.zeros(T, 4, dtype=torch.bool)
    for lane, begins in starts.items():
        fresh[begins, lane] = True
    state, pieces = None, []
    for begin in range(0, T, 5):
        at = slice(begin, begin + 5)
        values, state = net({"x": x[at]}, state, fresh=fresh[at])
        pieces.append(values["y"])
    y = torch.cat(pieces)
    torch.testing.assert_close(net({"x": x}, fresh=fresh)[0]["y"], y, rtol=1e-12, atol=1e-12)
    for lane, begins in starts.items():
        lanes = slice(lane, lane + 1)
        for begin, end in zip(begins, [*begins[1:], T], strict=True):
            alone, last = net({"x": x[begin:end, lanes]})
            torch.testing.assert_close(y[begin:end, lanes], alone["y"], rtol=1e-12, atol=1e-12)
        ours = map_state(lambda part, at=lanes: part[at], state)  # type: ignore[misc]
        # A delay line may hold what came before the lane's last start: its age keeps that from being read.
        for name in net.cells:
            assert_equal_states(ours[name], last[name], 1e-12)
        more = randn(4, 1, 3, seed=5)
        after = [net({"x": more}, part)[0]["y"] for part in (ours, last)]
        torch.testing.assert_close(after[0], after[1], rtol=1e-12, atol=1e-12)
