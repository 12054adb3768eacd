from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from unrolled.inspection.thinning import STEPS, UPDATES, columns, layer_sizes, rounded, thinned

DRAWN = np.random.default_rng(3)


def lines(count: int, **more: Any) -> list[dict[str, Any]]:
    drawn = DRAWN.uniform(1, 4, (count, 2))
    return [
        {
            "kind": "train",
            "update": 7 * (n + 1),
            "epoch": n / 10,
            "seconds": n * 0.3,
            "nats": a,
            "grad_norm": b,
        }
        | more
        for n, (a, b) in enumerate(drawn.tolist())
    ]


def test_a_short_curve_stays_as_it_is() -> None:
    given = lines(13, accuracy=0.25)
    curve = thinned(columns(given)["train"], 13)
    assert curve["update"].tolist() == [line["update"] for line in given]
    assert curve["nats"].tolist() == [line["nats"] for line in given]
    assert set(curve) == {"update", "epoch", "seconds", "nats", "accuracy", "grad_norm"}


@pytest.mark.parametrize(("count", "points"), [(14, 13), (101, 17), (4001, 2000), (500, 3)])
def test_a_long_curve_keeps_its_ends_and_the_lowest_and_highest_of_every_bucket(
    count: int, points: int
) -> None:
    given = lines(count)
    curve = thinned(columns(given)["train"], points)
    nats = np.array([line["nats"] for line in given])
    assert {len(values) for values in curve.values()} == {points}
    assert (curve["nats"][0], curve["nats"][-1]) == (nats[0], nats[-1])
    assert (curve["update"][0], curve["update"][-1]) == (7, 7 * count)
    assert np.all(np.diff(curve["update"]) > 0)
    assert (curve["nats_low"].min(), curve["nats_high"].max()) == (nats.min(), nats.max())
    assert np.all((curve["nats_low"] <= curve["nats"]) & (curve["nats"] <= curve["nats_high"]))


def test_a_bucket_is_the_mean_of_its_lines() -> None:
    given = lines(7)
    curve = thinned(columns(given)["train"], 3)
    inner = [line["nats"] for line in given[1:-1]]
    np.testing.assert_allclose(curve["nats"][1], np.mean(inner), rtol=1e-12)
    assert curve["update"][1] == given[3]["update"]
    assert (curve["nats_low"][1], curve["nats_high"][1]) == (min(inner), max(inner))


def test_kinds_of_lines_are_kept_apart_and_a_number_that_is_missing_is_none() -> None:
    given = [{"kind": "train", "update": 1, "epoch": 1, "seconds": 1, "nats": 2.5, "accuracy": "?"}]
    given += [{"kind": "validation", "update": n, "epoch": 1, "seconds": 1, "nats": n} for n in (1, 3)]
    given[2]["exact"] = 0.5
    found = {kind: rounded(thinned(curve)) for kind, curve in columns(given).items()}
    assert found["train"] == {"update": [1], "epoch": [1], "seconds": [1], "nats": [2.5]}
    assert found["validation"]["exact"] == [None, 0.5] and found["validation"]["update"] == [1, 3]


def test_updates_beyond_a_million_are_not_rounded() -> None:
    entry = {"kind": "train", "update": 12_345_678, "epoch": 3.25, "seconds": 1234567.8, "nats": 1.23456789}
    curve = rounded(columns([entry])["train"])
    assert (curve["update"], curve["seconds"], curve["nats"]) == ([12_345_678], [1234567.8], [1.23457])


def test_sizes_of_layers_are_means_over_the_steps_and_the_last_update_s_steps() -> None:
    updates, steps = range(3, 3 * 50, 3), 31
    given = []
    for update in updates:
        for layer, gradient in (("one", True), ("two", False)):
            for step in range(steps):
                value = DRAWN.uniform()
                given.append(
                    {"update": update, "layer": layer, "step": step, "value": value,
                     "gradient": value / 3 if gradient else None}
                )  # fmt: skip
    found = layer_sizes(given)
    assert found is not None and found["layers"] == ["one", "two"]
    assert len(found["updates"]) == UPDATES and len(found["steps"]) == STEPS
    assert (found["updates"][0], found["updates"][-1]) == (3, 147)
    assert (found["steps"][0], found["steps"][-1]) == (0, 30)
    for column, update in enumerate(found["updates"]):
        ones = [line["value"] for line in given if (line["update"], line["layer"]) == (update, "one")]
        assert math.isclose(found["value"][0][column], np.mean(ones), rel_tol=1e-12)
        assert math.isclose(found["gradient"][0][column], np.mean(ones) / 3, rel_tol=1e-12)
        assert found["gradient"][1][column] is None
    last = {(line["layer"], line["step"]): line["value"] for line in given if line["update"] == 147}
    assert found["value_by_step"][1] == [last["two", step] for step in found["steps"]]
    assert found["gradient_by_step"][1] == [None] * STEPS


def test_an_empty_record_has_no_sizes() -> None:
    assert layer_sizes([]) is None
