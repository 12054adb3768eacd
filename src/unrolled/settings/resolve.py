"""Defaults, recipe, TOML file, environment, flags: the later over the earlier."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from unrolled.errors import SettingsError, nearest
from unrolled.settings.check import DEFAULT, validated
from unrolled.settings.fields import GROUP_OF, Settings
from unrolled.settings.toml import Source, Where, flattened, recipe_sources

ENVIRONMENT = "UNROLLED_"
NO_SETTINGS = {"UNROLLED_CACHE", "UNROLLED_CXXFLAGS"}
ALTERNATIVES = {"epochs": "max_updates", "clip_norm": "clip_value"}
ALTERNATIVES |= {there: here for here, there in ALTERNATIVES.items()}


@dataclass(frozen=True)
class Resolved:
    """Settings and, for each one's name, where its value came from."""

    settings: Settings
    origin: dict[str, str]

    def table(self) -> Iterator[tuple[str, str, Any, str]]:
        """Yield (group, name, value, origin) for every setting, in order."""
        for name, group in GROUP_OF.items():
            yield group, name, getattr(getattr(self.settings, group), name), self.origin[name]


def resolve(
    recipe: str | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    net: tuple[str, Mapping[str, Any], Where | None] | None = None,
) -> Resolved:
    """Put defaults, a net's file, a recipe or TOML file, the environment and flags on top of each other.

    ``recipe`` names a shipped recipe or a TOML file, which may itself name a recipe that it starts from.
    ``net`` is a label, the tables of settings that a net's file holds beside its layers, and their places.
    Raises SettingsError with every problem of every source at once.
    """
    values: dict[str, Any] = {}
    origin = dict.fromkeys(GROUP_OF, DEFAULT)
    where = dict(origin)
    below = [flattened(*net)] if net else []
    sources = [*below, *(recipe_sources(recipe) if recipe else []), *_outside(environment, flags)]
    problems = [problem for source in sources for problem in source.problems]
    together = {kind: _named_by(kind, sources) for kind in ("--", ENVIRONMENT)}
    for source in sources:
        label, given = source.label, source.values
        values.update(given)
        origin.update(dict.fromkeys(given, label))
        where.update({name: source.where(name) for name in given})
        for name, other in ALTERNATIVES.items():
            beside = next(
                (names for kind, names in together.items() if label.startswith(kind)), source.values
            )
            if name in source.values and not _is_zero(source.values[name]) and other not in beside:
                values[other], origin[other], where[other] = 0, label, source.where(name)
    settings, wrong = validated(values, where)
    problems += wrong
    if settings is None or problems:
        raise SettingsError(problems)
    return Resolved(settings, origin)


def _named_by(kind: str, sources: list[Source]) -> Collection[str]:
    """Return the settings that flags, or the environment, give; they come as one source each."""
    return {name for source in sources if source.label.startswith(kind) for name in source.values}


def _is_zero(value: Any) -> bool:
    """Tell whether a value, or the text of one, only switches its setting off."""
    try:
        return float(value) == 0
    except (TypeError, ValueError, OverflowError):
        return False


def _outside(environment: Mapping[str, str] | None, flags: Mapping[str, Any] | None) -> Iterator[Source]:
    for key, text in (environment or {}).items():
        name = key.removeprefix(ENVIRONMENT).lower()
        if key.startswith(ENVIRONMENT) and key not in NO_SETTINGS:
            known = name in GROUP_OF
            problem = (
                f"{key} is in the environment, but there is no setting '{name}'{nearest(name, GROUP_OF)}"
            )
            yield Source(key, {name: _from_text(name, text)} if known else {}, () if known else (problem,))
    for name, value in (flags or {}).items():
        label = f"--{name.replace('_', '-')}"
        if name not in GROUP_OF:
            yield Source(label, {}, (f"there is no setting '{name}'" + nearest(name, GROUP_OF),))
        elif value is not None:
            yield Source(label, {name: _from_text(name, value)})


def _from_text(name: str, value: Any) -> Any:
    """Split the values of tuple settings, which are one comma-separated text outside TOML."""
    if name in ("split", "sample_at", "lr_steps", "lr_values") and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value
