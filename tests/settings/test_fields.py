from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from unrolled.settings import GROUP_OF, GROUPS, Settings, descriptions


def test_every_setting_has_a_docstring_of_one_line() -> None:
    docs = descriptions()
    assert set(docs) == set(GROUP_OF)
    assert all(
        text and "\n" not in text and text[0].isupper() and text.endswith(".") for text in docs.values()
    )


def test_no_two_groups_share_a_setting() -> None:
    names = [field.name for cls in GROUPS.values() for field in fields(cls)]
    assert len(names) == len(set(names))


def test_settings_cannot_be_changed_in_place() -> None:
    for part in (Settings(), Settings().data, Settings().net, Settings().training):
        with pytest.raises(FrozenInstanceError):
            setattr(part, fields(part)[0].name, 3)
