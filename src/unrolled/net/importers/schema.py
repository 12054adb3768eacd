"""Which fields a message may hold, stated as data, and the typed reading of messages by it.

::

    UPDATER = Schema("updater", {
        "type": one_of("kSGD", "kAdam", required=True),
        "momentum": number(0.0, low=0),
        "learning_rate": inner(RATE),
        "param": each(inner(PARAM)),
    })
    updater = UPDATER.read(message)         # a Record
    updater["momentum"]                     # 0.0 where the file doesn't say
    raise updater.error("wanted less than 1", "momentum")   # at that field's place

A field that the schema lacks, a value of another kind and a single field given twice are UsageErrors of
the form ``file:line:column: what``, with the nearest known name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from unrolled.errors import UsageError, nearest
from unrolled.net.importers.textformat import Field, Message, Word, error_at, shown

Kind = Literal["int", "float", "bool", "string", "word", "message"]
BOOLEANS = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}
WANTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a quoted text",
    "word": "a bare word",
    "message": "{ ... }",
}


@dataclass(frozen=True)
class Known:
    """A field that a message may hold; ``default`` is its value where it isn't given."""

    kind: Kind
    default: Any = None
    low: float | None = None
    high: float | None = None
    over: float | None = None
    under: float | None = None
    words: tuple[str, ...] = ()
    """What a word or a text may be; empty means anything."""
    numbers: Mapping[int, str] = field(default_factory=dict)
    """Words that may be given by number."""
    schema: Schema | None = None
    repeated: bool = False
    required: bool = False
    optional: bool = False
    """Whether a message that isn't given reads as None."""


def whole(
    default: int | None = None, *, low: int = -(2**31), high: int = 2**31 - 1, required: bool = False
) -> Known:
    """State a whole number."""
    return Known("int", default, low, high, required=required)


def number(
    default: float | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
    over: float | None = None,
    under: float | None = None,
    required: bool = False,
) -> Known:
    """State a number from ``low`` to ``high``, or more than ``over`` and less than ``under``."""
    return Known("float", default, low, high, over, under, required=required)


def switch(default: bool | None = None) -> Known:
    """State true or false."""
    return Known("bool", default)


def text(default: str | None = None, *, words: tuple[str, ...] = (), required: bool = False) -> Known:
    """State a quoted text, one of ``words`` where there are any."""
    return Known("string", default, words=words, required=required)


def one_of(
    *words: str,
    default: str | None = None,
    numbers: Mapping[int, str] | None = None,
    required: bool = False,
) -> Known:
    """State a bare word, one of ``words`` where there are any, or one of ``numbers``."""
    return Known("word", default, words=words, numbers=numbers or {}, required=required)


def inner(schema: Schema, *, required: bool = False, optional: bool = False) -> Known:
    """State a message; not given it reads as an empty one, so that its defaults hold, or as None."""
    return Known("message", schema=schema, required=required, optional=optional)


def each(known: Known) -> Known:
    """State a field that may be repeated: it reads as a tuple of what ``known`` reads as."""
    return replace(known, repeated=True, default=())


