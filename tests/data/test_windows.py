from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data import Corpus, Window, Windows, lane_bounds, padded
from unrolled.errors import TextError, UsageError

SIZES = st.tuples(st.integers(1, 7), st.integers(1, 9)).flatmap(
    lambda bt: st.tuples(st.integers(2 * bt[0], 90), st.just(bt[0]), st.just(bt[1]))
)


def real(window: Window, lane: int) -> int:
    """Return how many steps of the window the lane has."""
    return len(window.inputs) if window.lengths is None else int(window.lengths[lane])


def walk(windows: Windows) -> list[list[tuple[int, int, bool]]]:
    """Return (input, target, fresh) of every step, lane by lane."""
    lanes: list[list[tuple[int, int, bool]]] = [[] for _ in range(windows.lanes)]
    for window in windows:
        for b, lane in enumerate(lanes):
            for t in range(real(window, b)):
                fresh = window.fresh is not None and bool(window.fresh[t, b])
                lane.append((int(window.inputs[t, b]), int(window.targets[t, b]), fresh))
    return lanes


@given(st.integers(1, 300), st.integers(1, 40))
def test_lanes_tile_the_targets_and_differ_by_at_most_one(num_targets: int, lanes: int) -> None:
    if num_targets < lanes:
        with pytest.raises(TextError):
            lane_bounds(num_targets, lanes)
        return
    bounds = lane_bounds(num_targets, lanes)
    assert [n for begin, end in bounds for n in range(begin, end)] == list(range(num_targets))
    sizes = [end - begin for begin, end in bounds]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] - sizes[-1] <= 1


@given(SIZES, st.sets(st.integers(1, 89)), st.sampled_from(["u1", "u2", "u4", "i8"]))
def test_every_target_comes_exactly_once_and_documents_are_fresh(
    sizes: tuple[int, int, int], starts: set[int], kind: str
) -> None:
    num_ids, lanes, length = sizes
    ids = np.arange(num_ids).astype(kind)
    begun = sorted({0, *(s for s in starts if s < num_ids)})
    windows = Windows(ids, lanes, length, starts=begun)
    steps = walk(windows)
    assert [target for lane in steps for _, target, _ in lane] == list(range(1, num_ids))
    assert windows.num_targets == num_ids - 1
    for lane, (begin, end) in zip(steps, lane_bounds(num_ids - 1, lanes), strict=True):
        assert [i for i, _, _ in lane] == list(range(begin, end))
        assert [i for i, _, fresh in lane if fresh] == sorted(
            {begin, *(s for s in begun if begin <= s < end)}
        )


@given(SIZES)
def test_padding_is_only_in_the_last_window_and_says_so(sizes: tuple[int, int, int]) -> None:
    num_ids, lanes, length = sizes
    *before, last = Windows(np.arange(num_ids), lanes, length)
    for window in before:
        assert window.lengths is None and window.inputs.shape == (length, lanes)
    for window in [*before, last]:
        assert window.inputs.dtype == window.targets.dtype == torch.int64
        for b in range(lanes):
            n = real(window, b)
            assert (window.targets[:n, b] >= 0).all() and (window.targets[n:, b] == -1).all()
            assert (window.inputs[n:, b] == 0).all()
            assert window.fresh is None or not window.fresh[n:, b].any()


def test_a_window_depends_on_its_number_alone_and_shares_no_memory() -> None:
    windows = Windows(np.arange(53), 3, 4)
    windows[2].inputs.fill_(7)
    first = [window.inputs.clone() for window in windows]
    again = [windows[k].inputs for k in reversed(range(len(windows)))][::-1]
    assert all(map(torch.equal, first, again)) and len(windows) == 5
    window = windows[1]
    window.targets.fill_(9)
    assert torch.equal(window.inputs, first[1])
    for k in (-1, 5):
        with pytest.raises(IndexError, match="0 to 4"):
            windows[k]


def test_the_mark_of_a_document_is_on_the_input_that_is_its_first_symbol() -> None:
    corpus = Corpus.from_text("ab\ncde\nf\n", boundary="line")
    window = next(iter(Windows(corpus, 1, 20)))
    assert window.fresh is not None
    starts = [corpus.vocab.symbols[i] for i in window.inputs[window.fresh].tolist()]
    assert starts == ["a", "c", "f"]


def test_floats_predict_the_next_item_or_targets_of_their_own() -> None:
    x, y = torch.randn(11, 2), torch.randn(11, 3)
    ahead = Windows(x, 2, 4)
    assert ahead.num_targets == 10 and torch.equal(ahead[0].targets[:, 1], x[6:10])
    own = Windows(x, 2, 4, targets=y)
    assert (
        own.num_targets == 11 and own[1].targets.shape == (2, 2, 3) and own[1].targets.dtype == torch.float32
    )
    assert own[1].lengths is not None and own[1].lengths.tolist() == [2, 1]
    assert torch.equal(own[1].targets[:, 0], y[4:6]) and torch.equal(own[1].targets[0, 1], y[10])
    assert (own[1].inputs[1, 1] == 0).all() and (own[1].targets[1, 1] == 0).all()
    labels = Windows(x.double(), 3, 2, targets=list(range(11)))[1]
    assert labels.inputs.dtype == torch.float64
    assert labels.targets.tolist() == [[2, 6, 10], [3, 7, -1]]


@pytest.mark.parametrize(
    ("size", "lanes", "line"),
    [
        (57, 40, "40 lanes need at least 80 ids, the corpus has 57. Lower --lanes to 28 or give more text."),
        (1, 1, "1 lane needs at least 2 ids, the corpus has 1. Give more text."),
        (1, 3, "3 lanes need at least 6 ids, the corpus has 1. Give more text."),
        (0, 1, "1 lane needs at least 2 ids, the corpus has 0. Give more text."),
    ],
)
def test_too_little_text_for_the_lanes_is_one_exact_line(size: int, lanes: int, line: str) -> None:
    with pytest.raises(TextError) as caught:
        Windows(np.arange(size), lanes, 5)
    assert str(caught.value) == line


def test_the_smallest_text_for_its_lanes_will_do() -> None:
    assert [len(lane) for lane in walk(Windows(np.arange(80), 40, 1))] == [2] * 39 + [1]


def test_wrong_sizes_are_refused() -> None:
    for lanes, length in ((0, 3), (-2, 3), (2, 0), (2, -1)):
        with pytest.raises(UsageError, match="at least 1"):
            Windows(np.arange(30), lanes, length)
    with pytest.raises(UsageError, match="5 targets"):
        Windows(np.arange(30), 2, 3, targets=np.arange(5))
    with pytest.raises(UsageError, match="Starts are sorted positions from 0 to 29"):
        Windows(np.arange(30), 2, 3, starts=[0, 30])
    with pytest.raises(UsageError, match="ids"):
        Windows(["a", "b"], 1, 1)


def test_padding_fills_to_the_longest_sequence() -> None:
    x, lengths = padded([torch.ones(2, 3), torch.ones(4, 3), torch.ones(1, 3)])
    assert x.shape == (4, 3, 3) and lengths.tolist() == [2, 4, 1]
    assert x.sum(dim=(0, 2)).tolist() == [6, 12, 3] and (x[1:, 2] == 0).all()
    targets, _ = padded([[1, 2], [3]], fill=-1)
    assert targets.tolist() == [[1, 3], [2, -1]] and targets.dtype == torch.int64
    for wrong in ([], [torch.ones(2, 3), torch.ones(2, 4)], [torch.ones(())]):
        with pytest.raises(UsageError):
            padded(wrong)
