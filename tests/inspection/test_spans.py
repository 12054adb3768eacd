from __future__ import annotations

import numpy as np

from unrolled.inspection.spans import Block, Wanted, blocks


def thue_morse(doublings: int) -> np.ndarray:
    """Return the text on which polynomials modulo a power of 2 fail."""
    text = np.zeros(1, np.uint8)
    for _ in range(doublings):
        text = np.concatenate([text, 1 - text])
    return text


def test_different_spans_have_different_hashes_and_equal_ones_the_same() -> None:
    draw = np.random.default_rng(6).integers(0, 3, 700).astype(np.uint8)
    for text in (draw, thue_morse(13), np.zeros(90, np.int64)):
        seen: dict[int, bytes] = {}
        for length in (1, 2, 3, 5, 8, 21, 64, 2050):
            for begin, hash_ in enumerate(Block(text, 0, len(text), length).of(length).tolist()):
                span = text[begin : begin + length].astype(np.uint8).tobytes()
                assert seen.setdefault(hash_, span) == span


def test_a_span_has_the_same_hash_in_any_block_and_by_any_way() -> None:
    text = np.random.default_rng(7).integers(-1, 900, 333)
    whole = Block(text, 0, 333, 40)
    for places in blocks(text, 40, 7):
        block = Block(text.astype(np.int16), places.start, len(places), 40)
        for length in (1, 2, 7, 16, 33, 40):
            found = block.of(length)
            assert np.array_equal(found, whole.of(length)[places.start : places.stop])
            each = block.each(np.arange(len(found)), np.full(len(found), length))
            assert np.array_equal(found, each)


def test_what_is_wanted_is_found_where_it_stands_and_nothing_else_is() -> None:
    draw = np.random.default_rng(8)
    wanted = draw.integers(0, 2**63, 500).astype(np.uint64)
    others = draw.integers(0, 2**63, 9000).astype(np.uint64)
    others[[17, 4000, 8999]] = wanted[[3, 499, 3]]
    places, numbers = Wanted(wanted).among(others)
    assert places.tolist() == [17, 4000, 8999]
    assert Wanted(wanted).first[numbers].tolist() == [3, 499, 3]
