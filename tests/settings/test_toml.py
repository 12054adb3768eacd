from __future__ import annotations

import tomllib

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from unrolled.settings import (
    DataSettings,
    NetSettings,
    Settings,
    TrainingSettings,
    from_tables,
    recipes,
    resolve,
    to_tables,
)

counts, positive = st.integers(1, 2**31 - 1), st.floats(1e-300, 1e300)
shares = st.floats(0, 1, exclude_max=True)
texts = st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"]))

data = st.builds(
    DataSettings,
    units=st.sampled_from(["char", "byte"]),
    boundary=st.none() | texts,
    split=st.lists(st.floats(1e-9, 1 / 3), min_size=1, max_size=3).map(tuple),
    lanes=counts,
    window=counts,
)
net = st.builds(
    NetSettings,
    cell=texts,
    layers=st.integers(1, 1000),
    hidden=counts,
    dropout=shares,
    embedding=counts,
    embedding_dropout=shares,
    init=st.sampled_from(["default", "uniform", "xavier", "orthogonal"]),
    init_scale=positive,
    forget_bias=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
training = st.builds(
    TrainingSettings,
    epochs=counts,
    max_updates=counts,
    lr=positive,
    beta2=shares,
    decay_after=st.none() | positive,
    clip_norm=st.just(0.0),
    clip_value=positive,
    seed=st.integers(0, 2**32 - 1),
    sample_at=st.lists(counts, max_size=3).map(tuple),
    engine=texts,
    device=texts,
    deterministic=st.booleans(),
)


@given(st.builds(Settings, data=data, net=net, training=training))
def test_settings_survive_the_way_through_toml(settings: Settings) -> None:
    written = tomli_w.dumps(to_tables(settings))
    assert from_tables("it", tomllib.loads(written)) == settings


@pytest.mark.parametrize("name", recipes())
def test_every_recipe_survives_the_way_through_toml(name: str) -> None:
    settings = resolve(name).settings
    assert from_tables(name, tomllib.loads(tomli_w.dumps(to_tables(settings)))) == settings


def test_a_setting_without_a_value_is_left_out() -> None:
    assert "boundary" not in to_tables(Settings())["data"]
