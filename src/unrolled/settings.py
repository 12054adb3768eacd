"""Everything that can be set, as frozen dataclasses; TOML in and out; where each value came from.

The command line, the TOML files, the environment and the docs are all read from these classes.
Order, the later over the earlier: defaults, recipe, TOML file, environment, flags.
"""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

from unrolled.errors import SettingsError, nearest

STRICT = {"extra": "forbid", "allow_inf_nan": False}
Count = Annotated[int, Gt(0)]
CountOrNever = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True)
class DataSettings:
    """How the text becomes ids, and how the ids are read."""

    __pydantic_config__ = STRICT

    units: Literal["char", "byte"] = "char"
    """What one id stands for: a character of UTF-8 text, or a byte of anything."""
    boundary: Annotated[str, MinLen(1)] | None = None
    """Where documents end: 'line', 'file', or a text of your own; the state starts anew after it."""
    split: tuple[Annotated[float, Gt(0), Le(1)], ...] = (0.95, 0.05)
    """Shares of the text, by position, for training and for validation; the rest is left alone."""
    lanes: Count = 50
    """How many places of the text are read in parallel, B."""
    window: Count = 50
    """Steps between two updates, and how far gradients reach back, T."""


@dataclass(frozen=True)
class NetSettings:
    """The chain of layers."""

    __pydantic_config__ = STRICT

    cell: Annotated[str, MinLen(1)] = "lstm"
    """The recurrent cell: rnn, relu-rnn, lstm, gru, or PATH.py:NAME for a class of your own."""
    layers: Count = 2
    """Recurrent layers, one on the other, L."""
    hidden: Count = 128
    """Units of each recurrent layer, H."""
    dropout: Share = 0.0
    """Share of a recurrent layer's outputs that is zeroed while training."""
    embedding: CountOrNever = 0
    """Width of a learned embedding of the ids; 0 reads them one-hot."""
    init: Literal["default", "uniform", "xavier", "orthogonal"] = "default"
    """How weights begin: each layer's own rule, uniform within init_scale, Glorot, or orthogonal from state to gates."""
    init_scale: Positive = 0.08
    """The bound of init 'uniform'."""
    forget_bias: float | None = None
    """First value of the bias of every gate called f; unset leaves it to init."""


@dataclass(frozen=True)
class TrainingSettings:
    """How the weights learn, and what is told on the way."""

    __pydantic_config__ = STRICT

    epochs: CountOrNever = 50
    """How often the training text is read; 0 sets no limit."""
    max_updates: CountOrNever = 0
    """Stop after this many updates. Given alone it replaces epochs, and the other way round; 0 sets no limit."""
    optimizer: Literal["sgd", "adagrad", "rmsprop", "adam", "adamw", "adadelta", "adamax"] = "adam"
    """The rule of update, with PyTorch's meaning of its settings."""
    lr: Positive = 0.002
    """Learning rate at the start."""
    momentum: Share = 0.0
    """Momentum of sgd and rmsprop."""
    decay_rate: Share = 0.95
    """Decay of the squared gradient's mean in rmsprop (alpha) and adadelta (rho)."""
    beta1: Share = 0.9
    """Decay of the gradient's mean in adam, adamw and adamax."""
    beta2: Share = 0.999
    """Decay of the squared gradient's mean in adam, adamw and adamax."""
    epsilon: Positive = 1e-8
    """Added to the denominator of every rule but sgd."""
    weight_decay: NotNegative = 0.0
    """Pull of the weights towards zero, as the optimizer defines it."""
    schedule: Literal["constant", "step", "exponential", "linear", "cosine"] = "constant"
    """How the learning rate moves: by decay_factor in steps or smoothly, or to final_lr over all updates."""
    decay_factor: Annotated[float, Gt(0), Le(1)] = 0.97
    """What schedules 'step' and 'exponential' multiply the learning rate by, each decay_every."""
    decay_every: Positive = 1.0
    """Epochs (or updates, see decay_unit) from one decay to the next."""
    decay_after: NotNegative | None = None
    """Epochs (or updates) before the first decay; unset means decay_every."""
    decay_unit: Literal["epoch", "update"] = "epoch"
    """What decay_every and decay_after count."""
    final_lr: NotNegative = 0.0
    """Where schedules 'linear' and 'cosine' end."""
    warmup: CountOrNever = 0
    """Updates over which the learning rate first rises from near zero, with any schedule."""
    clip_norm: NotNegative = 5.0
    """Largest norm of all gradients together; 0 does not clip by norm."""
    clip_value: NotNegative = 0.0
    """Largest size of each gradient element; 0 does not clip by element. Given alone it replaces clip_norm, and the other way round."""
    seed: CountOrNever = 1
    """Where weights, dropout and the diary's samples begin."""
    patience: CountOrNever = 0
    """Stop after this many validations without a new best; 0 never stops early."""
    report_every: CountOrNever = 100
    """Updates between two lines of metrics."""
    validate_every: CountOrNever = 0
    """Updates between two validations; 0 validates at the end of each epoch."""
    checkpoint_every: CountOrNever = 0
    """Updates between two checkpoints; 0 saves once a minute. The best and the last are always saved."""
    sample_every: CountOrNever = 1000
    """Updates between two samples in the diary; 0 never samples."""
    sample_at: tuple[Count, ...] = ()
    """Further updates after which the diary gets a sample."""
    sample_length: Count = 200
    """Characters (or bytes) of a sample in the diary."""
    sample_temperature: NotNegative = 0.8
    """Temperature of the samples in the diary."""
    engine: str = "auto"
    """What runs the cells: naive, torch, or auto for the fastest that can."""
    precision: Literal["float32", "float64"] = "float32"
    """The number format of weights, states and gradients."""
    device: str = "auto"
    """Where to compute: cpu, cuda, cuda:1 ..., or auto for a GPU where there is one."""
    threads: CountOrNever = 0
    """Processor threads that PyTorch may use; 0 leaves its own choice."""
    deterministic: bool = False
    """Demand PyTorch's deterministic algorithms; an operation that has none fails."""


