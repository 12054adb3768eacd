"""The short form of the family, and that it finds what it is there to find."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest

from unrolled.sample import Choice, choice

from . import drawing, planted
from .trials import Wrong


@pytest.mark.parametrize("what", ["gradient", "weight", "lanes"])
def test_a_number_that_is_none_ends_training_with_its_name_and_the_run_goes_on(
    what: str, tmp_path: Path
) -> None:
    planted.at(what, "nan", "rnn", 18, tmp_path, random.Random(1))


def test_a_training_that_saves_what_is_not_finite_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "broken.py"
    script.write_text(
        "import runpy\nfrom unrolled.training import learner, session\n"
        "session.first_not_finite = learner.first_not_finite = lambda tensors: None\n"
        f"runpy.run_path({str(planted.SCRIPT)!r}, run_name='__main__')\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(planted, "SCRIPT", script)
    with pytest.raises(Wrong, match="that is not finite"):
        planted.at("weight", "inf", "rnn", 18, tmp_path, random.Random(1))


@pytest.mark.parametrize("name", drawing.SAMPLERS)
@pytest.mark.parametrize("kind", ["all equal", "±1e30", "one far above"])
def test_every_end_of_a_draw_gives_an_id_that_may_come(name: str, kind: str, tmp_path: Path) -> None:
    drawing.at_the_ends(name, kind, tmp_path, random.Random(2))


@pytest.mark.parametrize("weights", ["float32", "bf16", "int8"])
def test_a_stream_draws_as_its_own_weights_say(weights: str, tmp_path: Path) -> None:
    p_of = partial(drawing.streamed, "auto", weights, Choice(0.8, 7), 40_000)
    drawing.by_chance(p_of, tmp_path, random.Random(3))


def test_the_plain_stream_draws_as_its_net_says(tmp_path: Path) -> None:
    p_of = partial(drawing.streamed, "naive", "float32", Choice(1.3), 3_000)
    drawing.by_chance(p_of, tmp_path, random.Random(3))


def test_a_draw_that_is_a_little_off_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = choice.draw
    monkeypatch.setitem(drawing.SAMPLERS, "plain", lambda x, u, how: real(x, u**1.05, how))
    with pytest.raises(Wrong, match="p is"):
        p_of = partial(drawing.fixed, "plain", Choice(), 30_000)
        drawing.by_chance(p_of, tmp_path, random.Random(3))


def test_a_stream_of_other_weights_than_it_says_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = drawing.probabilities
    monkeypatch.setattr(drawing, "probabilities", lambda x, how: real(0.96 * x, how))

    with pytest.raises(Wrong, match="p is"):
        p_of = partial(drawing.streamed, "auto", "float32", Choice(), 40_000)
        drawing.by_chance(p_of, tmp_path, random.Random(3))
