from __future__ import annotations

from types import ModuleType

import pytest


def test_a_worker_builds_works_runs_them_and_tells_what_is_missing(benchmarks: dict[str, ModuleType]) -> None:
    workers, peers = benchmarks["workers"], benchmarks["peers"]
    work = {"do": "train", "cell": "rnn", "hidden": 5, "lanes": 3, "window": 4}
    with workers.workers(threads=1) as processes:
        place = workers.Place()
        theirs = processes.build(place, "torch_nn", work)
        ours = processes.build(place, "ours", {**work, "engine": "naive"})
        loop = processes.build(place, "ours", {"do": "sample", "cell": "rnn", "hidden": 5, "engine": "naive"})
        for run in (theirs, ours, loop, theirs):
            assert run(2).seconds > 0
        with pytest.raises(peers.Missing, match="no engine 'rocket'"):
            processes.build(place, "ours", {**work, "engine": "rocket"})
        processes.forget()
        assert processes.build(place, "torch_nn", work)(1).seconds > 0
    assert not processes.running


def test_a_worker_that_fails_ends_the_run_and_says_where(benchmarks: dict[str, ModuleType]) -> None:
    workers = benchmarks["workers"]
    with (
        workers.workers(threads=1) as processes,
        pytest.raises(SystemExit, match=r"'none'.*ended with code 1"),
    ):
        processes.build(workers.Place(), "none", {})
