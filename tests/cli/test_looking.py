from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import unrolled
from unrolled.cli.looking import REPORT, report_of_training

TINY = ["--hidden", "5", "--layers", "1", "--lanes", "3", "--window", "4", "--max-updates", "6"]


def test_a_report_is_written_into_the_run_and_nothing_else_is_touched(cli: Any, copied: Path) -> None:
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    said = cli("report", copied)
    page = copied / REPORT
    assert said.code == 0 and said.out.startswith(f"The page is {page}, 0.1 MB") and not said.err
    assert page.read_text(encoding="utf-8") == unrolled.report(copied)
    after = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    assert after == before | {page: page.read_bytes()}


def test_several_runs_need_a_name_for_their_page(cli: Any, trained: Path, tmp_path: Path) -> None:
    assert "2 runs on one page need its name" in cli("report", trained, trained).problem()
    said = cli("report", trained, trained, "-o", tmp_path / "both.html")
    assert said.code == 0
    assert (tmp_path / "both.html").read_text(encoding="utf-8") == unrolled.report(trained, trained)


def test_the_numbers_behind_a_page_are_printed_as_one_object(cli: Any, trained: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    said = cli("report", trained, "-o", page, "--json")
    found = json.loads(said.out)
    assert found["page"] == str(page) and found["bytes"] == page.stat().st_size
    [run] = found["runs"]
    assert run["updates"] == 6 and run["stages"] == [] and "picture" not in run
    assert str(page) in said.err


def test_what_can_t_be_done_is_one_line(cli: Any, copied: Path, tmp_path: Path) -> None:
    assert "needs a run" in cli("report").problem()
    assert "is no run" in cli("report", tmp_path / "nothing").problem(3)
    assert "is a directory" in cli("report", copied, "-o", tmp_path).problem()
    assert "can't be written" in cli("report", copied, "-o", tmp_path / "no" / "page.html").problem()
    assert "needs no flag" in cli("report", copied, "--cell", "lstm").problem()
    metrics, samples = copied / "metrics.jsonl", copied / "samples.jsonl"
    before = metrics.read_bytes()
    metrics.write_bytes(before + b"[1]\n")
    assert "is no JSON object" in cli("report", copied).problem(3)
    metrics.write_bytes(before)
    samples.write_bytes(samples.read_bytes() + b'{"update": 1}\n')
    assert "samples.jsonl has a line that no training wrote: 'epoch'" in cli("report", copied).problem(3)
    metrics.unlink()
    assert "lines are missing" in cli("report", copied).problem(3)
    assert not (copied / REPORT).exists() and not list(copied.glob(".report*"))


PLACE = '"update": 6, "epoch": 1, "seconds": 1'
DIARY = '"update": 6, "epoch": 1, "temperature": 1, "prime": "a", "text": "b"'


@pytest.mark.parametrize(
    ("name", "line", "field"),
    [
        ("metrics.jsonl", "{}", "'update'"),
        ("metrics.jsonl", '{"kind": "train", "update": 6, "epoch": 1}', "'seconds'"),
        ("metrics.jsonl", f"{{{PLACE.replace('1', '1e999')}}}", "'epoch'"),
        ("metrics.jsonl", f"{{{PLACE.replace('6', '[6]')}}}", "'update'"),
        ("samples.jsonl", f"{{{DIARY.replace('6', '1e999')}}}", "cannot convert"),
        ("samples.jsonl", f"{{{DIARY.replace('1,', 'NaN,', 1)}}}", "'epoch'"),
        ("samples.jsonl", f"""{{{DIARY.replace('"a"', "7")}}}""", "'prime'"),
        ("samples.jsonl", f"""{{{DIARY.replace('"b"', "null")}}}""", "'text'"),
        ("debug.jsonl", '{"update": 6, "layer": "h"}', "'step'"),
    ],
)
def test_a_line_that_no_training_wrote_is_told_with_its_file(
    cli: Any, copied: Path, name: str, line: str, field: str
) -> None:
    with (copied / name).open("a", encoding="utf-8") as journal:
        journal.write(line + "\n")
    problem = cli("report", copied).problem(3)
    assert f"{name} has a line that no training wrote: " in problem and field in problem


def test_a_line_without_a_speed_leaves_the_other_lines_speed(cli: Any, copied: Path, tmp_path: Path) -> None:
    words = ("report", copied, "-o", tmp_path / "page.html", "--json")
    before = json.loads(cli(*words).out)["runs"][0]["chars_per_second"]
    with (copied / "metrics.jsonl").open("a", encoding="utf-8") as journal:
        journal.write(f'{{"kind": "train", {PLACE}}}\n')
    assert json.loads(cli(*words).out)["runs"][0]["chars_per_second"] == before is not None


@pytest.mark.parametrize("words", [[], ["--quiet"], ["--json"]])
def test_every_training_and_every_resume_leaves_a_report(cli: Any, here: Path, words: list[str]) -> None:
    run = here / "run"
    said = cli("train", "a.txt", "--run", run, *TINY, *words)
    first = (run / REPORT).read_bytes()
    assert said.code == 0 and (f"The report is {run / REPORT}\n" in said.out) == (not words)
    if words == ["--json"]:
        assert json.loads(said.out)["updates"] == 6
    assert cli("resume", run, "--max-updates", "8", *words).code == 0
    assert b'"updates":6,' in first and b'"updates":8,' in (run / REPORT).read_bytes()


def test_a_report_that_fails_fails_no_training(cli: Any, here: Path) -> None:
    run = here / "run"
    assert cli("train", "a.txt", "--run", run, *TINY, "--quiet").code == 0
    (run / REPORT).unlink()
    (run / REPORT).mkdir()
    said = cli("resume", run, "--max-updates", "8")
    assert said.code == 0 and "note: there is no report of this training" in said.out
    assert "The report is" not in said.out
    place, why = report_of_training(unrolled.Run(run), 1.0)
    assert place is None and "is a directory" in why


def test_without_its_own_cell_a_report_says_how_to_get_the_rest(cli: Any, here: Path) -> None:
    assert cli("train", "a.txt", "--cell", "my.py:Leaky", "--run", "run", *TINY, "--quiet").code == 0
    trained = (here / "run" / REPORT).read_text(encoding="utf-8")
    again = json.loads(cli("report", "run", "--cell", "my.py:Leaky", "--json").out)["runs"][0]
    assert again["temperatures"] and not again["notes"]
    without = json.loads(cli("report", "run", "--json").out)["runs"][0]
    assert not without["temperatures"] and without["parameters"] == again["parameters"]
    assert "--cell my.py:Leaky" in without["notes"][0]
    assert '"notes":[]' in trained


def test_a_text_that_is_gone_or_changed_is_said_and_the_rest_is_there(cli: Any, here: Path) -> None:
    assert cli("train", "a.txt", "--run", "run", "--sample-at", "2", *TINY, "--quiet").code == 0
    whole = json.loads(cli("report", "run", "--json").out)["runs"][0]
    assert whole["compared"] and whole["stages"][0]["novelty"] and not whole["notes"]
    Path("a.txt").write_text("another text\n" * 50)
    changed = json.loads(cli("report", "run", "--json").out)["runs"][0]
    Path("a.txt").unlink()
    gone = json.loads(cli("report", "run", "--json").out)["runs"][0]
    assert "changed since" in changed["notes"][0] and "a.txt" in gone["notes"][0]
    for found in (changed, gone):
        assert len(found["notes"]) == 1 and not found["compared"]
        assert found["stages"][0]["novelty"] is None and found["stages"][0]["repetition"]
        assert found["curves"] == whole["curves"] and found["temperatures"] == whole["temperatures"]


def test_a_run_with_nothing_but_its_first_checkpoint_has_a_report(cli: Any, copied: Path) -> None:
    (copied / "metrics.jsonl").unlink()
    for update in ("3", "6"):
        shutil.rmtree(copied / "checkpoints" / update, ignore_errors=True)
    said = cli("report", copied, "--json")
    found = json.loads(said.out)["runs"][0]
    assert said.code == 0 and found["curves"] == {} and found["best"] is None and found["seconds"] is None
    shutil.rmtree(copied / "checkpoints")
    found = json.loads(cli("report", copied, "--json").out)["runs"][0]
    assert found["parameters"] is None and "What needs the model is left out" in found["notes"][0]
