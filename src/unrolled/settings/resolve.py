"""Defaults, recipe, TOML file, environment, flags: the later over the earlier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from unrolled.errors import SettingsError, nearest
from unrolled.settings.check import validated
from unrolled.settings.fields import GROUP_OF, Settings
from unrolled.settings.toml import Layer, flattened, recipe_layers

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
    net: tuple[str, Mapping[str, Any]] | None = None,
) -> Resolved:
    """Put defaults, a net's file, a recipe or TOML file, the environment and flags on top of each other.

    ``recipe`` names a shipped recipe or a TOML file, which may itself name a recipe that it starts from.
    ``net`` is a label and the tables of settings that a net's file holds beside its layers.
    Raises SettingsError with every problem of every source at once.
    """
    values: dict[str, Any] = {}
    origin = dict.fromkeys(GROUP_OF, "default")
    below = [flattened(*net)] if net else []
    sources = [*below, *(recipe_layers(recipe) if recipe else []), *_flat_layers(environment, flags)]
    problems = [problem for _, _, found in sources for problem in found]
    together = {kind: _named_by(kind, sources) for kind in ("--", ENVIRONMENT)}
    for label, layer, _ in sources:
        values.update(layer)
        origin.update(dict.fromkeys(layer, label))
        for name, other in ALTERNATIVES.items():
            beside = next((names for kind, names in together.items() if label.startswith(kind)), set(layer))
            if name in layer and not _is_zero(layer[name]) and other not in beside:
                values[other], origin[other] = 0, label
    settings, wrong = validated(values, origin)
    problems += wrong
    if settings is None or problems:
        raise SettingsError(problems)
    return Resolved(settings, origin)


def _named_by(kind: str, sources: list[Layer]) -> set[str]:
    """Return the settings that flags, or the environment, give; they come as one layer each."""
    return {name for label, layer, _ in sources if label.startswith(kind) for name in layer}


def _is_zero(value: Any) -> bool:
    """Tell whether a value, or the text of one, only switches its setting off."""
    try:
        return float(value) == 0
    except (TypeError, ValueError, OverflowError):
        return False


def _flat_layers(environment: Mapping[str, str] | None, flags: Mapping[str, Any] | None) -> Iterator[Layer]:
    for key, text in (environment or {}).items():
        name = key.removeprefix(ENVIRONMENT).lower()
        if key.startswith(ENVIRONMENT) and key not in NO_SETTINGS:
            known = name in GROUP_OF
            problem = (
                f"{key} is in the environment, but there is no setting '{name}'{nearest(name, GROUP_OF)}"
            )
            yield key, {name: _from_text(name, text)} if known else {}, [] if known else [problem]
    for name, value in (flags or {}).items():
        label = f"--{name.replace('_', '-')}"
        if name not in GROUP_OF:
            yield label, {}, [f"there is no setting '{name}'" + nearest(name, GROUP_OF)]
        elif value is not None:
            yield label, {name: _from_text(name, value)}, []


def _from_text(name: str, value: Any) -> Any:
    """Split the values of tuple settings, which are one comma-separated text outside TOML."""
    if name in ("split", "sample_at", "lr_steps", "lr_values") and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value
