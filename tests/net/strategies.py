"""Random nets: specs of every layer type, edge kind and cell, with the sizes and inputs to run them.

``nets`` is the hypothesis strategy; ``make`` and ``inputs_of`` turn what it drew into a net and tensors;
``features`` tells from a spec alone what is in it, so that a test can see that nothing stopped being drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from unrolled.cells import Cell, GatedCell
from unrolled.net import Edge, Layer, Net, Param, Spec
from unrolled.net.params import params_of

WIDTHS = (3, 2, 5, 1)
SIZES = (4, 2, 5)
CONSTANTS = (0.7, -1.3)
POINTWISE = ("activation", "copy", "softmax", "dropout")
REDUCTIONS = ("mean", "sum", "max")
BUILT_IN = ("rnn", "lstm", "gru", "relu-rnn", "peephole-lstm", "min-gru", "min-lstm")


class Leaky(Cell):
    """A plain cell, whose parameters sit in a module of its own."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.xh_to_h = nn.Linear(input_size + hidden_size, hidden_size)

    def step(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = 0.6 * h + 0.4 * torch.tanh(self.xh_to_h(torch.cat([x, h], dim=-1)))
        return h, h


class Pair(NamedTuple):
    slow: Tensor
    fast: Tensor


class Primed(Cell):
    """A plain cell with a state of two parts, whose output is neither, and which learns where it starts."""

    State = Pair

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.x_to_h = nn.Parameter(torch.randn(input_size, hidden_size))
        self.start = nn.Parameter(torch.randn(hidden_size))

    def initial_state(self, lanes: int) -> Pair:
        return Pair(self.start.expand(lanes, -1), self.start.neg().expand(lanes, -1))

    def step(self, x: Tensor, state: Pair) -> tuple[Tensor, Pair]:
        fast = torch.sin(x @ self.x_to_h + state.fast + 0.5 * state.slow)
        slow = 0.8 * state.slow + 0.2 * fast
        return fast - slow, Pair(slow, fast)


class Mixing(GatedCell):
    """A gated cell of the user's own (Collins et al. 2017)."""

    gates = ("z", "n")

    @staticmethod
    def next_state(z: Tensor, n: Tensor, state: Tensor) -> Tensor:
        keep = torch.sigmoid(z)
        return keep * state + (1 - keep) * torch.tanh(n)


CELLS: dict[str, type[Cell]] = {"Leaky": Leaky, "Primed": Primed, "Mixing": Mixing}


class Drawn(NamedTuple):
    """A net and how to run it."""

    spec: Spec
    counts: dict[int | str | None, int]
    lanes: int
    seed: int

    def count(self, name: str) -> int:
        layer = self.spec[name]
        length = None if layer.type == "text" else self.spec.length_of(layer)
        return length if isinstance(length, int) else self.counts[length]


def make(drawn: Drawn, training: bool = False) -> Net:
    """Return the net in float64 with random weights, in evaluation mode unless it is said otherwise."""
    torch.manual_seed(drawn.seed)
    return Net(drawn.spec, cells=CELLS).double().train(training)


def inputs_of(drawn: Drawn, net: Net) -> dict[str, Tensor]:
    """Return random inputs [n, B, ...]: floats that take a gradient, ids with some that are none."""
    source = torch.Generator().manual_seed(drawn.seed + 1)
    found = {}
    for name in net.input_names:
        size = (drawn.count(name), drawn.lanes)
        shape, layer = net.wiring.shapes[name], net.wiring.layers[name]
        ids = shape.ids or (layer.settings["size"] if layer.type in ("one-hot", "embedding") else 0)
        if ids:
            x = torch.randint(ids, size, generator=source)
            found[name] = torch.where(torch.rand(size, generator=source) < 0.2, -1, x)
        else:
            x = torch.randn(*size, *shape.features, generator=source, dtype=torch.float64)
            found[name] = x.requires_grad_()
    return found


@st.composite
def nets(
    draw: Callable[..., Any],
    kind: str = "any",
    *,
    last: bool = True,
    shared: bool = False,
    dropout: bool = False,
    named_only: bool = False,
) -> Drawn:
    """Draw a net.

    ``kind`` is ``streaming`` (goes on window by window), ``whole`` (some layer reads the future),
    ``decoder`` (whole, with a part that streams after ``start``) or any of them. Without ``last`` no layer
    reads the last copy of another; ``shared`` forces a shared parameter, ``dropout`` a layer of that type,
    ``named_only`` leaves out lengths that are numbers.
    """
    growth = _Growth(draw, last)
    kind = growth.pick(("streaming", "whole", "decoder")) if kind == "any" else kind
    if kind == "streaming":
        before = growth.vectors() if growth.chance(4) else []
        growth.stage(None, before, cycles=True)
    else:
        lengths = ["source", 3] if kind == "decoder" else ["source", None, 3, "source"]
        length = growth.pick([n for n in lengths if not (named_only and n == 3)])
        encoder = growth.stage(length, [], cycles=growth.chance(5), backward=True)
        before = encoder + growth.reductions(encoder, certain=kind == "whole" and length is None)
        if kind == "decoder" or growth.chance(6):
            cycles = kind == "decoder" or growth.chance(5)
            growth.stage(None, before, cycles=cycles, backward=kind == "whole", reader=True)
    if dropout:
        growth.drop()
    growth.losses(certain=kind != "whole")
    if shared or growth.chance(4):
        growth.share()
    layers = tuple(growth.layers.values())
    if any("loss" in layer.type for layer in layers) and growth.chance(3):
        layers = layers[::-1]
    spec = Spec(layers)
    counts = {length: growth.number(1, 9) for length in (None, "source")}
    return Drawn(spec, counts, growth.number(1, 4), growth.number(0, 10_000))


class _Growth:
    """A spec that grows layer by layer."""

    def __init__(self, draw: Callable[..., Any], last: bool) -> None:
        self.draw, self.may_last = draw, last
        self.layers: dict[str, Layer] = {}
        self.widths: dict[str, int] = {}
        """Layers that give numbers of one axis, and how many."""
        self.ids: dict[str, int] = {}
        """Layers that give ids, and of how many."""
        self.here: list[str] = []
        """The layers of the stage that grows, which may be read with any shift."""
        self.before: list[str] = []
        """Layers of earlier stages."""
        self.length: int | str | None = None

    def pick(self, choices: Sequence[Any]) -> Any:
        return self.draw(st.sampled_from(choices))

    def chance(self, tenths: int) -> bool:
        return bool(self.draw(st.integers(0, 9)) >= 10 - tenths)

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    # --- stages ------------------------------------------------------------------------------------

    def vectors(self) -> list[str]:
        """Grow layers of one copy."""
        self.begin(1, [])
        self.add("floats", size=self.pick(WIDTHS))
        for _ in range(self.number(0, 2)):
            self.pick((self.linear, self.constant))()
        return self.here

    def stage(
        self,
        length: int | str | None,
        before: list[str],
        *,
        cycles: bool,
        backward: bool = False,
        reader: bool = False,
    ) -> list[str]:
        """Grow layers of one length: inputs, layers over them, and edges back in time that close cycles."""
        self.begin(length, before)
        for _ in range(self.number(1, 2)):
            self.input(certain=not self.widths_here())
        kinds = [self.recurrent, self.linear, self.recurrent, self.pointwise, self.eltwise, self.concat]
        kinds += [self.slice, self.lookup, self.reshape, self.constant, self.argmax, self.gather]
        for _ in range(self.number(1, 5)):
            self.pick(kinds)()
        if backward:
            self.recurrent()
        if reader:
            self.reader()
        if backward and not cycles:
            self.recurrent(direction="backward")
            self.add("linear", Edge(self.here[-1], shift=self.number(0, 2)), size=self.pick(WIDTHS))
        if cycles:
            for _ in range(self.number(0, 2)):
                self.pick((self.feed_back, self.read_itself, self.feed_ids_back, self.cross))()
        return self.here

    def begin(self, length: int | str | None, before: list[str]) -> None:
        self.length, self.here, self.before = length, [], list(before)

    def reductions(self, encoder: list[str], certain: bool) -> list[str]:
        """Grow layers of one copy that bring an encoder down to one vector."""
        readable = [name for name in encoder if name in self.widths]
        length = self.length
        self.begin(1, encoder)
        for _ in range(self.number(1 if certain else 0, 2)):
            name = self.pick(readable)
            self.add(self.pick(REDUCTIONS), Edge(name, "all"), wide=self.widths[name])
        if self.here and self.chance(3):
            self.linear()
        if not self.here and self.may_last and self.chance(3):
            name = self.pick(readable)
            self.add("linear", Edge(name, "last"), size=self.pick(WIDTHS))
        if self.here:
            return self.here
        self.length, self.here, self.before = length, encoder, []
        return []

    # --- layers ------------------------------------------------------------------------------------

    def add(self, type_: str, *sources: Edge, wide: int = 0, ids: int = 0, **settings: Any) -> str:
        name = f"{type_}{len(self.layers)}"
        unroll = None if type_ == "text" else self.length
        self.layers[name] = Layer(name, type_, sources, settings, unroll=unroll)
        width = settings.get("width", 0) if type_ == "embedding" else settings.get("size", 0)
        if wide or type_ in ("floats", "constant", "linear", "one-hot", "embedding"):
            self.widths[name] = wide or width
        if ids:
            self.ids[name] = ids
        if type_ != "text":
            self.here.append(name)
        return name

    def widths_here(self) -> list[str]:
        return [name for name in self.here if name in self.widths]

    def input(self, certain: bool) -> None:
        kinds = ["floats", "ids", "one-hot", "embedding", *(["text"] if self.length is None else [])]
        kind = self.pick(kinds)
        size, width = self.pick(SIZES), self.pick(WIDTHS)
        if kind == "floats":
            self.add("floats", size=width)
        elif kind == "one-hot":
            self.add("one-hot", size=size)
        elif kind == "embedding":
            self.add("embedding", width=width, size=size)
        elif kind == "ids":
            self.ids_reader(Edge(self.add("ids", ids=size, size=size)), size)
        elif "text" not in [layer.type for layer in self.layers.values()]:
            text = self.add("text", size=size)
            self.ids_reader(Edge(text, "all"), size)
        elif certain:
            self.add("floats", size=width)

    def ids_reader(self, edge: Edge, size: int) -> str:
        if self.chance(5):
            return self.add("one-hot", edge, size=size)
        bias = {"bias": True} if self.chance(3) else {}
        return self.add("embedding", edge, width=self.pick(WIDTHS), size=size, **bias)

    def edge(self, width: int = 0, plain: bool = False) -> Edge:
        """Draw an edge to a layer of one axis, of some width, from this stage or an earlier one."""
        near = [n for n in self.widths_here() if width in (0, self.widths[n])]
        far = [n for n in self.before if n in self.widths and width in (0, self.widths[n])]
        vectors = [n for n in far if self.layers[n].unroll == 1]
        if vectors and not plain and self.chance(3):
            return Edge(self.pick(vectors), "all" if not self.may_last or self.chance(7) else "last")
        if far and self.may_last and not plain and (not near or self.chance(3)):
            return Edge(self.pick(far), "last")
        shift = 0 if self.length == 1 or self.chance(6) else self.number(1, 3)
        initial = self.pick((0.3, -2.0)) if shift and self.chance(3) else None
        return Edge(self.pick(near), shift=shift, initial=initial)

    def edges(self, most: int = 2) -> tuple[Edge, ...]:
        return tuple(self.edge() for _ in range(self.number(1, most)))

    def total(self, edges: Sequence[Edge]) -> int:
        return sum(self.widths[edge.source] for edge in edges)

    def recurrent(self, direction: str = "forward") -> None:
        cell, hidden = self.pick((*BUILT_IN, *CELLS)), self.pick(WIDTHS)
        edges = tuple(edge for edge in self.edges() if edge.kind != "last")
        edges = edges or (self.edge(plain=True),)
        first = [n for n in self.before if self.widths.get(n) == hidden]
        if first and self.may_last and self.chance(4):
            edges += (Edge(self.pick(first), "last"),)
        elif self.before and self.may_last and self.chance(6):
            known = [n for n in self.before if n in self.widths]
            name = self.pick([n for n in known if self.layers[n].type == "recurrent"] or known)
            hidden = self.widths[name]
            edges += (Edge(name, "last"),)
            cell = self.layers[name].settings.get("cell", cell) if self.chance(5) else cell
        settings: dict[str, Any] = {"cell": cell, "hidden": hidden}
        if direction != "forward":
            settings["direction"] = direction
        if cell not in ("Leaky", "Primed", "min-gru", "min-lstm") and self.chance(2):
            settings["bias"] = False
        self.add("recurrent", *edges, wide=hidden, **settings)

    def linear(self) -> None:
        extra = {key: value for key, value in (("bias", False), ("transpose", True)) if self.chance(2)}
        if self.length == 1 and not self.widths_here():
            return
        edges = self.edges() if self.length != 1 else (Edge(self.pick(self.widths_here())),)
        self.add("linear", *edges, size=self.pick(WIDTHS), **extra)

    def constant(self) -> None:
        self.add("constant", size=self.pick(WIDTHS), value=self.pick(CONSTANTS))

    def pointwise(self) -> None:
        kind, edge = self.pick(POINTWISE), self.edge()
        settings: dict[str, Any] = {}
        if kind == "activation":
            settings["function"] = self.pick(("tanh", "relu", "sigmoid", "stanh"))
        if kind == "dropout":
            settings["ratio"] = 0.4
        self.add(kind, edge, wide=self.widths[edge.source], **settings)

    def eltwise(self) -> None:
        first = self.edge()
        width = self.widths[first.source]
        near = [name for name in self.widths_here() if self.widths[name] == width]
        others = [self.edge(width) for _ in range(self.pick((1, 2, 0)))] if near else []
        settings: dict[str, Any] = {"operation": self.pick(("sum", "product", "max"))}
        if settings["operation"] == "sum" and self.chance(7):
            settings["coefficients"] = [0.5, -1.25, 2.0][: 1 + len(others)]
        self.add("eltwise", first, *others, wide=width, **settings)

    def concat(self) -> None:
        edges = self.edges(3)
        self.add("concat", *edges, wide=self.total(edges))

    def slice(self) -> None:
        edge = self.edge()
        width = self.widths[edge.source]
        begin = self.number(0, width - 1)
        end = self.number(begin + 1, width)
        self.add("slice", edge, wide=end - begin, begin=begin, end=end)

    def reshape(self) -> None:
        """Add an axis, and read it with what takes several."""
        edge = self.edge()
        width = self.widths[edge.source]
        folded = self.add("reshape", edge, shape=self.pick(([1, width], [width, 1])))
        kind = self.pick(("linear", "recurrent", "reshape"))
        read = Edge(folded, shift=0 if self.chance(5) else self.number(1, 3))
        if kind == "linear":
            self.add("linear", read, size=self.pick(WIDTHS))
        elif kind == "reshape":
            self.add("reshape", read, wide=width, shape=width)
        else:
            hidden = self.pick(WIDTHS)
            self.add("recurrent", read, wide=hidden, cell=self.pick(BUILT_IN), hidden=hidden)

    def lookup(self) -> None:
        """Look ids up once more, perhaps later."""
        known = [name for name in self.here if name in self.ids]
        if not known:
            return self.argmax()
        name = self.pick(known)
        self.ids_reader(self.ids_edge(name), self.ids[name])
        return None

    def ids_edge(self, name: str) -> Edge:
        shift = self.number(0, 3)
        initial = self.number(0, self.ids[name] - 1) if shift and self.chance(4) else None
        return Edge(name, shift=shift, initial=initial)

    def argmax(self) -> None:
        edge = self.edge(plain=True)
        size = self.widths[edge.source]
        self.ids_reader(self.ids_edge(self.add("argmax", edge, ids=size)), size)

    def gather(self) -> None:
        """Let a gated cell read ids that nothing else reads as rows."""
        size, hidden = self.pick(SIZES), self.pick(WIDTHS)
        ids = self.pick([name for name in self.here if self.ids.get(name) == size] or [""])
        ids = ids or self.add("ids", ids=size, size=size)
        rows = self.add("one-hot", Edge(ids, shift=self.number(0, 3)), size=size)
        del self.widths[rows]
        cell, read = self.pick((*BUILT_IN, "Mixing")), Edge(rows, shift=self.pick((0, 0, 2)))
        self.add("recurrent", read, wide=hidden, cell=cell, hidden=hidden)

    def reader(self) -> None:
        """Add a layer that reads an encoder: with attention, or from its last copy."""
        longer = [n for n in self.before if n in self.widths and self.layers[n].unroll != 1]
        if self.chance(6) or not self.may_last:
            memory = self.pick(longer)
            edges = (self.edge(plain=True), Edge(memory, "all"))
            self.add("attention", *edges, wide=self.widths[memory])
            self.linear()
        if self.may_last and self.chance(6):
            self.hand_on()

    def hand_on(self) -> None:
        """Add a cell that starts from the last state of another, of the same kind or not."""
        cells = [name for name in self.before if self.layers[name].type == "recurrent"]
        if not cells:
            return self.recurrent()
        name = self.pick(cells)
        own, hidden = self.layers[name].settings["cell"], self.widths[name]
        edges = (self.edge(plain=True), Edge(name, "last"))
        cell = self.pick((own, "lstm", "Primed", "gru"))
        self.add("recurrent", *edges, wide=hidden, cell=cell, hidden=hidden)
        return None

    # --- cycles ------------------------------------------------------------------------------------

    def joining(self) -> list[str]:
        """Return this stage's layers that lay several sources side by side, so that one more fits."""
        axes = [n for n in self.here if self.layers[n].type in ("recurrent", "linear")]
        return [n for n in axes if all(edge.source in self.widths for edge in self.layers[n].sources)]

    def also(self, name: str, edge: Edge) -> None:
        layer = self.layers[name]
        self.layers[name] = replace(layer, sources=(*layer.sources, edge))

    def back(self, source: str) -> Edge:
        return Edge(source, shift=self.number(1, 3), initial=self.pick((None, None, 0.3)))

    def feed_back(self) -> None:
        if readers := self.joining():
            reader = self.pick(readers)
            later = self.here[self.here.index(reader) :]
            self.also(reader, self.back(self.pick([n for n in later if n in self.widths])))

    def read_itself(self) -> None:
        if readers := self.joining():
            name = self.pick(readers)
            self.also(name, Edge(name, shift=2))

    def cross(self) -> None:
        """Let two layers read each other."""
        readers = self.joining()
        if len(readers) > 1:
            self.also(readers[-1], Edge(readers[0], shift=self.number(0, 1)))
            self.also(readers[0], self.back(readers[-1]))

    def feed_ids_back(self) -> None:
        """Let a layer read which of its numbers was greatest a step before."""
        hidden, size = self.pick(WIDTHS), self.pick(SIZES)
        start = len(self.layers)
        reader, out, said = f"recurrent{start + 1}", f"linear{start + 2}", f"argmax{start + 3}"
        edge = Edge(said, shift=self.number(1, 2), initial=self.pick((None, 1)))
        echo = self.ids_reader(edge, size)
        if self.chance(5):
            edges: tuple[Edge, ...] = (Edge(echo, shift=self.number(0, 1)),)
            del self.widths[echo]
        else:
            edges = (Edge(echo), self.edge(plain=True))
        self.add("recurrent", *edges, wide=hidden, cell=self.pick(("gru", "rnn", "Leaky")), hidden=hidden)
        self.add("linear", Edge(reader), size=size)
        self.add("argmax", Edge(out), ids=size)

    # --- ends --------------------------------------------------------------------------------------

    def drop(self) -> None:
        edge = self.edge(plain=True)
        dropped = self.add("dropout", edge, wide=self.widths[edge.source], ratio=0.4)
        self.add("recurrent", Edge(dropped), wide=2, cell=self.pick(("gru", "Leaky")), hidden=2)

    def losses(self, certain: bool) -> None:
        for _ in range(self.number(1 if certain else 0, 2)):
            if self.chance(5):
                output = self.pick(self.widths_here())
                target = self.add("floats", size=self.widths[output])
                self.add("euclidean-loss", Edge(output), Edge(target), **self.scale())
            else:
                self.softmax_loss()

    def softmax_loss(self) -> None:
        text = next((layer for layer in self.layers.values() if layer.type == "text"), None)
        if text is not None and self.length is None and self.chance(7):
            size = text.settings["size"]
            target = self.add("label", Edge(text.name, "all"))
        else:
            size = self.pick(SIZES)
            target = self.add("ids", size=size)
        logits = self.add("linear", Edge(self.pick(self.widths_here())), size=size)
        self.add("softmax-loss", Edge(logits), Edge(target), **self.scale())
        if self.chance(3):
            self.add("accuracy", Edge(logits), Edge(target))

    def scale(self) -> dict[str, float]:
        return {"scale": 0.5} if self.chance(2) else {}

    def share(self) -> None:
        """Add a layer that is another once more, with its parameters, or a matrix that is a table."""
        own = [n for n in self.here if self.layers[n].type in ("linear", "recurrent", "embedding")]
        own = own or [n for n, layer in self.layers.items() if layer.type in ("linear", "recurrent")]
        if not own:
            return
        self.length = self.layers[own[0]].unroll
        name = self.pick(own)
        layer = self.layers[name]
        if layer.type == "embedding" and self.chance(5) and not layer.settings.get("bias"):
            return self.tie(layer)
        again = f"{layer.type}{len(self.layers)}"
        changed = layer.sources
        if changed and changed[0].kind == "same" and self.length != 1 and self.chance(5):
            changed = (replace(changed[0], shift=1), *changed[1:])
        roles = [param.role for param in params_of(layer, CELLS)]
        if not roles:
            return None
        by_name = self.chance(5)
        mine = [Param(role, f"w.{role}" if by_name else f"{name}.{role}") for role in roles]
        theirs = mine if by_name else [Param(role, "", share_from=f"{name}.{role}") for role in roles]
        self.layers[name] = replace(layer, params=tuple(mine))
        self.layers[again] = replace(layer, name=again, sources=changed, params=tuple(theirs))
        return None

    def tie(self, table: Layer) -> None:
        """Let logits be the products with an embedding's rows."""
        V = table.settings["size"]
        share = Param("x_to_y", share_from=f"{table.name}.id_to_x")
        name = self.add("linear", Edge(table.name), size=V, transpose=True)
        self.layers[name] = replace(self.layers[name], params=(share,))


# --- what is in a net --------------------------------------------------------------------------------


def features(drawn: Drawn) -> set[str]:
    """Return what a net has, in words."""
    net = make(drawn)
    wiring = net.wiring
    found = {f"lanes {drawn.lanes}", "whole" if net.is_whole else "streaming"}
    found |= {f"{n} steps" for n in drawn.counts.values()}
    for component in wiring.components:
        if component.scan:
            found.add("several layers in a cycle" if len(component.layers) > 1 else "a layer reads itself")
    for layer in drawn.spec:
        found |= {f"type {layer.type}", f"length {drawn.spec.length_of(layer)}"}
        found |= {f"{key} {value}" for key, value in layer.settings.items() if key in NAMED}
        found |= {"coefficients"} if "coefficients" in layer.settings else set()
        found |= {"no bias"} if layer.settings.get("bias") is False else set()
        found |= {word for edge in layer.sources for word in _of_edge(net, drawn, layer, edge)}
        if layer.type == "one-hot":
            found.add("gathered one-hot" if layer.name in wiring.gathered else "dense one-hot")
        if layer.type in ("one-hot", "embedding") and not layer.sources:
            found.add(f"{layer.type} from outside")
    shared = {param.name for layer in drawn.spec for param in layer.params if param.share_from}
    names = [param.name for layer in drawn.spec for param in layer.params]
    found |= {"share_from"} if shared else set()
    found |= {"shared by name"} if len(names) > len(set(names)) else set()
    return found


NAMED = ("cell", "operation", "direction", "transpose", "function")


def _of_edge(net: Net, drawn: Drawn, layer: Layer, edge: Edge) -> set[str]:
    source = drawn.spec[edge.source]
    ids = " of ids" if net.wiring.shapes[source.name].ids else ""
    found = {f"{edge.kind} {edge.shift}{ids}"}
    if edge.initial is not None:
        found.add(f"initial{ids}")
    if edge.shift > drawn.count(layer.name):
        found.add("shift longer than the window")
    if edge.kind == "last":
        goes = "into a cell" if layer.type == "recurrent" else "into another"
        comes = "from a cell" if source.type == "recurrent" else "from another"
        found |= {f"last {goes} {comes}"}
        if layer.settings.get("direction") == "backward":
            found.add("last into backward")
        if layer.type == source.type == "recurrent":
            same = net.cells[layer.name].State is net.cells[source.name].State
            parts = " of several parts" if net.cells[layer.name].State is not None else ""
            found.add(f"last of {'the same' if same else 'another'} state{parts}")
    if source.settings.get("direction") == "backward":
        found.add(f"{edge.kind} of backward")
    if layer.name in net.wiring.gathered and edge.shift:
        found.add("gathered ids in a delay line")
    if ids and source.type == "argmax" and edge.shift:
        found.add("said ids read later")
    return found
