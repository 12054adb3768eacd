from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from unrolled.data.hdf5 import HDF5Batches
from unrolled.errors import TextError, UsageError

COUNTS = (5, 1, 4)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three files of 5, 1 and 4 rows: ``data`` [rows, 2, 3] and ``label`` [rows], numbered from 0 on."""
    begin = 0
    for n, count in enumerate(COUNTS):
        with h5py.File(tmp_path / f"part{n}.h5", "w") as file:
            rows = np.arange(begin, begin + count)
            file["data"] = rows[:, None, None] + np.zeros((count, 2, 3))
            file["label"] = rows.astype(np.int32)
            file["other"] = np.array(["text"], dtype="S4")
        begin += count
    return listing(tmp_path, "part0.h5", "", "part1.h5", "part2.h5")


def listing(folder: Path, *names: str) -> Path:
    path = folder / "list.txt"
    path.write_text("\n".join(names) + "\n")
    return path


def labels(batches: HDF5Batches, count: int) -> list[int]:
    return torch.cat([batches[k]["label"][0] for k in range(count)]).int().tolist()


def test_rows_come_in_order_across_files_and_start_again(source: Path) -> None:
    batches = HDF5Batches(source, ["data", "label"], 4)
    assert (len(batches), batches.num_rows, batches.shapes) == (3, 10, {"data": (2, 3), "label": ()})
    assert labels(batches, 8) == [n % 10 for n in range(32)]
    for batch in batches:
        assert batch["data"].shape == (1, 4, 2, 3) and batch["data"].dtype == torch.float32
        assert torch.equal(batch["data"], batch["label"][..., None, None].expand(1, 4, 2, 3))


def test_a_batch_may_hold_more_rows_than_there_are(source: Path) -> None:
    assert labels(HDF5Batches(source, ["label"], 23), 2) == [n % 10 for n in range(46)]


@pytest.mark.parametrize("batch_size", [1, 3, 10, 17])
def test_each_pass_is_shuffled_by_file_and_row(source: Path, batch_size: int) -> None:
    batches = HDF5Batches(source, ["label"], batch_size, shuffle=True, seed=4)
    stream = labels(batches, 10 * 30 // batch_size + 1)[:300]
    passes = [stream[n : n + 10] for n in range(0, 300, 10)]
    assert all(sorted(rows) == list(range(10)) for rows in passes)
    assert len(set(map(tuple, passes))) == 30
    of = [0] * 5 + [1] + [2] * 4
    assert all(len(set(map(of.__getitem__, (a, b)))) == 1 for a, b in _neighbours(passes, of))
    assert {of[rows[0]] for rows in passes} == {0, 1, 2}
    assert stream == labels(HDF5Batches(source, ["label"], 1, shuffle=True, seed=4), 300)
    assert stream != labels(HDF5Batches(source, ["label"], 1, shuffle=True, seed=5), 300)


def _neighbours(passes: list[list[int]], of: list[int]) -> list[tuple[int, int]]:
    """Return each row with the one before it, but where a file is met for the first time."""
    pairs = []
    for rows in passes:
        seen = {of[rows[0]]}
        for a, b in itertools.pairwise(rows):
            if of[b] in seen:
                pairs.append((a, b))
            seen.add(of[b])
    return pairs


def test_a_batch_depends_on_its_number_alone(source: Path) -> None:
    forwards = [HDF5Batches(source, ["label"], 3, shuffle=True)[k] for k in range(12)]
    batches = HDF5Batches(source, ["label"], 3, shuffle=True)
    for k in reversed(range(12)):
        assert torch.equal(batches[k]["label"], forwards[k]["label"])
    with pytest.raises(IndexError):
        batches[-1]


def test_paths_are_from_the_current_directory_first(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert HDF5Batches(source, ["label"], 1).num_rows == 10
    with h5py.File("part1.h5", "w") as file:
        file["label"] = np.zeros(7)
    assert HDF5Batches(source, ["label"], 1).num_rows == 16


def write(path: Path, name: str, values: Any) -> None:
    with h5py.File(path.parent / "part1.h5", "w") as file:
        file[name] = values


def outside(path: Path) -> None:
    write(path, "label", h5py.ExternalLink(str(path.parent / "part0.h5"), "/label"))


def stored_outside(path: Path) -> None:
    with h5py.File(path.parent / "part1.h5", "w") as file:
        file.create_dataset("label", (4,), "u1", external=[(str(path), 0, 4)])


def huge(path: Path) -> None:
    with h5py.File(path.parent / "part1.h5", "w") as file:
        file.create_dataset("label", (10**6, 10**6, 10**6), "f4", chunks=(1, 1, 1000))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda p: write(p, "labels", [1.0]),
            "wanted a data set for the top 'label', the file has .'labels'",
        ),
        (lambda p: write(p, "label", [[1.0]]), r"wanted rows of shape \(\) .*part0.h5', came \(1,\)"),
        (
            lambda p: write(p, "label", 1.0),
            r"wanted 'label' to hold numbers \[rows, …\], came float64 of shape",
        ),
        (lambda p: write(p, "label", [b"x"]), "wanted 'label' to hold numbers"),
        (lambda p: write(p, "label", np.zeros(0)), "at least 1, came 0"),
        (lambda p: write(p, "label/inner", [1.0]), "came a group or a link"),
        (outside, "came a group or a link"),
        (stored_outside, "came a group or a link"),
        (huge, "wanted at most 1,073,741,824 bytes of float32 in a file, came 4,000,000,000,000,000,000"),
        (lambda p: (p.parent / "part1.h5").write_bytes(b"no HDF5"), "cannot be read as HDF5"),
        (lambda p: (p.parent / "part1.h5").unlink(), "no file .*part1.h5'"),
        (lambda p: listing(p.parent, "part1.h6"), r"no file .*part1.h6'; did you mean 'part1.h5'\?"),
        (lambda p: listing(p.parent, " "), "at least 1 HDF5 file, came none"),
        (lambda p: p.write_bytes(b"\x89HDF\r\n"), "wanted a text that lists HDF5 files"),
        (lambda p: p.write_bytes(b"x" * (1 << 21)), "at most 1,048,576 bytes, came 2,097,152"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_file(
    source: Path, damage: Callable[[Path], Any], message: str
) -> None:
    damage(source)
    with pytest.raises(TextError, match=message) as caught:
        HDF5Batches(source, ["label"], 2)
    assert "\n" not in str(caught.value)


def test_tops_have_as_many_rows(source: Path) -> None:
    with h5py.File(source.parent / "part1.h5", "w") as file:
        file["data"], file["label"] = np.zeros((2, 2, 3)), np.zeros(3)
    with pytest.raises(TextError, match="came 2 of 'data' and 3 of 'label'"):
        HDF5Batches(source, ["data", "label"], 2)


@pytest.mark.parametrize("value", [float("nan"), 1e300])
def test_numbers_that_float32_cannot_hold_are_refused(source: Path, value: float) -> None:
    with h5py.File(source.parent / "part0.h5", "a") as file:
        del file["label"]
        file["label"] = np.array([0, 1, 2, value, 4])
    with pytest.raises(TextError, match=r"part0.h5': wanted finite .* row 3 of 'label'"):
        HDF5Batches(source, ["label"], 2)[0]


def test_a_file_that_changed_or_is_cut_short_is_told(source: Path) -> None:
    batches = HDF5Batches(source, ["label"], 5)
    write(source, "label", np.zeros(2))
    with pytest.raises(TextError, match=r"part1.h5' was changed while"):
        batches[1]
    part = source.parent / "part0.h5"
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(TextError, match=r"part0.h5' cannot be read as HDF5"):
        batches[0]


def test_settings_that_cannot_be_are_refused(source: Path) -> None:
    with pytest.raises(UsageError, match="at least 1 row"):
        HDF5Batches(source, ["label"], 0)
    with pytest.raises(UsageError, match="Lower batch_size to 44739242"):
        HDF5Batches(source, ["data"], 10**9)
    with pytest.raises(UsageError, match="tops of different names"):
        HDF5Batches(source, ["label", "label"], 1)
    with pytest.raises(UsageError, match="A seed is at least 0"):
        HDF5Batches(source, ["label"], 1, seed=-1)


def test_without_h5py_the_extra_is_named(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UsageError, match=r'pip install "unrolled\[caffe\]"') as caught:
        HDF5Batches(source, ["label"], 1)
    assert caught.value.exit_code == 2
