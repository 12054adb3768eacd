"""What can be done to a text that is read: to bytes, tokens, numbers, strings, lines, depth and length."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

NUMBERS = (
    "0", "-1", "1", "2", "1e400", "-1e400", "1e-400", "nan", "inf", "-inf", "1_0", "0x7fffffffffffffff",
    "0o17", "1e", "2147483647", "2147483648", "4294967296", "9223372036854775808",
    "-9223372036854775809", "10000000000", "1000000000", "10000000", "9999999", "10000", "100000", "1e9",
    "1e308", "0.5", "-0.0", "1"+"0" * 400, "9" * 5000, "0x"+"f" * 5000, "0b"+"1" * 9000, "9" * 30,
    "true", "false", '"3"', "[]", "[3]", "{}", "1979-05-27T07:32:00Z", "'", '""',
)  # fmt: skip
"""What a number becomes."""
STRINGS = (
    "", " ", "\0", "\x1b[31mred", "\u202egnp.exe", "a\nb", "a\r\nb", "\u2028", "'", '"', "\\",
    "../../etc/passwd", "nowhere", "0#x", "a:b", "a@1", "é" * 10, "\U0001f600", "\ufeff", "\ud800",
    "x" * 10_000, "name" * 50_000, "NaN", "%s%n", "{0}", "$(reboot)", "<script>", "-1", "--help",
    "\x7f\x80", "a\tb", "my.py:Leaky", "os.py:system",
)  # fmt: skip
"""What a text becomes."""
LINES = (
    "unroll = 1000000000", "unroll = 10000000", 'unroll = "source"', "unroll = 1", "unroll = 2",
    "partition = 7", 'include = ["train"]', 'exclude = ["train"]', 'include = ["nowhere"]',
    "size = 10000000000", "size = 2147483647", "size = [100000, 100000]", "size = 1", 'size = "vocab"',
    "hidden = 10000000000", "hidden = 2147483647", 'sources = ["nowhere"]', "sources = []",
    'sources = [{ source = "h", shift = 1000000000 }]', "lr = 1e400",
    'params = [{ role = "x_to_y", name = "w", share_from = "w" }]', "sources = [{}]", "a.b.c.d = 1",
    "[net]", 'params = [{ role = "bias", share_from = "b" }, { role = "x_to_y", share_from = "bias" }]',
    "[[layer]]", "[layer]", "[training]", "[[training]]", "x = 1", "[data.lanes]", "[data]",
    'recipe = "hello"', 'recipe = "base.toml"', 'recipe = "file.toml"', 'recipe = "../nowhere.toml"',
    "recipe = 3", "layer = 3", "name = 3", '"" = 1', "unroll_len: 1000000000", "unroll_len: 1",
    "include: kTrain", "exclude: kTrain", "include { phase: TRAIN }", "exclude { phase: TEST }",
    "shift: 1000000000", "shift: 1", 'srclayers: "nowhere"', "partition_dim: 1",
    'param { name: "w" share_from: "b" }', 'param { name: "b" share_from: "w" }', 'bottom: "nowhere"',
    'top: "x1"', "[a.b/c] { x: 1 }", "unroll_conn_type: kUnrollFirstToLast",
    "unroll_conn_type: kUnrollOneToAll", "layer { }", "neuralnet { }", "updater { type: kSGD }",
    'input: "x"', "input_dim: 10000000000", "}", "{", "#", "//", "/*",
)  # fmt: skip
"""What is put between two lines."""
TOKEN = re.compile(rb'"[^"\n]*"|\'[^\'\n]*\'|[\w.+-]+|\s+|.', re.S)
NUMBER = re.compile(rb"(?<![\w.\"'])-?\d[\w.+-]*")
STRING = re.compile(rb'"[^"\n]*"|\'[^\'\n]*\'')
NAME = re.compile(rb"^[ \t]*([A-Za-z_]\w*)(?= *[=:{])|(?<=[{ ])([a-z_]+)(?= *[=:])", re.M)

Change = Callable[[bytes, random.Random], bytes]


def mutated(data: bytes, draw: random.Random) -> tuple[bytes, list[str]]:
    """Return a file after one change, or a few, and their names; the last may be of the whole file."""
    names = []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        change = draw.choice(CHANGES if draw.random() < 0.9 else WHOLE)
        names.append(change.__name__)
        data = change(data, draw)
        if change in WHOLE:
            break
    return data, names


def _place(data: bytes, draw: random.Random) -> int:
    return draw.randrange(len(data) + 1)


def flip_bits(data: bytes, draw: random.Random) -> bytes:
    """Flip one bit, or a few."""
    made = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        if made:
            made[draw.randrange(len(made))] ^= 1 << draw.randrange(8)
    return bytes(made)


def take_out(data: bytes, draw: random.Random) -> bytes:
    """Take some bytes out."""
    at = _place(data, draw)
    return data[:at] + data[at + draw.choice((1, 1, 2, 5, 40)) :]


def put_in(data: bytes, draw: random.Random) -> bytes:
    """Put bytes in, any, or such that mean something."""
    at = _place(data, draw)
    found = draw.choice(
        (draw.randbytes(draw.choice((1, 4))), bytes([draw.choice(b"\"'[]{}#=.,:\\\0\r\n\x1b")]))
    )
    return data[:at] + found * draw.choice((1, 1, 1, 3)) + data[at:]


def cut(data: bytes, draw: random.Random) -> bytes:
    """Cut the file off: whatever is open stays open."""
    return data[: _place(data, draw)]


def swap_tokens(data: bytes, draw: random.Random) -> bytes:
    """Let two tokens change places."""
    tokens = TOKEN.findall(data) or [b""]
    one, two = draw.randrange(len(tokens)), draw.randrange(len(tokens))
    tokens[one], tokens[two] = tokens[two], tokens[one]
    return b"".join(tokens)


def repeat_token(data: bytes, draw: random.Random) -> bytes:
    """Write a token twice, or leave it out."""
    tokens = TOKEN.findall(data) or [b""]
    tokens[draw.randrange(len(tokens))] *= draw.choice((0, 2))
    return b"".join(tokens)


def swap_strings(data: bytes, draw: random.Random) -> bytes:
    """Put one of the file's texts in the place of another: edges to nowhere, circles, two of one name."""
    return _replaced(STRING, data, draw, draw.choice(STRING.findall(data) or [b'""']))


