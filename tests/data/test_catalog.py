from __future__ import annotations

import sys
from pathlib import Path

import pytest

from unrolled.data import Corpus, catalog
from unrolled.errors import TextError, UsageError


def test_every_text_of_the_catalog_can_be_opened(tmp_path: Path) -> None:
    for line in catalog.describe():
        if line.size == "float task":
            continue
        text = catalog.find(line.name)
        corpus = Corpus.open(*text.paths, vocab=text.vocab)
        assert all(path.is_relative_to(tmp_path) for path in text.paths) and text.about == line.about
        assert len(corpus) == pytest.approx(int(line.size.removeprefix("about ").replace(",", "")), rel=0.3)
    assert catalog.names() == ["pydoc", "stdlib", "counting", "hello", "binary-addition"]


def test_small_texts_come_with_their_vocabulary() -> None:
    hello = catalog.find("hello")
    assert hello.vocab is not None and hello.vocab.symbols == ("h", "e", "l", "o")
    counting = catalog.find("counting").vocab
    assert counting is not None and len(counting) == 10
    assert catalog.find("pydoc").vocab is None


def test_a_damaged_text_is_written_again_and_a_good_one_is_left_alone() -> None:
    (path,) = catalog.find("counting").paths
    before = path.stat().st_mtime_ns, path.read_bytes()
    catalog.find("counting")
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before
    path.write_text("12")
    catalog.find("counting")
    assert path.read_bytes() == before[1]


def test_a_python_without_pydoc_data_says_so_and_offers_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(TextError, match=r"lacks.*'counting'"):
        catalog.find("pydoc")


def test_unknown_names_and_float_tasks_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="did you mean 'counting'"):
        catalog.find("countnig")
    with pytest.raises(UsageError, match=r"unrolled\.data\.binary_addition\("):
        catalog.find("binary-addition")
    with pytest.raises(UsageError, match="task on floats"):
        catalog.resolve(["binary-addition"])
    with pytest.raises(TextError, match="no file 'pydok'; did you mean 'pydoc'"):
        catalog.resolve(["pydok"])
    with pytest.raises(TextError, match="Give the path"):
        catalog.resolve([tmp_path / "zzzzzzzz"])


def test_a_file_goes_before_a_name_of_the_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hello").mkdir()
    paths, vocab = catalog.resolve(["hello"])
    assert paths == catalog.find("hello").paths and vocab is not None
    Path("counting").write_text("own")
    assert catalog.resolve(["counting"]) == ((Path("counting"),), None)
    paths, vocab = catalog.resolve(["counting", "hello"])
    assert paths == (Path("counting"), *catalog.find("hello").paths) and vocab is None
