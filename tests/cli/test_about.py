from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unrolled.cells import NAMED
from unrolled.engines.native import program
from unrolled.settings import recipes


def test_data_list_shows_the_catalog_and_the_recipes(cli: Any) -> None:
    said = cli("data", "list")
    assert (said.code, said.err) == (0, "")
    found = cli("data", "list", "--json").json
    names = {text["name"] for text in found["texts"]}
    assert {"pydoc", "stdlib", "counting", "binary-addition", "hello"} <= names
    assert found["recipes"] == recipes()
    assert all(f"  {name}" in said.out for name in [*names, *recipes()])


def test_data_vocab_prints_the_characters_in_the_order_of_their_ids(cli: Any, here: Path) -> None:
    Path("b.txt").write_text("b\nüa\tb")
    assert cli("data", "vocab", "b.txt").out == "\t\nabü"
    assert json.loads(cli("data", "vocab", "b.txt", "--json").out) == {
        "units": "char",
        "symbols": ["\t", "\n", "a", "b", "ü"],
    }
    assert cli("data", "vocab", "hello").out == "helo"
    assert cli("data", "vocab", "b.txt", "--units", "byte").out == "every byte from 0 to 255\n"
    assert "Units are 'char' or 'byte'" in cli("data", "vocab", "b.txt", "--units", "word").problem()


def test_info_tells_versions_and_the_engine_of_each_cell_and_why(cli: Any) -> None:
    found = cli("info", "--json").json
    assert {"unrolled", "python", "torch", "threads", "gpus", "memory_free", "cache"} <= set(found)
    own = ["a gated cell of your own", "any other cell of your own"]
    assert set(found["engines"]) == {*NAMED, *own}
    said = cli("info").out
    assert all(f"{name}: {found['engines'][name]['engine']}" in said for name in [*NAMED, *own])


def test_info_without_a_compiler_says_what_one_would_change(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program._program.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    found = cli("info", "--json").json
    assert found["compiler"] is None
    assert "there is no C++ compiler (c++, g++, clang++) on the PATH" in found["advice"]
    assert found["engines"]["lstm"]["engine"] == "torch"
    assert "no C++ compiler" in found["engines"]["lstm"]["passed_over"]["native"]
    assert found["engines"]["a gated cell of your own"]["engine"] == "naive"
    program._program.cache_clear()


def test_help_lists_every_verb_and_version_the_version(cli: Any) -> None:
    said = cli("--help")
    assert said.code == 0
    assert all(verb in said.out for verb in ("train", "resume", "sample", "eval", "info", "data"))
    assert cli("--version").out.startswith("unrolled 0.")


@pytest.mark.parametrize("verb", ["train", "resume", "sample", "eval", "info", "data"])
def test_every_verb_has_help(cli: Any, verb: str) -> None:
    said = cli(verb, "--help")
    assert said.code == 0 and f"unrolled {verb}" in said.out


def test_the_help_of_train_shows_every_setting_with_its_default(cli: Any) -> None:
    from unrolled.settings import GROUP_OF

    said = cli("train", "--help").out
    assert all(f"--{name.replace('_', '-')}" in said for name in GROUP_OF)
    assert "[default: 0.002]" in " ".join(said.split())
