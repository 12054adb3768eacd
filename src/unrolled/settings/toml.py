"""Settings as TOML: recipes, files, and the tables that a run keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from unrolled.errors import SettingsError, UsageError, nearest
from unrolled.settings.check import shown, validated
from unrolled.settings.fields import GROUP_OF, GROUPS, Settings
from unrolled.toml_text import TomlText, read_toml

MOST = 20
"""How many wrong names of one file are told one by one."""
Where = Callable[[str, str], str]
"""Returns ``file:line:column`` of a setting, by its table and its name."""


@dataclass(frozen=True)
class Source:
    """Settings of one source, by name, with the problems found while reading them."""

    label: str
    """What the source is called where its values are listed."""
    values: Mapping[str, Any]
    problems: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    """Where each value stands, if the label is not all that is known."""

    def where(self, name: str) -> str:
        """Return where a setting's value stands."""
        return self.places.get(name, self.label)


def recipe_sources(recipe: str, above: tuple[str, ...] = (), at: str = "") -> list[Source]:
    """Return a recipe's values on top of those of the recipe that it starts from, the lowest first.

    ``at`` is where the recipe is named, if a file does.
    """
    label, text = _read_recipe(recipe, at)
    if label in above:
        raise SettingsError(f"{at}: {label} starts from itself: {' -> '.join([*above, label])}")
    tables = {key: value for key, value in text.data.items() if key not in ("recipe", "about")}
    found = flattened(label, tables, text.where)
    if "recipe" not in text.data:
        return [found]
    base, place = text.data["recipe"], text.where("recipe")
    if not isinstance(base, str) or not base:
        raise SettingsError(f"{place}: recipe: wanted a recipe's name or a TOML file, came {shown(base)}")
    return [*recipe_sources(_beside(recipe, base), (*above, label), place), found]


def _beside(recipe: str, base: str) -> str:
    """Return the recipe that a recipe starts from; a file is looked for beside the file that names it."""
    from_file = recipe.endswith(".toml") and base.endswith(".toml")
    return str(Path(recipe).parent / base) if from_file else base


def flattened(label: str, data: Mapping[str, Any], where: Where | None = None) -> Source:
    """Return tables of settings as values by name, with the problems found in them."""
    place = where or (lambda *_: label)
    values: dict[str, Any] = {}
    wrong: list[tuple[str, str]] = []
    for group, table in data.items():
        if group in GROUPS and isinstance(table, dict):
            values |= {name: value for name, value in table.items() if GROUP_OF.get(name) == group}
            wrong += [(group, name) for name in table if GROUP_OF.get(name) != group]
        else:
            wrong.append((group, ""))
    problems = [f"{place(*path)}: {_fault(data, *path)}" for path in wrong[:MOST]]
    if len(wrong) > MOST:
        problems.append(f"{place(*wrong[MOST])}: {len(wrong) - MOST:,} more that are no settings")
    return Source(label, values, tuple(problems), {name: place(GROUP_OF[name], name) for name in values})


def _fault(data: Mapping[str, Any], group: str, name: str) -> str:
    """Say what is wrong with a name of a table, or with a table."""
    if group not in GROUPS:
        return f"'{_cut(group)}' is no table of settings{nearest(group, [*GROUPS, 'recipe', 'about'])}"
    if not isinstance(data[group], dict):
        return f"'{group}' must be a table, [{group}], not {shown(data[group])}"
    known = [f.name for f in fields(GROUPS[group])]
    return f"{group}.{_cut(name)} is unknown{_elsewhere(name, known)}"


def _cut(name: str) -> str:
    return name if len(name) <= 60 else f"{name[:57]}..."


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
    return {name: str(_read_recipe(name)[1].data.get("about", "")) for name in found}


def _read_recipe(recipe: str, at: str = "") -> tuple[str, TomlText]:
    """Return a label and the text of a shipped recipe, or of a TOML file given by its path."""
    if recipe.endswith(".toml") or "/" in recipe:
        return recipe, _text(recipe, _read_settings_file(Path(recipe), at))
    file = resources.files("unrolled") / "recipes" / f"{recipe}.toml"
    shipped = [e.name.removesuffix(".toml") for e in (resources.files("unrolled") / "recipes").iterdir()]
    if recipe not in shipped:
        raise SettingsError(
            f"{_before(at)}there is no recipe '{_cut(recipe)}'{nearest(recipe, shipped)} "
            "('unrolled data list' shows them; a file of your own ends in .toml)"
        )
    return f"recipe {recipe}", _text(f"recipe {recipe}", file.read_bytes())


def _before(at: str) -> str:
    return f"{at}: " if at else ""


def _read_settings_file(path: Path, at: str) -> bytes:
    """Return the bytes of a settings file of at most 1 MB; SettingsError if that can't be."""
    where = f"{_before(at)}{path}"
    try:
        if not path.exists():
            raise SettingsError(f"{where}: there is no such file")
        if not path.is_file():
            raise SettingsError(f"{where}: a settings file must be a regular file")
        size = path.stat().st_size
        if size > 1_000_000:
            raise SettingsError(f"{where}: a settings file has at most 1 MB, this has {size} bytes")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{where}: can't be read: {reason}") from error


def _text(label: str, raw: bytes) -> TomlText:
    try:
        return read_toml(raw, label)
    except UsageError as error:
        raise SettingsError(str(error)) from error


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
    found = flattened(label, tables)
    settings, wrong = validated(found.values, dict.fromkeys(GROUP_OF, label))
    if settings is None or found.problems or wrong:
        raise SettingsError([*found.problems, *wrong])
    return settings


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
