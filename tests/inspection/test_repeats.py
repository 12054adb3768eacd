from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data import Vocab
from unrolled.errors import UsageError
from unrolled.inspection.repeats import (
    Loop,
    Repetition,
    final_loop,
    repetition,
    repetition_by_temperature,
)
from unrolled.net import Chain, Net, chain
from unrolled.sample import Choice, Stream


def share_by_loops(text: str, ngram: int) -> float | None:
    grams = [text[i : i + ngram] for i in range(len(text) - ngram + 1)]
    return sum(gram in grams[:at] for at, gram in enumerate(grams)) / len(grams) if grams else None


def loop_by_loops(text: str, least: int) -> Loop | None:
    for period in range(1, len(text)):
        length = period
        while length < len(text) and text[-1 - length] == text[-1 - length + period]:
            length += 1
        if length >= 3 * period and length >= least:
            return Loop(period, len(text) - length, length)
    return None


@given(
    st.text(st.sampled_from("ab\0\ud800"), max_size=40),
    st.text(st.sampled_from("ab\0\ud800"), max_size=6),
    st.integers(0, 7),
    st.integers(1, 25),
)
def test_repetition_is_what_loops_over_strings_say(text: str, part: str, times: int, ngram: int) -> None:
    text += part * times + part[: len(part) // 2]
    found = repetition(text, ngram=ngram)
    wanted = share_by_loops(text, ngram)
    assert found.loop == loop_by_loops(text, ngram)
    assert found.share == (None if wanted is None else pytest.approx(wanted, abs=1e-12))


def test_one_repeated_character_is_a_loop_of_one() -> None:
    assert repetition("x" + "a" * 100) == Repetition(20, 80 / 82, Loop(1, 1, 100))
    assert repetition("no end ...").loop is None and final_loop("no end ...", 3) == Loop(1, 7, 3)
    assert repetition("") == Repetition(20, None, None)


def test_a_loop_of_a_long_period_is_found_in_a_long_text() -> None:
    draw = random.Random(1)
    part = "".join(draw.choices("abc", k=70_001))
    assert final_loop(part[5:] + part * 2 + part[:6]) == Loop(70_001, 0, 3 * 70_001 + 1)
    assert final_loop(part * 2 + part[:-1]) is None


def small_net(units: str = "char") -> Net:
    torch.manual_seed(3)
    vocab = Vocab.of("abcdefghij \n") if units == "char" else Vocab.bytes()
    net = Net(chain(Chain(len(vocab), cell="lstm", layers=1, hidden=11)), vocab=vocab)
    return net.eval()


def test_a_small_net_loops_at_temperature_0_and_not_at_1() -> None:
    cold, warm, hot = repetition_by_temperature(small_net(), [0.0, 1e-6, 1.0], 600, seed=5)
    assert cold.repetition.share is not None and cold.repetition.share > 0.8
    assert cold.repetition.loop is not None and warm.repetition == cold.repetition
    assert hot.repetition.share is not None and hot.repetition.share < 0.1 and hot.repetition.loop is None


def test_each_temperature_is_what_a_stream_of_its_own_writes() -> None:
    net = small_net()
    assert net.vocab is not None
    found = repetition_by_temperature(net, [0.7, 0.0, 1.3], 90, seed=4, prime="bad", ngram=3)
    for one in found:
        stream = Stream(net, Choice(one.temperature), seed=4).prime(net.vocab.encode("bad").tolist())
        assert one.text == net.vocab.decode(stream.take(90))
        assert one.repetition == repetition(one.text, ngram=3)
    assert [one.temperature for one in found] == [0.7, 0.0, 1.3]
    assert repetition_by_temperature(net, []) == []


def test_a_net_of_bytes_is_measured_by_the_character() -> None:
    [found] = repetition_by_temperature(small_net("byte"), [1.0], 300, seed=2)
    assert "\ufffd" in found.text and found.repetition == repetition(found.text)


def test_a_net_that_writes_no_text_is_refused_in_a_line() -> None:
    with pytest.raises(UsageError, match="this one writes none"):
        repetition_by_temperature(Net(chain(Chain(9, hidden=4))))
    with pytest.raises(UsageError, match="ngram: wanted 1 or more, came 0"):
        repetition("a", ngram=0)
