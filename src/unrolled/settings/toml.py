"""Settings as TOML: recipes, files, and the tables that a run keeps."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

from unrolled.errors import SettingsError, nearest
from unrolled.settings.check import validated
from unrolled.settings.fields import GROUP_OF, GROUPS, Settings

Layer = tuple[str, dict[str, Any], list[str]]
"""A label, values by setting's name, and the problems found while reading them."""


def recipe_layers(recipe: str, above: tuple[str, ...] = ()) -> list[Layer]:
    """Return a recipe's values on top of those of the recipe that it starts from, the lowest first."""
    label, data = read_recipe(recipe)
    if label in above:
        raise SettingsError(f"{label} starts from itself: {' -> '.join([*above, label])}")
    base = data.pop("recipe", None)
    data.pop("about", None)
    layers = recipe_layers(_beside(recipe, str(base)), (*above, label)) if base is not None else []
    return [*layers, flattened(label, data)]


def _beside(recipe: str, base: str) -> str:
    """Return the recipe that a recipe starts from; a file is looked for beside the file that names it."""
    from_file = recipe.endswith(".toml") and base.endswith(".toml")
    return str(Path(recipe).parent / base) if from_file else base


def flattened(label: str, data: Mapping[str, Any]) -> Layer:
    """Return tables of settings as values by name, with the problems found in them."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for group, table in data.items():
        if group not in GROUPS:
            known = [*GROUPS, "recipe", "about"]
            problems.append(f"{label}: '{group}' is no table of settings{nearest(group, known)}")
        elif not isinstance(table, dict):
            problems.append(f"{label}: '{group}' must be a table, [{group}], not {table!r}")
        else:
            known = [f.name for f in fields(GROUPS[group])]
            for name, value in table.items():
                if name in known:
                    values[name] = value
                else:
                    problems.append(f"{label}: {group}.{name} is unknown{_elsewhere(name, known)}")
    return label, values, problems


def _elsewhere(name: str, known: list[str]) -> str:
    if name in GROUP_OF:
        return f"; it belongs to [{GROUP_OF[name]}]"
    return nearest(name, known)


def recipes() -> dict[str, str]:
    """Return what each shipped recipe is about, by name."""
    folder = resources.files("unrolled") / "recipes"
    found = sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )
    return {name: str(read_recipe(name)[1].get("about", "")) for name in found}


def read_recipe(recipe: str) -> tuple[str, dict[str, Any]]:
    """Return a label and the tables of a shipped recipe, or of a TOML file given by its path."""
    if recipe.endswith(".toml") or "/" in recipe:
        return recipe, _parse(recipe, read_settings_file(Path(recipe)))
    file = resources.files("unrolled") / "recipes" / f"{recipe}.toml"
    if not file.is_file():
        shipped = [e.name.removesuffix(".toml") for e in (resources.files("unrolled") / "recipes").iterdir()]
        raise SettingsError(
            f"there is no recipe '{recipe}'{nearest(recipe, shipped)} ('unrolled data list' shows them; "
            "a file of your own ends in .toml)"
        )
    return f"recipe {recipe}", _parse(recipe, file.read_bytes())


def read_settings_file(path: Path) -> bytes:
    """Return the bytes of a settings file of at most 1 MB; SettingsError if that can't be."""
    if not path.exists():
        raise SettingsError(f"{path}: there is no such file")
    if not path.is_file():
        raise SettingsError(f"{path}: a settings file must be a regular file")
    if path.stat().st_size > 1_000_000:
        raise SettingsError(f"{path}: a settings file has at most 1 MB, this has {path.stat().st_size} bytes")
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: can't be read: {error.strerror}") from error


def _parse(label: str, raw: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{label}: this is not TOML: {error or 'nested too deeply'}") from error


def to_tables(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the settings as tables for TOML; settings without a value are left out."""
    tables: dict[str, dict[str, Any]] = {}
    for group, cls in GROUPS.items():
        part = getattr(settings, group)
        tables[group] = {
            f.name: _plain(getattr(part, f.name)) for f in fields(cls) if getattr(part, f.name) is not None
        }
    return tables


def from_tables(label: str, tables: Mapping[str, Any]) -> Settings:
    """Read tables as ``to_tables`` wrote them; SettingsError with every problem at once."""
    _, values, problems = flattened(label, tables)
    settings, wrong = validated(values, dict.fromkeys(GROUP_OF, label))
    if settings is None or problems or wrong:
        raise SettingsError([*problems, *wrong])
    return settings


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
