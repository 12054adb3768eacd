"""Everything that can be set, as frozen dataclasses with a docstring a field."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen

STRICT = {"extra": "forbid", "allow_inf_nan": False}
Count = Annotated[int, Gt(0), Lt(2**31)]
CountOrNever = Annotated[int, Ge(0), Lt(2**31)]
Layers = Annotated[int, Gt(0), Le(1000)]
Seed = Annotated[int, Ge(0), Lt(2**32)]
Threads = Annotated[int, Ge(0), Le(1024)]
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
    task: str = ""
    """A generated task to learn instead of a file of examples, for nets that read examples."""
    examples: Count = 4000
    """How many examples of the task there are, training and validation together."""
    shuffle: bool = True
    """Read examples in another order each epoch; a text is always read in its own."""
    lanes: Count = 50
    """How many places of the text are read in parallel, or examples in a batch, B."""
    window: Count = 50
    """Steps between two updates, T; gradients reach back as far, or farther with reach."""


@dataclass(frozen=True)
class NetSettings:
    """The chain of layers."""

    __pydantic_config__ = STRICT

    cell: Annotated[str, MinLen(1)] = "lstm"
    """The cell: rnn, relu-rnn, lstm, peephole-lstm, gru, min-gru, min-lstm, concat-rnn, or a PATH.py:NAME."""
    layers: Layers = 2
    """Recurrent layers, one on the other, L."""
    hidden: Count = 128
    """Units of each recurrent layer, H."""
    dropout: Share = 0.0
    """Share of a recurrent layer's outputs that is zeroed while training."""
    embedding: CountOrNever = 0
    """Width of a learned embedding of the ids; 0 reads them one-hot."""
    embedding_dropout: Share = 0.0
    """Share of the embedding's numbers that is zeroed while training."""
    init: Literal["default", "uniform", "xavier", "orthogonal"] = "default"
    """How weights begin: by each layer's own rule, uniform, Glorot, or orthogonal from state to gates."""
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
    """Stop after this many updates; given alone it replaces epochs, and the other way round."""
    optimizer: Literal["sgd", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "adadelta", "adamax"] = (
        "adam"
    )
    """The rule of update, with PyTorch's meaning of its settings."""
    lr: Positive = 0.002
    """Learning rate at the start."""
    momentum: Share = 0.0
    """Momentum of sgd, nesterov (which needs some) and rmsprop."""
    decay_rate: Share = 0.95
    """Decay of the squared gradient's mean in rmsprop (alpha) and adadelta (rho)."""
    beta1: Share = 0.9
    """Decay of the gradient's mean in adam, adamw and adamax."""
    beta2: Share = 0.999
    """Decay of the squared gradient's mean in adam, adamw and adamax."""
    epsilon: Positive = 1e-8
    """Added to the denominator of every rule but sgd and nesterov."""
    weight_decay: NotNegative = 0.0
    """Pull of the weights towards zero, as the optimizer defines it."""
    schedule: Literal["constant", "step", "fixed-step", "exponential", "inverse", "linear", "cosine"] = (
        "constant"
    )
    """How the learning rate moves: by decay_factor in steps or smoothly, by a table, or to final_lr."""
    decay_factor: Annotated[float, Gt(0), Le(1)] = 0.97
    """What schedules 'step' and 'exponential' multiply the learning rate by, each decay_every."""
    decay_every: Positive = 1.0
    """Epochs (or updates, see decay_unit) from one decay to the next."""
    decay_after: NotNegative | None = None
    """Epochs (or updates) before the first decay; unset means decay_every."""
    decay_unit: Literal["epoch", "update"] = "epoch"
    """What decay_every and decay_after count."""
    decay_power: NotNegative = 1.0
    """Schedule 'inverse' divides lr by (1 + s / decay_every) to this power, s as decay_unit counts."""
    lr_steps: tuple[CountOrNever, ...] = ()
    """Updates after which schedule 'fixed-step' goes on to the next of lr_values; before the first, lr."""
    lr_values: tuple[NotNegative, ...] = ()
    """The learning rates of schedule 'fixed-step', one for each of lr_steps."""
    final_lr: NotNegative = 0.0
    """Where schedules 'linear' and 'cosine' end."""
    final_after: CountOrNever = 0
    """Updates after which 'linear' and 'cosine' are at final_lr; 0 means all updates."""
    warmup: CountOrNever = 0
    """Updates over which the learning rate first rises from near zero, with any schedule."""
    reach: CountOrNever = 0
    """Steps that gradients reach back from a window's end; 0 is to its beginning."""
    recompute: bool = False
    """Keep only states, about every √T steps, and run the steps between again on the way back."""
    clip_norm: NotNegative = 5.0
    """Largest norm of all gradients together; 0 does not clip by norm."""
    clip_value: NotNegative = 0.0
    """Largest size of each gradient element; given alone it replaces clip_norm, and the other way round."""
    seed: Seed = 1
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
    sample_prime: str | None = None
    """What the samples in the diary begin with; unset begins at a new line, where the text has lines."""
    engine: str = "auto"
    """What runs the cells: naive, torch, scan, native, or auto, the fastest that can."""
    precision: Literal["float32", "float64", "bf16"] = "float32"
    """The number format of weights, states and gradients; bf16 is float32 with products of bfloat16."""
    device: str = "auto"
    """Where to compute: cpu, cuda, cuda:1 ..., or auto for a GPU where there is one."""
    threads: Threads = 0
    """Processor threads that PyTorch may use; 0 leaves its own choice."""
    debug: bool = False
    """At each report, write the mean size of each layer's values and gradients, by step, to debug.jsonl."""
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
