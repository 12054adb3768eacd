"""What was found by damage and by hostile models, each kept as a case."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import unrolled
from unrolled.data import Vocab
from unrolled.errors import DamagedError, LoadError, UsageError, one_line
from unrolled.net import Chain, Net, Spec, chain
from unrolled.runs import Checkpoint, Journal, Run, Source, model_config
from unrolled.runs.checkpoint import Mark, read_model, write_checkpoint
from unrolled.runs.files import is_regular, read_regular, sha256
from unrolled.runs.tables import read_table, table_bytes
from unrolled.runs.tensors import MOST_TENSORS, read_bytes, read_tensors
from unrolled.settings import Settings
from unrolled.toml_text import read_toml

Change = Callable[[dict[str, Any]], object]


def checkpoint(change: Change = lambda config: None) -> Checkpoint:
    torch.manual_seed(3)
    net = Net(chain(Chain(outputs=3, cell="gru", layers=1, hidden=5)), Vocab.of("ab\n"))
    config = json.loads(json.dumps(model_config(net)))
    change(config)
    return Checkpoint(net.state_dict(), config, {}, {"position": {"update": 7}})


def refused(folder: Path) -> str:
    with pytest.raises(LoadError) as caught:
        unrolled.load(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    return str(caught.value)


CONFIGS: dict[str, tuple[Change, str]] = {
    "a boundary that is a list": (lambda c: c.update(boundary=[]), "boundary"),
    "a number format that is a list": (lambda c: c.update(dtype=[]), "dtype"),
    "fields that are a text": (lambda c: c.update(fields="x"), "fields"),
    "no layers": (lambda c: c.pop("layers"), "layers"),
    "a name that is a list": (lambda c: c.update(name=[]), "name"),
    "many layers": (lambda c: c.update(layers=c["layers"] * 9000), "10,000"),
    "layers without weights": (
        lambda c: c["layers"].extend(
            {"name": f"y{n}", "type": "linear", "sources": ["gru1"], "size": 3} for n in range(3000)
        ),
        "3,001 layers",
    ),
    "a source that is a number": (lambda c: c["layers"][-1].update(sources=[3]), "source"),
    "an edge with a field too many": (
        lambda c: c["layers"][-1].update(sources=[{"source": "y", "x": 1}]),
        "no field 'x'",
    ),
    "a symbol twice among many": (
        lambda c: c["vocab"].update(symbols=[*map(chr, range(32, 50_000)), "\u9999"]),
        "twice",
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_no_training_wrote_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    change, words = CONFIGS[name]
    write_checkpoint(tmp_path / "model", checkpoint(change))
    assert words in refused(tmp_path / "model") and "config.json" in refused(tmp_path / "model")


HEADERS = {
    "a giant header": (struct.pack("<Q", 2**63) + b"{}", "header"),
    "no header": (b"\0" * 5, "header"),
    "garbage": (struct.pack("<Q", 4) + b"\xff[}{", "no sense"),
    "a list": (struct.pack("<Q", 2) + b"[]", "no sense"),
    "brackets without end": (struct.pack("<Q", 90_000) + b"[" * 90_000, "no sense"),
    "an entry that is a number": (struct.pack("<Q", 7) + b'{"a":1}', "no sense"),
    "a file that goes on": (struct.pack("<Q", 2) + b"{}x", "end at byte 10"),
}
ENTRIES = {
    "ten billion numbers": ({"dtype": "F32", "shape": [10**10], "data_offsets": [0, 4]}, "can't lie"),
    "a size below 0": ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, "at least 0"),
    "a size and a half": ({"dtype": "F32", "shape": [1.5], "data_offsets": [0, 6]}, "at least 0"),
    "an end before the beginning": ({"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}, "can't lie"),
    "a format of another kind": ({"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}, "C64"),
    "no offsets": ({"dtype": "F32", "shape": [1], "data_offsets": []}, "no sense"),
    "one offset": ({"dtype": "F32", "shape": [1], "data_offsets": [0]}, "no sense"),
    "a shape that is none": ({"dtype": "F32", "shape": None, "data_offsets": [0, 4]}, "no sense"),
}


@pytest.mark.parametrize("name", [*HEADERS, *ENTRIES])
def test_a_header_is_looked_at_before_the_file_is_read(name: str, tmp_path: Path) -> None:
    if name in HEADERS:
        data, words = HEADERS[name]
    else:
        entry, words = ENTRIES[name]
        text = json.dumps({"a": entry}).encode()
        data = struct.pack("<Q", len(text)) + text + bytes(4)
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(DamagedError, match=words):
        read_bytes(tmp_path / "x")


def test_a_hundred_thousand_tensors_are_refused_by_their_number(tmp_path: Path) -> None:
    entry = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps({str(n): entry for n in range(MOST_TENSORS + 1)}).encode()
    (tmp_path / "x").write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(DamagedError, match="more than 40,000 tensors"):
        read_bytes(tmp_path / "x")


def test_a_hole_of_a_terabyte_is_refused_without_being_read(tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(DamagedError, match="header"):
        read_bytes(tmp_path / "x")
    with pytest.raises(DamagedError, match="at most 99"):
        read_regular(tmp_path / "x", 99)


def test_a_pickle_is_no_file_of_tensors(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "x")
    with pytest.raises(DamagedError):
        read_bytes(tmp_path / "x")
    with pytest.raises(DamagedError):
        read_tensors(tmp_path / "x", (tmp_path / "x").read_bytes())


@pytest.mark.parametrize(
    "data",
    [b"", b"[" * 100_000, b'{"a":' * 9_000, b"9" * 5000, b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":1e999}',
     b"[]", b'{"a":"\xff"}',
     b"\xef\xbb\xbf{}", b'{"a":[' + b"[]," * 1_500_000 + b"1]}", b" " * (33 << 20)],
    ids=range(12),
)  # fmt: skip
def test_json_that_no_training_wrote_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedError, match="x is damaged"):
        read_table(Path("x"), data)


def test_what_would_not_be_read_is_not_written() -> None:
    with pytest.raises(UsageError, match="smaller vocabulary"):
        table_bytes({"symbols": ["ab"] * 2_100_000}, "config.json")
    net = Net(chain(Chain(outputs=3, hidden=2)))
    net.spec = Spec(net.spec.layers * 6000)
    with pytest.raises(UsageError, match="10,000 layers"):
        model_config(net)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
@pytest.mark.parametrize("kind", ["pipe", "device", "link", "directory"])
def test_what_is_no_regular_file_is_never_waited_for(name: str, kind: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", checkpoint())
    path = tmp_path / "model" / name
    path.rename(tmp_path / "aside")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else tmp_path / "aside")
    assert name in refused(tmp_path / "model") and not is_regular(path)


@pytest.mark.parametrize("name", ["x" * 5000, "\0", "a\nb", ""])
def test_a_path_that_can_be_none_is_refused(name: str) -> None:
    with pytest.raises(LoadError):
        unrolled.load(f"/nowhere/{name}")
    with pytest.raises(LoadError):
        Run(f"/nowhere/{name}")


def run_of(folder: Path, **settings: Any) -> unrolled.Run:
    (folder / "book.txt").write_text("the cat sat on the mat.\n" * 9)
    given = {"hidden": 3, "lanes": 2, "window": 5, "max_updates": 6, "checkpoint_every": 3, "report_every": 1}
    return unrolled.train(folder / "book.txt", run=folder / "run", **{**given, **settings})


def test_checkpoints_that_changed_places_are_told_and_passed_over(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    (run.checkpoints / "3").rename(run.checkpoints / "9")
    with pytest.warns(UserWarning, match=r"9/manifest\.json is of update 3, not of 9; using checkpoint 6"):
        unrolled.load(run.directory)


def test_a_checkpoint_of_another_run_is_told_and_passed_over(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other, run = run_of(tmp_path / "other", seed=2), run_of(tmp_path)
    (run.checkpoints / "6").rename(run.directory / "aside")
    (other.checkpoints / "6").rename(run.checkpoints / "6")
    notes: list[str] = []
    assert run.newest(notes.append)[0] == 3
    assert "another run than config.toml" in notes[0] and "checkpoint 3 instead" in notes[0]
    assert unrolled.load(run.checkpoints / "6")  # by its own name it is a model like any other


def test_a_newest_checkpoint_that_is_gone_is_told(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    (run.checkpoints / "6").rename(tmp_path / "aside")
    with pytest.warns(UserWarning, match=r"checkpoints/6 is missing.* using checkpoint 3 instead"):
        unrolled.load(run.directory)


def test_a_run_whose_checkpoints_were_all_taken_does_not_begin_anew(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    for update in run.updates():
        (run.checkpoints / str(update)).rename(tmp_path / str(update))
    before = run.metrics.path.read_bytes()
    with pytest.raises(LoadError, match="checkpoints"):
        unrolled.resume(run.directory)
    assert run.metrics.path.read_bytes() == before


def test_a_setting_that_was_changed_is_refused_until_that_is_wanted(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    path = run.directory / "config.toml"
    path.write_text(path.read_text().replace("seed = 1", "seed = 3"))
    with pytest.raises(DamagedError, match=r"config\.toml is not as it was written.*remove its first line"):
        Run(run.directory)
    path.write_text(path.read_text().partition("\n")[2])
    assert Run(run.directory).settings.training.seed == 3


def test_a_config_of_many_mistakes_is_one_line(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", Settings(), Source(("book.txt",), "00"))
    path = run.directory / "config.toml"
    path.write_text(path.read_text().partition("\n")[2].replace("= 0\n", "= 'x'\n"))
    with pytest.raises(LoadError, match="more") as caught:
        Run(run.directory)
    assert "\n" not in str(caught.value) and "config.toml" in str(caught.value)


def test_a_run_from_before_seals_and_marks_is_read(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    path = run.directory / "config.toml"
    body = path.read_text().partition("\n")[2]
    path.write_text("".join(line for line in body.splitlines(keepends=True) if not line.startswith("run =")))
    for update in run.updates():
        manifest = run.checkpoints / str(update) / "manifest.json"
        known = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({name: known[name] for name in known if "." in name}))
    assert Run(run.directory).source == replace(run.source, run=None)
    assert unrolled.resume(run.directory, max_updates=8).updates()[0] == 8


def test_a_changed_line_is_refused_by_reader_and_resume(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    data = run.metrics.path.read_bytes()
    run.metrics.path.write_bytes(data.replace(b'"update": 1,', b'"update": 4,'))
    with pytest.raises(DamagedError, match=r"metrics\.jsonl is damaged"):
        list(Run(run.directory).metrics.lines())
    before = (run.directory / "config.toml").read_bytes()
    with pytest.raises(DamagedError, match=r"metrics\.jsonl is damaged"):
        unrolled.resume(run.directory, max_updates=8)
    assert (run.directory / "config.toml").read_bytes() == before


def test_a_journal_that_is_a_link_is_never_cut(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    (tmp_path / "precious").write_text("do not touch\n" * 999)
    run.samples.path.unlink(missing_ok=True)
    run.samples.path.symlink_to(tmp_path / "precious")
    with pytest.raises(DamagedError, match="no regular file"):
        unrolled.resume(run.directory, max_updates=8)
    assert (tmp_path / "precious").read_text() == "do not touch\n" * 999


def test_a_resume_removes_nothing_that_no_save_left(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    (run.checkpoints / ".ssh").mkdir()
    (run.checkpoints / ".9.77").mkdir()
    unrolled.resume(run.directory, max_updates=8)
    assert (run.checkpoints / ".ssh").is_dir() and not (run.checkpoints / ".9.77").exists()


def test_a_file_that_bears_the_number_of_the_last_save_does_not_count_as_saved(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    newest = run.updates()[0]
    (run.checkpoints / str(newest + 2)).write_text("not a checkpoint")
    with pytest.warns(UserWarning, match="no directory"):
        unrolled.load(run.directory)
    unrolled.resume(run.directory, max_updates=newest + 2)
    assert run.updates()[0] == newest + 2
    assert (run.checkpoints / f"damaged-{newest + 2}").read_text() == "not a checkpoint"


def test_a_resume_touches_no_checkpoints_behind_a_link(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    other = tmp_path / "other"
    run.checkpoints.rename(other)
    run.checkpoints.symlink_to(other)
    before = sorted(entry.name for entry in other.iterdir())
    config = (run.directory / "config.toml").read_bytes()
    with pytest.raises(UsageError, match="is a link, or no directory"):
        unrolled.resume(run.directory, max_updates=8)
    assert sorted(entry.name for entry in other.iterdir()) == before
    assert (run.directory / "config.toml").read_bytes() == config
    assert unrolled.load(run.directory).vocab is not None


COSTLY = {
    "a key of many parts": ("a." * 2000 + "a = 1\n", "at most 6 parts"),
    "a key of many quoted parts": ("k" + ".'a'" * 9 + " = 1\n", "at most 6 parts"),
    "many tables": ("".join(f"[a.k{n}]\n" for n in range(40_000)), "at most 30,000 tables"),
    "many lists": ("a = [" + "[]," * 300_000 + "]\n", "at most 400,000 values"),
    "many bytes": ("#" * (2 << 20), "at most 2,097,152"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_a_config_that_would_take_long_to_read_is_refused_unread(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path, max_updates=3)
    path, (more, words) = run.directory / "config.toml", COSTLY[name]
    path.write_text("\n".join([*path.read_text().splitlines()[1:], "[more]", more]))
    monkeypatch.setattr("tomllib.loads", lambda text: pytest.fail("this was read"))
    with pytest.raises(DamagedError, match=words) as caught:
        Run(run.directory)
    assert "\n" not in str(caught.value)
    assert unrolled.load(run.directory).vocab is not None


@pytest.mark.parametrize("text", ['a = "' + '\\"' * 300_000, "a = '" + '\\"' * 300_000, '"""\\"' * 200_000])
def test_a_quote_without_end_takes_no_square_of_time(text: str) -> None:
    with pytest.raises(UsageError, match="not TOML"):
        read_toml(text, "mine.toml")


