"""Where single parameters begin."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from unrolled.errors import NetError
from unrolled.net import Layer
from unrolled.net.fill import fill

LAYER = Layer("x", "linear")
D, K = 300, 200


def filled(**init: Any) -> torch.Tensor:
    torch.manual_seed(0)
    tensor = torch.full((D, K), torch.nan, dtype=torch.float64)
    fill(tensor, init, LAYER)
    return tensor


@pytest.mark.parametrize(
    ("init", "low", "high"),
    [
        ({"type": "uniform", "low": -0.5, "high": 2}, -0.5, 2.0),
        ({"type": "uniform"}, -1.0, 1.0),
        ({"type": "uniform-fan-in"}, -(D**-0.5), D**-0.5),
        ({"type": "uniform-fan-in-out", "low": 0}, 0.0, math.sqrt(6 / (D + K))),
        ({"type": "xavier"}, -math.sqrt(3 / D), math.sqrt(3 / D)),
        ({"type": "xavier", "variance": "out"}, -math.sqrt(3 / K), math.sqrt(3 / K)),
        ({"type": "xavier", "variance": "average"}, -math.sqrt(6 / (D + K)), math.sqrt(6 / (D + K))),
    ],
)
def test_an_even_draw_fills_its_bounds(init: dict[str, Any], low: float, high: float) -> None:
    # The greatest of 60,000 draws is within 1e-3 of the width of the end but once in e^60 times.
    found, width = filled(**init), high - low
    assert low <= float(found.min()) < low + 1e-3 * width
    assert high - 1e-3 * width < float(found.max()) <= high


@pytest.mark.parametrize(
    ("init", "mean", "std"),
    [
        ({"type": "gaussian", "mean": 3, "std": 0.2}, 3.0, 0.2),
        ({"type": "gaussian-fan-in"}, 0.0, D**-0.5),
        ({"type": "msra"}, 0.0, math.sqrt(2 / D)),
        ({"type": "msra", "variance": "out"}, 0.0, math.sqrt(2 / K)),
    ],
)
def test_a_normal_draw_has_its_mean_and_deviation(init: dict[str, Any], mean: float, std: float) -> None:
    # 60,000 draws: their mean strays by std / 245, their deviation by std / 346; six times that is let pass.
    found = filled(**init)
    assert abs(float(found.mean()) - mean) < 6 * std / 245
    assert abs(float(found.std()) - std) < 6 * std / 346


def test_a_constant_is_itself_everywhere() -> None:
    assert torch.equal(filled(type="constant", value=0.1), torch.full((D, K), 0.1, dtype=torch.float64))


@pytest.mark.parametrize(
    ("init", "words"),
    [
        ({"type": "even"}, "there is no init 'even'; known are constant, uniform"),
        ({}, "there is no init 'None'"),
        ({"type": "constant", "std": 1.0}, "init 'constant' takes value as numbers, came std = 1.0"),
        ({"type": "uniform", "low": True}, "init 'uniform' takes low, high as numbers, came low = True"),
        (
            {"type": "uniform", "low": 2, "high": 1},
            "nothing can be drawn by the init .*low = 2",
        ),
        ({"type": "gaussian", "std": -1}, "nothing can be drawn by the init type = 'gaussian', std = -1"),
        ({"type": "xavier", "variance": "up"}, "nothing can be drawn by the init .*variance = 'up'"),
    ],
)
def test_a_rule_that_makes_no_sense_is_told(init: dict[str, Any], words: str) -> None:
    with pytest.raises(NetError, match=f"layer 'x': {words}"):
        filled(**init)
