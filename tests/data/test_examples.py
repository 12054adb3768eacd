from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data import Batches, Examples, Field, Symbols, Vocab, stored_vocab, write_jsonl
from unrolled.data import examples as module
from unrolled.errors import LoadError, TextError, UnseenError, UsageError

TEXT = Field("text", "ids", "text")
LABEL = Field("label", "ids", 1)


def file_of(tmp_path: Path, *lines: str | bytes) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\n".join(v if isinstance(v, bytes) else v.encode() for v in lines) + b"\n")
    return path


def test_strings_are_read_by_character_and_classes_by_name(tmp_path: Path) -> None:
    path = file_of(tmp_path, '{"text": "cab", "label": "yes", "note": 1}', "", '{"text": "b", "label": "no"}')
    examples = Examples.read(path, [TEXT, LABEL])
    assert len(examples) == 2
    assert examples.field("text").vocab == Vocab.of("abc") and examples.field("text").size == 3
    assert examples.field("label").vocab == Symbols(("no", "yes"))
    assert examples[0]["text"].tolist() == [2, 0, 1] and examples[0]["label"].tolist() == [1]
    assert examples[1]["text"].tolist() == [1] and examples[1]["label"].tolist() == [0]


def test_lists_are_words_or_ids() -> None:
    fields = [Field("words", "ids"), Field("ids", "ids")]
    rows = [{"words": ["to", "be"], "ids": [4, -1]}, {"words": ["be"], "ids": [0]}]
    examples = Examples.from_rows(rows, fields)
    assert examples.field("words").vocab == Symbols(("be", "to"))
    assert examples.field("ids").vocab is None and examples.field("ids").size == 5
    assert examples[0]["words"].tolist() == [1, 0] and examples[0]["ids"].tolist() == [4, -1]


def test_floats_have_a_step_axis_and_a_width() -> None:
    fields = [
        Field("one", "floats", 1),
        Field("many", "floats", 1),
        Field("x", "floats"),
        Field("y", "floats"),
    ]
    row = {"one": 2, "many": [1, 2.5, 3], "x": [1, 2], "y": [[1, 2, 3, 4], [5, 6, 7, 8]]}
    example = Examples.from_rows([row], fields)[0]
    assert {name: tuple(value.shape) for name, value in example.items()} == {
        "one": (1, 1),
        "many": (1, 3),
        "x": (2, 1),
        "y": (2, 4),
    }
    assert example["y"].dtype == torch.float32 and example["y"][1].tolist() == [5, 6, 7, 8]


def test_fields_that_share_have_one_vocabulary_and_a_stop_comes_after_its_last_id() -> None:
    fields = [Field("source", "ids", "source", share="letters")]
    fields.append(Field("target", "ids", "target", share="letters", stop=True))
    rows = [{"source": "ab", "target": "dc"}, {"source": "c", "target": ""}]
    examples = Examples.from_rows(rows, fields)
    source, target = examples.fields
    assert source.vocab == target.vocab == Vocab.of("abcd")
    assert (source.num_ids, target.num_ids) == (4, 5)
    assert examples[0]["target"].tolist() == [3, 2, 4] and examples[1]["target"].tolist() == [4]
    assert examples[0]["source"].tolist() == [0, 1]


def test_ids_become_text_again_up_to_the_stop() -> None:
    target = Examples.from_rows([{"t": "abc"}], [Field("t", "ids", stop=True)]).field("t")
    assert target.decode([2, -1, 0, 3, 1, 1]) == "ca"
    words = Examples.from_rows([{"t": ["x", "y"]}], [Field("t", "ids")]).field("t")
    assert words.decode(torch.tensor([1, 0, 0])) == ["y", "x", "x"]
    assert Field("t", "ids", size=9).decode([8, -1, 3]) == [8, 3]