def test_the_config_of_the_deepest_net_and_of_a_dotted_path_comes_back(tmp_path: Path) -> None:
    spec = chain(Chain(outputs=5, cell="gru", layers=9_990, hidden=3))
    vocab = Vocab("char", tuple(map(chr, range(0x4E00, 0x4E00 + 20_000))))
    source = Source(("data/[v1.2.3.4.5.6.7.8.9, 1.2.3.4.5.6.7.8.9].txt",), "00", spec=spec, vocab=vocab)
    Run.create(tmp_path / "run", Settings(), source)
    found = Run(tmp_path / "run").source
    assert replace(found, run=None) == source


def test_a_path_that_utf8_cannot_say_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = {"hidden": 3, "lanes": 2, "window": 5, "max_updates": 2}
    texts = [tmp_path / "t.txt", tmp_path / "b\udcffok.txt"]
    for text in texts:
        text.write_text("the cat sat on the mat.\n" * 9)
    for text, run in ((texts[1], "B"), (texts[1], None), (texts[0], "C\udcff")):
        with pytest.raises(UsageError, match=r"that UTF-8 can say, came .*\\udcff") as caught:
            unrolled.train(text, run=run, **small)
        str(caught.value).encode()
    assert sorted(tmp_path.iterdir()) == sorted(texts)


