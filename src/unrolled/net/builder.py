"""Nets in Python, written so that they read like the nets they build.

::

    net = NetBuilder("char-rnn", unroll=50)
    net.text = Text()
    net.onehot = OneHot(net.text.all)
    net.gru1 = GRU(net.onehot, hidden=512)
    net.logits = Linear(net.gru1, size="vocab")
    net.label = Label(net.text.all)
    net.loss = SoftmaxLoss(net.logits, net.label)
    spec = net.spec()

A layer is read as it is (copy t reads copy t), or through ``.all``, ``.last`` or ``.shift(k)``. One that
comes later, or whose name is no Python name, is read with brackets, which is all that feedback needs::

    net.x = Floats(size=3)
    net.h = GRU(net.x, net["y"].shift(1), hidden=8)
    net.y = Linear(net.h, size=2)

There is a function for each layer type, and ``RNN``, ``ReluRNN``, ``LSTM``, ``GRU``, ``PeepholeLSTM``,
``MinGRU`` and ``MinLSTM`` for the built-in cells. All take ``params``, ``unroll``, ``partition``,
``include`` and ``exclude``, as a ``Layer`` has them.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unrolled.cells import NAMED, Cell
from unrolled.errors import NetError, nearest
from unrolled.net.check import check
from unrolled.net.files import check_spec
from unrolled.net.layers import TYPES
from unrolled.net.plain import edge_of, param_of
from unrolled.net.spec import PHASES, Edge, Layer, Length, Param, Spec

Params = Mapping[str, str | Mapping[str, Any] | Param] | Sequence[Mapping[str, Any] | Param]
COMMON = ("params", "unroll", "partition", "include", "exclude")


class Readable:
    """What a layer may read: a layer, by name once it has one."""

    def __init__(self) -> None:
        self.name = ""

    @property
    def all(self) -> Source:
        """Slice t of a text, the one value of a layer of length 1, or all copies of a longer one."""
        return Source(self, "all")

    @property
    def last(self) -> Source:
        """The last copy: it starts a recurrent layer, and is an input of copy 0 of any other."""
        return Source(self, "last")

    def shift(self, steps: int, initial: float | Mapping[str, Any] | None = None) -> Source:
        """Copy t - ``steps``; ``initial`` is what copies before the first one give, else zeros or no id."""
        return Source(self, "same", steps, initial)


class Source:
    """One edge through time, as yet without the name of the layer that it comes from."""

    def __init__(
        self, of: Readable, kind: str, shift: int = 0, initial: float | Mapping[str, Any] | None = None
    ) -> None:
        self.of, self.kind, self.steps, self.initial = of, kind, shift, initial

    def edge(self, reader: str) -> Edge:
        """Return the edge, read by a layer; NetError where it makes no sense."""
        if not self.of.name:
            raise NetError(
                f"layer '{reader}' reads a layer that has no name yet; give it one first, net.NAME = ...",
                reader,
                "sources",
            )
        plain = {"source": self.of.name, "kind": self.kind, "shift": self.steps}
        return edge_of(plain if self.initial is None else {**plain, "initial": self.initial}, reader)


class Made(Readable):
    """A layer that was made; ``net.NAME = ...`` gives it its name and its place in the net."""

    def __init__(self, function: LayerFunction, sources: Sequence[Any], given: Mapping[str, Any]) -> None:
        super().__init__()
        self.function, self.sources, self.given = function, sources, dict(given)
        self.cell: type[Cell] | None = None

    def layer(self, name: str) -> Layer:
        """Return the layer under a name; NetError where it makes no sense."""
        given = self.given
        sources = tuple(_source(source, name).edge(name) for source in self.sources)
        settings = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in given.items()
            if key not in COMMON
        }
        cell = settings.get("cell")
        if isinstance(cell, type) and issubclass(cell, Cell):
            settings["cell"], self.cell = _cell_name(cell), cell
        params = tuple(param_of(entry, name) for entry in _params(given.get("params", ()), name))
        lengths = ("unroll", "partition")
        rest: dict[str, Any] = {key: given[key] for key in lengths if given.get(key) is not None}
        rest |= {key: tuple(given.get(key, ())) for key in ("include", "exclude")}
        return Layer(name, self.function.type, sources, settings, params, **rest)


class LayerFunction:
    """Makes layers of one type: ``Linear(net.h, size=5)``."""

    def __init__(self, name: str, type_: str, **fixed: Any) -> None:
        self.__name__, self.type, self.fixed = name, type_, fixed
        self.__doc__ = TYPES[type_].__doc__

    def __repr__(self) -> str:
        return self.__name__

    def __call__(self, *sources: Readable | Source, **settings: Any) -> Made:
        """Return a layer that reads ``sources``; NetError for a keyword that the type doesn't have."""
        known = [key for key in TYPES[self.type].settings if key not in self.fixed]
        for key in settings:
            if key not in known and key not in COMMON:
                has = f"it has {', '.join([*known, *COMMON])}"
                raise NetError(
                    f"{self.__name__} has no setting '{key}'"
                    + (nearest(key, [*known, *COMMON]) or f"; {has}"),
                    field=key,
                )
        for key in ("include", "exclude"):
            if isinstance(settings.get(key), str):
                settings[key] = (settings[key],)
        return Made(self, sources, {**self.fixed, **settings})


