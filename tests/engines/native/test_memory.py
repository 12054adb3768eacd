"""Memory for the compiled code."""

from __future__ import annotations

import math
import mmap

import pytest
import torch

from unrolled.engines.native.memory import Pool, Store


@pytest.mark.parametrize("large", [True, False], ids=["large pages", "no large pages"])
def test_pieces_of_a_store_keep_their_numbers_and_begin_with_a_line(
    large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not large:
        monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    store = Store()
    sizes = [3, 100_000, 0, 17, 700_001, 5, 524_288]
    with torch.inference_mode():
        pieces = [store.take(size).fill_(number) for number, size in enumerate(sizes)]
    assert [len(piece) for piece in pieces] == sizes
    assert all(bool((piece == number).all()) for number, piece in enumerate(pieces))
    assert not any(piece.is_inference() for piece in pieces)
    assert all(piece.data_ptr() % 64 == 0 for piece in pieces)


@pytest.mark.parametrize("large", [True, False], ids=["large pages", "no large pages"])
def test_a_pool_hands_out_what_it_was_given_back_and_never_a_piece_twice(
    large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not large:
        monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    pool, sizes = Pool(), [(7, 11), (700, 1001), (524_288,), (7, 11)]
    with torch.inference_mode():
        pieces = [pool.take(*size).fill_(number) for number, size in enumerate(sizes)]
    assert all(len(piece) >= math.prod(size) for piece, size in zip(pieces, sizes, strict=True))
    assert all(bool((piece == number).all()) for number, piece in enumerate(pieces))
    assert not any(piece.is_inference() for piece in pieces)
    pool.give(*pieces)
    again = [pool.take(*size) for size in sizes]
    assert {piece.data_ptr() for piece in again} == {piece.data_ptr() for piece in pieces}
