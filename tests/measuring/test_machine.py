from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unrolled.measuring import machine as room
from unrolled.measuring.machine import described, machine

CPUINFO = """\
processor\t: 0
cpu family\t: 25
model\t\t: 17
model name\t: A Fast One: 9000
flags\t\t: fpu sse avx2 fma avx512f avx512_bf16

processor\t: 1
model name\t: Another
"""


def test_the_processor_is_named_with_what_decides_its_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    facts = machine()
    assert (facts["processor"], facts["family"]) == ("A Fast One: 9000", "25-17")
    assert facts["features"] == ["avx2", "fma", "avx512f", "avx512_bf16"]
    assert facts["torch"] == torch.__version__ and "gpu" not in facts
    assert described(facts).startswith("A Fast One: 9000, ")


def test_a_system_that_tells_nothing_of_its_processor_is_described_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "CPUINFO", tmp_path / "none")
    facts = machine()
    assert facts["processor"] and facts["processors"] >= 1 and facts["family"] == ""
    assert "features unknown" in described(facts)