class MissingLayerError(NetError, AttributeError):
    """There is no layer of a name, yet or at all."""


class NetBuilder:
    """A net that is being written: ``net.NAME = Layer(...)`` adds a layer, ``net.NAME`` reads it."""

    def __init__(self, name: str = "", unroll: Length = None, partition: int | None = None) -> None:
        self._set("_head", {"name": name, "unroll": unroll, "partition": partition})
        self._set("_made", [])
        self._set("_layers", [])
        check(Spec((), **self._head))

    _head: dict[str, Any]
    _made: list[Made]
    _layers: list[Layer]

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Made) -> None:
        if name.startswith("_") or name in dir(type(self)):
            raise NetError(f"'{name}' is a name of the builder itself; write net['{name}'] = ...", name)
        self[name] = value

    def __setitem__(self, name: str, value: Made) -> None:
        if not isinstance(value, Made):
            came = f"{value!r}, not yet called" if isinstance(value, LayerFunction) else repr(value)
            raise NetError(
                f"layer '{name}': wanted a layer, such as Linear(net.h, size=5), came {came}", name
            )
        if value.name:
            raise NetError(
                f"this layer is called '{value.name}' already; Copy({value.name}) makes another", name
            )
        layer = value.layer(name)
        check(Spec((layer,)))
        for other in self._layers:
            if other.name == name and any(p for p in PHASES if layer.belongs_to(p) and other.belongs_to(p)):
                raise NetError(f"there is a layer '{name}' already", name, "name")
        value.name = name
        self._made.append(value)
        self._layers.append(layer)

    def __getattr__(self, name: str) -> Readable:
        made = next((made for made in reversed(self._made) if made.name == name), None)
        if made is None:
            near = nearest(name, [made.name for made in self._made])
            hint = near or f"; one that comes later is read as net[{name!r}].shift(1)"
            raise MissingLayerError(f"there is no layer '{name}' yet{hint}", name)
        return made

    def __getitem__(self, name: str) -> Readable:
        found = Readable()
        found.name = name
        return found

    def __iter__(self) -> Iterator[Layer]:
        return iter(self._layers)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(made.name for made in self._made)]

    def spec(self) -> Spec:
        """Return the net; NetError where it makes no sense."""
        found = Spec(tuple(self._layers), **self._head)
        check_spec(found)
        return found

    def cells(self) -> dict[str, type[Cell]]:
        """Return the classes that layers were given as cells, by the names they have in the spec."""
        return {
            str(layer.settings["cell"]): made.cell
            for layer, made in zip(self._layers, self._made, strict=True)
            if made.cell is not None and made.cell not in NAMED.values()
        }


def _source(source: Any, reader: str) -> Source:
    if isinstance(source, Source):
        return source
    if isinstance(source, Readable):
        return Source(source, "same")
    raise NetError(
        f"layer '{reader}' reads layers, such as net.h or net['h'].shift(1), came {source!r}",
        reader,
        "sources",
    )


