"""The plain net: input, recurrent layers one on the other, linear output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unrolled.net.spec import Edge, Layer, Spec


@dataclass(frozen=True)
class Chain:
    """The sizes of a chain: input, recurrent layers one on the other, linear output."""

    outputs: int
    """Width of the output: how many ids there are, V, or the numbers of a float target."""
    inputs: int = 0
    """Numbers of a float input, D; 0 reads ids, as many as there are outputs."""
    cell: str = "lstm"
    """A built-in cell, or PATH.py:NAME."""
    layers: int = 2
    """How many recurrent layers, L."""
    hidden: int = 128
    """Units of each recurrent layer, H."""
    dropout: float = 0.0
    """Share of outputs that are zeroed after each recurrent layer while training."""
    embedding: int = 0
    """Width of a learned embedding of the ids; 0 reads them one-hot."""
    embedding_dropout: float = 0.0
    """Share of the embedding's numbers that is zeroed while training."""


def chain(sizes: Chain) -> Spec:
    """List the layers of a chain: ``text -> onehot -> lstm1 -> ... -> logits -> loss <- label <- text``.

    A net of float inputs ends in ``output``; its loss is chosen where it is trained.
    """
    built: list[Layer] = []

    def add(name: str, kind: str, *sources: Edge, **settings: Any) -> None:
        before = (Edge(built[-1].name),) if built else ()
        built.append(Layer(name, kind, sources or before, settings))

    if sizes.inputs:
        add("input", "floats", size=sizes.inputs)
    else:
        add("text", "text", size=sizes.outputs)
        whole = Edge("text", "all")
        if sizes.embedding:
            add("embedding", "embedding", whole, size=sizes.outputs, width=sizes.embedding)
            if sizes.embedding_dropout:
                add("dropout0", "dropout", ratio=sizes.embedding_dropout)
        else:
            add("onehot", "one-hot", whole, size=sizes.outputs)
    label = sizes.cell.rpartition(":")[2].lower().replace("-", "_")
    for number in range(1, sizes.layers + 1):
        add(f"{label}{number}", "recurrent", cell=sizes.cell, hidden=sizes.hidden)
        if sizes.dropout:
            add(f"dropout{number}", "dropout", ratio=sizes.dropout)
    add("output" if sizes.inputs else "logits", "linear", size=sizes.outputs)
    if not sizes.inputs:
        add("label", "label", whole)
        add("loss", "softmax-loss", Edge("logits"), Edge("label"))
    return Spec(tuple(built))
