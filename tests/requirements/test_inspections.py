"""What the page of an inspection must hold, one test a requirement; how it looks is tested with a browser."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np
import pytest
import torch

import unrolled
from unrolled.data import Vocab
from unrolled.inspection.inspecting import Inspection
from unrolled.inspection.recording import Recording
from unrolled.net import Chain, Net, chain

from ..inspection.writing import speech


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Return what an LSTM of random weights did, one unit of which was put in place of its own."""
    symbols = speech(11, 4000)
    vocab = Vocab.of("".join(symbols))
    torch.manual_seed(2)
    net = Net(chain(Chain(len(vocab), cell="lstm", layers=2, hidden=13)), vocab).eval()
    found = unrolled.record(net, vocab.encode("".join(symbols)))
    within = np.cumsum([symbol == '"' for symbol in symbols]) % 2
    found.series["lstm2.h"][:, 5] = 1.4 * within - 0.7
    return found


@pytest.fixture(scope="module")
def page(recording: Recording) -> str:
    return Inspection.of(recording).page()


def data_of(page: str) -> Any:
    found = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def array_of(page: str, name: str, kind: Any) -> np.ndarray:
    found = re.search(rf'id="array-{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return np.frombuffer(base64.b64decode(found[1]), kind)


def test_K12_the_page_has_every_units_value_and_the_five_best_guesses_of_each_character(
    page: str, recording: Recording
) -> None:
    data = data_of(page)
    values = array_of(page, "values", np.int8).reshape(len(data["units"]), -1)[:, :4000]
    assert len(values) == 2 * 6 * 13 == data["all"]
    for (name, unit, scale), row in zip(data["units"], values, strict=True):
        column = recording.series[name][:, unit]
        assert np.abs(row * scale / 127 - column).max() <= np.abs(column).max() / 250
    symbols = np.array(data["symbols"])
    guesses = symbols[array_of(page, "guesses", np.uint8)].reshape(-1, 5)
    assert (symbols[array_of(page, "ids", np.uint8)] == recording.symbols).all()
    assert guesses.tolist() == [recording.shown(row) for row in recording.guesses]
    shares = array_of(page, "probabilities", np.uint8).reshape(-1, 5) / 255
    assert np.abs(shares - recording.probabilities).max() <= 0.002
    bits = array_of(page, "surprise", "<f2")
    assert np.isnan(bits[0]) and np.allclose(bits[1:], recording.surprise[1:], rtol=1e-3)


def test_K13_the_unit_that_knows_something_is_found_and_said_in_plain_words(page: str) -> None:
    data = data_of(page)
    best = data["findings"]["panes"][0]
    assert best["words"] == "unit 2/5: on inside double quotes, r = 1.00"
    assert data["units"][best["unit"]][:2] == ["lstm2.h", 5]
    assert best["beyond"] > best["threshold"] >= 0.45
    assert {line["words"].split(":")[0] for line in data["findings"]["list"]} == {"unit 2/5"}
