"""What was set otherwise than by default."""

from __future__ import annotations

from typing import Any, NamedTuple

from unrolled.settings.fields import GROUP_OF, Settings


class Difference(NamedTuple):
    """A setting that is not at its default, as people write values."""

    name: str
    value: str
    default: str


def differences(settings: Settings, other: Settings | None = None) -> list[Difference]:
    """Return the settings that are not as in ``other``, the defaults where there is none, in order."""
    found = []
    for name, group in GROUP_OF.items():
        value, default = (getattr(getattr(each, group), name) for each in (settings, other or Settings()))
        if value != default:
            found.append(Difference(name, written(value), written(default)))
    return found


def written(value: Any) -> str:
    """Return a setting's value as a flag takes it, and in words where a flag has none."""
    if value is None or value == ():
        return "unset"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(map(written, value))
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"
