from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data import Corpus
from unrolled.errors import UsageError
from unrolled.inspection import spans
from unrolled.inspection.copies import Copy, Written, novelties, novelty
from unrolled.inspection.training_text import TrainingText


def longest_by_loops(sample: str, text: str) -> tuple[int, int, int]:
    """Return length, place in the sample and place in the text of the first longest span of both."""
    best = (0, 0, 0)
    for offset in range(len(text)):
        for begin in range(len(sample)):
            length = 0
            while (
                sample[begin + length : begin + length + 1]
                == text[offset + length : offset + length + 1]
                != ""
            ):
                length += 1
            if length > best[0]:
                best = (length, begin, offset)
    return best


def check(sample: str, text: str, ngram: int, block: int, prime: str = "") -> None:
    """Compare everything with loops over Python strings."""
    [found] = novelties([Written(sample, prime)], TrainingText.of(text), ngram=ngram, block=block)
    length, begin, offset = longest_by_loops(sample, text)
    if length == 0:
        assert found.longest is None
    else:
        line = text.count("\n", 0, offset) + 1
        assert found.longest == Copy(sample[begin : begin + length], begin, length, offset, None, line)
    grams = [sample[i : i + ngram] for i in range(len(sample) - ngram + 1)]
    assert found.copied == (sum(gram in text for gram in grams) / len(grams) if grams else None)
    whole = prime + sample
    for pattern, parts in ((r"[^\n]+", found.lines), (r"[^\W_]+", found.words)):
        mine = [m[0] for m in re.finditer(pattern, whole) if len(prime) < m.end() < len(whole)]
        known = set(re.findall(pattern, text))
        novel = [part for part in mine if part not in known]
        assert (parts.count, parts.novel, parts.novel_count) == (
            len(mine),
            tuple(dict.fromkeys(novel)),
            len(novel),
        )


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 1 << 15])
def test_random_samples_are_compared_as_loops_over_strings_do_it_with_blocks_of_any_size(block: int) -> None:
    draw = random.Random(block)
    for _ in range(60):
        alphabet = draw.choice(["ab", "ab\n ", "abcdefgh \n"])
        text = "".join(draw.choices(alphabet, k=draw.randrange(1, 150)))
        sample = "".join(draw.choices(alphabet, k=draw.randrange(0, 40)))
        if draw.random() < 0.5:
            at = draw.randrange(len(text))
            sample += text[at : at + draw.randrange(30)] + draw.choice(["", "a", "\n"])
        check(sample, text, draw.choice([1, 2, 3, 5, 20]), block, draw.choice(["", "a", "\n", "ab a"]))


@given(
    st.text(st.sampled_from("ab \n\0é\ud800𝄞"), max_size=30),
    st.text(st.sampled_from("ab \n\0é\ud800𝄞"), max_size=60),
    st.integers(1, 8),
    st.integers(1, 9),
)
def test_texts_with_nul_surrogates_and_nothing_at_all_are_compared_too(
    sample: str, text: str, ngram: int, block: int
) -> None:
    check(sample, text, ngram, block)


def test_one_repeated_character_is_compared_at_unequal_lengths() -> None:
    check("a" * 50, "a" * 7, 3, 4)
    check("a" * 7, "a" * 50, 3, 4)
    check("a" * 70, "b".join("a" * n for n in range(1, 20)), 5, 8)


def test_a_match_across_many_block_borders_is_found_whole() -> None:
    draw = random.Random(2)
    text = "".join(draw.choices("abcdefghij", k=5000))
    sample = "zz" + text[1234:2345] + "zzz" + text[100:700]
    for block in (1, 10, 333, 4096):
        [found] = novelties([Written(sample)], TrainingText.of(text), block=block)
        assert found.longest is not None
        assert (found.longest.begin, found.longest.length, found.longest.offset) == (2, 1111, 1234)


def test_equal_hashes_of_different_spans_copy_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "_mixed", lambda hashes: hashes & np.uint64(0))
    [found] = novelties([Written("xyzzy one two\nthree\nfour")], TrainingText.of("abc def\n" * 9), ngram=3)
    assert found.longest is None and found.copied == 0 and found.lines.share == 1 and found.words.share == 1


def test_several_samples_are_compared_as_each_alone() -> None:
    training = TrainingText.of("the cat sat on the mat\n" * 3 + "and the rats saw the cat")
    samples = [
        Written("the cat saw the mat\nthe"),
        Written(""),
        Written("dog\n" * 9, "hot"),
        Written("the cat"),
    ]
    together = novelties(samples, training, ngram=5, block=11)
    assert together == [novelty(s.text, training, prime=s.prime, ngram=5) for s in samples]


def test_names_are_new_only_where_no_line_of_the_training_file_is_the_same() -> None:
    training = TrainingText.of("Anna\nBen\nBenjamin\nCleo")
    found = novelty("Benja\nAnna\nCleo\nBen\nBenja\nZed\nAnn", training, prime="\n").lines
    assert found.novel == ("Benja", "Zed") and found.share == 3 / 6


def test_bytes_are_placed_by_the_character() -> None:
    corpus = Corpus.from_text("Das süße Mädchen\naß Öl", units="byte")
    training = TrainingText(corpus.ids, corpus.vocab)
    found = novelty("ö süße Mä", training, ngram=4)
    assert found.longest is not None
    assert (found.longest.text, found.longest.begin) == (" süße Mä", 1)
    assert (found.longest.length, found.longest.offset) == (len(" süße Mä".encode()), 3)
    part = Corpus.from_text(b"a\xa4b", units="byte")
    cut = novelty("\u00e4", TrainingText(part.ids, part.vocab), ngram=1)
    assert cut.longest is not None and cut.longest.text == "" and cut.copied == 0.5


def test_a_copy_has_the_line_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("three\nfour\nfive\n", encoding="utf-8")
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    corpus = Corpus.open(*paths)
    training = TrainingText(corpus.ids, corpus.vocab, tuple(zip(paths, corpus.starts.tolist(), strict=True)))
    found = novelty("xfive", training).longest
    assert found is not None and (found.path, found.line, found.offset) == (paths[1], 3, 19)


def test_an_ngram_of_nothing_is_refused_in_a_line() -> None:
    with pytest.raises(UsageError, match="ngram: wanted 1 or more, came 0"):
        novelty("a", TrainingText.of("ab"), ngram=0)
