"""A graph computed by torch: the reference for the code that is generated from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from unrolled.engines.native.expression import Node, in_order

_TORCH: dict[str, Callable[..., Tensor]] = {
    "sub": torch.sub,
    "clamp_min": torch.maximum,
    "clamp_max": torch.minimum,
    "softplus": functional.softplus,
}


def evaluate(roots: Sequence[Node], inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the value of each of ``roots``, given the inputs by name, all of one dtype."""
    dtype = next(iter(inputs.values())).dtype
    values: dict[Node, Tensor] = {}
    for node in in_order(roots):
        if node.op == "input":
            values[node] = inputs[node.name]
        elif node.op == "const":
            values[node] = torch.tensor(node.value, dtype=dtype)
        else:
            function = _TORCH.get(node.op) or getattr(torch, node.op)
            values[node] = function(*(values[arg] for arg in node.args))
    return [values[root] for root in roots]