def test_a_run_that_is_moved_to_a_name_of_no_utf8_goes_on(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    moved = run.directory.rename(tmp_path / "C\udcff")
    assert unrolled.resume(moved, max_updates=8).updates()[0] == 8
    text = (tmp_path / "book.txt").rename(tmp_path / "b\udcff.txt")
    before = (moved / "config.toml").read_bytes()
    with pytest.raises(UsageError, match="that UTF-8 can say"):
        unrolled.resume(moved, max_updates=9, text=[text])
    assert (moved / "config.toml").read_bytes() == before and Run(moved).updates()[0] == 8


@pytest.mark.parametrize("update", ["\x1b[2J", "a\nb", [1]])
def test_no_sign_of_a_manifest_reaches_a_message_as_it_is(update: Any, tmp_path: Path) -> None:
    run = run_of(tmp_path)
    path = run.checkpoints / str(run.updates()[0]) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "update": update}))
    with pytest.warns(UserWarning, match="is of update") as caught:
        unrolled.load(run.directory)
    assert str(caught[0].message).isprintable()


def test_no_sign_of_a_config_reaches_a_message_as_it_is(tmp_path: Path) -> None:
    write_checkpoint(
        tmp_path / "model", checkpoint(lambda c: c.update(boundary=["\x1b[2J"], dtype="\x1b[2J"))
    )
    assert refused(tmp_path / "model").isprintable()
    write_checkpoint(tmp_path / "other", checkpoint(lambda c: c.update(dtype="\x1b[2J")))
    assert refused(tmp_path / "other").isprintable()
    assert one_line("a\x1b[2J\n b", 99) == r"a\x1b[2J b" and len(one_line("\x1b" * 99, 50)) == 50


