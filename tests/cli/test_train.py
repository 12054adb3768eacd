from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from unrolled.settings import GROUP_OF, from_tables, resolve

TINY = ["--hidden", "5", "--layers", "1", "--lanes", "3", "--window", "4", "--max-updates", "6"]
SUMMARY = {
    "run",
    "updates",
    "train_nats",
    "validation_nats",
    "best_validation_nats",
    "gave_up",
    "seconds",
    "chars_per_second",
    "parameters",
}


def test_train_makes_a_numbered_run_shows_progress_a_sample_and_the_next_commands(
    cli: Any, here: Path
) -> None:
    said = cli("train", "a.txt", *TINY, "--report-every", 2, "--sample-every", 3, "--sample-length", 12)
    assert (said.code, said.err) == (0, "")
    assert Path("runs/a-001/checkpoints/6/model.safetensors").is_file()
    for words in (
        "parameters; training takes about",
        "characters to learn from",
        "run runs/a-001: 6 updates",
        "train  update       2",
        "validation  update       6",
        "update 3, temperature 0.8",
        "500 characters at temperature 0.8",
        "6 updates in",
        "unrolled sample runs/a-001 ",
        "unrolled eval runs/a-001 ",
        "unrolled resume runs/a-001 --max-updates 12",
    ):
        assert words in said.out
    assert "run runs/a-002" in cli("train", "a.txt", *TINY).out
    lines = [json.loads(line) for line in Path("runs/a-001/metrics.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["update"]) for line in lines] == [
        ("train", 2), ("train", 4), ("train", 6), ("validation", 6),
    ]  # fmt: skip


def test_the_next_commands_work_as_they_are_printed(cli: Any, here: Path) -> None:
    import shlex

    said = cli("train", "a.txt", *TINY, "--cell", "my.py:Leaky")
    following = [shlex.split(line)[1:] for line in said.out.splitlines() if line.startswith("  unrolled ")]
    assert [words[0] for words in following] == ["sample", "eval", "inspect", "resume"]
    following[0][following[0].index("The ")] = "the "
    for words in following:
        assert cli(*words).code == 0
    assert Path("runs/a-001/checkpoints/12").is_dir()


def test_train_as_json_ends_with_one_object_and_keeps_words_to_stderr(cli: Any, here: Path) -> None:
    said = cli("train", "a.txt", *TINY, "--json", "--run", "r")
    assert said.code == 0 and len(said.out.splitlines()) == 1
    assert set(said.json) == SUMMARY
    assert (said.json["run"], said.json["updates"]) == ("r", 6)
    assert 1 < said.json["validation_nats"] == said.json["best_validation_nats"] < 5
    assert 1 < said.json["train_nats"] < 5 and said.json["parameters"] > 100
    assert "characters to learn from" in said.err


def test_resume_as_json_ends_with_the_same_keys(cli: Any, copied: Path) -> None:
    said = cli("resume", copied, "--max-updates", 8, "--json", "--quiet")
    assert (said.code, said.err) == (0, "")
    assert set(said.json) == SUMMARY and said.json["updates"] == 8


@pytest.mark.parametrize("more", [[], ["--sample-every", "3"]])
def test_quiet_is_silent(cli: Any, here: Path, more: list[str]) -> None:
    said = cli("train", "a.txt", *TINY, "--quiet", *more)
    assert (said.code, said.out, said.err) == (0, "", "")


def test_resume_goes_on_to_a_new_end(cli: Any, copied: Path) -> None:
    said = cli("resume", copied, "--max-updates", 9)
    assert said.code == 0 and "going on from update 6" in said.out
    assert (copied / "checkpoints" / "9").is_dir()


def test_print_config_is_the_settings_as_toml_with_the_origin_of_each(
    cli: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNROLLED_LR", "0.5")
    said = cli("train", "--recipe", "char-rnn", "--hidden", 9, "--print-config")
    assert (said.code, said.err) == (0, "") and not Path("runs").exists()
    wanted = resolve("char-rnn", {"UNROLLED_LR": "0.5"}, {"hidden": 9})
    assert from_tables("it", tomllib.loads(said.out)) == wanted.settings
    origins = {line.split()[0]: line.partition("# ")[2] for line in said.out.splitlines() if " = " in line}
    assert (origins["lr"], origins["hidden"]) == ("UNROLLED_LR", "--hidden")
    assert (origins["epochs"], origins["beta1"]) == ("recipe char-rnn", "default")
    data = cli("train", "--recipe", "char-rnn", "--hidden", 9, "--print-config", "--json").out
    assert set(json.loads(data)) == {"settings", "origin"}
    assert set(json.loads(data)["origin"]) == set(GROUP_OF)


def test_a_flag_beats_the_environment_which_beats_the_file(
    cli: Any, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine.toml").write_text("[net]\nhidden = 3\n[data]\nlanes = 2\nwindow = 3\n")
    monkeypatch.setenv("UNROLLED_LANES", "4")
    monkeypatch.setenv("UNROLLED_HIDDEN", "4")
    cli("train", "a.txt", "--recipe", "mine.toml", "--hidden", 5, "--max-updates", 1, "--run", "r")
    kept = tomllib.loads(Path("r/config.toml").read_text())
    assert (kept["net"]["hidden"], kept["data"]["lanes"], kept["data"]["window"]) == (5, 4, 3)


def test_several_texts_are_trained_on_as_one(cli: Any, here: Path) -> None:
    Path("b.txt").write_text("xyz " * 40)
    assert cli("train", "a.txt", "b.txt", *TINY, "--run", "r", "--quiet").code == 0
    kept = tomllib.loads(Path("r/config.toml").read_text())
    assert [Path(path).name for path in kept["text"]["paths"]] == ["a.txt", "b.txt"]


def test_a_users_cell_is_named_again_to_use_its_run(cli: Any, here: Path) -> None:
    assert cli("train", "a.txt", *TINY, "--cell", "my.py:Leaky", "--run", "r", "--quiet").code == 0
    for words in (["resume", "r", "--max-updates", 8], ["sample", "r"], ["eval", "r", "a.txt"]):
        assert "--cell my.py:Leaky" in cli(*words).problem()
        said = cli(*words, "--cell", "my.py:Leaky")
        assert said.code == 0 and "changed" not in said.out + said.err


def test_a_users_cell_that_changed_is_said(cli: Any, here: Path) -> None:
    cli("train", "a.txt", *TINY, "--cell", "my.py:Leaky", "--run", "r", "--quiet")
    Path("my.py").write_text(Path("my.py").read_text().replace("0.9", "0.8"))
    said = cli("resume", "r", "--max-updates", 8, "--cell", "my.py:Leaky")
    assert said.code == 0 and "my.py:Leaky has changed since the run began (SHA-256 " in said.out
    for words in (["sample", "r"], ["eval", "r", "a.txt"]):
        assert "my.py:Leaky has changed since the run began" in cli(*words, "--cell", "my.py:Leaky").err


def test_a_run_of_a_built_in_cell_wants_no_cell(cli: Any, copied: Path, here: Path) -> None:
    assert (
        "runs a built-in cell; leave --cell out" in cli("resume", copied, "--cell", "my.py:Leaky").problem()
    )
    assert "needs no flag" in cli("sample", copied, "--cell", "lstm").problem()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("lstn", "there is no cell 'lstn'; did you mean 'lstm'?"),
        ("none.py:Leaky", "there is no file 'none.py'"),
        ("my.py:Leeky", "Leaky"),
        ("my.py:torch", "torch"),
        ("broken.py:Leaky", "broken.py"),
        ("my.py:", "path.py:Name"),
    ],
)
def test_a_cell_that_cannot_be_had_is_one_line(cli: Any, here: Path, cell: str, said: str) -> None:
    Path("broken.py").write_text("import unrolled\nclass Leaky(unrolled.Cell:\n")
    assert said in cli("train", "a.txt", *TINY, "--cell", cell).problem()
    assert not Path("runs").exists()


def test_a_text_that_moved_is_found_with_text_and_another_one_is_refused(cli: Any, here: Path) -> None:
    cli("train", "a.txt", *TINY, "--run", "r", "--quiet")
    Path("a.txt").rename("b.txt")
    assert "--text PATH" in cli("resume", "r", "--max-updates", 7).problem()
    assert cli("resume", "r", "--max-updates", 7, "--text", "b.txt").code == 0
    Path("b.txt").write_text("another text altogether\n" * 20)
    assert "is not the text that r began with" in cli("resume", "r", "--max-updates", 8).problem()
