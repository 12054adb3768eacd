"""All that is wrong with a set of values, a line each: wanted, came."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from unrolled.settings.fields import GROUP_OF, GROUPS, Settings, TrainingSettings


def validated(values: Mapping[str, Any], where: Mapping[str, str]) -> tuple[Settings | None, list[str]]:
    """Return the settings made of these values, and a line for each one that is wrong.

    ``where`` says where each setting's value stands: a flag, a variable, a place in a file, or "default".
    """
    from pydantic import TypeAdapter, ValidationError

    nested = {group: {n: v for n, v in values.items() if GROUP_OF[n] == group} for group in GROUPS}
    try:
        settings = TypeAdapter(Settings).validate_python(nested)
    except ValidationError as error:
        first = {entry["loc"][:2]: dict(entry) for entry in reversed(error.errors(include_url=False))}
        return None, [_problem(entry, where) for entry in reversed(first.values())]
    return settings, _contradictions(settings, where)


DEFAULT = "default"
"""Where a setting's value comes from that nobody gave."""
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


def _problem(error: dict[str, Any], where: Mapping[str, str]) -> str:
    _, name, *rest = (str(part) for part in error["loc"])
    place = f" at place {int(rest[0]) + 1}" if rest and rest[0].isdigit() else ""
    template = WANTED.get(error["type"])
    limits = {key: f"{v:.10g}" if isinstance(v, float) else v for key, v in error.get("ctx", {}).items()}
    wanted = template.format(**limits) if template else error["msg"]
    return f"{_label(where, name)}{place}: wanted {wanted}, came {shown(error['input'])}"


def _label(where: Mapping[str, str], *names: str) -> str:
    """Return where a setting stands, the first that is not left at its default, with its name."""
    name = next((name for name in names if where.get(name, DEFAULT) != DEFAULT), names[0])
    place = where.get(name, name)
    return place if place.startswith("--") else f"{place}: {name}"


def shown(value: Any) -> str:
    """Return a value that came, cut where it is long."""
    text = repr(value[:60] if isinstance(value, str | bytes | list | tuple) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def _contradictions(settings: Settings, where: Mapping[str, str]) -> list[str]:
    problems = []
    if sum(settings.data.split) > 1 + 1e-9 or not 1 <= len(settings.data.split) <= 3:
        came = shown(list(settings.data.split))
        problems.append(
            f"{_label(where, 'split')}: wanted one to three shares that sum to at most 1, came {came}"
        )
    if settings.net.embedding_dropout and not settings.net.embedding:
        at = _label(where, "embedding_dropout")
        problems.append(f"{at}: there is no embedding to drop from; set embedding to its width")
    training = settings.training
    if training.clip_norm and training.clip_value:
        at = f"{_label(where, 'clip_norm')} and {_label(where, 'clip_value')}"
        problems.append(f"{at}: gradients are clipped by norm or by element; set one of the two to 0")
    problems += _window_problems(settings.data.window, training, where)
    if not training.epochs and not training.max_updates:
        at = _label(where, "epochs", "max_updates")
        problems.append(f"{at}: epochs and max_updates are both 0: training would never end; set one of them")
    return [*problems, *_rate_problems(training, where)]


def _window_problems(window: int, training: TrainingSettings, where: Mapping[str, str]) -> Iterator[str]:
    if 0 < training.reach < window:
        yield (
            f"{_label(where, 'reach')}: wanted 0, or the {window} steps of a window or more, "
            f"came {training.reach}"
        )
    if training.recompute and training.debug:
        at = f"{_label(where, 'debug')} and {_label(where, 'recompute')}"
        yield f"{at}: debug needs every step's values and recompute keeps none; leave one of the two out"


def _rate_problems(training: TrainingSettings, where: Mapping[str, str]) -> Iterator[str]:
    steps, values = training.lr_steps, training.lr_values
    if training.optimizer == "nesterov" and not training.momentum:
        yield (
            f"{_label(where, 'optimizer')}: nesterov looks ahead by the momentum; "
            "set momentum to more than 0, such as 0.9"
        )
    if len(steps) != len(values):
        yield (
            f"{_label(where, 'lr_values', 'lr_steps')}: wanted one of lr_values for each of the {len(steps)} "
            f"lr_steps, came {len(values)}"
        )
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        came = shown(list(steps))
        yield f"{_label(where, 'lr_steps')}: each must be more than the one before, came {came}"
    if training.schedule == "fixed-step" and not steps:
        yield f"{_label(where, 'schedule')}: 'fixed-step' needs lr_steps and lr_values"
