"""The layers between input and loss: the same function at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from unrolled.engines.base import look_up
from unrolled.engines.native import layers as compiled
from unrolled.net.layers.base import (
    AXIS,
    COUNT,
    SHAPE,
    SHARE,
    SIZE,
    LayerModule,
    Memory,
    Misfit,
    Setting,
    Shape,
    flag,
    floats,
    is_number,
    usually,
    word,
)


class OneHot(LayerModule):
    """Show ids [n, B] one-hot, [n, B, V]; the row of id -1 is zero. The size is the source's."""

    settings: ClassVar[Mapping[str, Setting]] = {"size": usually(SIZE, None)}
    sources = (0, 1)

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        self.size = self.shape.width
        self.register_buffer("_like", torch.empty(0), persistent=False)

    _like: Tensor

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return [V]."""
        return Shape((_num_ids(inputs, settings["size"]),))

    def forward(self, ids: Tensor) -> Tensor:
        """Return rows [n, B, V]."""
        rows = torch.zeros(*ids.shape, self.size, dtype=self._like.dtype, device=ids.device)
        return rows.scatter_(-1, ids.clamp(min=0)[..., None], (ids >= 0).to(rows.dtype)[..., None])


class Embedding(LayerModule):
    """Look ids [n, B] up in a learned table: [n, B, E]; id -1 gives zeros. The size is the source's."""

    settings: ClassVar[Mapping[str, Setting]] = {
        "size": usually(SIZE, None),
        "width": COUNT,
        "bias": flag(False),
    }
    sources = (0, 1)

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        self.size = _num_ids(inputs, settings["size"])
        self.id_to_x = nn.Parameter(torch.empty(self.size, settings["width"]))
        nn.init.normal_(self.id_to_x)
        self.bias = nn.Parameter(torch.zeros(settings["width"])) if settings["bias"] else None

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return [E]."""
        _num_ids(inputs, settings["size"])
        return Shape((settings["width"],))

    @classmethod
    def roles(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Return ``id_to_x`` and, where there is one, ``bias``."""
        return ("id_to_x", "bias") if settings["bias"] else ("id_to_x",)

    def forward(self, ids: Tensor) -> Tensor:
        """Return rows [n, B, E] of the table."""
        rows = look_up(self.id_to_x, ids)
        return rows if self.bias is None else rows + self.bias


class Linear(LayerModule):
    """Multiply by a matrix [D, K] and add a bias: [n, B, ...] of D numbers -> [n, B, K]; also [B, ...].

    ``transpose`` keeps the matrix as [K, D], for sharing.
    """

    settings: ClassVar[Mapping[str, Setting]] = {
        "size": SIZE,
        "bias": flag(True),
        "transpose": flag(False),
    }
    sources = (1, None)
    joins = True

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        D, K = inputs[0].width, settings["size"]
        self.axes = len(inputs[0].features)
        bound = D**-0.5
        self.transpose = settings["transpose"]
        shape = (K, D) if self.transpose else (D, K)
        self.x_to_y = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(K).uniform_(-bound, bound)) if settings["bias"] else None

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return [K]."""
        floats(inputs)
        return Shape((settings["size"],))

    @classmethod
    def roles(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Return ``x_to_y`` and, where there is one, ``bias``."""
        return ("x_to_y", "bias") if settings["bias"] else ("x_to_y",)

    def forward(self, x: Tensor, fast: bool = False, bf16: bool = False) -> Tensor:
        """Return x @ W + b; ``fast`` lets compiled code do it where there is some, with ``bf16`` factors."""
        W = self.x_to_y.t() if self.transpose else self.x_to_y
        lead = x.shape[: x.dim() - self.axes]
        flat = x.reshape(-1, W.shape[0])
        if fast and compiled.serves(flat, W, self.bias, bf16=bf16):
            y = compiled.linear(flat, W, self.bias, bf16)
        else:
            y = flat @ W if self.bias is None else torch.addmm(self.bias, flat, W)
        return y.view(*lead, W.shape[1])