def test_a_second_file_is_read_by_the_first_ones_vocabularies() -> None:
    fields = [Field("text", "ids", share="x", stop=True), Field("again", "ids", share="x", stop=True), LABEL]
    first = Examples.from_rows([{"text": "abx", "again": "xba", "label": 6}], fields)
    second = Examples.from_rows([{"text": "xx", "again": "ab", "label": 2}], first.fields)
    assert second.fields == first.fields and second[0]["text"].tolist() == [2, 2, 3]
    with pytest.raises(UnseenError, match=r"rows\[0\]: field 'text': wanted the vocabulary's 3 characters"):
        Examples.from_rows([{"text": "aé", "again": "ab", "label": 2}], first.fields)
    with pytest.raises(TextError, match="wanted ids from 0 to 6"):
        Examples.from_rows([{"text": "a", "again": "a", "label": 7}], first.fields)


def test_vocabularies_that_are_given_say_what_a_string_is() -> None:
    fields = [Field("text", "ids", "t", vocab=Vocab.bytes()), Field("one", "ids", 1, vocab=Vocab.of("xyz"))]
    examples = Examples.from_rows([{"text": "é", "one": "y"}], fields)
    assert examples[0]["text"].tolist() == [0xC3, 0xA9] and examples.field("text").size == 256
    assert examples[0]["one"].tolist() == [1]
    with pytest.raises(TextError, match="wanted 1 symbol of its vocabulary, came 'yy', which is 2"):
        Examples.from_rows([{"text": "a", "one": "yy"}], fields)
    colours = Field("label", "ids", 1, vocab=Symbols(("red", "blue")))
    assert Examples.from_rows([{"label": "blue"}], [colours])[0]["label"].item() == 1
    with pytest.raises(UnseenError, match=r"came 'blu'; did you mean 'blue'\?"):
        Examples.from_rows([{"label": "blu"}], [colours])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "ab"', r":2: wanted an object .* came Expecting ',' delimiter at column 14"),
        ("[1, 2]", r":2: wanted an object .* came \[1, 2\]"),
        ('{"text": "a", "text": "b", "label": 1}', r":2: .* the key 'text' twice"),
        ("[" * 100_000, r":2: .* too deep"),
        ('{"text": ' + "9" * 5000 + "}", r":2: .* (4300|digits)"),
        ('{"text": "a", "label": NaN}', r":2: .* NaN, which JSON has not"),
        ('{"txt": "a", "label": 1}', r":2: wanted a field 'text', came none; did you mean 'txt'\?"),
        ('{"text": "", "label": 1}', r":2: field 'text': wanted at least 1 step, came none"),
        ('{"text": null, "label": 1}', r":2: field 'text': wanted a string, a list of words or .* came None"),
        ('{"text": ["a", 1], "label": 1}', r":2: field 'text': wanted a string"),
        ('{"text": [true], "label": 1}', r":2: field 'text': wanted a string"),
        (
            '{"text": [1], "label": 1}',
            r":2: .* wanted a string of characters, as in 'text' at .*:1, came whole",
        ),
        ('{"text": "\\ud800", "label": 1}', r":2: field 'text': .* lone surrogate"),
        ('{"text": "a", "label": true}', r":2: field 'label': wanted a class .* came True"),
        ('{"text": "a", "label": 1.0}', r":2: field 'label': wanted a class .* came 1.0"),
        ('{"text": "a", "label": -2}', r":2: field 'label': wanted ids from 0 to 999999"),
        ('{"text": "a", "label": 1000000}', r":2: field 'label': wanted ids from 0 to 999999"),
        (b'{"text": "\xff", "label": 1}', r":2: wanted UTF-8, came byte 0xFF at byte 10"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(tmp_path: Path, line: str | bytes, message: str) -> None:
    path = file_of(tmp_path, '{"text": "ab", "label": 3}', line)
    with pytest.raises(TextError, match="data.jsonl" + message) as caught:
        Examples.read(path, [TEXT, LABEL])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "wanted at least 1 step"),
        (3, "wanted a list, one entry a step, came 3"),
        ([[1, 2], [1]], r"wanted 2 numbers \(as in rows\[0\]\), came 1 at step 1"),
        ([[1, "2"]], "wanted numbers, came '2'"),
        ([[1, False]], "wanted numbers, came False"),
        ([[1, [2]]], r"wanted numbers, came \[2\]"),
        ([[1, float("nan")]], "wanted finite numbers that float32 holds, came nan"),
        ([[1, 1e39]], r"wanted finite numbers that float32 holds, came 1e\+39"),
        ([[1, 10**5000]], "wanted finite numbers that float32 holds, came a number too long"),
    ],
)
def test_floats_that_are_none_are_refused(value: Any, message: str) -> None:
    with pytest.raises(TextError, match=r"^rows\[1\]: field 'x': " + message):
        Examples.from_rows([{"x": [[1, 2]]}, {"x": value}], [Field("x", "floats")])