@dataclass(frozen=True)
class Schema:
    """The fields of one kind of message, under the name that errors call it."""

    name: str
    fields: Mapping[str, Known]
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Other names of fields."""
    extensions: Schema | None = None
    """How ``[any_name] { ... }`` is read; None means that there may be none."""

    def read(self, message: Message) -> Record:
        """Return the message's values by name; UsageError for what the schema doesn't know."""
        given: dict[str, list[Field]] = {}
        extensions: dict[str, Record] = {}
        for item in message.fields:
            name = self.aliases.get(item.name, item.name)
            if name.startswith("[") and self.extensions is not None:
                if name in extensions:
                    raise error_at(message.file, item.line, item.column, f"{shown(name)} is given twice")
                extensions[name] = _message(message.file, item, self.extensions)
            elif name not in self.fields:
                what = f"{self.name} has no field '{shown(item.name)}'" + nearest(name, self.fields)
                raise error_at(message.file, item.line, item.column, what)
            else:
                given.setdefault(name, []).append(item)
        record = Record(self, message, {}, given, extensions)
        for name, known in self.fields.items():
            record.values[name] = record.read(name, known)
        return record


@dataclass(frozen=True)
class Record:
    """A message read by its schema: ``record[name]`` is a value or default, ``name in record`` if it came."""

    schema: Schema
    message: Message
    values: dict[str, Any]
    given: dict[str, list[Field]]
    extensions: dict[str, Record]
    """The extensions by name, in their brackets."""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def __contains__(self, name: str) -> bool:
        return name in self.given

    @classmethod
    def of(cls, message: Message, name: str) -> Record:
        """Return a message unread: only its places are known."""
        given: dict[str, list[Field]] = {}
        for item in message.fields:
            given.setdefault(item.name, []).append(item)
        return cls(Schema(name, {}), message, {}, given, {})

    def place_of(self, name: str | None = None, index: int = 0) -> str:
        """Return where a field stands, its ``index``-th one, or else the message: ``file:line:column``."""
        found = self.given.get(name, []) if name else []
        at = found[index] if index < len(found) else self.message
        return f"{self.message.file}:{at.line}:{at.column}"

    def error(self, what: str, name: str | None = None, index: int = 0) -> UsageError:
        """Return an error at the place of a field, or of the message."""
        return UsageError(f"{self.place_of(name, index)}: {what}")

    def read(self, name: str, known: Known) -> Any:
        """Return a field's value by what is known of it."""
        items, file = self.given.get(name, []), self.message.file
        if not known.repeated and len(items) > 1:
            raise self.error(
                f"{name} is given twice, first in line {items[0].line}; it is wanted once", name, index=1
            )
        if known.required and not items:
            raise self.error(f"{self.schema.name} wants a field '{name}', and has none")
        if known.repeated:
            return tuple(_value(file, item, known) for item in items)
        if items:
            return _value(file, items[0], known)
        if known.schema is not None and not known.optional:
            return known.schema.read(Message(file, self.message.line, self.message.column))
        return known.default


def _message(file: str, item: Field, schema: Schema) -> Record:
    if not isinstance(item.value, Message):
        raise error_at(
            file, item.line, item.column, f"{item.name}: wanted {{ ... }}, came {_came(item.value)}"
        )
    return schema.read(replace(item.value, line=item.line, column=item.column))


def _value(file: str, item: Field, known: Known) -> Any:
    if known.schema is not None:
        return _message(file, item, known.schema)
    value = _of_kind(item.value, known)
    if value is not None and _fits(value, known):
        return value
    hint = nearest(value, known.words) if isinstance(value, str) else ""
    what = f"{item.name}: wanted {_wanted(known)}, came {_came(item.value)}{hint}"
    raise error_at(file, item.line, item.column, what)


def _of_kind(value: Any, known: Known) -> Any:
    """Return a value as the kind that is wanted, or None where it is of another."""
    match known.kind, value:
        case "int" | "float", int() | float():
            fitting = isinstance(value, int) or known.kind == "float"
            return (float(value) if known.kind == "float" else value) if fitting else None
        case "bool", Word(text):
            return BOOLEANS.get(text)
        case "bool", int():
            return bool(value) if value in (0, 1) else None
        case "word", int():
            return known.numbers.get(value)
        case "word", Word(text):
            return text
        case "string", str():
            return value
    return None


def _fits(value: Any, known: Known) -> bool:
    if isinstance(value, str):
        return not known.words or value in known.words
    return (
        (known.low is None or value >= known.low)
        and (known.high is None or value <= known.high)
        and (known.over is None or value > known.over)
        and (known.under is None or value < known.under)
    )


def _wanted(known: Known) -> str:
    if known.words:
        return f"one of {', '.join(known.words)}"
    wanted = WANTED[known.kind]
    if known.low is not None and known.high is not None:
        return f"{wanted} from {known.low:.10g} to {known.high:.10g}"
    bounds = {
        "{:g} or more": known.low,
        "at most {:g}": known.high,
        "more than {:g}": known.over,
        "less than {:g}": known.under,
    }
    said = [phrase.format(bound) for phrase, bound in bounds.items() if bound is not None]
    return f"{wanted}, {' and '.join(said)}" if said else wanted


def _came(value: Any) -> str:
    if isinstance(value, Message):
        return "{ ... }"
    if isinstance(value, Word):
        return shown(value.text)
    return f'"{shown(value)}"' if isinstance(value, str) else shown(str(value))
