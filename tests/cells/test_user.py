"""Cells from a user's file."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest
import torch

import unrolled
from unrolled.cells import load_cell
from unrolled.errors import CellError, UsageError

LEAKY = '''
from __future__ import annotations
from dataclasses import dataclass
import torch
import unrolled

@dataclass
class Rate:
    keep: float = {keep}

class Leaky(unrolled.Cell):
    """Ein träges Gedächtnis."""
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.xh_to_h = torch.nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x, h):
        h = Rate().keep * h + 0.1 * torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
        return h, h

not_a_cell = 3
'''


def write(path: Path, text: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_cell_comes_with_its_source_and_hash_and_runs(tmp_path: Path) -> None:
    text = LEAKY.format(keep=0.9)
    place = write(tmp_path / "my cell.py", text)
    loaded = load_cell(f"{place}:Leaky")
    assert (loaded.name, loaded.path, loaded.source) == ("Leaky", Path(place).resolve(), text)
    assert loaded.sha256 == hashlib.sha256(text.encode()).hexdigest()
    y, _ = unrolled.unroll(loaded.cls(5, 7), torch.randn(4, 3, 5))
    assert y.shape == (4, 3, 7)


def test_nothing_is_written_and_the_path_stays(tmp_path: Path) -> None:
    place, path = write(tmp_path / "cell.py", LEAKY.format(keep=0.9)), list(sys.path)
    load_cell(f"{place}:Leaky")
    assert [p.name for p in tmp_path.iterdir()] == ["cell.py"]
    assert sys.path == path


def test_a_relative_path_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "cell.py", LEAKY.format(keep=0.9))
    monkeypatch.chdir(tmp_path)
    assert load_cell("cell.py:Leaky").path == (tmp_path / "cell.py").resolve()


def test_one_file_is_one_class_and_two_files_are_two(tmp_path: Path) -> None:
    text = LEAKY.format(keep=0.9)
    a, b = write(tmp_path / "a" / "cell.py", text), write(tmp_path / "b" / "cell.py", text)
    first = load_cell(f"{a}:Leaky").cls
    assert load_cell(f"{a}:Leaky").cls is first
    assert load_cell(f"{b}:Leaky").cls is not first
    write(Path(a), LEAKY.format(keep=0.5))
    assert load_cell(f"{a}:Leaky").cls is not first


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (LEAKY.format(keep=1), "Leeky", "has no Leeky; its cells are Leaky; did you mean 'Leaky'"),
        (
            LEAKY.format(keep=1),
            "not_a_cell",
            r"not_a_cell is no cell; write class not_a_cell\(unrolled.Cell\)",
        ),
        ("a = 1\n", "Leaky", "has no Leaky; it has no cell, a class that inherits"),
        ("a = 1\nb = 1 +\n", "Leaky", r"cell.py, line 2: invalid syntax"),
        ("a = 1\nb = a / 0\n", "Leaky", r"cell.py, line 2: ZeroDivisionError: division by zero"),
        (
            "def f():\n    import nowhere\nf()\n",
            "Leaky",
            r"cell.py, line 2: ModuleNotFoundError: No module named",
        ),
        ("import sys\nsys.exit(3)\n", "Leaky", r"cell.py, line 2: SystemExit: 3"),
        ("a = '\0'", "Leaky", r"null bytes"),
        ("import unrolled\nclass Odd(unrolled.GatedCell):\n    pass\n", "Odd", "Odd names no gates"),
    ],
)
def test_what_is_wrong_in_the_file_gets_one_line(tmp_path: Path, text: str, name: str, message: str) -> None:
    place, before = write(tmp_path / "cell.py", text), set(sys.modules)
    with pytest.raises(UsageError, match=message) as caught:
        load_cell(f"{place}:{name}")
    assert "\n" not in str(caught.value)
    if "no " not in message:
        assert not [m for m in set(sys.modules) - before if m.startswith("unrolled_user")]


def test_bytes_that_are_no_text_get_one_line(tmp_path: Path) -> None:
    (tmp_path / "cell.py").write_bytes(b"a = '\xff\xfe'\n")
    with pytest.raises(CellError, match=r"cell.py"):
        load_cell(f"{tmp_path / 'cell.py'}:Leaky")


@pytest.mark.parametrize("reference", ["lstm", "cell.py", ":Leaky", "cell.py:"])
def test_the_form_of_the_reference_is_told(reference: str) -> None:
    with pytest.raises(UsageError, match=r"is written path.py:Name, came"):
        load_cell(reference)


def test_a_missing_file_and_a_directory_get_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        load_cell(f"{tmp_path / 'none.py'}:Leaky")
    with pytest.raises(UsageError, match="is no regular file"):
        load_cell(f"{tmp_path}:Leaky")
