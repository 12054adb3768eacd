"""All that is wrong with a set of values, a line each: wanted, came."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from unrolled.settings.fields import GROUP_OF, GROUPS, Settings, TrainingSettings


def validated(values: Mapping[str, Any], origin: Mapping[str, str]) -> tuple[Settings | None, list[str]]:
    """Return the settings made of these values, and a line for each thing that is wrong with them.

    ``origin`` says where each setting's value came from.
    """
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
    place = f" at place {int(rest[0]) + 1}" if rest and rest[0].isdigit() else ""
    template = WANTED.get(error["type"])
    limits = {key: f"{v:.10g}" if isinstance(v, float) else v for key, v in error.get("ctx", {}).items()}
    wanted = template.format(**limits) if template else error["msg"]
    return f"{_label(name, origin)}{place}: wanted {wanted}, came {_short(error['input'])}"


def _label(name: str, origin: Mapping[str, str]) -> str:
    """Return where a setting came from, with its name where that doesn't say it."""
    where = origin.get(name, name)
    return where if where.startswith("--") else f"{where}: {name}"


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _contradictions(settings: Settings, origin: Mapping[str, str]) -> list[str]:
    problems = []
    if sum(settings.data.split) > 1 + 1e-9 or not 1 <= len(settings.data.split) <= 3:
        came = list(settings.data.split)
        problems.append(
            f"{_label('split', origin)}: wanted one to three shares that sum to at most 1, came {came}"
        )
    if settings.net.embedding_dropout and not settings.net.embedding:
        where = _label("embedding_dropout", origin)
        problems.append(f"{where}: there is no embedding to drop from; set embedding to its width")
    training = settings.training
    if training.clip_norm and training.clip_value:
        where = f"{_label('clip_norm', origin)} and {_label('clip_value', origin)}"
        problems.append(f"{where}: gradients are clipped by norm or by element; set one of the two to 0")
    problems += _window_problems(settings.data.window, training, origin)
    if not training.epochs and not training.max_updates:
        problems.append("epochs and max_updates are both 0: training would never end; set one of them")
    return [*problems, *_rate_problems(training, origin)]


def _window_problems(window: int, training: TrainingSettings, origin: Mapping[str, str]) -> Iterator[str]:
    if 0 < training.reach < window:
        yield (
            f"{_label('reach', origin)}: wanted 0, or the {window} steps of a window or more, "
            f"came {training.reach}"
        )
    if training.recompute and training.debug:
        where = f"{_label('debug', origin)} and {_label('recompute', origin)}"
        yield f"{where}: debug needs every step's values and recompute keeps none; leave one of the two out"


def _rate_problems(training: TrainingSettings, origin: Mapping[str, str]) -> Iterator[str]:
    steps, values = training.lr_steps, training.lr_values
    if training.optimizer == "nesterov" and not training.momentum:
        yield (
            f"{_label('optimizer', origin)}: nesterov looks ahead by the momentum; "
            "set momentum to more than 0, such as 0.9"
        )
    if len(steps) != len(values):
        yield (
            f"{_label('lr_values', origin)}: wanted one for each of the {len(steps)} lr_steps, "
            f"came {len(values)}"
        )
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        yield f"{_label('lr_steps', origin)}: each must be more than the one before, came {list(steps)}"
    if training.schedule == "fixed-step" and not steps:
        yield f"{_label('schedule', origin)}: 'fixed-step' needs lr_steps and lr_values"
