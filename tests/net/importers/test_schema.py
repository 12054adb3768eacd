import pytest

from unrolled.errors import UsageError
from unrolled.net.importers.schema import Record, Schema, each, inner, number, one_of, switch, text, whole
from unrolled.net.importers.textformat import parse

RATE = Schema("rate", {"base": number(0.01, low=0), "share": number(0.5, low=0, high=1)})
OWN = Schema("an extension", {"hidden": whole(low=1)})
LAYER = Schema(
    "layer",
    {
        "name": text(required=True),
        "type": one_of("kGRU", "kSoftmax", default="kGRU", numbers={7: "kSoftmax"}),
        "sources": each(text()),
        "shift": each(whole(low=0)),
        "bias": switch(True),
        "filler": text("constant", words=("constant", "xavier")),
    },
    extensions=OWN,
)
NET = Schema(
    "net", {"layer": each(inner(LAYER)), "rate": inner(RATE), "free": one_of()}, aliases={"Rate": "rate"}
)


def read(written: str) -> Record:
    return NET.read(parse(written, "f"))


def complaint(written: str) -> str:
    with pytest.raises(UsageError) as caught:
        read(written)
    return str(caught.value)


def test_fields_come_by_name_typed_and_with_defaults() -> None:
    net = read(
        'layer { name: "a" sources: ["x", "y"] bias: false } layer { name: "b" type: kSoftmax shift: 3 }'
    )
    first, second = net["layer"]
    assert (first["name"], first["type"], first["sources"], first["bias"]) == ("a", "kGRU", ("x", "y"), False)
    assert (second["type"], second["shift"], second["sources"], second["bias"]) == (
        "kSoftmax",
        (3,),
        (),
        True,
    )
    assert "bias" in first and "bias" not in second
    assert net["rate"]["base"] == 0.01 and "rate" not in net and net["free"] is None


def test_a_whole_number_serves_as_a_number_and_stays_one_of_the_kind() -> None:
    base = read("Rate { base: 1 }")["rate"]["base"]
    assert base == 1 and isinstance(base, float)


@pytest.mark.parametrize("word", ["true", "True", "t", "1"])
def test_booleans_are_written_as_protobuf_allows(word: str) -> None:
    (layer,) = read(f'layer {{ name: "a" bias: {word} }}')["layer"]
    assert layer["bias"] is True


def test_a_word_may_come_by_its_number() -> None:
    assert read('layer { name: "a" type: 7 }')["layer"][0]["type"] == "kSoftmax"


def test_extensions_are_read_by_their_schema() -> None:
    (layer,) = read('layer { name: "a" [my.conf] { hidden: 7 } }')["layer"]
    assert layer.extensions["[my.conf]"]["hidden"] == 7


def test_an_error_raised_later_knows_the_place_of_its_field() -> None:
    (layer,) = read('layer {\n name: "a"\n shift: [1,\n  2] }')["layer"]
    assert str(layer.error("no", "shift", index=1)) == "f:4:3: no"
    assert str(layer.error("no", "bias")) == str(layer.error("no")) == "f:1:1: no"


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("\n layr {}", "f:2:2: net has no field 'layr'; did you mean 'layer'?"),
        ("rate { bass: 1 }", "f:1:8: rate has no field 'bass'; did you mean 'base'?"),
        ("[a.b] { }", "f:1:1: net has no field '[a.b]'"),
        ("rate {} \nRate {}", "f:2:1: rate is given twice, first in line 1; it is wanted once"),
        ("layer { }", "f:1:1: layer wants a field 'name', and has none"),
        ("layer: 3", "f:1:1: layer: wanted { ... }, came 3"),
        ("layer { name: { } }", "f:1:9: name: wanted a quoted text, came { ... }"),
        ("layer { name: a }", "f:1:9: name: wanted a quoted text, came a"),
        ('layer { name: "a" type: "kGRU" }', 'f:1:19: type: wanted one of kGRU, kSoftmax, came "kGRU"'),
        ('layer { name: "a" type: kGRUU }', "came kGRUU; did you mean 'kGRU'?"),
        ('layer { name: "a" type: 6 }', "f:1:19: type: wanted one of kGRU, kSoftmax, came 6"),
        ('layer { name: "a" shift: 1.0 }', "f:1:19: shift: wanted a whole number from 0 to 2147483647"),
        ('layer { name: "a" shift: [1, -1] }', "f:1:30: shift: wanted a whole number from 0 "),
        ('layer { name: "a" bias: 2 }', "f:1:19: bias: wanted true or false, came 2"),
        ('layer { name: "a" bias: yes }', "f:1:19: bias: wanted true or false, came yes"),
        ('layer { name: "a" filler: "xavir" }', 'came "xavir"; did you mean \'xavier\'?'),
        ('layer { name: "a" [b] {} [b] {} }', "f:1:26: [b] is given twice"),
        ('layer { name: "a" [b]: 3 }', "f:1:19: [b]: wanted { ... }, came 3"),
        ("rate { base: inf }", "f:1:8: base: wanted a number, 0 or more, came inf"),
        ("rate { base: -1 }", "f:1:8: base: wanted a number, 0 or more, came -1"),
        ("rate { share: 1.5 }", "f:1:8: share: wanted a number from 0 to 1, came 1.5"),
    ],
)  # fmt: skip
def test_what_the_schema_does_not_know_is_told_with_its_place(written: str, wanted: str) -> None:
    found = complaint(written)
    assert wanted in found and found.startswith("f:") and "\n" not in found


def test_a_long_wrong_name_is_cut_in_the_error() -> None:
    assert len(complaint("x" * 500_000 + ": 1")) < 200
