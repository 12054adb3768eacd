"""Text predicates: what each is true of, and that nothing unbalanced poisons the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unrolled.errors import UsageError
from unrolled.inspection.predicates import PREDICATES, Predicate, from_file, from_function, from_regex
from unrolled.inspection.rules import BRACE_LIMIT, LIMIT

BY_NAME = {predicate.name: predicate for predicate in PREDICATES}


def marked(name: str, text: str) -> str:
    """Return ``text`` with a - wherever the predicate is false, for the eye."""
    values = BY_NAME[name](list(text))
    assert values.dtype == np.bool_
    return "".join(char if value else "-" for char, value in zip(text, values, strict=True))


def numbers(name: str, text: str) -> list[int]:
    values = BY_NAME[name](list(text))
    assert values.dtype == np.float32
    return [int(value) for value in values]


@pytest.mark.parametrize(
    ("name", "text", "true"),
    [
        ("double-quotes", 'he "says\nit" now', '---"says\nit-----'),
        ("double-quotes", "he “says” now", "---“says-----"),
        ("double-quotes", 'a "b\n\nc "d" e', '--"b\n---"d---'),
        ("single-quotes", "don't 'say it' or the dogs' bone", "------'say it-------------------"),
        ("single-quotes", "'can't' be", "'can't----"),
        ("single-quotes", "it ''was'' so", "-------------"),
        ("single-quotes", "'tis the time\n\nof John' s", "-" * 25),
        ("round-brackets", "f(a, (b)) :) c", "-(a, (b)------"),
        ("square-brackets", "x[1] y] [z", "-[1-------"),
        ("braces", "{a (} b)", "{a (----"),
        ("angle-brackets", "a < b <c> d->e", "------<c------"),
        ("wiki-link", "see [[a|b]] [c]", "-----[a|b]-----"),
        ("tag", "a <b c='d'>e</b> < f", "--<b c='d'--</b-----"),
        ("attribute", "<a b='c' d = \"e\"> f='g'", "-----'c------\"e--------"),
        ("comment", "a /* b */ c <!-- d -->", "--/* b *----<!-- d ---"),
        ("comment", "int f() {\n  // a\n#include <b>\n}", "------------// a---------------"),
        ("comment", "def f():\n    # a\n    return b", "-------------# a-------------"),
        ("comment", "Rome // is\n# far\n", "-----------------"),
        ("url", "see http://a.b/c, (www.d.e) x", "----http://a.b/c,--www.d.e---"),
        ("line-start", "ab\n\nc", "a--\nc"),
        ("line-end", "ab\n\nc", "-b\n--"),
        ("line-ending", "abcdefgh\nabcdefgh", "---defgh---------"),
        ("in-indentation", "  a b\n\tc ", "  ----\t--"),
        ("word-boundary", "it's so", "---s -o"),
        ("capital-word", "I am KING JOHN.", "-----KING-JOHN-"),
        ("speaker", "KING JOHN:\nNo: never.\nShe: a", "KING JOHN-------------------"),
        ("number", "a1 1,000.5 0xff.", "---1,000.5-0xff-"),
        ("next-capital", "aB C", "a- -"),
        ("capital", "aBÉ1", "-BÉ-"),
        ("digit", "a1²", "-1-"),
        ("vowel", "baéYU", "-aé-U"),
        ("punctuation", "a, b-«", "-,---«"),
        ("space", "a b\n", "- -\n"),
    ],
)
def test_a_predicate_is_true_where_the_rule_says(name: str, text: str, true: str) -> None:
    assert marked(name, text) == true


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("depth", "a(b[c])d)", [0, 1, 1, 2, 2, 1, 0, 0, 0]),
        ("line-position", "ab\nc\n\nd", [1, 2, 0, 1, 0, 0, 1]),
        ("word-position", "ab it's", [1, 2, 0, 1, 2, 3, 4]),
        ("indentation", "  a\n \tb c", [1, 2, 2, 0, 1, 8, 8, 8, 8]),
        ("sentence-length", "A b. C.d\n\ne", [1, 2, 3, 0, 1, 2, 3, 4, 0, 1, 2]),
    ],
)
def test_a_number_counts_as_the_rule_says(name: str, text: str, values: list[int]) -> None:
    assert numbers(name, text) == values


@pytest.mark.parametrize(
    "stray", ['"', "'", "(", "[", "{", "<a ", ")", "]", "}", ">", "[[", "“", "<!--", "/*"]
)
@pytest.mark.parametrize("predicate", PREDICATES, ids=lambda predicate: predicate.name)
def test_a_stray_mark_does_not_reach_the_next_paragraphs(predicate: Predicate, stray: str) -> None:
    rest = "\n\n" + "Say \"it\" 'now' (f[a] {b}) <i j='k'>l</i> [[m]] n.\n" * 3
    before = "x" + stray + " y" * BRACE_LIMIT
    with_stray = predicate(list(before + rest))[-len(rest) + 2 :]
    without = predicate(list(before.replace(stray, "") + rest))[-len(rest) + 2 :]
    assert np.array_equal(with_stray, without)


def test_an_unclosed_quote_ends_after_the_limit() -> None:
    values = BY_NAME["double-quotes"](list('"' + "a" * 3 * LIMIT))
    assert values.sum() == LIMIT + 1 and values[:LIMIT].all()


@pytest.mark.parametrize("predicate", PREDICATES, ids=lambda predicate: predicate.name)
def test_what_claims_not_to_look_ahead_does_not(predicate: Predicate) -> None:
    text = (
        "ROME:\n\tSay \"it, O\" 'x y' (f[a]) 1,000 it's http://a.b/c <i j='k'>12</i> [[m]]. /* n */ w\n\nZ "
        * 2
    )
    whole = predicate(list(text))
    cuts = [predicate(list(text[:end])) for end in range(1, len(text))]
    same = all(np.array_equal(cut[-1], whole[len(cut) - 1]) for cut in cuts)
    assert same or predicate.looks_ahead


@pytest.mark.parametrize("predicate", PREDICATES, ids=lambda predicate: predicate.name)
@pytest.mark.parametrize("text", ["", "a", "\n", '"', "[[", "\n\n\n", "\x00\ud800‮"])
def test_any_text_has_a_value_a_symbol(predicate: Predicate, text: str) -> None:
    assert predicate(list(text)).shape == (len(text),)


def test_symbols_of_several_chars_and_of_none_have_the_value_after_their_last_char() -> None:
    assert BY_NAME["round-brackets"](["", "a(", "b", "", "c)", ""]).tolist() == [0, 1, 1, 1, 0, 0]


def test_a_regular_expression_is_true_inside_its_matches() -> None:
    predicate = from_regex("years", r"^\d{4}")
    assert predicate(list("1812 a\n1813 1814")).tolist() == [1] * 4 + [0] * 3 + [1] * 4 + [0] * 5
    assert predicate.name == "years" and not predicate.numeric


def test_a_wrong_regular_expression_is_one_line_with_its_position() -> None:
    with pytest.raises(
        UsageError, match=r"'open' takes a regular expression, came 'a\(b': .* at position 1$"
    ):
        from_regex("open", "a(b")
    with pytest.raises(UsageError, match=r"the repetition number is too large; make it smaller$"):
        from_regex("many", "a{99999999999}")
    assert from_regex("links", "[[]x")(list("a[x]")).tolist() == [False, True, True, False]


def test_a_function_of_a_file_is_a_predicate(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def is_x(text):\n    return [c == 'x' for c in text]\n"
        "def how_far(text):\n    return range(len(text))\n"
        "thing = 3\n"
    )
    flag, number = from_file(f"{file}:is_x"), from_file(f"{file}:how_far")
    assert flag(["x", "ax", "b"]).tolist() == [True, True, False] and flag.words == "is x"
    assert number(["x", "ax", "b"]).tolist() == [0, 2, 3] and number.numeric
    with pytest.raises(UsageError, match="has no is_y; its functions are is_x, how_far; did you mean 'is_x'"):
        from_file(f"{file}:is_y")
    with pytest.raises(UsageError, match="thing must be a function, came int; write def thing"):
        from_file(f"{file}:thing")
    with pytest.raises(UsageError, match=r"is written path.py:function, came 'mine'"):
        from_file("mine")
    with pytest.raises(UsageError, match="there is no file"):
        from_file(f"{tmp_path}/none.py:f")


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (
            lambda text: [True],
            r"must return 4 bools or numbers, one a char; came shape \[1\]; give each char",
        ),
        (lambda text: None, "came NoneType; return a list or an array"),
        (lambda text: list(text), "return bools, whole numbers or floats"),
        (lambda text: [float("nan")] * len(text), "came nan at char 0; return finite numbers"),
        (lambda text: [[1]] + [2] * (len(text) - 1), "return a list or an array"),
        (lambda text: 1 / 0, "failed: ZeroDivisionError: division by zero; mend it"),
    ],
)
def test_a_function_that_gives_something_else_is_one_line(function: object, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as error:
        from_function("mine", function)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_a_predicate_has_a_name_and_words_of_its_own() -> None:
    assert len(BY_NAME) == len({predicate.words for predicate in PREDICATES}) == len(PREDICATES)
