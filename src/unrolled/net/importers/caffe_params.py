"""A Caffe layer's parameters: their names, rates and fillers."""

from __future__ import annotations

from math import sqrt
from typing import Any, NamedTuple

from unrolled.net.importers.caffe_blobs import Phase, shown
from unrolled.net.importers.schema import Record
from unrolled.net.spec import Param


class Weight(NamedTuple):
    """One of a layer's parameters: our role for it, its shape in Caffe, and how it is filled."""

    role: str
    dims: tuple[Any, ...]
    filler: Record
    alike: bool = False
    """Whether it lies as in Caffe; other matrices lie the other way round."""


def params(p: Phase, r: Record, weights: list[Weight]) -> tuple[Param, ...]:
    """Return a layer's parameters; equal names that are not empty share one."""
    given = r["param"]
    if len(given) > len(weights):
        raise r.error(
            f"layer '{r['name']}' has {len(weights)} parameters, came settings for {len(given)}",
            "param",
            len(weights),
        )
    return tuple(
        _param(p, r, weight, given[index] if index < len(given) else None)
        for index, weight in enumerate(weights)
    )


def _param(p: Phase, r: Record, weight: Weight, given: Record | None) -> Param:
    init = _init(weight)
    if given is None:
        return Param(weight.role, init=init)
    if not given["name"]:
        return Param(weight.role, init=init, lr=given["lr_mult"], decay=given["decay_mult"])
    first = given["name"] not in p.shared
    _share(p, r, weight, given)
    # Only the layer that has it first fills a shared parameter.
    return Param(weight.role, given["name"], init=init if first else None)


def _share(p: Phase, r: Record, weight: Weight, given: Record) -> None:
    """Note a named parameter; UsageError where it can't be the one that had the name before."""
    name = given["name"]
    dims, owner = p.shared.setdefault(name, (weight.dims, r["name"]))
    if dims != weight.dims:
        raise given.error(
            f"parameter '{name}' is {_words(weight.dims)} in layer '{r['name']}' and {_words(dims)} in "
            f"'{owner}'; one name shares one parameter, so give another",
            "name",
        )
    rates = p.rates.setdefault(name, {})
    for field, ours in (("lr_mult", "lr"), ("decay_mult", "decay")):
        if field in given and rates.setdefault(ours, given[field]) != given[field]:
            raise given.error(
                f"parameter '{name}' is shared; {field} is {given[field]:g} here, before {rates[ours]:g}",
                field,
            )


def _words(dims: tuple[Any, ...]) -> str:
    axes = shown(tuple(part for part in dims if isinstance(part, int)))
    return axes + "".join(f" of {part}" for part in dims if isinstance(part, str))


def _init(weight: Weight) -> dict[str, Any]:
    """Return a filler as ours, whose fans are told by our axes: inputs, then outputs."""
    filler = weight.filler
    kind = filler["type"]
    if filler["sparse"] != -1:
        raise filler.error("sparse fillers have no counterpart; leave sparse out", "sparse")
    match kind:
        case "constant":
            return {"type": kind, "value": filler["value"]}
        case "uniform":
            if filler["min"] > filler["max"]:
                raise filler.error(f"min {filler['min']:g} is more than max {filler['max']:g}", "min")
            return {"type": kind, "low": filler["min"], "high": filler["max"]}
        case "gaussian":
            return {"type": kind, "mean": filler["mean"], "std": filler["std"]}
    variance = filler["variance_norm"].removeprefix("FAN_").lower()
    if sum(isinstance(part, int) for part in weight.dims) == 1:
        return _bias_init(kind, variance, weight.dims[0])
    other = {"in": "out", "out": "in"}
    return {"type": kind, "variance": other.get(variance, variance) if weight.alike else variance}


def _bias_init(kind: str, variance: str, size: int) -> dict[str, Any]:
    """Return a filler that goes by fans, for a bias: Caffe says it has one input, and ``size`` outputs."""
    n = {"in": 1.0, "out": float(size), "average": (1 + size) / 2}[variance]
    if kind == "xavier":
        return {"type": "uniform", "low": -sqrt(3 / n), "high": sqrt(3 / n)}
    return {"type": "gaussian", "mean": 0.0, "std": sqrt(2 / n)}