def swap_names(data: bytes, draw: random.Random) -> bytes:
    """Put one of the file's keys in the place of another."""
    names = [found[0].strip() for found in NAME.finditer(data)]
    return _replaced(NAME, data, draw, draw.choice(names or [b"x"]))


def odd_number(data: bytes, draw: random.Random) -> bytes:
    """Let a number be huge, negative, none, or no number."""
    return _replaced(NUMBER, data, draw, draw.choice(NUMBERS).encode())


def odd_string(data: bytes, draw: random.Random) -> bytes:
    """Let a text be huge, empty, or full of signs that mean something elsewhere, in quotes of some kind."""
    made = draw.choice(STRINGS)
    form = draw.choice(("plain", "escaped", "escaped", "octal"))
    if form == "escaped":
        made = "".join(_escaped(sign) for sign in made)
    elif form == "octal":
        made = "".join(f"\\{ord(sign):03o}" if ord(sign) < 256 else sign for sign in made)
    quote = draw.choice(('"', '"', "'", '"""'))
    return _replaced(STRING, data, draw, f"{quote}{made}{quote}".encode("utf-8", "surrogatepass"))


def _escaped(sign: str) -> str:
    if sign.isprintable() and sign not in "\"'\\":
        return sign
    return f"\\u{ord(sign):04x}" if ord(sign) < 0x10000 else f"\\U{ord(sign):08x}"


def _replaced(what: re.Pattern[bytes], data: bytes, draw: random.Random, made: bytes) -> bytes:
    places = list(what.finditer(data))
    if not places:
        return data + made
    at = draw.choice(places)
    return data[: at.start()] + made + data[at.end() :]


def odd_name(data: bytes, draw: random.Random) -> bytes:
    """Let a key be misspelled, unknown, empty, or long."""
    made = draw.choice(
        (b"x", b"naem", b"", b"k" * 10_000, b"type", b'"a b"', b"a.b", b"a." * 500 + b"b", "é".encode())
    )
    return _replaced(NAME, data, draw, made)


def repeat_lines(data: bytes, draw: random.Random) -> bytes:
    """Write some lines again, here or elsewhere: keys, tables and layers that come twice."""
    lines = data.splitlines(keepends=True) or [b""]
    at, count = draw.randrange(len(lines)), draw.choice((1, 1, 4, 12))
    to = draw.choice((at, draw.randrange(len(lines) + 1)))
    return b"".join([*lines[:to], *lines[at : at + count], *lines[to:]])


def move_lines(data: bytes, draw: random.Random) -> bytes:
    """Let two lines change places, or leave some out."""
    lines = data.splitlines(keepends=True) or [b""]
    one, two = draw.randrange(len(lines)), draw.randrange(len(lines))
    if draw.random() < 0.5:
        lines[one], lines[two] = lines[two], lines[one]
    else:
        del lines[one : one + draw.choice((1, 1, 3))]
    return b"".join(lines)


