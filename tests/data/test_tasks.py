from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch

from unrolled.data import TASKS, Examples, Field, task, write_jsonl
from unrolled.data.digits import FONT, glyph_of
from unrolled.data.tasks import DIGIT_NAMES, LETTERS, binary_sums, first_letters, reversed_strings, tagged
from unrolled.errors import UsageError

FIELDS = {
    "points": [Field("point", "floats", 1), Field("arc", "ids", 1)],
    "digit-names": [Field("digit", "ids", 1), Field("name", "ids", "name", stop=True)],
    "first-letters": [Field("text", "ids"), Field("first", "ids", 1)],
    "reversed-strings": [Field("source", "ids", "source", share="letters"),
                         Field("target", "ids", "target", share="letters", stop=True)],
    "binary-sums": [Field("bits", "floats"), Field("sum", "ids")],
    "tagged": [Field("text", "ids"), Field("tags", "ids")],
    "digit-rows": [Field("rows", "floats", 8), Field("digit", "ids", 1)],
}  # fmt: skip
SIZES = {
    "points": (2, 2),
    "digit-names": (10, 15),
    "first-letters": (4, 4),
    "reversed-strings": (8, 8),
    "binary-sums": (2, 2),
    "tagged": (4, 2),
    "digit-rows": (8, 10),
}


def test_every_task_is_read_with_its_fields(tmp_path: Path) -> None:
    assert set(FIELDS) == set(TASKS)
    for name, fields in FIELDS.items():
        rows = task(name)(300, 4)
        write_jsonl(rows, tmp_path / name)
        examples = Examples.read(tmp_path / name, fields)
        assert len(examples) == 300 and tuple(field.size for field in examples.fields) == SIZES[name]


@pytest.mark.parametrize("name", list(TASKS))
def test_a_task_is_drawn_from_its_seed(name: str) -> None:
    first, again, other = (task(name)(20, seed) for seed in (5, 5, 6))
    assert first == again != other


def test_points_lie_on_arcs_that_do_not_touch() -> None:
    rows = task("points")(2000, 1)
    arcs = [[row["point"] for row in rows if row["arc"] == arc] for arc in (0, 1)]
    assert min(map(len, arcs)) > 900
    for x, y in arcs[0]:
        assert y >= 0 and 0.799 < math.hypot(x, y) < 1.201
    for x, y in arcs[1]:
        assert y <= 0.5 and 0.799 < math.hypot(x - 1, y - 0.5) < 1.201
    upper, lower = (torch.tensor(arc) for arc in arcs)
    assert torch.cdist(upper, lower).min() > 0.08


def test_no_line_parts_the_arcs() -> None:
    rows = task("points")(500, 2)
    points = torch.tensor([[*row["point"], 1.0] for row in rows], dtype=torch.float64)
    arc = torch.tensor([row["arc"] for row in rows])
    best = 0.0
    for turn in range(360):
        normal = torch.tensor([math.cos(math.radians(turn)), math.sin(math.radians(turn))]).double()
        along = points[:, :2] @ normal
        guesses = along[:, None] > along[None, :]
        best = max(best, float((guesses == arc[:, None].bool()).double().mean(0).max()))
    assert 0.7 < best < 0.95


def test_digits_are_named() -> None:
    rows = task("digit-names")(200, 0)
    assert {row["digit"]: row["name"] for row in rows} == dict(enumerate(DIGIT_NAMES))


def test_the_first_letter_is_drawn_apart_from_the_rest() -> None:
    rows = first_letters(4000, 6, torch.Generator().manual_seed(1))
    assert all(row["first"] == row["text"][0] for row in rows)
    assert {len(row["text"]) for row in rows} == set(range(1, 7))
    longer = [row for row in rows if len(row["text"]) > 1]
    agree = sum(row["text"][-1] == row["first"] for row in longer) / len(longer)
    assert abs(agree - 0.25) < 4 * math.sqrt(0.25 * 0.75 / len(longer))


def test_strings_are_reversed() -> None:
    rows = reversed_strings(500, 5, torch.Generator().manual_seed(1))
    assert all(row["target"] == "".join(reversed(row["source"])) for row in rows)
    assert {len(row["source"]) for row in rows} == set(range(1, 6))
    assert set("".join(row["source"] for row in rows)) == set(LETTERS)


def test_the_bits_of_a_row_add_up() -> None:
    rows = binary_sums(400, 7, torch.Generator().manual_seed(1))
    assert {len(row["bits"]) for row in rows} == set(range(2, 9))
    for row in rows:
        a, b = (sum(bits[i] << t for t, bits in enumerate(row["bits"])) for i in (0, 1))
        assert a + b == sum(bit << t for t, bit in enumerate(row["sum"]))
        assert len(row["bits"]) == len(row["sum"]) and row["bits"][-1] == [0, 0]


def test_tags_say_what_is_inside_of_quotes() -> None:
    rows = tagged(400, 15, torch.Generator().manual_seed(1))
    assert {len(row["text"]) for row in rows} == set(range(1, 16))
    for row in rows:
        pieces = row["text"].split('"')
        expected = ""
        for n, piece in enumerate(pieces):
            expected += (
                ("i" * (len(piece) + 2) if n < len(pieces) - 1 else "i" * (len(piece) + 1))
                if n % 2
                else ("o" * len(piece))
            )
        assert row["tags"] == expected


def test_a_drawn_digit_holds_its_glyph_somewhere() -> None:
    assert all(len(row.split()) == 10 for row in FONT) and len(FONT) == 7
    assert all(not torch.equal(glyph_of(a), glyph_of(b)) for a, b in itertools.combinations(range(10), 2))
    places = set()
    for row in task("digit-rows")(300, 1):
        picture = torch.tensor(row["rows"])
        assert picture.shape == (8, 8) and picture.min() >= 0 and picture.max() <= 1
        ink, glyph = (picture > 0.5).float(), glyph_of(row["digit"])
        found = [
            (down, right)
            for down, right in itertools.product(range(2), range(4))
            if torch.equal(ink[down : down + 7, right : right + 5], glyph) and ink.sum() == glyph.sum()
        ]
        assert found
        places.update(found)
    assert places == set(itertools.product(range(2), range(4)))


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no task 'tags'; did you mean 'tagged'\?"):
        task("tags")
    with pytest.raises(UsageError, match=r"There are points, digit-names"):
        task("zzz")


@pytest.mark.parametrize("name", list(TASKS))
def test_no_rows_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="n of at least 1"):
        task(name)(0, 1)
