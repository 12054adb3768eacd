import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.errors import UsageError
from unrolled.net.importers import textformat
from unrolled.net.importers.textformat import Message, Value, Word, parse, read

NET = """
name: "char" 'rnn'   # a comment
net: {
  layer { name: 'gru1', type: kGRU; srclayers: ["onehot", "h"] }  // another { one
  layer [ { name: "a" }, { unroll_len: -3 } ]
  [singa.my_conf] { scale: 1e-05 on: true }
}
"""


def plain(message: Message) -> list[tuple[str, object]]:
    return [(f.name, plain(f.value) if isinstance(f.value, Message) else f.value) for f in message.fields]


def one(text: str) -> Value:
    (only,) = parse(text, "f").fields
    return only.value


def complaint(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse(text, "job.conf")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_text_becomes_its_fields_in_order() -> None:
    assert plain(parse(NET, "f")) == [
        ("name", "charrnn"),
        (
            "net",
            [
                (
                    "layer",
                    [("name", "gru1"), ("type", Word("kGRU")), ("srclayers", "onehot"), ("srclayers", "h")],
                ),
                ("layer", [("name", "a")]),
                ("layer", [("unroll_len", -3)]),
                ("[singa.my_conf]", [("scale", 1e-05), ("on", Word("true"))]),
            ],
        ),
    ]


def test_every_field_and_message_knows_its_line_and_column() -> None:
    net = parse(NET, "f").fields[1]
    assert isinstance(net.value, Message)
    assert (net.line, net.column, net.value.line, net.value.column) == (3, 1, 3, 6)
    places = [(field.line, field.column) for field in net.value.fields]
    assert places == [(4, 3), (5, 11), (5, 26), (6, 3)]
    first = net.value.fields[0].value
    assert isinstance(first, Message)
    assert [(f.line, f.column) for f in first.fields] == [(4, 11), (4, 25), (4, 49), (4, 59)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_count_the_same_whatever_ends_them(end: str) -> None:
    fields = parse(end.join(["a: 1", "", "# x", "  b: 2"]), "f").fields
    assert [(f.line, f.column) for f in fields] == [(1, 1), (4, 3)]


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("0", 0), ("12", 12), ("-7", -7), ("- 7", -7), ("0x1F", 31), ("18446744073709551615", 2**64 - 1),
        ("1.5", 1.5), (".5", 0.5), ("5.", 5.0), ("1e-05", 1e-05), ("-2.5E+3", -2500.0), ("1.5f", 1.5),
    ],
)  # fmt: skip
def test_numbers_are_read_as_python_and_protobuf_write_them(written: str, wanted: float) -> None:
    value = one(f"a: {written}")
    assert value == wanted and type(value) is type(wanted)


@pytest.mark.parametrize(
    "written", ["1e999", "010", "1.2.3", "5abc", "0xG", "1e", "18446744073709551616", "9" * 5000]
)
def test_what_is_no_finite_number_is_refused_at_its_place(written: str) -> None:
    assert complaint(f"b: 1\n a: {written}").startswith("job.conf:2:5: wanted a number such as 12")


@pytest.mark.parametrize("written", ["-inf", "-nan", "-infinity", "-"])
def test_a_sign_wants_a_number(written: str) -> None:
    assert "wanted a number, came" in complaint(f"a: {written}")


def test_a_bare_inf_is_a_word_and_no_number() -> None:
    assert one("a: inf") == Word("inf") and one("a: nan") == Word("nan")


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (r'"a\n\t\\\"\'\?"', "a\n\t\\\"'?"),
        (r"'it\'s \"so\"'", 'it\'s "so"'),
        (r'"\303\251\x41\0"', "éA\0"),
        (r'"\u00e9\U0001F600"', "é\U0001f600"),
        ('"ä" "ö"\n  \'ü\'', "äöü"),
        ('"# no comment // either"', "# no comment // either"),
        (r'"\303" "\251"', "é"),
        ('""', ""),
    ],
)
def test_texts_know_the_usual_escapes_and_are_joined(written: str, wanted: str) -> None:
    assert one(f"a: {written}") == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('a: "x\n"', "job.conf:1:4: a quoted text ends on its line"),
        ("a: 'x", "job.conf:1:4: a quoted text ends on its line"),
        (r'a: "x\q"', r"job.conf:1:6: '\q' is no escape"),
        (r'a: "\777"', r"job.conf:1:5: '\777' is no escape"),
        (r'a: "\ud800"', "job.conf:1:5: "),
        (r'a: "\377"', "job.conf:1:4: the bytes of a quoted text must be UTF-8"),
        ("a: \n 1 }", "job.conf:2:4: '}' closes nothing"),
        ("a {\n b {", "job.conf:2:5: the file ends, but '{' of line 2 is not closed"),
        ("a 5", "job.conf:1:3: wanted ':' or '{' after a, came '5'"),
        ("a: }", "job.conf:1:4: wanted a value, came '}'"),
        ("a:", "job.conf:1:3: wanted a value, came the end of the file"),
        ("a: [1 2]", "job.conf:1:7: wanted ',' or ']' in a list, came '2'"),
        ("a: [1, [2]]", "job.conf:1:8: wanted a value, came '['"),
        ("a: [1,]", "job.conf:1:7: wanted a value, came ']'"),
        ("a: [1", "job.conf:1:6: wanted ',' or ']' in a list, came the end of the file"),
        ("5: a", "job.conf:1:1: wanted a field's name, came '5'"),
        ("[a b", "job.conf:1:5: wanted an extension's name and ']', came the end of the file"),
        ("[]: 1", "job.conf:1:2: wanted an extension's name and ']', came ']'"),
        ("a: 1,, b: 2", "job.conf:1:6: wanted a field's name, came ','"),
        ("a: @x", "job.conf:1:4: '@' can't stand here"),
        ("a < b: 1 >", "job.conf:1:3: '<' can't stand here"),
        ("\ufeffa: 1", r"job.conf:1:1: '\ufeff' can't stand here"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, wanted: str) -> None:
    assert complaint(text).startswith(wanted)