def odd_line(data: bytes, draw: random.Random) -> bytes:
    """Put in a line that says something else."""
    lines = data.splitlines(keepends=True)
    lines.insert(draw.randrange(len(lines) + 1), draw.choice(LINES).encode() + b"\n")
    return b"".join(lines)


def left_open(data: bytes, draw: random.Random) -> bytes:
    """Open a text, a comment, a list or a table that nothing closes."""
    at = _place(data, draw)
    return (
        data[:at]
        + draw.choice((b'"', b"'", b'"""', b"'''", b"[", b"{", b"[[", b"#", b"/*", b"\\"))
        + data[at:]
    )


def deep(data: bytes, draw: random.Random) -> bytes:
    """Nest something deep."""
    depth = draw.choice((30, 70, 500, 2_000, 10_000))
    opens, closes, inside = draw.choice(
        (
            (b"[", b"]", b"1"),
            (b"{a=", b"}", b"1"),
            (b"a.", b"", b"b = 1"),
            (b"a {", b"}", b""),
            (b"(", b")", b""),
        )
    )
    made = opens * depth + inside + closes * draw.choice((depth, depth, 0))
    before = draw.choice((b"\nx = ", b"\nsources = ", b"\n[", b"\n", b"\nparams = "))
    if draw.random() < 0.5:
        return data + before + made + b"\n"
    return _replaced(draw.choice((NUMBER, STRING)), data, draw, made)


def long(data: bytes, draw: random.Random) -> bytes:
    """Let something be as long as a file may be, and longer."""
    count = draw.choice((1_000, 100_000, 300_000, 1_000_000))
    item = draw.choice((b"1,", b"0.5,", b'"a",', b"{},", b"[],", b"\n"))
    before = draw.choice(
        (b"\nx = [", b"\nsources = [", b"\nsplit = [", b"\nlr_steps = [", b"\nstep: [", b"\ngpu: [")
    )
    if draw.random() < 0.3:
        piece = draw.choice(
            (
                b"[[layer]]\n",
                b"layer { }\n",
                b"# \n",
                b"[a]\n",
                b"a.b = 1\n",
                b"x = 1\n",
                b"''''''",
                b"n%d = 1\n",
            )
        )
        times = min(count, 990_000 // (len(piece) + 4))
        return data + (b"".join(piece % n for n in range(times)) if b"%" in piece else piece * times)
    made = item * min(count, max(1, (990_000 if draw.random() < 0.8 else 2_000_000) // len(item)))
    return (
        data + before + made + b"1]\n"
        if draw.random() < 0.5
        else _replaced(NUMBER, data, draw, b"[" + made + b"]")
    )


def many_layers(data: bytes, draw: random.Random) -> bytes:
    """Write the whole file again and again, its names numbered or not."""
    times = min(draw.choice((3, 30, 300, 3_000)), max(1, 900_000 // (len(data) + 1)))
    numbered = draw.random() < 0.5
    end = data.rfind(b"[[layer]]")
    body = data[end:] if end >= 0 else data[data.rfind(b"layer {") :]
    again = (STRING.sub(b'"n%d"' % n, body, count=1) if numbered else body for n in range(times))
    return data + b"\n".join(again)


def other_ends(data: bytes, draw: random.Random) -> bytes:
    """End lines otherwise."""
    return data.replace(b"\n", draw.choice((b"\r\n", b"\r", b"\n\r", "\u2028".encode(), b"\x0b", b"\0")))


def other_letters(data: bytes, draw: random.Random) -> bytes:
    """Write the file in another encoding, or with a mark that says which."""
    text = data.decode("utf-8", "replace")
    codec = draw.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig", "utf-7"))
    made = ("é = 1\n" if draw.random() < 0.3 else "") + text
    return made.encode(codec, "replace") + draw.choice((b"", b"", b"\xff", b"\0", b"\xc3"))


def nothing(data: bytes, draw: random.Random) -> bytes:
    """Leave nothing, or nothing but one kind of byte."""
    return draw.choice((b"", b"\n", b"\0", b" ", b"\xff", b"\xef\xbb\xbf", b"#", b"[")) * draw.choice(
        (0, 1, 4096, 999_999)
    )


CHANGES: tuple[Change, ...] = (
    flip_bits, take_out, put_in, cut, swap_tokens, repeat_token, swap_strings, swap_strings, swap_names,
    odd_number, odd_number, odd_string, odd_string, odd_name, repeat_lines, move_lines, odd_line,
    odd_line, odd_line, left_open,
)  # fmt: skip
"""What is done to a part of a file; what finds most stands twice."""
WHOLE: tuple[Change, ...] = (deep, deep, long, long, many_layers, other_ends, other_letters, nothing)
"""What is done to a whole file, as the last."""
