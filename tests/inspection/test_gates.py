from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from unrolled.inspection.gates import saturation
from unrolled.inspection.recording import Recording, record
from unrolled.net import Net

MakeNet = Callable[..., Net]
T = 50


@pytest.fixture
def recorded(make_net: MakeNet) -> Recording:
    return record(make_net("gru"), np.random.default_rng(0).integers(0, 12, T))


def test_sigmoid_gates_alone_are_counted_layer_by_layer(recorded: Recording) -> None:
    found = saturation(recorded)
    assert [(gate.layer, gate.gate) for gate in found] == [
        ("gru1", "r"),
        ("gru1", "z"),
        ("gru2", "r"),
        ("gru2", "z"),
    ]
    for gate in found:
        values = recorded.series[f"{gate.layer}.{gate.gate}"]
        assert gate.counts.sum() == values.size == T * 7
        assert np.array_equal(gate.counts, np.histogram(values, gate.edges)[0])
        assert gate.open.shape == gate.closed.shape == (7,)


def test_units_that_are_open_or_closed_in_more_than_nine_steps_of_ten_are_always_so(
    recorded: Recording,
) -> None:
    values = np.full((T, 7), 0.5, np.float32)
    values[:, 0] = 1
    values[: T * 9 // 10 + 1, 1] = 0.91
    values[: T * 9 // 10, 2] = 0.91
    values[:, 3] = 0.09
    values[:, 4] = 0.11
    values[: T // 2, 5] = 0
    [gate] = saturation(
        replace(recorded, series={"gru1.z": values}, activations={"gru1.z": "sigmoid", "gru1.h": "tanh"})
    )
    np.testing.assert_allclose(gate.open, [1, 46 / 50, 45 / 50, 0, 0, 0, 0])
    np.testing.assert_allclose(gate.closed, [0, 0, 0, 1, 0, 0.5, 0])
    assert gate.always_open == 2 / 7
    assert gate.always_closed == 1 / 7
    assert gate.counts[-1] == T
    assert gate.sentence == (
        "gru1, gate z: of 7 units, 2 always open (above 0.9 in more than 90% of steps), "
        "1 always closed (below 0.1)"
    )


def test_a_net_without_sigmoids_has_no_saturation(make_net: MakeNet) -> None:
    assert saturation(record(make_net("rnn"), [1, 2, 3])) == []
