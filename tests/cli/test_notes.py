from __future__ import annotations

import pytest

from unrolled.cli.notes import LONGEST, note


def test_a_note_is_one_short_line_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    note("runs \ufeff\x1b[2J,\nwhich is \u202e yours")
    note("a" * 100_000)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "note: runs \\ufeff\\x1b[2J, which is \\u202e yours"
    assert len(second) == len("note: ") + LONGEST
