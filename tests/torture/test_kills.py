"""The short form of the family, and that it finds what it is there to find."""

from __future__ import annotations

import random
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from . import kills
from .kills import KILL, TERM, Lesson
from .trials import Wrong

SHORT = Lesson("rnn", more="--max-updates 16 --sample-every 7 --validate-every 8")
OWN = Lesson("own-cell", "sgd", "step", more=SHORT.more)


@pytest.mark.parametrize(("number", "lesson"), [(KILL, SHORT), (TERM, OWN)])
def test_a_run_that_is_disturbed_thrice_within_an_epoch_ends_as_if_undisturbed(
    number: int, lesson: Lesson, tmp_path: Path
) -> None:
    scene = kills.Scene(tmp_path, lesson)
    for update in (2, 6, 11):
        child = scene.start()
        kills.until_update(child, scene.run, update)
        kills.check_end(child, number, kills.strike(child, number, 0.002))
    scene.finish()
    scene.check()


def test_a_sample_that_is_cut_short_is_done_by_the_resume(tmp_path: Path) -> None:
    wordy = Lesson("own-cell", more=kills.WORDY)
    kills.in_an_event("sample", wordy, TERM, tmp_path, random.Random(4))


FAULTS = {
    "lanes": "learner.LANES = 'none:'",
    "journals": "journal.Journal.cut = lambda self, size: None",
}
BROKEN = """
import sys
from unrolled.cli.main import main
from unrolled.runs import journal
from unrolled.training import learner

{fault}
main(sys.argv[1:])
"""


@pytest.mark.parametrize(("fault", "differs"), [("lanes", "state"), ("journals", "metrics.jsonl")])
def test_a_resume_that_forgets_something_is_found(
    fault: str, differs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "broken.py"
    script.write_text(BROKEN.replace("{fault}", FAULTS[fault]), encoding="utf-8")
    real: Any = Lesson.resume
    monkeypatch.setattr(Lesson, "resume", lambda *words: ["python", str(script), *real(*words)])
    scene = kills.Scene(tmp_path, SHORT)
    child = scene.start()
    kills.until_update(child, scene.run, 11)
    assert kills.check_end(child, KILL, kills.strike(child, KILL, 0))
    scene.finish()
    with pytest.raises(Wrong, match=f"not bit-identical: .*{differs}"):
        scene.check()


def test_an_exit_that_is_late_silent_or_of_another_code_is_found() -> None:
    def ended(code: int, words: str) -> Any:
        return SimpleNamespace(code=code, words=words)

    said = "unrolled: stopped at update 4; go on with: unrolled resume run"
    assert kills.check_end(ended(143, said), TERM, 0.5) and not kills.check_end(ended(0, ""), TERM, 0.5)
    for code, words, took in ((143, said, 2.5), (143, "", 0.1), (1, said, 0.1), (130, said, 0.1)):
        with pytest.raises(Wrong):
            kills.check_end(ended(code, words), TERM, took)


def test_every_net_optimizer_schedule_and_place_is_there_for_both_signals() -> None:
    names = [trial.name for trial in kills.trials()]
    assert len(set(names)) == len(names)
    for name, count in (("kill -9", 200), ("SIGTERM", 100)):
        told = [found[1] for words in names if (found := re.fullmatch(rf"{name} \d\d\d (.*)", words))]
        assert len(told) == count and len(set(told)) == 96
