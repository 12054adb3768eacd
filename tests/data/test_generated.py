from __future__ import annotations

import re

import pytest
import torch

from unrolled.data import Vocab, anbn_text, binary_addition, copy_task, counting_text
from unrolled.data.generated import COUNTING_SYMBOLS
from unrolled.errors import UsageError


def test_counting_says_each_digit_as_often_as_it_counts() -> None:
    text = counting_text(2)
    assert text[:10] == "1223334444" and text == text[:45] * 2
    assert [text[:45].count(d) for d in COUNTING_SYMBOLS] == list(range(10))
    assert Vocab.of(COUNTING_SYMBOLS).encode(text[:3]).tolist() == [1, 2, 2]


@pytest.mark.parametrize(("bits", "lanes"), [(1, 9), (3, 5), (20, 4)])
def test_the_bits_of_a_sum_are_those_of_the_numbers_added(bits: int, lanes: int) -> None:
    x, y = binary_addition(bits, lanes, torch.Generator().manual_seed(3))
    assert x.shape == (bits + 1, lanes, 2) and y.shape == (bits + 1, lanes, 1)
    weights = 2.0 ** torch.arange(bits + 1).double()
    added, total = (torch.einsum("tbk,t->b", bit.double(), weights) for bit in (x, y))
    assert torch.equal(added, total)
    assert set(y.unique().tolist()) <= {0.0, 1.0} and x[-1].sum() == 0


def test_copying_asks_for_the_symbols_again_after_the_go() -> None:
    x, y = copy_task(3, 5, 4, torch.Generator().manual_seed(1), symbols=6)
    assert x.shape == y.shape == (11, 4) and x.dtype == torch.int64
    assert torch.equal(x[:3], y[8:]) and (x[7] == 7).all() and (x[:3] < 6).all()
    assert (y[:8] == 6).all() and (x[3:7] == 6).all() and (x[8:] == 6).all()


def test_anbn_lines_have_as_many_b_as_a() -> None:
    lines = anbn_text(50, 4, torch.Generator().manual_seed(2)).splitlines()
    assert len(lines) == 50 and {len(line) // 2 for line in lines} == {1, 2, 3, 4}
    assert all(re.fullmatch("a+b+", line) and line.count("a") == line.count("b") for line in lines)


def test_generated_tasks_are_drawn_from_the_generator() -> None:
    first, again = (binary_addition(9, 8, torch.Generator().manual_seed(5))[0] for _ in range(2))
    assert torch.equal(first, again)


def test_sizes_below_one_are_refused() -> None:
    for call in (
        lambda: counting_text(0),
        lambda: binary_addition(0, 1),
        lambda: binary_addition(1, -1),
        lambda: copy_task(1, 0, 1),
        lambda: anbn_text(1, 0),
    ):
        with pytest.raises(UsageError, match="at least 1"):
            call()
