"""Every example trains from the command line, and its model loads again."""

from pathlib import Path

import pytest

from unrolled.cli.main import run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("cell", ["leaky.py:Leaky", "gated.py:Coupled"])
def test_an_example_trains_and_samples(cell: str, workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"runs/{cell.partition('.')[0]}"
    assert run(["train", "book.txt", "--cell", cell, "--hidden", "24", "--run", name, "--quiet"]) == 0
    assert run(["sample", name, "--cell", cell, "--prime", "The ", "--length", "30", "--seed", "1"]) == 0
    assert capsys.readouterr().out.startswith("The ")


def test_every_example_is_tried() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {
        "leaky.py",
        "gated.py",
        "caffe_binary_addition.py",  # in tests/net/importers/test_caffe.py
    }
