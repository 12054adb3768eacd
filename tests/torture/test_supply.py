"""The family of what is shipped, in short; and that it finds what it looks for."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from . import supply
from .trials import Wrong

QUICK = (
    supply.nothing_names_a_machine,
    supply.every_dependency_is_used,
    supply.what_counts_as_a_bug_is_said,
)
"""Those that build nothing; scripts/torture tries all."""


@pytest.mark.parametrize("trial", QUICK, ids=lambda trial: trial.__name__)
def test_what_is_shipped_can_be_looked_up(trial: supply.Look, tmp_path: Path) -> None:
    trial(tmp_path, random.Random(1))


def test_pins_are_all_that_is_needed_and_no_more(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    supply.every_pin_is_needed_and_every_need_is_pinned(tmp_path, random.Random(1))


def test_nothing_but_the_package_is_shipped_whatever_lies_beside_it(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    supply.strays_stay_out(tmp_path, random.Random(1))


def test_a_stray_that_is_shipped_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hatchling")
    monkeypatch.setattr(supply, "STRAY", ("stray.py",))
    with pytest.raises(Wrong, match=r"shipped is \['unrolled/stray.py'"):
        supply.strays_stay_out(tmp_path, random.Random(1))


def test_a_place_of_a_machine_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = "/".join(["", "home", "somebody"])
    (tmp_path / "notes.md").write_text(f"see {home}/x.txt and {chr(67)}:\\Users\n")
    monkeypatch.setattr(supply, "ROOT", tmp_path)
    with pytest.raises(Wrong, match=rf"notes\.md: {home}; notes\.md: C"):
        supply.nothing_names_a_machine(tmp_path, random.Random(1))


def test_a_dependency_that_nothing_uses_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = supply._project()
    project["dependencies"] = [*project["dependencies"], "attrs>=20"]  # type: ignore[misc]
    monkeypatch.setattr(supply, "_project", lambda: project)
    with pytest.raises(Wrong, match=r"nothing uses \['attrs'\]"):
        supply.every_dependency_is_used(tmp_path, random.Random(1))