def test_fields_of_one_length_have_as_many_steps() -> None:
    fields = [Field("x", "floats"), Field("y", "ids"), Field("z", "ids", "other")]
    with pytest.raises(
        TextError, match=r"rows\[1\]: wanted fields 'x' and 'y' of the net's length .* 2 and 3\."
    ):
        Examples.from_rows([{"x": [1], "y": "a", "z": "abc"}, {"x": [1, 2], "y": "abc", "z": "a"}], fields)
    with pytest.raises(TextError, match=r"'a' and 'b' of length 'n' .* came 2 and 3 with its stop"):
        Examples.from_rows(
            [{"a": "xy", "b": "xy"}], [Field("a", "ids", "n"), Field("b", "ids", "n", stop=True)]
        )
    with pytest.raises(TextError, match="field 'x': wanted 8 steps, came 2"):
        Examples.from_rows([{"x": [1, 2]}], [Field("x", "floats", 8)])


def test_a_size_bounds_a_vocabulary() -> None:
    with pytest.raises(
        TextError, match=r"rows\[1\]: field 't': wanted 2 different characters .* came 'c' as one"
    ):
        Examples.from_rows([{"t": "ab"}, {"t": "bca"}], [Field("t", "ids", size=2)])
    assert Examples.from_rows([{"t": "ab"}], [Field("t", "ids", size=9)]).field("t").size == 9


def test_fields_that_share_must_be_alike() -> None:
    text, label = Field("text", "ids", share="x"), Field("label", "ids", 1, share="x")
    with pytest.raises(TextError, match="field 'label': wanted a string of characters, as in 'text'"):
        Examples.from_rows([{"text": "ab", "label": "a"}], [text, label])
    other = Field("other", "ids", share="x", vocab=Vocab.of("ab"))
    with pytest.raises(UsageError, match="'other' and 'more' share 'x', but give each a vocab"):
        Examples.from_rows([], [other, Field("more", "ids", share="x", vocab=Vocab.of("abc"))])


@pytest.mark.parametrize(
    "settings",
    [
        {"name": ""},
        {"kind": "id"},
        {"length": 0},
        {"size": 0},
        {"length": 1, "stop": True},
        {"kind": "floats", "stop": True},
        {"kind": "floats", "share": "x"},
        {"vocab": Vocab.of("abc"), "size": 2},
    ],
)
def test_a_field_that_cannot_be_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Field(**{"name": "x", "kind": "ids", **settings})


def test_examples_need_rows_and_fields_of_different_names(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="wanted at least 1 example"):
        Examples.read(file_of(tmp_path, "", " "), [TEXT])
    with pytest.raises(UsageError, match="at least 1 field"):
        Examples.from_rows([{"text": "a"}], [])
    with pytest.raises(UsageError, match="'text' is there twice"):
        Examples.from_rows([{"text": "a"}], [TEXT, TEXT])
    with pytest.raises(TextError, match=r"rows\[0\]: wanted an object"):
        Examples.from_rows(["text"], [TEXT])  # type: ignore[list-item]
    with pytest.raises(UsageError, match=r"no field 'txt'; did you mean 'text'\?"):
        Examples.from_rows([{"text": "a"}], [TEXT]).field("txt")