def test_a_pipe_among_what_a_save_left_is_removed_and_not_waited_for(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    os.mkfifo(run.checkpoints / ".9.77")
    unrolled.resume(run.directory, max_updates=8)
    assert not (run.checkpoints / ".9.77").exists()


def test_a_journal_hashes_what_it_has_and_starts_anew_where_it_was_cut(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    sizes = []
    for n in range(5):
        journal.append({"n": n})
        sizes.append(journal.sync())
        assert journal.sha256(sizes[-1]) == sha256(journal.path.read_bytes())
    journal.cut(sizes[1])
    journal.append({"n": 9})
    assert journal.sha256(journal.size) == sha256(journal.path.read_bytes())
    assert journal.sha256(sizes[0]) == sha256(journal.path.read_bytes()[: sizes[0]])


def test_a_weight_that_has_a_line_break_in_its_name_is_told_in_one_line(tmp_path: Path) -> None:
    whole = checkpoint()
    write_checkpoint(tmp_path / "model", replace(whole, model={**whole.model, "\n": torch.zeros(1)}))
    assert r"'\n' should be absent" in refused(tmp_path / "model")


def test_a_mark_is_kept_beside_the_hashes(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "7", checkpoint(), Mark(7, "me"))
    manifest = json.loads((tmp_path / "7" / "manifest.json").read_text())
    assert (manifest["update"], manifest["run"]) == (7, "me") and read_model(tmp_path / "7")
