"""What one input of a net wants from each example."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal

from unrolled.data.symbols import Symbols, stored_vocab
from unrolled.data.vocab import Vocab
from unrolled.errors import LoadError, UsageError

Kind = Literal["ids", "floats"]
Length = str | int | None

KINDS: tuple[Kind, ...] = ("ids", "floats")


MOST_IDS = 2**31 - 1
"""The largest size of a field; larger ones no table of weights could have a row for."""


@dataclass(frozen=True)
class Field:
    """One value of every example: what it is called, what it holds, and how long it is.

    ``examples.fields`` are fields whose ``size`` and ``vocab`` the data have filled in.
    """

    name: str
    kind: Kind
    length: Length = None
    """1: one value an example. Another number: so many steps. Otherwise a sequence of any length: None is
    the net's T, a name a length of its own. Fields of the same length have as many steps as each other in
    each example."""
    size: int | None = None
    """How many ids there are but for the stop, or a float vector's width D. None: as the data have it."""
    vocab: Vocab | Symbols | None = None
    """What strings are read by. None: built from all the examples that are read together."""
    share: str | None = None
    """Fields that give the same name here share one vocabulary and size."""
    stop: bool = False
    """Whether a stop is appended to each sequence: the id after the last, ``size``."""

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise UsageError(f"A field has a name, not {self.name!r}. Name the input that it feeds.")
        if self.kind not in KINDS:
            raise UsageError(f"Field {self.name!r} holds 'ids' or 'floats', not {self.kind!r}.")
        if isinstance(self.length, int) and self.length < 1:
            raise UsageError(f"Field {self.name!r} has at least 1 step, not {self.length}.")
        if self.size is not None and not 1 <= self.size <= MOST_IDS:
            raise UsageError(f"Field {self.name!r} has a size from 1 to {MOST_IDS:,}, not {self.size}.")
        if self.kind == "floats" and (self.vocab is not None or self.share is not None or self.stop):
            raise UsageError(f"Field {self.name!r} holds floats, which have no vocabulary and no stop.")
        if self.stop and isinstance(self.length, int):
            raise UsageError(
                f"Field {self.name!r} has {self.length} steps always, so nothing follows a stop."
                " Give it a length by name."
            )
        if self.vocab is not None and self.size is not None and len(self.vocab) > self.size:
            raise UsageError(
                f"Field {self.name!r} has a vocabulary of {len(self.vocab)}, but a size of {self.size}."
                " Leave the size out."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the field as plain values for JSON."""
        vocab = None if self.vocab is None else self.vocab.to_dict()
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "vocab": vocab}

    @classmethod
    def from_dict(cls, record: Any) -> Field:
        """Read what ``to_dict`` wrote; anything else is a LoadError."""
        try:
            vocab = None if record["vocab"] is None else stored_vocab(record["vocab"])
            return cls(**{**record, "vocab": vocab})
        except (KeyError, TypeError, UsageError) as error:
            raise LoadError(f"a stored field can't be used: {error!r}") from error

    @property
    def num_ids(self) -> int:
        """How many ids there are, the stop included: what an output layer has as its size."""
        if self.kind != "ids" or self.size is None:
            raise UsageError(f"Field {self.name!r} has no number of ids before its data are read.")
        return self.size + self.stop

    def decode(self, ids: Iterable[int]) -> str | list[str] | list[int]:
        """Return what ``ids`` stand for, up to the first stop and without -1.

        A text for characters and bytes, words for ``Symbols``, the ids themselves without a vocabulary.
        """
        said: list[int] = []
        for id in ids:
            if self.stop and id == self.size:
                break
            if id >= 0:
                said.append(int(id))
        return said if self.vocab is None else self.vocab.decode(said)