def test_what_is_no_readable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TextError, match=r"no file .*daat.jsonl'; did you mean 'data.jsonl'\?"):
        Examples.read(file_of(tmp_path, '{"text": "a"}').parent / "daat.jsonl", [TEXT])
    with pytest.raises(TextError, match="is a directory"):
        Examples.read(tmp_path, [TEXT])
    monkeypatch.setattr(module, "MAX_BYTES", 5)
    with pytest.raises(TextError, match="wanted at most 5 bytes, came 14"):
        Examples.read(tmp_path / "data.jsonl", [TEXT])


def test_a_byte_order_mark_is_no_part_of_the_data(tmp_path: Path) -> None:
    assert len(Examples.read(file_of(tmp_path, b'\xef\xbb\xbf{"text": "a"}'), [TEXT])) == 1


def test_written_rows_are_read_as_they_were(tmp_path: Path) -> None:
    rows = [{"text": 'é"\n\u2028x', "label": "a b"}, {"text": "x", "label": ""}]
    path = tmp_path / "rows.jsonl"
    write_jsonl(rows, path)
    assert [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]] == rows
    read, made = Examples.read(path, [TEXT, LABEL]), Examples.from_rows(rows, [TEXT, LABEL])
    assert read.fields == made.fields
    assert all(torch.equal(read[n][f], made[n][f]) for n in range(2) for f in ("text", "label"))
    with pytest.raises(UsageError, match="is there already"):
        write_jsonl(rows, path)
    with pytest.raises(UsageError, match=r"rows\[1\]: wanted plain values"):
        write_jsonl([{}, {"x": torch.zeros(2)}], tmp_path / "other.jsonl")
    assert not (tmp_path / "other.jsonl").exists()


def test_a_split_is_by_position() -> None:
    examples = Examples.from_rows([{"text": "abcdefg"[: n + 1]} for n in range(7)], [TEXT])
    first, second = examples.split([0.6, 0.4])
    assert (len(first), len(second)) == (4, 3) and first.fields == examples.fields
    assert torch.equal(second[2]["text"], examples[6]["text"])
    assert Batches(second, 2, shuffle=False)[1].inputs["text"].T.tolist() == [list(range(7))]
    with pytest.raises(UsageError, match=r"not 0.9,0.2"):
        examples.split([0.9, 0.2])
    with pytest.raises(TextError, match="an example for each part, there are 7"):
        examples.split([0.01, 0.5])


def test_words_are_stored_and_read_again() -> None:
    words = Symbols.of(["to", "be", "to"])
    assert stored_vocab(json.loads(json.dumps(words.to_dict()))) == words
    assert stored_vocab(Vocab.of("ba").to_dict()) == Vocab.of("ab")
    assert words.encode("to").tolist() == [1] and words.decode(words.encode(["to", "be"])) == ["to", "be"]
    for record in (
        {"units": "word"},
        {"units": "word", "symbols": ["a", "a"]},
        [],
        {"units": "word", "symbols": [[]]},
    ):
        with pytest.raises(LoadError):
            stored_vocab(record)
    with pytest.raises(TextError, match="from 0 to 1, but 2 came"):
        words.decode([2])


def mixed_rows(lengths: list[tuple[int, int]], seed: int = 0) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [
        {
            "x": [[draw.random(), draw.random()] for _ in range(a)],
            "y": [draw.randrange(5) for _ in range(a)],
            "z": [draw.randrange(9) for _ in range(b)],
            "class": draw.randrange(4),
            "vector": [draw.random() for _ in range(3)],
        }
        for a, b in lengths
    ]


