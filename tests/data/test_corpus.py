from __future__ import annotations

import errno
import hashlib
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unrolled.data import Corpus, Vocab, cache, corpus, reading
from unrolled.errors import TextError, UnseenError, UsageError

WILD = st.text(st.sampled_from("ab\r\n;é€😀\ufeff"), max_size=60)
BOUNDARIES = st.sampled_from([None, "line", "file", ";", "\n\n", "ab", "é€", "aaa", ";a;", "€"])


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file, old enough for its scan to be kept."""

    def written(data: bytes | str, name: str = "text.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        os.utime(path, (1e9, 1e9))
        return path

    return written


def naive_starts(texts: list[str], boundary: str | None) -> list[int]:
    """Return where documents start, by splitting the whole texts."""
    needle = {None: None, "file": None, "line": "\n"}.get(boundary, boundary)
    starts, position = [], 0
    for text in texts:
        starts.append(position)
        if needle:
            pieces = text.split(needle)[:-1]
            starts += (position + np.cumsum([len(piece + needle) for piece in pieces], dtype=int)).tolist()
        position += len(text)
    return sorted({start for start in starts if start < position})


def entry_of(folder: Path) -> Path:
    (entry,) = (folder / "texts").iterdir()
    return entry


def nothing_temporary(folder: Path) -> bool:
    return not list(folder.rglob(".tmp-*"))


@settings(max_examples=80)
@given(st.lists(WILD, min_size=1, max_size=3), BOUNDARIES, st.integers(1, 9))
def test_blocks_of_any_size_give_the_ids_and_starts_of_the_whole(
    texts: list[str], boundary: str | None, block: int
) -> None:
    kept = [text.removeprefix("\ufeff") for text in texts]
    whole = "".join(kept)
    if not all(texts) or len(set(whole)) < 2:
        return
    with tempfile.TemporaryDirectory() as folder, patch.object(reading, "BLOCK", block):
        paths = [Path(folder) / f"{n}.txt" for n in range(len(texts))]
        for path, text in zip(paths, texts, strict=True):
            path.write_bytes(text.encode())
        read = Corpus.open(*paths, boundary=boundary, cache_dir=Path(folder) / "cache")
        ids, starts = read.ids.tolist(), read.starts.tolist()
    raw = "".join(texts).encode()
    assert read.vocab == Vocab.of(whole) and read.vocab.decode(ids) == whole
    assert starts == naive_starts(kept, boundary)
    assert (read.sha256, read.num_bytes) == (hashlib.sha256(raw).hexdigest(), len(raw))
    notices = "\n".join(read.notices)
    assert ("byte order mark" in notices) == (kept != texts)
    assert ("CRLF" in notices) == any("\r\n" in text for text in kept)


@settings(max_examples=50)
@given(WILD, BOUNDARIES, st.integers(1, 9), st.text("ab;\né", min_size=1))
def test_skipping_unseen_symbols_moves_the_starts_along(
    text: str, boundary: str | None, block: int, known: str
) -> None:
    vocab, text = Vocab.of(known), "x" + text
    kept = [c for c in text if c in known]
    if not kept:
        return
    with tempfile.TemporaryDirectory() as folder, patch.object(reading, "BLOCK", block):
        path = Path(folder) / "text"
        path.write_bytes(text.encode())
        read = Corpus.open(path, vocab=vocab, boundary=boundary, skip_unseen=True, cache_dir=folder)
        ids, starts = read.ids.tolist(), read.starts.tolist()
    before = np.concatenate([[0], np.cumsum([c in known for c in text])])
    moved = {int(before[start]) for start in naive_starts([text], boundary)}
    assert vocab.decode(ids) == "".join(kept)
    assert starts == sorted(start for start in moved if start < len(kept))
    assert f"{len(text) - len(kept)} of {len(text)} characters" in "\n".join(read.notices)


@settings(max_examples=30)
@given(st.binary(min_size=2, max_size=50), st.integers(1, 9))
def test_bytes_take_anything_and_keep_everything(data: bytes, block: int) -> None:
    data = b"\xef\xbb\xbf" + data
    with tempfile.TemporaryDirectory() as folder, patch.object(reading, "BLOCK", block):
        path = Path(folder) / "text"
        path.write_bytes(data)
        read = Corpus.open(path, units="byte", boundary="line", cache_dir=folder)
        assert read.ids.tobytes() == data and read.ids.dtype == np.uint8 and len(read.vocab) == 256
        lines = np.cumsum([len(line) for line in re.findall(rb"[^\n]*\n", data)], dtype=int).tolist()
        assert read.starts.tolist() == [0, *(n for n in lines if n < len(data))]
        assert read.notices == [] or "starts no document" in read.notices[0]


@settings(max_examples=40)
@given(WILD, BOUNDARIES, st.sampled_from(["char", "byte"]))
def test_a_text_in_memory_is_read_as_a_file_is(text: str, boundary: str | None, units: Any) -> None:
    text = "ab" + text
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        path.write_bytes(text.encode())
        there = Corpus.open(path, units=units, boundary=boundary, cache_dir=folder)
        here = Corpus.from_text(text, units=units, boundary=boundary)
        assert here.ids.dtype == there.ids.dtype and np.array_equal(here.ids, there.ids)
        assert np.array_equal(here.starts, there.starts)
        assert (here.vocab, here.sha256, here.num_bytes) == (there.vocab, there.sha256, there.num_bytes)


@pytest.mark.parametrize(("size", "kind"), [(2, 1), (256, 1), (257, 2), (65536, 2), (65537, 4)])
def test_ids_have_the_smallest_type_and_are_read_only(
    write: Callable[..., Path], size: int, kind: int
) -> None:
    symbols = [chr(n) for n in range(0x20000) if not 0xD800 <= n < 0xE000][:size]
    read = Corpus.open(write("".join(symbols)))
    assert read.ids.dtype == np.dtype(f"u{kind}") and isinstance(read.ids, np.memmap)
    assert read.ids.tolist() == list(range(size))
    with pytest.raises(ValueError, match="read-only"):
        read.ids[0] = 1


def test_invalid_utf8_is_placed_by_byte_and_line_wherever_blocks_end(write: Callable[..., Path]) -> None:
    path = write("é\nab\n".encode() + b"c\xc3(")
    for block in (1, 2, 3, 100):
        with patch.object(reading, "BLOCK", block), pytest.raises(TextError) as e:
            Corpus.open(path)
        assert "byte 7 (0xC3, line 3)" in str(e.value)
        assert "--units byte" in str(e.value) and repr(str(path)) in str(e.value)
    with pytest.raises(TextError, match=r"byte 3 \(0xE2, line 1\)"):
        Corpus.open(write("abc€".encode()[:-1]))
    with pytest.raises(TextError, match="looks like UTF-16"):
        Corpus.open(write("abc".encode("utf-16")))


def test_an_unseen_character_of_a_file_is_named_with_its_place(write: Callable[..., Path]) -> None:
    path = write("ab\nb\naéa")
    for block in (1, 3, 100):
        with patch.object(reading, "BLOCK", block), pytest.raises(UnseenError) as e:
            Corpus.open(path, vocab=Vocab.of("ab\n"))
        assert "position 6, line 3" in str(e.value)
        assert (e.value.symbol, e.value.position) == ("é", 6) and str(path) in str(e.value)


def test_what_is_no_text_is_one_clear_line(tmp_path: Path, write: Callable[..., Path]) -> None:
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "fifo")
    write("abc", "input.txt")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
    wrong = {
        tmp_path: "is a directory",
        tmp_path / "inptu.txt": "did you mean 'input.txt'",
        tmp_path / "input.txt" / "x": "no file",
        tmp_path / "broken": "no file",
        tmp_path / "fifo": "is a FIFO",
        tmp_path / "socket": "is a socket",
        Path("/dev/zero"): "is a device",
        Path("a\0b"): "cannot be read",
        Path("a" * 5000): "cannot be read",
        write("", "empty"): "is empty",
        write(b"\xef\xbb\xbf", "mark"): "is empty",
        write("é", "one"): "holds 1 character:",
        write("zzz\u007a", "same"): "4 characters, all the same: nothing can be learned",
    }
    for path, line in wrong.items():
        with pytest.raises(TextError, match=re.escape(line)) as caught:
            Corpus.open(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(TextError, match="holds 1 byte:"):
        Corpus.open(write("z", "one"), units="byte")


def test_a_file_without_permission_is_one_clear_line(write: Callable[..., Path]) -> None:
    path = write("abc")
    denied = PermissionError(errno.EACCES, "Permission denied")
    patched = patch.object(cache, "sample", side_effect=denied)
    with patched, pytest.raises(TextError, match="permission denied"):
        Corpus.open(path)


def test_a_text_too_small_to_learn_from_can_be_read_with_a_vocabulary(write: Callable[..., Path]) -> None:
    read = Corpus.open(write("b"), vocab=Vocab.of("ab"))
    assert read.ids.tolist() == [1] and read.starts.tolist() == [0]
    with pytest.raises(TextError, match="No character"):
        Corpus.open(write("--"), vocab=Vocab.of("ab"), skip_unseen=True)


def test_wrong_arguments_are_refused(write: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="not empty"):
        Corpus.from_text("ab", boundary="")
    with pytest.raises(UsageError, match="did you mean 'char'"):
        Corpus.open(write("ab"), units="chars")  # type: ignore[arg-type]
    with pytest.raises(TextError, match="none was given"):
        Corpus.open()


def test_a_boundary_that_never_comes_is_noticed(write: Callable[..., Path]) -> None:
    assert "'###'" in Corpus.open(write("abab"), boundary="###").notices[0]


@given(st.integers(2, 200), st.sets(st.integers(1, 199)), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_a_split_tiles_the_text_and_shifts_the_starts(
    size: int, starts: set[int], weights: list[int]
) -> None:
    whole = Corpus.from_text("".join("ab"[n % 2] for n in range(size)))
    begun = np.array(sorted({0, *(s for s in starts if s < size)}))
    whole = corpus.replace(whole, starts=begun)
    try:
        parts = whole.split([weight / sum(weights) for weight in weights])
    except TextError as error:
        assert "needs a symbol for each part" in str(error)
        return
    assert np.array_equal(np.concatenate([part.ids for part in parts]), whole.ids)
    position = 0
    for part in parts:
        wanted = {0, *(s - position for s in begun.tolist() if position <= s < position + len(part))}
        assert part.starts.tolist() == sorted(wanted)
        position += len(part)


def test_a_split_is_by_position_and_may_leave_a_rest() -> None:
    whole = Corpus.from_text("ab" * 50)
    assert [len(part) for part in whole.split([0.95, 0.05])] == [95, 5]
    assert [len(part) for part in whole.split([0.5, 0.2])] == [50, 20]
    for wrong in ([], [0.0, 1.0], [-0.1], [0.9, 0.2], [float("nan")], [float("inf")]):
        with pytest.raises(UsageError, match="fractions"):
            whole.split(wrong)


def test_a_second_opening_reads_only_samples_and_the_cache_is_private(
    write: Callable[..., Path], cache_in_tmp: Path
) -> None:
    path = write("ab" * 1000)
    first = Corpus.open(path)
    with patch.object(reading.Source, "blocks", side_effect=AssertionError):
        second = Corpus.open(path)
        Corpus.open(path, vocab=first.vocab)
    assert np.array_equal(first.ids, second.ids) and first.sha256 == second.sha256
    assert first.notices == second.notices and first.num_bytes == second.num_bytes == 2000
    assert cache_in_tmp.stat().st_mode & 0o777 == 0o700 and nothing_temporary(cache_in_tmp)


def test_a_changed_file_is_read_again_even_with_its_old_times(write: Callable[..., Path]) -> None:
    first = Corpus.open(write("ab" * 1000))
    second = Corpus.open(write("ab" * 999 + "ba"))
    assert first.sha256 != second.sha256 and second.ids.tolist()[-2:] == [1, 0]
    assert first.ids.tolist()[-2:] == [0, 1]


def test_a_file_changed_a_moment_ago_is_hashed_again_next_time(
    write: Callable[..., Path], cache_in_tmp: Path
) -> None:
    path = write("abab")
    os.utime(path)
    Corpus.open(path)
    assert not list((cache_in_tmp / "files").iterdir())


def test_a_file_that_changes_while_it_is_read_is_refused(
    write: Callable[..., Path], cache_in_tmp: Path
) -> None:
    path = write("ab" * 100)
    encode = corpus.encode

    def meddle(*arguments: Any) -> Any:
        path.write_text("ba" * 100)
        return encode(*arguments)

    with patch.object(corpus, "encode", meddle), pytest.raises(TextError, match="changed while it was read"):
        Corpus.open(path)
    assert not list((cache_in_tmp / "texts").iterdir())


def test_different_ways_to_read_the_same_bytes_share_no_entry(write: Callable[..., Path]) -> None:
    one, two, both = write("ab\nab\n", "1"), write("ab", "2"), write("ab\nab\nab", "both")
    joined, whole = Corpus.open(one, two), Corpus.open(both)
    assert joined.sha256 == whole.sha256
    assert (joined.starts.tolist(), whole.starts.tolist()) == ([0, 6], [0])
    assert Corpus.open(both, boundary="line").starts.tolist() == [0, 3, 6]
    assert Corpus.open(both, vocab=Vocab.of(("b", "a", "\n"))).ids[:2].tolist() == [1, 0]
    assert Corpus.open(both, units="byte").ids[:2].tolist() == [97, 98]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink, lambda path: path.write_bytes(b"[]")])
@pytest.mark.parametrize("name", ["ids.bin", "starts.bin", "entry.json", "files"])
def test_a_damaged_cache_is_built_again(
    write: Callable[..., Path], cache_in_tmp: Path, damage: Callable[[Path], None], name: str
) -> None:
    path = write("ab\n" * 1000)
    first = Corpus.open(path, boundary="line")
    ids, starts = first.ids.copy(), first.starts.copy()
    del first
    (record,) = (cache_in_tmp / "files").iterdir()
    damage(record if name == "files" else entry_of(cache_in_tmp) / name)
    again = Corpus.open(path, boundary="line")
    assert np.array_equal(again.ids, ids) and np.array_equal(again.starts, starts)
    assert nothing_temporary(cache_in_tmp)


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(
    write: Callable[..., Path], cache_in_tmp: Path
) -> None:
    path = write("ab" * 100)
    full = OSError(errno.ENOSPC, "No space left on device")
    for function in ("encode", "asdict"):
        with (
            patch.object(corpus, function, side_effect=full),
            pytest.raises(TextError, match=r"No space left.*UNROLLED_CACHE"),
        ):
            Corpus.open(path)
    with (
        patch.object(cache.os, "fsync", side_effect=full),
        pytest.raises(TextError, match=r"No space left.*UNROLLED_CACHE"),
    ):
        Corpus.open(path)
    assert not list((cache_in_tmp / "texts").iterdir()) and nothing_temporary(cache_in_tmp)


def test_a_cache_that_cannot_be_made_is_one_clear_line(write: Callable[..., Path]) -> None:
    path = write("ab")
    with pytest.raises(TextError, match="UNROLLED_CACHE"):
        Corpus.open(path, cache_dir=path / "cache")


def test_what_a_killed_process_left_is_swept_after_a_day(
    write: Callable[..., Path], cache_in_tmp: Path
) -> None:
    Corpus.open(write("ab"))
    old, new = cache_in_tmp / "texts" / ".tmp-old", cache_in_tmp / "texts" / ".tmp-new"
    for left in (old, new):
        left.mkdir()
        (left / "ids.bin").write_bytes(b"half")
    os.utime(old, (1e9, 1e9))
    Corpus.open(write("abc"))
    assert not old.exists() and new.exists()


def test_processes_that_build_the_same_entry_at_once_all_get_it(
    write: Callable[..., Path], cache_in_tmp: Path
) -> None:
    path = write("ab\n" * 1000)
    code = "import sys; from unrolled import Corpus; print(sum(Corpus.open(sys.argv[1]).ids.tolist()))"
    command = [sys.executable, "-c", code, str(path)]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [reader.communicate(timeout=60)[0] for reader in readers] == ["3000\n"] * 3
    assert entry_of(cache_in_tmp) and nothing_temporary(cache_in_tmp)


def test_an_entry_that_another_process_put_there_meanwhile_is_used(
    write: Callable[..., Path], cache_in_tmp: Path
) -> None:
    path = write("ab" * 10)
    encode, depth = corpus.encode, []

    def slow(*arguments: Any) -> Any:
        if not depth:
            depth.append(1)
            Corpus.open(path)
        return encode(*arguments)

    with patch.object(corpus, "encode", slow):
        assert len(Corpus.open(path)) == 20
    assert entry_of(cache_in_tmp) and nothing_temporary(cache_in_tmp)


def test_samples_see_the_ends_and_all_of_a_small_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    size = cache.SAMPLES * cache.SAMPLE * 2
    path.write_bytes(bytes(size))
    before = cache.sample(path)
    for position in (0, size - 1, size // 15):
        with path.open("r+b") as file:
            file.seek(position)
            file.write(b"\1")
        assert cache.sample(path) != before
        path.write_bytes(bytes(size))
    path.write_bytes(bytes(size + 1))
    assert cache.sample(path) != before


def test_the_cache_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder(tmp_path / "own") == tmp_path / "own"
    assert cache.cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("UNROLLED_CACHE", "")
    assert cache.cache_folder() == tmp_path / "xdg" / "unrolled"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.cache_folder() == tmp_path / ".cache" / "unrolled"
