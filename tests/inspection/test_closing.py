from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data import Corpus
from unrolled.inspection.closing import KINDS, PATIENCE, Score, compared, structure, yardstick
from unrolled.inspection.training_text import TrainingText

PAIRS = {"(": ")", "[": "]", "{": "}", "“": "”"}


def score(text: str, kind: str) -> tuple[int, int, int, int]:
    found = structure(text)[kind]
    return found.opened, found.closed, found.cut, found.stray


def brackets_by_loops(text: str) -> dict[str, Score]:
    """Score brackets that never come in twos, looking back from every end."""
    state = [""] * len(text)
    stray = dict.fromkeys(PAIRS, 0)
    for at, mark in enumerate(text):
        if mark in PAIRS:
            state[at] = "open"
        for begin, end in PAIRS.items():
            if mark == end:
                mine = [i for i in range(at) if text[i] == begin and state[i] == "open"]
                if not mine:
                    stray[begin] += 1
                    continue
                state[mine[-1]] = "closed"
                for i in range(mine[-1] + 1, at):
                    state[i] = "wrong" if state[i] == "open" else state[i]
    return {
        kind: Score(
            text.count(kind),
            sum(mark == kind and s == "closed" for mark, s in zip(text, state, strict=True)),
            sum(mark == kind and s == "open" for mark, s in zip(text, state, strict=True)),
            stray[kind],
        )
        for kind in PAIRS
    }


@given(st.lists(st.sampled_from([*PAIRS, *PAIRS.values(), "a", "\n", "\0", "\ud800"]), max_size=60))
def test_brackets_are_scored_as_looking_back_from_every_end_does_it(marks: list[str]) -> None:
    text = " ".join(marks)
    found = structure(text)
    assert {kind: found[kind] for kind in PAIRS} == brackets_by_loops(text)


def test_what_an_outer_end_leaves_open_is_not_closed() -> None:
    assert score("f(a[1, b) c", "[") == (1, 0, 0, 0) and score("f(a[1, b) c", "(") == (1, 1, 0, 0)
    assert structure("{ ( } )")["("].share == 0 and score("{ ( } )", "(") == (1, 0, 0, 1)


def test_what_the_end_of_the_text_cuts_is_no_error_unless_it_was_forgotten() -> None:
    for kind, text in (("(", "a (b"), ("[[", "a [[b"), ("<", "<p>a"), ("{", "{ a"), ('"', '"a'), ("“", "“a")):
        assert score(text, kind) == (1, 0, 1, 0) and structure(text)[kind].share is None, kind
    for kind in ("(", "[", "[[", "“"):
        text = kind + "a" * PATIENCE
        assert structure(text)[kind].share == 0 and structure(text[:-2])[kind].share is None, kind
    assert structure("{" + "a" * 2 * PATIENCE)["{"].share is None


def test_straight_quotes_pair_within_a_paragraph() -> None:
    assert score('"a" b "c\nd"', '"') == (2, 2, 0, 0)
    assert score('"a" b "c\n\nd" e\n \n"f', '"') == (4, 1, 1, 0)


def test_links_are_no_brackets_and_their_ends_in_code_are() -> None:
    assert score("[[a|b]] [c] [[d [[e]]", "[[") == (3, 2, 1, 0)
    assert score("[[a|b]] [c] [[d [[e]]", "[") == (1, 1, 0, 0)
    assert score("x = a[b[0]];", "[") == (2, 2, 0, 0)


def test_tags_nest_by_name_and_some_stand_alone() -> None:
    assert score('<a href="x"><b>t</b><br><img src=y/><c/></a>', "<") == (2, 2, 0, 0)
    assert score("<a><b></a></b>", "<") == (2, 1, 0, 1)
    assert score("<a><!-- <b> --></a><![CDATA[<c>]]><!-- <d>", "<") == (1, 1, 0, 0)
    assert score("if (a < b && c > d) i<n;", "<") == (0, 0, 0, 0)


def test_environments_nest_by_name() -> None:
    text = "\\begin{proof}\\begin{align*}x\\end{align*}\\begin{lemma}\\end{proof}\\end{cases}\\begin{"
    assert score(text, "\\begin") == (3, 2, 0, 1)


def test_lines_go_deeper_after_an_opening_one_and_come_back() -> None:
    code = (
        "int f(void)\n{\n\tif (x) {\n\t\ty();\n\t}\n\n    switch (z) {\n    case 1:\n    w();\n      }\n}\n"
    )
    assert score(code, "deeper") == (4, 2, 0, 0)
    assert score(code, "}") == (3, 2, 0, 0)
    assert score("    }\n}\ndef f():\n\n  pass\nclass A:", "deeper") == (2, 1, 1, 0)
    assert score("    }\n}\n", "}") == (0, 0, 0, 2)
    assert score("a {\n}\nb {\n  c\n}", "deeper") == (1, 1, 0, 0)


@pytest.mark.parametrize(
    "text", ["", "\0", "\n" * 50, "\ud800", '"', "((((", "<", "<!--", "\\begin{", "]]" * 40]
)
def test_any_text_has_a_score_of_every_kind(text: str) -> None:
    found = structure(text)
    assert list(found) == list(KINDS)
    for one in found.values():
        assert 0 <= one.closed <= one.opened - one.cut and one.share in (None, 0.0)


def test_a_balanced_text_has_all_its_brackets_closed_and_losing_one_shows() -> None:
    draw = random.Random(4)

    def grown(depth: int) -> str:
        kind = draw.choice("([{“")
        inner = "".join(grown(depth - 1) for _ in range(draw.randrange(3))) if depth else "x"
        return f"{kind} {inner} {PAIRS[kind]}"

    text = "( " + "".join(grown(5) for _ in range(9)) + " )"
    whole = structure(text)
    assert all(whole[kind].closed == whole[kind].opened > 0 for kind in PAIRS)
    end = text.index("}")
    lost = structure(text[:end] + text[end + 1 :])["{"]
    assert (lost.opened, lost.closed, lost.cut) == (whole["{"].opened, whole["{"].closed - 1, 0)


def test_only_what_the_training_text_uses_is_compared() -> None:
    training = TrainingText.of("he (she) said: “no”\n" * 400 + "[once]")
    found = compared("(a) (b [c] {d}", yardstick(training, 300))
    assert [one.kind for one in found] == ["“", "("]
    assert found[1].score == Score(2, 1, 1, 0)
    assert found[1].training is not None and found[1].training.share == 1
    assert [one.kind for one in compared("(a) {b", None)] == ["(", "{"]


def test_the_yardstick_is_the_same_for_a_seed_and_as_long_as_asked() -> None:
    draw = random.Random(8)
    text = "".join(draw.choices("(a) \n", k=30_000))
    training = TrainingText.of(text)
    one = yardstick(training, 700, seed=3)
    assert one == yardstick(training, 700, seed=3) != yardstick(training, 700, seed=4)
    assert one.characters == 143 * 700
    assert yardstick(training, 99).characters == 400 * 99


def test_a_training_text_shorter_than_the_sample_is_its_own_yardstick() -> None:
    training = TrainingText.of("(a)(")
    assert yardstick(training, 4).scores == yardstick(training, 900).scores == structure("(a)(")
    assert yardstick(TrainingText.of(""), 5).kinds == ()


def test_a_text_of_bytes_has_a_yardstick(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes("“ä” (b)\n".encode() * 90 + b"\xff")
    corpus = Corpus.open(tmp_path / "a.bin", units="byte")
    assert yardstick(TrainingText(corpus.ids, corpus.vocab), 100).kinds == ("“", "(")