MIXED = [
    Field("x", "floats"),
    Field("y", "ids", size=5),
    Field("z", "ids", "z", size=9, stop=True),
    Field("class", "ids", 1, size=4),
    Field("vector", "floats", 1),
]


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 5)), min_size=1, max_size=12),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_a_batch_holds_its_examples_and_padding(
    lengths: list[tuple[int, int]], lanes: int, epoch: int
) -> None:
    examples = Examples.from_rows(mixed_rows(lengths), MIXED)
    batches = Batches(examples, lanes, seed=3)
    seen = []
    for k in range(epoch * len(batches), (epoch + 1) * len(batches)):
        batch = batches[k]
        assert set(batch.lengths) == {None, "z"}
        for b, row in enumerate(batch.rows.tolist()):
            seen.append(row)
            for name, value in examples[row].items():
                column, steps = batch.inputs[name][:, b], len(value)
                assert torch.equal(column[:steps], value)
                assert (column[steps:] == (0 if column.is_floating_point() else -1)).all()
            assert batch.lengths[None][b] == len(examples[row]["x"])
            assert batch.lengths["z"][b] == len(examples[row]["z"])
        assert len(batch.inputs["y"]) == batch.lengths[None].max()
        assert batch.inputs["class"].shape == (1, len(batch.rows))
        assert batch.inputs["vector"].shape == (1, len(batch.rows), 3)
    assert sorted(seen) == list(range(len(lengths)))


def test_a_batch_depends_on_its_number_alone() -> None:
    examples = Examples.from_rows(mixed_rows([(n % 5 + 1, n % 3) for n in range(23)]), MIXED)
    batches = Batches(examples, 4, seed=8)
    assert len(batches) == 6 and len(batches[5].rows) == 3
    orders = {k: batches[k].rows.tolist() for k in range(18)}
    backwards = Batches(examples, 4, seed=8)
    assert all(backwards[k].rows.tolist() == orders[k] for k in reversed(range(18)))
    epochs = [[row for i in range(6) for row in orders[6 * e + i]] for e in range(3)]
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert Batches(examples, 4, seed=9)[0].rows.tolist() != orders[0]
    assert [batch.rows.tolist() for batch in batches] == [orders[k] for k in range(6)]


def test_seed_and_epoch_are_told_apart() -> None:
    examples = Examples.from_rows([{"label": n} for n in range(50)], [LABEL])
    orders = {
        tuple(Batches(examples, 50, seed)[epoch].rows.tolist()) for seed in range(4) for epoch in range(4)
    }
    assert len(orders) == 16


def test_without_shuffling_examples_keep_their_order() -> None:
    examples = Examples.from_rows([{"label": n} for n in range(5)], [LABEL])
    batches = Batches(examples, 2, shuffle=False)
    assert [batches[k].rows.tolist() for k in range(6)] == [[0, 1], [2, 3], [4], [0, 1], [2, 3], [4]]


def test_targets_are_counted() -> None:
    fields = [Field("x", "floats"), Field("y", "ids", stop=False), Field("z", "ids", "z", stop=True)]
    rows = [{"x": [1, 2], "y": [0, -1], "z": "ab"}, {"x": [1], "y": [1], "z": ""}]
    examples = Examples.from_rows(rows, fields)
    counts = {name: Batches(examples, 1, target=name).num_targets for name in (None, "x", "y", "z")}
    assert counts == {None: 2, "x": 3, "y": 2, "z": 4}


def test_sizes_and_seeds_that_cannot_be_are_refused() -> None:
    examples = Examples.from_rows([{"label": 1}], [LABEL])
    with pytest.raises(UsageError, match="at least 1 lane"):
        Batches(examples, 0)
    with pytest.raises(UsageError, match="A seed is at least 0"):
        Batches(examples, 1, seed=-1)
    with pytest.raises(IndexError):
        Batches(examples, 1)[-1]
    with pytest.raises(IndexError):
        examples[1]


@pytest.mark.parametrize("size", [0, -1, 2**31, 2**63, 10**30])
def test_a_field_has_a_size_that_a_table_may_have(size: int) -> None:
    with pytest.raises(UsageError, match="Field 'in' has a size from 1 to 2,147,483,647, not"):
        Field("in", "ids", size=size)
