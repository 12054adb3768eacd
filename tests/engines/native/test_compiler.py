"""Building: the cache, damage, two at once, flags that are refused, no compiler."""

from __future__ import annotations

import multiprocessing
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from unrolled.engines.native import compiler
from unrolled.engines.native.compiler import BuildError, build

needs_compiler = pytest.mark.skipif(
    not any(compiler.shutil.which(name) for name in compiler.COMPILERS),
    reason="there is no C++ compiler here",
)
PLAIN = [[]]


def source(answer: int) -> str:
    return f'extern "C" int answer() {{ return {answer}; }}'


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "native"


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    original = compiler._call
    monkeypatch.setattr(compiler, "_call", lambda *args: (calls.append(args), original(*args)))
    return calls


@needs_compiler
def test_is_built_once_and_kept_in_a_private_folder(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_calls(monkeypatch)
    assert build(source(1), PLAIN).answer() == 1
    assert len(calls) == 2
    assert build(source(1), PLAIN).answer() == 1
    assert len(calls) == 2
    assert build(source(2), PLAIN).answer() == 2
    assert len(calls) == 4
    assert stat.S_IMODE(cache.stat().st_mode) == stat.S_IMODE(cache.parent.stat().st_mode) == 0o700
    assert not list(cache.glob(".tmp-*"))


@needs_compiler
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "record"])
def test_a_damaged_entry_is_never_loaded_but_built_again(
    damage: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = ["truncate", "flip", "remove", "record"].index(damage) + 10
    with monkeypatch.context() as patch:
        patch.setattr(compiler.ctypes, "CDLL", lambda path: path)
        build(source(number), PLAIN)
    [library] = cache.glob("*/cell.so")
    data = library.read_bytes()
    if damage == "truncate":
        library.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        library.write_bytes(data[:64] + bytes([data[64] ^ 1]) + data[65:])
    elif damage == "remove":
        library.unlink()
    else:
        (library.parent / "entry.json").write_text("{}")
    calls = count_calls(monkeypatch)
    assert build(source(number), PLAIN).answer() == number
    assert len(calls) == 2


@needs_compiler
def test_another_processor_flags_or_compiler_is_another_entry(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(source(20), PLAIN)
    build(source(20), [["-g0"]])
    monkeypatch.setattr(compiler, "processor", lambda: "another one")
    build(source(20), PLAIN)
    monkeypatch.setattr(compiler, "_version", lambda path: "another one")
    build(source(20), PLAIN)
    assert len(list(cache.glob("*/cell.so"))) == 4


def _build_in_child(number: int, cache: str, answers: Any) -> None:
    import os

    os.environ["UNROLLED_CACHE"] = cache
    calls = []
    original = compiler._call
    compiler._call = lambda *args: (calls.append(args), original(*args))
    answers.put((build(source(number), PLAIN).answer(), len(calls)))


@needs_compiler
def test_processes_that_want_the_same_at_once_build_it_once(cache: Path) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    args = (30, str(cache.parent), answers)
    children = [context.Process(target=_build_in_child, args=args) for _ in range(4)]
    for child in children:
        child.start()
    found = sorted(answers.get(timeout=60) for _ in children)
    assert found == [(30, 0), (30, 0), (30, 0), (30, 2)]
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert len(list(cache.glob("*/cell.so"))) == 1
    assert not list(cache.glob(".tmp-*"))


@needs_compiler
def test_what_the_compiler_or_the_loader_refuses_is_left_out(cache: Path) -> None:
    assert build(source(40), [["-march=no-such-processor"], []]).answer() == 40
    missing = source(41) + ' extern "C" void nowhere(); extern "C" void call() { nowhere(); }'
    with pytest.raises(BuildError, match="nowhere"):
        build(missing + " struct At { At() { nowhere(); } } at;", PLAIN)
    with pytest.raises(BuildError, match="error"):
        build("this is no C++", PLAIN)


def test_no_compiler_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"no C\+\+ compiler .c\+\+, g\+\+, clang\+\+. on the PATH"):
        build(source(50), PLAIN)


def test_a_compiler_that_does_not_run_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c++").write_bytes(b"\x00nothing")
    (tmp_path / "c++").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="does not run"):
        build(source(51), PLAIN)


@needs_compiler
def test_flags_from_the_environment_follow_all_others(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = 'extern "C" int answer() { return ANSWER; }'
    calls = count_calls(monkeypatch)
    for number in (1, 2):
        monkeypatch.setenv("UNROLLED_CXXFLAGS", f"-DANSWER={number} -g0")
        assert build(told, PLAIN).answer() == number
    assert len(calls) == 4
    assert all({"-DANSWER=2", "-g0"} <= set(command) for command, _ in calls[2:])
    monkeypatch.setenv("UNROLLED_CXXFLAGS", "-no-such-flag")
    with pytest.raises(BuildError, match="no-such-flag"):
        build(told, PLAIN)
    monkeypatch.setenv("UNROLLED_CXXFLAGS", "-D'")
    with pytest.raises(BuildError, match="UNROLLED_CXXFLAGS must be flags"):
        build(told, PLAIN)


@needs_compiler
def test_a_cache_that_takes_no_files_is_said_and_what_is_in_it_is_used(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(source(61), PLAIN)

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(compiler, "build_folder", refuse)
        patch.setattr(compiler, "_lock", refuse)
        assert build(source(61), PLAIN).answer() == 61
        with pytest.raises(BuildError, match=r"the cache for compiled cells failed: .*Permission denied"):
            build(source(62), PLAIN)
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "file"))
    with pytest.raises(BuildError, match="The cache must be writable"):
        build(source(63), PLAIN)


@needs_compiler
def test_a_folder_that_others_may_write_to_is_refused(cache: Path) -> None:
    build(source(60), PLAIN)
    cache.chmod(0o777)
    with pytest.raises(BuildError, match="chmod 700"):
        build(source(60), PLAIN)


@needs_compiler
def test_a_compiler_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(command: Any, **rest: Any) -> Any:
        if "--version" in command:
            return subprocess.CompletedProcess(command, 0, "c++ 1.0", "")
        raise subprocess.TimeoutExpired(command, 1)

    monkeypatch.setattr(compiler.subprocess, "run", hang)
    with pytest.raises(BuildError, match="more than 120 seconds"):
        build(source(70), PLAIN)
