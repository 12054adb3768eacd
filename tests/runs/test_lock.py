from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from unrolled.errors import UsageError
from unrolled.runs.lock import held


def test_a_lock_left_behind_is_taken_over_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("4194304")
    said: list[str] = []
    with held(tmp_path, said.append):
        assert (tmp_path / "lock").read_text() == str(os.getpid())
    assert said == [f"process 4194304 ended without letting go of {tmp_path}; its lock is taken over"]
    assert (tmp_path / "lock").read_text() == ""
    with held(tmp_path, pytest.fail):
        pass


def test_the_second_is_refused_with_the_firsts_number(tmp_path: Path) -> None:
    wanted = f"is being trained by process {os.getpid()}; wait for it, or stop it"
    with held(tmp_path, pytest.fail), pytest.raises(UsageError, match=wanted), held(tmp_path, pytest.fail):
        pytest.fail("two held it")


def test_a_holder_that_is_not_seen_is_said_to_be_so(tmp_path: Path) -> None:
    with held(tmp_path, pytest.fail):
        (tmp_path / "lock").write_text("4194304")
        with pytest.raises(UsageError, match="process 4194304, which is not seen"), held(tmp_path, print):
            pytest.fail("two held it")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"9" * 40, b"-3", b"0", "٣".encode(), b"\0" * 4096])
def test_garbage_in_a_lock_is_nobodys_number(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(content)
    with held(tmp_path, pytest.fail), pytest.raises(UsageError), held(tmp_path, pytest.fail):
        pytest.fail("two held it")


def test_what_is_no_file_of_its_own_is_no_lock(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")
    lock = tmp_path / "lock"
    for make, remove in (
        (lambda: lock.symlink_to(precious), lock.unlink),
        (lambda: lock.hardlink_to(precious), lock.unlink),
        (lambda: os.mkfifo(lock), lock.unlink),
        (lock.mkdir, lock.rmdir),
    ):
        make()
        with pytest.raises(UsageError, match="remove it"), held(tmp_path, pytest.fail):
            pytest.fail("it was held")
        remove()
    assert precious.read_text() == "years of work"


def test_a_file_system_without_locks_is_said_and_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*rest: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    said: list[str] = []
    with held(tmp_path, said.append):
        pass
    assert len(said) == 1 and "can't be locked (No locks available)" in said[0]


def test_a_forked_child_does_not_keep_a_lock_that_was_let_go(tmp_path: Path) -> None:
    with held(tmp_path, pytest.fail):
        begin, go = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(begin, 1)
            os._exit(0)
    try:
        with held(tmp_path, pytest.fail):
            pass
    finally:
        os.close(go)
        os.waitpid(child, 0)