def test_an_empty_list_is_no_field() -> None:
    assert plain(parse("a: [] b: [1]", "f")) == [("b", 1)]


def test_messages_may_lie_64_deep_and_no_deeper() -> None:
    depth = textformat.MAX_DEPTH
    message: Value = parse("a{" * depth + "}" * depth, "f")
    for _ in range(depth):
        assert isinstance(message, Message)
        (only,) = message.fields
        message = only.value
    assert complaint("a{" * 65 + "}" * 65).startswith("job.conf:1:130: wanted messages at most 64 deep")


@pytest.mark.parametrize("opening", ["a {\n", "a: [{"])
def test_a_thousand_levels_are_an_error_and_no_overflow(opening: str) -> None:
    assert "at most 64 deep" in complaint(opening * 1000)


def test_a_list_counts_no_level_of_messages() -> None:
    assert plain(parse("a: [{" * 32 + "}]" * 32, "f"))


def test_time_grows_with_the_length_of_the_text_only() -> None:
    def seconds(count: int) -> float:
        started = time.perf_counter()
        parse('layer { name: "x\\n" size: 1e-3 of: [a, b] }\n' * count, "f")
        return time.perf_counter() - started

    seconds(100)
    short, long = min(seconds(400) for _ in range(3)), seconds(8000)
    assert long < 20 * short * 5 + 0.1


def test_a_file_is_read_with_its_name_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "job.conf"
    path.write_bytes("\ufeffname: 'ä' $".encode())
    with pytest.raises(UsageError, match=r"job\.conf:1:11: '\$' can't stand here"):
        read(path)
    path.write_bytes(b"a: 1\r\nb: \xc3\xa4 \xff")
    with pytest.raises(UsageError, match=r"job\.conf:2:6: wanted UTF-8 text, came the byte 0xff"):
        read(path)


def test_a_file_that_is_not_there_is_a_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.conf", tmp_path, Path("a\0b")):
        with pytest.raises(UsageError, match="the file can't be read: ") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_file_of_100_megabytes_is_refused_by_its_size_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "huge.conf"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("the file was opened"))
    with pytest.raises(UsageError, match=r"at most 1,000,000 bytes, came 100,000,000"):
        read(path)


def test_a_file_whose_size_is_unknown_is_read_no_further_than_the_limit() -> None:
    with pytest.raises(UsageError, match="at most 1,000 bytes, came more"):
        read("/dev/zero", limit=1000)


PIECES = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    ";",
    '"',
    "'",
    "\\",
    "#",
    "//",
    "-",
    ".",
    "/",
    "inf",
    "0x",
    "1e9",
    "\n",
    "\0",
    "ä",
]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_mutated_text_is_a_message_or_a_usage_error_of_one_line(data: st.DataObject) -> None:
    text = NET
    for _ in range(data.draw(st.integers(1, 6))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(len(text), begin + 9)))
        piece = data.draw(st.sampled_from(PIECES) | st.text(max_size=5) | st.just(text[end : end + 40]))
        text = text[:begin] + piece + text[end:]
    try:
        message = parse(text, "f")
    except UsageError as error:
        assert str(error).startswith("f:") and "\n" not in str(error)
    else:
        assert isinstance(message, Message)


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(codec=None)) | st.lists(st.sampled_from([*PIECES, "a", " ", "\\x"])).map("".join)
)
def test_any_text_at_all_is_a_message_or_a_usage_error(text: str) -> None:
    try:
        assert isinstance(parse(text, "f"), Message)
    except UsageError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", ["a: 1\n" * 110_000, "a: [" + "1," * 110_000, "a { }" * 60_000])
def test_more_fields_than_any_net_has_are_refused_before_they_are_kept(text: str) -> None:
    assert complaint(text[:900_000]).endswith("wanted a file of at most 50,000 fields, came more")
