"""``unrolled inspect``: the page, its numbers, and every wrong way to ask for it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

import unrolled

from .conftest import TEXT, Cli


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspected")
    (folder / "a.txt").write_text(TEXT * 4)
    tiny = {"hidden": 6, "layers": 1, "lanes": 3, "window": 4, "max_updates": 6, "checkpoint_every": 3}
    unrolled.train(folder / "a.txt", run=folder / "run", split=(0.7, 0.3), **tiny)
    return folder / "run"


def test_the_runs_own_validation_text_is_read_where_none_is_given(
    run: Path, cli: Cli, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    said = cli("inspect", run, "-o", page, "--longest", "20", "--json")
    assert said.code == 0 and page.stat().st_size == said.json["bytes"]
    assert said.json["facts"]["text"] == "validation text of a.txt, all 749 symbols"
    assert said.json["found"] == [] and said.json["tries"] > 30 * 6
    assert [gate["gate"] for gate in said.json["gates"]] == ["i", "f", "o"]
    memory = said.json["memory"]
    assert (
        memory["window"] == 4
        and memory["context"][-1] == 20
        and len(memory["excess"]) == len(memory["context"])
    )


def test_without_o_the_page_lies_in_the_run_and_the_run_is_as_it_was(run: Path, cli: Cli) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    said = cli("inspect", run, "--length", "450", "--longest", "0")
    assert said.code == 0 and said.out.splitlines()[-1].startswith(f"The page is {run}/inspection.html, 0.")
    assert "reading validation text of a.txt, the first 450 of 749 symbols" in said.err
    (run / "inspection.html").unlink()
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_a_text_comes_from_a_file_or_from_standard_input_alike(
    run: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "a cat ran on a mat and sat.\n" * 20
    (tmp_path / "b.txt").write_text(text)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    told = []
    for source in (tmp_path / "b.txt", "-"):
        told.append(cli("inspect", run, source, "-o", tmp_path / "p.html", "--longest", "20", "--json").json)
    for each in told:
        del each["facts"]["text"], each["bytes"]
    assert told[0] == told[1]


def test_units_are_held_against_predicates_of_ones_own(run: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def in_cat(text):\n    return [c in 'cat' for c in text]\n")
    own = ["--predicate", f"{tmp_path}/mine.py:in_cat", "--regex", "the=the [a-z]+"]
    said = cli("inspect", run, "-o", tmp_path / "p.html", "--longest", "0", "--json", *own)
    plain = cli("inspect", run, "-o", tmp_path / "q.html", "--longest", "0", "--json")
    held = [
        json.loads(path.read_text().split('id="data">')[1].split("</script>")[0])
        for path in tmp_path.glob("?.html")
    ]
    assert said.code == plain.code == 0
    assert len({data["findings"]["predicates"] + len(data["findings"]["left_out"]) for data in held}) == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--length", "0"], "wanted a length of 1 or more"),
        (["--longest", "-1"], "came --longest -1"),
        (["--megabytes", "-3"], "--megabytes: wanted 0 or more, came -3"),
        (["--megabytes", "nan"], "--megabytes: wanted 0 or more, came nan"),
        (["--megabytes", "inf"], "--megabytes: wanted 0 or more, came inf"),
        (["-o", f"{'n' * 248}.html", "--longest", "0"], "can't be written: File name too long"),
        (["--regex", "year"], "--regex: wanted NAME=PATTERN, came 'year'"),
        (["--regex", "year=("], "takes a regular expression"),
        (["--predicate", "nowhere.py:f"], "nowhere.py"),
        (["-o", "."], "wanted a file to write, came ., a directory"),
        (["-o", "nowhere/p.html"], "nowhere, which is no directory"),
        (["absent.txt"], "There is no file 'absent.txt'"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: Path, cli: Cli, here: Path, arguments: list[str], complaint: str
) -> None:
    assert complaint in cli("inspect", run, *arguments).problem(2)
    assert not list(here.glob("*.html")) and not (run / "inspection.html").exists()


def test_unseen_symbols_are_refused_or_skipped(run: Path, cli: Cli, here: Path) -> None:
    Path("c.txt").write_text("a cat éats\n" * 30)
    assert "--skip-unseen" in cli("inspect", run, "c.txt", "-o", "p.html").problem(2)
    said = cli("inspect", run, "c.txt", "-o", "p.html", "--skip-unseen", "--longest", "0", "--json")
    assert said.code == 0 and said.json["facts"]["text"] == "c.txt, all 300 symbols"


def test_a_checkpoint_can_be_looked_at_with_a_text_and_a_page_elsewhere(
    run: Path, cli: Cli, here: Path
) -> None:
    checkpoint = run / "checkpoints" / "3"
    assert "-o page.html" in cli("inspect", checkpoint, "a.txt").problem(2)
    assert "no validation text" in cli("inspect", checkpoint, "-o", "p.html").problem(2)
    assert cli("inspect", checkpoint, "a.txt", "-o", "p.html", "--longest", "0").code == 0
    assert Path("p.html").is_file() and "report" not in " ".join(path.name for path in checkpoint.iterdir())


def test_no_run_a_moved_text_and_a_net_that_reads_no_text_are_one_line(
    run: Path, cli: Cli, here: Path, tmp_path: Path
) -> None:
    assert "no run or checkpoint" in cli("inspect", "absent").problem(3)
    moved = here / "gone.txt"
    moved.write_text(TEXT * 4)
    tiny = {"hidden": 4, "layers": 1, "lanes": 3, "window": 4, "max_updates": 1}
    made = unrolled.train(moved, run=here / "run", **tiny)
    moved.write_text("the cat\n" * 50)
    assert "changed since" in cli("inspect", made.directory).problem(2)
    moved.unlink()
    assert "gone.txt" in cli("inspect", made.directory).problem(2)


def test_a_run_with_a_cell_of_ones_own_needs_to_be_told_it(cli: Cli, here: Path) -> None:
    tiny = {"hidden": 4, "layers": 1, "lanes": 3, "window": 4, "max_updates": 1}
    unrolled.train("a.txt", run="run", cell="my.py:Leaky", **tiny)
    assert "--cell my.py:Leaky" in cli("inspect", "run", "a.txt").problem(2)
    said = cli("inspect", "run", "a.txt", "--cell", "my.py:Leaky", "--longest", "0", "--json")
    assert said.code == 0 and said.json["gates"] == [] and said.json["facts"]["units"] == "leaky1 4"


def test_a_text_too_short_says_what_is_missing_and_makes_a_page_all_the_same(
    run: Path, cli: Cli, here: Path
) -> None:
    Path("b.txt").write_text("a cat")
    said = cli("inspect", run, "b.txt", "-o", "p.html", "--json")
    assert said.code == 0 and said.json["memory"] is None and said.json["found"] == []
    assert len(said.json["notes"]) == 2 and "200" in said.json["notes"][0]