@dataclass(frozen=True)
class Settings:
    """All settings of a run."""

    __pydantic_config__ = STRICT

    data: DataSettings = field(default_factory=DataSettings)
    net: NetSettings = field(default_factory=NetSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)


GROUPS: dict[str, type] = {"data": DataSettings, "net": NetSettings, "training": TrainingSettings}
GROUP_OF = {f.name: group for group, cls in GROUPS.items() for f in fields(cls)}
ENVIRONMENT = "UNROLLED_"
NO_SETTINGS = {"UNROLLED_CACHE"}
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
) -> Resolved:
    """Put defaults, a recipe or TOML file, the environment and flags on top of each other.

    ``recipe`` names a shipped recipe or a TOML file, which may itself name a recipe that it starts from.
    Raises SettingsError with every problem of every source at once.
    """
    values: dict[str, Any] = {}
    origin = dict.fromkeys(GROUP_OF, "default")
    sources = [*(_recipe_layers(recipe) if recipe else []), *_flat_layers(environment, flags)]
    problems = [problem for _, _, found in sources for problem in found]
    flagged = {name for label, layer, _ in sources if label.startswith("--") for name in layer}
    for label, layer, _ in sources:
        values.update(layer)
        origin.update(dict.fromkeys(layer, label))
        for name, other in ALTERNATIVES.items():
            if name in layer and other not in layer and not (label.startswith("--") and other in flagged):
                values[other], origin[other] = 0, label
    settings, wrong = _validated(values, origin)
    problems += wrong
    if settings is None or problems:
        raise SettingsError(problems)
    return Resolved(settings, origin)


Source = tuple[str, dict[str, Any], list[str]]
"""A label, values by setting's name, and the problems found while reading them."""


def _flat_layers(environment: Mapping[str, str] | None, flags: Mapping[str, Any] | None) -> Iterator[Source]:
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
    if name in ("split", "sample_at") and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _recipe_layers(recipe: str, above: tuple[str, ...] = ()) -> list[Source]:
    label, data = read_recipe(recipe)
    if label in above:
        raise SettingsError(f"{label} starts from itself: {' -> '.join([*above, label])}")
    base = data.pop("recipe", None)
    data.pop("about", None)
    layers = _recipe_layers(str(base), (*above, label)) if base is not None else []
    return [*layers, _flattened(label, data)]


def _flattened(label: str, data: Mapping[str, Any]) -> Source:
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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"{label}: this is not TOML: {error or 'nested too deeply'}") from error


def _validated(values: Mapping[str, Any], origin: Mapping[str, str]) -> tuple[Settings | None, list[str]]:
    from pydantic import TypeAdapter, ValidationError

    nested = {group: {n: v for n, v in values.items() if GROUP_OF[n] == group} for group in GROUPS}
    try:
        settings = TypeAdapter(Settings).validate_python(nested)
    except ValidationError as error:
        return None, [_problem(dict(entry), origin) for entry in error.errors()]
    return settings, _contradictions(settings, origin)


WANTED = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "a text",
    "string_too_short": "a text that is not empty",
    "tuple_type": "a list",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
}


def _problem(error: dict[str, Any], origin: Mapping[str, str]) -> str:
    _, name, *rest = (str(part) for part in error["loc"])
    where = origin.get(name, name)
    label = where if where.startswith("--") else f"{where}: {name}"
    place = f" at place {int(rest[0]) + 1}" if rest and rest[0].isdigit() else ""
    template = WANTED.get(error["type"])
    wanted = template.format(**error.get("ctx", {})) if template else error["msg"]
    return f"{label}{place}: wanted {wanted}, came {_short(error['input'])}"


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _contradictions(settings: Settings, origin: Mapping[str, str]) -> list[str]:
    problems = []
    if sum(settings.data.split) > 1 + 1e-9 or not 1 <= len(settings.data.split) <= 3:
        problems.append(
            f"{origin['split']}: wanted one to three shares that sum to at most 1, came {list(settings.data.split)}"
        )
    training = settings.training
    if training.clip_norm and training.clip_value:
        where = f"{origin['clip_norm']} and {origin['clip_value']}"
        problems.append(f"{where}: gradients are clipped by norm or by element; set one of the two to 0")
    if not training.epochs and not training.max_updates:
        problems.append("epochs and max_updates are both 0: training would never end; set one of them")
    return problems


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
    _, values, problems = _flattened(label, tables)
    settings, wrong = _validated(values, dict.fromkeys(GROUP_OF, label))
    if settings is None or problems or wrong:
        raise SettingsError([*problems, *wrong])
    return settings


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@functools.cache
def descriptions() -> dict[str, str]:
    """Return each setting's docstring by name, read from this file's source."""
    docs: dict[str, str] = {}
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    wanted = {cls.__name__ for cls in GROUPS.values()}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in wanted:
            docs.update(_field_docs(node))
    return docs


def _field_docs(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for statement, follower in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(follower, ast.Expr)
            and isinstance(follower.value, ast.Constant)
        ):
            yield statement.target.id, str(follower.value.value)
