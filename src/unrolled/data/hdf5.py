"""Batches from HDF5 files, as Caffe's HDF5Data layer reads them. Needs h5py: the extra ``caffe``."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from unrolled.data.batches import shuffled
from unrolled.data.reading import missing, regular, unreadable
from unrolled.errors import TextError, UsageError

MAX_BYTES = 1 << 30
"""The most that one file's data sets, or one batch, may hold as float32."""

MAX_LIST_BYTES = 1 << 20
"""The largest list of files that is read."""

_Values = dict[str, npt.NDArray[np.float32]]


class HDF5Batches:
    """Batches of equal shape: ``batches[k]`` depends on k alone and is ``{top: [1, B, …]}`` float32.

    ``source`` is a text file that names an HDF5 file a line; each holds, for every top, a data set
    [rows, …] of that name. Paths are taken from the current directory, as Caffe does, or else from the
    list's folder. Rows come in order, file by file, and after the last one the first again, in the middle
    of a batch too. With ``shuffle`` each pass has its own order of files and of the rows within a file,
    drawn from ``seed``.

    ``len(batches)`` is how many it takes to see every row, ``num_rows`` the rows, ``shapes`` the shape of
    each top's row. One file is in memory at a time. What cannot be read is a TextError with file and data
    set, a missing h5py a UsageError.
    """

    def __init__(
        self, source: str | Path, tops: Sequence[str], batch_size: int, shuffle: bool = False, seed: int = 0
    ) -> None:
        if not tops or len(set(tops)) < len(tops):
            raise UsageError(f"HDF5 data need tops of different names, came {list(tops)}. Name each once.")
        if batch_size < 1:
            raise UsageError(f"A batch needs at least 1 row, not {batch_size}. Raise batch_size.")
        if seed < 0:
            raise UsageError(f"A seed is at least 0, not {seed}. Raise --seed.")
        self.tops, self.batch_size, self.shuffle, self.seed = tuple(tops), batch_size, shuffle, seed
        self._h5py = _h5py()
        self.paths = _listed(Path(source))
        shapes = [self._shapes(path) for path in self.paths]
        self.shapes = _agreed(self.paths, shapes)
        self._counts = [next(iter(found.values()))[0] for found in shapes]
        self.num_rows = sum(self._counts)
        self._check_batch()
        self._values = functools.lru_cache(maxsize=1)(self._read)
        self._rows = functools.lru_cache(maxsize=1)(self._order)

    def __len__(self) -> int:
        return -(-self.num_rows // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, k: int) -> dict[str, Tensor]:
        """Build batch ``k``, from 0 and without an end."""
        if k < 0:
            raise IndexError(f"Batches count from 0, not from {k}.")
        batch = {top: np.empty((1, self.batch_size, *self.shapes[top]), np.float32) for top in self.tops}
        filled = 0
        for file, rows in self._runs(k * self.batch_size):
            values = self._values(file)
            for top in self.tops:
                batch[top][0, filled : filled + len(rows)] = values[top][rows]
            filled += len(rows)
        return {top: torch.from_numpy(values) for top, values in batch.items()}

    def _runs(self, position: int) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """Yield file and rows for the ``batch_size`` rows from ``position`` of the endless stream on."""
        left = self.batch_size
        epoch, skip = divmod(position, self.num_rows)
        while left:
            for file in (
                shuffled(len(self.paths), self.seed, epoch).tolist() if self.shuffle else self._files()
            ):
                rows = self._rows(epoch if self.shuffle else 0, file)[skip : skip + left]
                skip = max(0, skip - self._counts[file])
                if len(rows):
                    yield file, rows
                left -= len(rows)
                if not left:
                    return
            epoch += 1

    def _files(self) -> list[int]:
        return list(range(len(self.paths)))

    def _order(self, epoch: int, file: int) -> npt.NDArray[np.int64]:
        count = self._counts[file]
        return shuffled(count, self.seed, epoch, 1 + file) if self.shuffle else np.arange(count)

    def _shapes(self, path: Path) -> dict[str, tuple[int, ...]]:
        """Return the shape of each top in one file, rows first."""
        with self._open(path) as file:
            shapes = {top: tuple(map(int, self._data_set(file, top, path).shape)) for top in self.tops}
        first = self.tops[0]
        for top, shape in shapes.items():
            if shape[0] != shapes[first][0] or not shape[0]:
                raise TextError(
                    f"{str(path)!r}: wanted as many rows of each top, at least 1, came {shapes[first][0]} of"
                    f" {first!r} and {shape[0]} of {top!r}. Write the file anew."
                )
        size = sum(4 * int(np.prod(shape, dtype=object)) for shape in shapes.values())
        if size > MAX_BYTES:
            raise TextError(
                f"{str(path)!r}: wanted at most {MAX_BYTES:,} bytes of float32 in a file, came {size:,}."
                " Write it as several files, and list them."
            )
        return shapes

    def _data_set(self, file: Any, top: str, path: Path) -> Any:
        """Return a data set that is inside of its file; links and outside storage could name any other."""
        names = list(file)
        if top not in names:
            raise TextError(
                f"{str(path)!r}: wanted a data set for the top {top!r}, the file has {names[:9]}. Rename one."
            )
        inside = isinstance(file.get(top, getlink=True), self._h5py.HardLink)
        found = file[top] if inside else None
        if not isinstance(found, self._h5py.Dataset) or found.external or found.is_virtual:
            raise TextError(
                f"{str(path)!r}: wanted {top!r} to be a data set with its values in this file, came a group"
                " or a link. Write it with its values."
            )
        if found.dtype.kind not in "iuf" or not found.shape:
            raise TextError(
                f"{str(path)!r}: wanted {top!r} to hold numbers [rows, …], came {found.dtype} of shape"
                f" {found.shape}. Write it as floats."
            )
        return found

    def _read(self, file: int) -> _Values:
        path = self.paths[file]
        values: _Values = {}
        with self._open(path) as opened:
            for top in self.tops:
                found = self._data_set(opened, top, path)
                if found.shape != (self._counts[file], *self.shapes[top]):
                    raise TextError(f"{str(path)!r} was changed while it was in use. Start again.")
                with np.errstate(over="ignore"):
                    values[top] = np.asarray(found[()], np.float32)
                if not np.isfinite(values[top]).all():
                    row = int(np.argwhere(~np.isfinite(values[top]))[0, 0])
                    raise TextError(
                        f"{str(path)!r}: wanted finite numbers that float32 holds, row {row} of {top!r} has"
                        " another. Mend it."
                    )
        return values

    @contextlib.contextmanager
    def _open(self, path: Path) -> Iterator[Any]:
        regular(path)
        try:
            with self._h5py.File(path, "r") as file:
                yield file
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise TextError(
                f"{str(path)!r} cannot be read as HDF5: {reason}. Give a whole HDF5 file."
            ) from None

    def _check_batch(self) -> None:
        row = sum(4 * int(np.prod(shape, dtype=object)) for shape in self.shapes.values())
        if row * self.batch_size > MAX_BYTES:
            raise UsageError(
                f"A batch may have {MAX_BYTES:,} bytes, but {self.batch_size} rows of {row:,} bytes came."
                f" Lower batch_size to {MAX_BYTES // row}."
            )


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise UsageError(
            'Reading HDF5 data needs h5py, which is not here: pip install "unrolled[caffe]"'
        ) from None


def _listed(source: Path) -> list[Path]:
    """Return the files that ``source`` lists."""
    size = regular(source).st_size
    if size > MAX_LIST_BYTES:
        raise TextError(
            f"{str(source)!r}: wanted a list of HDF5 files of at most {MAX_LIST_BYTES:,} bytes, came"
            f" {size:,}. Name the text file that lists them."
        )
    try:
        names = source.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise unreadable(source, error) from None
    except UnicodeDecodeError:
        raise TextError(
            f"{str(source)!r}: wanted a text that lists HDF5 files, one a line, came other bytes. If it is an"
            " HDF5 file itself, name it in a text file."
        ) from None
    paths = [_located(name.strip(), source) for name in names if name.strip()]
    if not paths:
        raise TextError(f"{str(source)!r}: wanted at least 1 HDF5 file, came none. Name one a line.")
    return paths


def _located(name: str, source: Path) -> Path:
    for path in (Path(name), source.parent / name):
        with contextlib.suppress(OSError, ValueError):
            if path.exists():
                return path
    raise missing(source.parent / name)


def _agreed(
    paths: Sequence[Path], shapes: Sequence[Mapping[str, tuple[int, ...]]]
) -> dict[str, tuple[int, ...]]:
    """Return the shape of each top's row, which is that of the first file, and of all others."""
    first = {top: shape[1:] for top, shape in shapes[0].items()}
    for path, found in zip(paths, shapes, strict=True):
        for top, shape in found.items():
            if shape[1:] != first[top]:
                raise TextError(
                    f"{str(path)!r}: wanted rows of shape {first[top]} for {top!r}, as in {str(paths[0])!r},"
                    f" came {shape[1:]}. Write all files alike."
                )
    return first
