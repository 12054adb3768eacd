from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data import Vocab
from unrolled.errors import LoadError, TextError, UnseenError

CHARS = st.characters(exclude_categories=["Cs"])


@given(st.text(CHARS, min_size=1))
def test_decoding_what_was_encoded_gives_the_text(text: str) -> None:
    vocab = Vocab.of(text)
    ids = vocab.encode(text)
    assert ids.dtype == np.int64 and ids.shape == (len(text),)
    assert vocab.decode(ids) == text
    assert "".join(map(vocab.decoder().feed, ids)) == text


@given(st.text(CHARS))
def test_bytes_encode_a_text_as_utf8_and_decode_it_back(text: str) -> None:
    vocab = Vocab.bytes()
    assert bytes(vocab.encode(text).tolist()) == text.encode()
    assert vocab.decode(vocab.encode(text)) == text


@given(st.binary())
def test_the_decoder_says_what_bytes_decode_says_of_any_bytes(data: bytes) -> None:
    decoder = Vocab.bytes().decoder()
    said = "".join(decoder.feed(byte) for byte in data) + decoder.flush()
    assert said == data.decode("utf-8", "replace") == Vocab.bytes().decode(data)


def test_the_decoder_holds_half_a_character_back_and_can_be_copied_with_it() -> None:
    decoder = Vocab.bytes().decoder()
    assert [decoder.feed(byte) for byte in "€".encode()[:2]] == ["", ""]
    fork = copy.deepcopy(decoder)
    assert decoder.feed("€".encode()[2]) == "€"
    assert fork.flush() == "\ufffd" and fork.flush() == ""


def test_symbols_from_a_text_are_sorted_and_from_a_sequence_keep_their_order() -> None:
    assert Vocab.of("hello").symbols == ("e", "h", "l", "o")
    assert Vocab.of(("h", "e", "l", "o")).encode("hello").tolist() == [0, 1, 2, 2, 3]
    assert len(Vocab.of("hello")) == 4 and len(Vocab.bytes()) == 256


def test_an_unseen_character_is_named_with_its_place() -> None:
    with pytest.raises(UnseenError, match=r"'é' \(U\+00E9\) at position 4, line 3.*2 characters") as caught:
        Vocab.of("a\n").encode("a\na\né")
    assert (caught.value.symbol, caught.value.position) == ("é", 4)
    with pytest.raises(UnseenError, match=r"'\\x00' \(U\+0000\)"):
        Vocab.of("a\n").encode("\0")


def test_unseen_characters_are_left_out_when_asked() -> None:
    assert Vocab.of("ab").encode("a-b\U0001f600é", skip_unseen=True).tolist() == [0, 1]


def test_bytes_for_a_vocabulary_of_chars_are_read_as_utf8() -> None:
    assert Vocab.of("aé").encode("éa".encode()).tolist() == [1, 0]
    with pytest.raises(TextError, match=r"byte 3 \(0xFF, line 2\)"):
        Vocab.of("aé").encode(b"a\na\xff")


def test_bytes_hidden_in_surrogates_come_back_and_other_surrogates_are_refused() -> None:
    hidden = b"a\xff".decode("utf-8", "surrogateescape")
    assert Vocab.bytes().encode(hidden).tolist() == [97, 255]
    with pytest.raises(TextError, match="position 1 holds a lone surrogate"):
        Vocab.bytes().encode("a\ud800")


@pytest.mark.parametrize("ids", [[-1], [0, 3], np.array([2, 7])])
def test_an_id_outside_the_vocabulary_is_refused(ids: list[int]) -> None:
    with pytest.raises(TextError, match="from 0 to 2"):
        Vocab.of("abc").decode(ids)
    with pytest.raises(TextError, match="from 0 to 255"):
        Vocab.bytes().decoder().feed(256)


def test_byte_lengths_are_those_of_utf8() -> None:
    assert Vocab.of("aé€😀").byte_lengths.tolist() == [1, 2, 3, 4]
    assert Vocab.bytes().byte_lengths.tolist() == [1] * 256


@pytest.mark.parametrize("vocab", [Vocab.of("aé😀\n"), Vocab.of("ba"), Vocab.bytes(), Vocab.of(("b", "a"))])
def test_a_vocabulary_survives_json(vocab: Vocab) -> None:
    assert Vocab.from_dict(json.loads(json.dumps(vocab.to_dict()))) == vocab


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {},
        {"units": "word", "symbols": []},
        {"units": "char", "symbols": "ab"},
        {"units": "char", "symbols": ["a", "a"]},
        {"units": "char", "symbols": ["ab"]},
        {"units": "char", "symbols": [1]},
        {"units": "byte", "symbols": ["a"]},
        {"units": ["char"], "symbols": ["a"]},
        {"units": "char", "symbols": [["a"], ["a"]]},
    ],
)
def test_a_damaged_record_of_a_vocabulary_is_a_load_error(record: object) -> None:
    with pytest.raises(LoadError):
        Vocab.from_dict(record)