class Dropout(LayerModule):
    """Zero a share of the numbers while training, and scale the rest up; the net draws the masks."""

    settings: ClassVar[Mapping[str, Setting]] = {"ratio": usually(SHARE, 0.5)}

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        self.ratio = float(settings["ratio"])

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return the source's shape."""
        return floats(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return x."""
        return x


class Copy(LayerModule):
    """Hand its source on."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x."""
        return x


class Activation(LayerModule):
    """Apply a function to every number; ``stanh`` is 1.7159 tanh(2x/3) (LeCun et al. 1998)."""

    settings: ClassVar[Mapping[str, Setting]] = {"function": word("relu", "sigmoid", "tanh", "stanh")}

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        self.function = settings["function"]

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return the source's shape."""
        return floats(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return f(x)."""
        if self.function == "stanh":
            return 1.7159047 * torch.tanh(x * 0.66666667)
        y: Tensor = getattr(torch, self.function)(x)
        return y


class Softmax(LayerModule):
    """Turn logits into probabilities along a feature axis."""

    settings: ClassVar[Mapping[str, Setting]] = {"axis": AXIS}

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        self.axis = _feature_axis(settings["axis"], self.shape)

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return the source's shape."""
        return floats(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return exp(x) / sum(exp(x))."""
        return x.softmax(self.axis)


class Concat(LayerModule):
    """Lay sources side by side along a feature axis."""

    settings: ClassVar[Mapping[str, Setting]] = {"axis": AXIS}
    sources = (1, None)

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        self.axis = _feature_axis(settings["axis"], self.shape)

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return the shape with the sizes along the axis added up."""
        first = floats(inputs).features
        axis = _feature_axis(settings["axis"], inputs[0]) - 2
        total = 0
        for source in range(len(inputs)):
            features = floats(inputs, source).features
            if len(features) != len(first) or _without(axis, features) != _without(axis, first):
                raise Misfit(source, f"{list(first)} but for axis {axis}")
            total += features[axis]
        return Shape((*first[:axis], total, *first[axis + 1 :]))

    def forward(self, *xs: Tensor) -> Tensor:
        """Return the sources side by side."""
        return torch.cat(xs, self.axis)


class Slice(LayerModule):
    """Take the part from ``begin`` up to ``end`` along a feature axis."""

    settings: ClassVar[Mapping[str, Setting]] = {
        "axis": AXIS,
        "begin": usually(Setting("0 or more", lambda v: isinstance(v, int) and v >= 0), 0),
        "end": COUNT,
    }

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        self.axis = _feature_axis(settings["axis"], inputs[0])
        self.begin, self.size = settings["begin"], settings["end"] - settings["begin"]

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return the source's shape with the part's size along the axis."""
        features = floats(inputs).features
        axis = _feature_axis(settings["axis"], inputs[0]) - 2
        if not settings["begin"] < settings["end"] <= features[axis]:
            raise Misfit(0, f"at least {settings['end']} along axis {axis}, sliced from {settings['begin']}")
        size = settings["end"] - settings["begin"]
        return Shape((*features[:axis], size, *features[axis + 1 :]))

    def forward(self, x: Tensor) -> Tensor:
        """Return the part."""
        return x.narrow(self.axis, self.begin, self.size)


class Reshape(LayerModule):
    """Give the same numbers other axes."""

    settings: ClassVar[Mapping[str, Setting]] = {"shape": SHAPE}

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return the new axes."""
        shape = settings["shape"]
        wanted = Shape((shape,) if isinstance(shape, int) else tuple(shape))
        if floats(inputs).width != wanted.width:
            raise Misfit(0, f"{wanted.width} numbers, to become {wanted}")
        return wanted

    def forward(self, x: Tensor) -> Tensor:
        """Return x with the new axes."""
        return x.reshape(x.shape[0], x.shape[1], *self.shape.features)


class Eltwise(LayerModule):
    """Join sources of one shape number by number: their sum (with coefficients), product or maximum."""

    settings: ClassVar[Mapping[str, Setting]] = {
        "operation": word("sum", "product", "max", default="sum"),
        "coefficients": Setting(
            "a list of numbers", lambda v: isinstance(v, list | tuple) and all(map(is_number, v)), ()
        ),
    }
    sources = (1, None)

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        self.operation = settings["operation"]
        self.coefficients = tuple(settings["coefficients"])

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return the sources' shape."""
        for source, shape in enumerate(inputs):
            if floats(inputs, source) != inputs[0]:
                raise Misfit(source, f"{inputs[0]}, as from its first source, not {shape}")
        coefficients = settings["coefficients"]
        if coefficients and (len(coefficients) != len(inputs) or settings["operation"] != "sum"):
            raise Misfit(0, f"a sum of {len(coefficients)} sources, one a coefficient")
        return inputs[0]

    def forward(self, *xs: Tensor) -> Tensor:
        """Return the sources joined."""
        if self.coefficients:
            xs = tuple(c * x for c, x in zip(self.coefficients, xs, strict=True))
        joined = xs[0]
        for x in xs[1:]:
            if self.operation == "sum":
                joined = joined + x
            else:
                joined = joined * x if self.operation == "product" else torch.maximum(joined, x)
        return joined


class Reduce(LayerModule):
    """Bring all copies of a source down to one vector: ``mean``, ``sum`` or ``max`` over the real ones."""

    remembers = (0,)
    how: ClassVar[str] = "mean"

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return the source's shape."""
        return floats(inputs)

    def forward(self, memory: Memory) -> Tensor:
        """Return [1, B, ...]; zeros for a lane without a real copy."""
        values, mask = memory
        if mask is None:
            mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        real = mask.reshape(*mask.shape, *(1,) * (values.dim() - 2))
        if self.how == "max":
            if not len(values):
                return values.new_zeros(1, *values.shape[1:])
            top = torch.where(real, values, -torch.inf).amax(0, keepdim=True)
            return torch.where(real.any(0, keepdim=True), top, 0.0)
        total = torch.where(real, values, 0.0).sum(0, keepdim=True)
        return total if self.how == "sum" else total / real.sum(0, keepdim=True).clamp(min=1)


class Mean(Reduce):
    """The mean over all real copies of a source."""

    how = "mean"


class Sum(Reduce):
    """The sum over all real copies of a source."""

    how = "sum"


class Max(Reduce):
    """The greatest number over all real copies of a source."""

    how = "max"


class Attention(LayerModule):
    """Read a source's copies weighted by how well each fits a query (Luong et al. 2015, "general").

    Sources: the query, [n, B, Q], and the memory, all copies of a layer, [S, B, M]. Returns [n, B, M]:
    ``softmax(query @ W @ memory) @ memory`` over the real copies; zeros for a lane that has none.
    """

    sources = (2, 2)
    remembers = (1,)

    def __init__(self, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> None:
        super().__init__(settings, inputs)
        Q, M = inputs[0].width, inputs[1].width
        self.query_to_memory = nn.Parameter(torch.empty(Q, M).uniform_(-(Q**-0.5), Q**-0.5))

    @classmethod
    def shape_of(cls, settings: Mapping[str, Any], inputs: Sequence[Shape]) -> Shape:
        """Return the memory's shape."""
        for source in (0, 1):
            if len(floats(inputs, source).features) != 1:
                raise Misfit(source, "numbers of one axis")
        return inputs[1]

    @classmethod
    def roles(cls, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Return ``query_to_memory``."""
        return ("query_to_memory",)

    def forward(self, query: Tensor, memory: Memory) -> Tensor:
        """Return what each query reads, [n, B, M]."""
        values, mask = memory
        fits = torch.einsum("nbq,qm,sbm->nbs", query, self.query_to_memory, values)
        if mask is None:
            return torch.einsum("nbs,sbm->nbm", fits.softmax(-1), values)
        real = mask.t()[None]
        some = real.any(-1, keepdim=True)
        weights = torch.where(real | ~some, fits, -torch.inf).softmax(-1)
        return torch.einsum("nbs,sbm->nbm", torch.where(real, weights, 0.0), values)


def _num_ids(inputs: Sequence[Shape], size: int | None) -> int:
    """Return how many ids a table is for; Misfit where the source has another number of them."""
    if inputs and not (inputs[0].ids == size or (size is None and inputs[0].ids)):
        raise Misfit(0, "ids" if size is None else f"one of {size} ids")
    if not inputs and size is None:
        raise Misfit(0, "a size, for it has no source")
    return size if size is not None else inputs[0].ids


def _feature_axis(axis: int, shape: Shape) -> int:
    """Return a feature axis as an axis of [n, B, ...]; Misfit where the shape has none such."""
    axes = len(shape.features)
    if not -axes <= axis < axes:
        raise Misfit(0, f"numbers with an axis {axis}")
    return axis % axes + 2


def _without(axis: int, features: tuple[int, ...]) -> tuple[int, ...]:
    return features[:axis] + features[axis + 1 :]
