from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from unrolled.measuring import noise
from unrolled.measuring.noise import Clocks, clocks, foreign_share


def test_the_foreign_share_is_what_others_took_of_all_processors() -> None:
    before = Clocks(wall=10.0, busy=100.0, own=5.0)
    assert foreign_share(before, Clocks(12.0, 103.0, 7.0), processors=4) == pytest.approx(1 / 8)
    assert foreign_share(before, Clocks(12.0, 102.0, 7.0), processors=4) == 0.0


def test_ticks_that_are_counted_late_make_no_share_below_zero() -> None:
    assert foreign_share(Clocks(0.0, 50.0, 1.0), Clocks(1.0, 50.4, 1.7), processors=2) == 0.0


@pytest.mark.parametrize("text", [None, "", "cpu", "intr 1 2 3 4 5 6 7 8 9", "cpu 1 2 3"])
def test_where_the_system_does_not_tell_the_share_is_unknown(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "STAT", tmp_path / "stat")
    if text is not None:
        (tmp_path / "stat").write_text(text)
    before = clocks()
    assert before.busy is None and foreign_share(before, clocks()) is None


def test_idle_time_and_waiting_for_disks_are_not_busy_and_stolen_time_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stat").write_text("cpu  1 20 300 4000 50000 600000 7000000 80000000 9 9\ncpu0 1\n")
    monkeypatch.setattr(noise, "STAT", tmp_path / "stat")
    assert clocks().busy == (1 + 20 + 300 + 600000 + 7000000 + 80000000) / os.sysconf("SC_CLK_TCK")


def test_work_moves_the_clock_of_its_own_process() -> None:
    before = clocks()
    while time.process_time() - before.own < 0.05 and clocks().wall - before.wall < 30:
        sum(range(1000))
    after = clocks()
    assert after.own - before.own >= 0.05 and after.wall > before.wall