def _params(given: Params, layer: str) -> Iterator[Any]:
    """Bring parameters to tables with a role; ``"role[gate]"`` is one gate of a parameter."""
    if isinstance(given, Mapping):
        for place, told in given.items():
            match = re.fullmatch(r"(.+)\[(.+)\]", place)
            named = {"role": match[1], "gate": match[2]} if match else {"role": place}
            if isinstance(told, str):
                told = {"name": told}
            yield {**_param_table(told), **named} if isinstance(told, Mapping | Param) else told
        return
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise NetError(
            f"layer '{layer}': params wants {{role: name or table}}, or a list of tables, came {given!r}",
            layer,
            "params",
        )
    for told in given:
        yield _param_table(told) if isinstance(told, Param) else told


def _param_table(told: Mapping[str, Any] | Param) -> dict[str, Any]:
    if isinstance(told, Param):
        return {key: value for key, value in vars(told).items() if value is not None}
    return dict(told)


def _cell_name(cls: type[Cell]) -> str:
    """Return what a spec calls a cell: its name if it is one of the toolkit's, or PATH.py:NAME."""
    for name, known in NAMED.items():
        if known is cls:
            return name
    try:
        file = inspect.getsourcefile(cls)
    except TypeError:
        file = None
    return f"{file or '__main__'}:{cls.__name__}"


Text = LayerFunction("Text", "text")
Label = LayerFunction("Label", "label")
Ids = LayerFunction("Ids", "ids")
Floats = LayerFunction("Floats", "floats")
Continues = LayerFunction("Continues", "continues")
Constant = LayerFunction("Constant", "constant")
OneHot = LayerFunction("OneHot", "one-hot")
Embedding = LayerFunction("Embedding", "embedding")
Recurrent = LayerFunction("Recurrent", "recurrent")
RNN = LayerFunction("RNN", "recurrent", cell="rnn")
ReluRNN = LayerFunction("ReluRNN", "recurrent", cell="relu-rnn")
LSTM = LayerFunction("LSTM", "recurrent", cell="lstm")
GRU = LayerFunction("GRU", "recurrent", cell="gru")
PeepholeLSTM = LayerFunction("PeepholeLSTM", "recurrent", cell="peephole-lstm")
MinGRU = LayerFunction("MinGRU", "recurrent", cell="min-gru")
MinLSTM = LayerFunction("MinLSTM", "recurrent", cell="min-lstm")
Linear = LayerFunction("Linear", "linear")
Dropout = LayerFunction("Dropout", "dropout")
Activation = LayerFunction("Activation", "activation")
Softmax = LayerFunction("Softmax", "softmax")
Copy = LayerFunction("Copy", "copy")
Concat = LayerFunction("Concat", "concat")
Slice = LayerFunction("Slice", "slice")
Reshape = LayerFunction("Reshape", "reshape")
Eltwise = LayerFunction("Eltwise", "eltwise")
Mean = LayerFunction("Mean", "mean")
Sum = LayerFunction("Sum", "sum")
Max = LayerFunction("Max", "max")
Attention = LayerFunction("Attention", "attention")
SoftmaxLoss = LayerFunction("SoftmaxLoss", "softmax-loss")
EuclideanLoss = LayerFunction("EuclideanLoss", "euclidean-loss")
Accuracy = LayerFunction("Accuracy", "accuracy")
Argmax = LayerFunction("Argmax", "argmax")
Sample = LayerFunction("Sample", "sample")

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Accuracy",
    "Activation",
    "Argmax",
    "Attention",
    "Concat",
    "Constant",
    "Continues",
    "Copy",
    "Dropout",
    "Eltwise",
    "Embedding",
    "EuclideanLoss",
    "Floats",
    "Ids",
    "Label",
    "LayerFunction",
    "Linear",
    "Max",
    "Mean",
    "MinGRU",
    "MinLSTM",
    "MissingLayerError",
    "NetBuilder",
    "OneHot",
    "PeepholeLSTM",
    "Recurrent",
    "ReluRNN",
    "Reshape",
    "Sample",
    "Slice",
    "Softmax",
    "SoftmaxLoss",
    "Source",
    "Sum",
    "Text",
]
