"""Caffe's layers between input and loss: what each becomes here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

from unrolled.net.importers.caffe_blobs import Blob, Dims, Phase, check_same, name_of, shown, size
from unrolled.net.importers.caffe_params import Weight, params
from unrolled.net.importers.schema import Record


def inner_product(p: Phase, r: Record) -> None:
    """Multiply all axes from ``axis`` on by a matrix."""
    block, x = r["inner_product_param"], p.numbers(r, 0)
    axis = p.axis(r, "inner_product_param", x)
    if prod(x.dims[x.lead : axis]) != 1:
        raise block.error(
            f"axis {axis} of '{r['bottom'][0]}' {shown(x.dims)} multiplies several rows of "
            f"each lane and step by one matrix, and here that takes all numbers at once; "
            f"wanted axis {x.lead}",
            "axis",
        )
    D, K, turned = prod(x.dims[axis:]), block["num_output"], block["transpose"]
    weights = [Weight("x_to_y", (D, K) if turned else (K, D), block["weight_filler"])]
    if block["bias_term"]:
        weights.append(Weight("bias", (K,), block["bias_filler"]))
    settings = {"size": K} | ({} if block["bias_term"] else {"bias": False})
    settings |= {"transpose": True} if turned else {}
    p.add(r, r["name"], "linear", (x,), settings, params(p, r, weights), x.lead)
    p.put(r, Blob(r["name"], (*x.dims[:axis], K), x.lead, (K,)))


def embed(p: Phase, r: Record) -> None:
    """Look ids up in a table."""
    block = r["embed_param"]
    V, K = block["input_dim"], block["num_output"]
    ids = p.ids(r, 0, V)
    weights = [Weight("id_to_x", (V, K), block["weight_filler"], True)]
    if block["bias_term"]:
        weights.append(Weight("bias", (K,), block["bias_filler"]))
    settings = {"size": V, "width": K} | ({"bias": True} if block["bias_term"] else {})
    p.add(r, r["name"], "embedding", (ids,), settings, params(p, r, weights), ids.lead)
    p.put(r, Blob(r["name"], (*ids.dims, K), ids.lead, (K,)))


def slice_parts(p: Phase, r: Record) -> None:
    """Cut along an axis, one layer of ours for each part."""
    x, block = p.numbers(r, 0), "slice_param"
    axis = p.axis(r, block, x, "slice_dim" if "slice_dim" in r[block] else "axis")
    ends = _ends(r, x.dims[axis])
    (x,), at = p.along(r, [x], axis)
    for index, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
        name = name_of(r, index)
        p.add(r, name, "slice", (x,), {"axis": at, "begin": begin, "end": end}, lead=x.lead)
        dims = (*x.dims[:axis], end - begin, *x.dims[axis + 1 :])
        features = (*x.features[:at], end - begin, *x.features[at + 1 :])
        p.put(r, Blob(name, dims, x.lead, features), index)


def _ends(r: Record, total: int) -> list[int]:
    """Return where each part of a slice ends."""
    tops, points = len(r["top"]), list(r["slice_param"]["slice_point"])
    if not points:
        if total % tops:
            raise r.error(f"{total} along the axis can't be cut into {tops} equal parts", "top")
        return [total // tops * (index + 1) for index in range(tops)]
    if len(points) != tops - 1:
        raise r["slice_param"].error(
            f"wanted {tops - 1} slice_point for {tops} tops, came {len(points)}", "slice_point"
        )
    for index, (before, point) in enumerate(zip([0, *points], [*points, total], strict=True)):
        if point <= before:
            raise r["slice_param"].error(
                f"slice points rise and end before {total}, came {', '.join(map(str, points))}",
                "slice_point",
                min(index, len(points) - 1),
            )
    return [*points, total]


def concat(p: Phase, r: Record) -> None:
    """Lay bottoms side by side."""
    xs, block = p.joined(r, len(r["bottom"])), "concat_param"
    axis = p.axis(r, block, xs[0], "concat_dim" if "concat_dim" in r[block] else "axis")
    for index, x in enumerate(xs):
        check_same(r, index, _without(axis, x.dims), _without(axis, xs[0].dims), x, xs[0])
    xs, at = p.along(r, xs, axis)
    p.add(r, r["name"], "concat", xs, {"axis": at}, lead=xs[0].lead)
    dims, features = list(xs[0].dims), list(xs[0].features)
    dims[axis], features[at] = sum(x.dims[axis] for x in xs), sum(x.features[at] for x in xs)
    p.put(r, Blob(r["name"], tuple(dims), xs[0].lead, tuple(features)))


def _without(axis: int, dims: Dims) -> Dims:
    return dims[:axis] + dims[axis + 1 :]


def eltwise(p: Phase, r: Record) -> None:
    """Join bottoms of one shape, number by number."""
    xs, block = p.joined(r, len(r["bottom"])), r["eltwise_param"]
    for index, x in enumerate(xs):
        check_same(r, index, x.dims, xs[0].dims, x, xs[0])
    if any(x.features != xs[0].features for x in xs):
        xs = [p.shaped(r, x, x.wanted) for x in xs]
    operation = {"SUM": "sum", "PROD": "product", "MAX": "max"}[block["operation"]]
    settings: dict[str, Any] = {"operation": operation}
    coefficients = block["coeff"]
    if coefficients and (operation != "sum" or len(coefficients) != len(xs)):
        raise block.error(
            f"coeff is for a sum, one for each of the {len(xs)} bottoms; came {len(coefficients)} for "
            f"{block['operation']}",
            "coeff",
        )
    if coefficients:
        settings["coefficients"] = list(coefficients)
    p.add(r, r["name"], "eltwise", xs, settings, lead=xs[0].lead)
    p.put(r, replace(xs[0], layer=r["name"], input=None, value=None))


def same_shape(kind: str, **settings: Any) -> Callable[[Phase, Record], None]:
    """Return the reading of a layer that gives numbers in its bottom's shape."""

    def read(p: Phase, r: Record) -> None:
        given = dict(settings)
        if kind == "dropout":
            given["ratio"] = r["dropout_param"]["dropout_ratio"]
        if settings.get("function") == "relu" and r["relu_param"]["negative_slope"]:
            raise r["relu_param"].error("a leaky ReLU has no counterpart; wanted 0", "negative_slope")
        x = p.numbers(r, 0)
        p.add(r, r["name"], kind, (x,), given, lead=x.lead)
        p.put(r, replace(x, layer=r["name"], input=None, value=None))

    return read


def softmax(p: Phase, r: Record) -> None:
    """Turn logits into probabilities."""
    x = p.numbers(r, 0)
    (x,), at = p.along(r, [x], p.axis(r, "softmax_param", x))
    p.add(r, r["name"], "softmax", (x,), {"axis": at}, lead=x.lead)
    p.put(r, replace(x, layer=r["name"], input=None, value=None))


def split(p: Phase, r: Record) -> None:
    """Hand a bottom on under several names."""
    x = p.bottom(r, 0)
    for index in range(len(r["top"])):
        p.add(r, name_of(r, index), "copy", (x,), lead=x.lead)
        p.put(r, replace(x, layer=name_of(r, index)), index)


def reshape(p: Phase, r: Record) -> None:
    """Give the numbers of a lane and step other axes."""
    x, block = p.numbers(r, 0), r["reshape_param"]
    start = block["axis"] if block["axis"] >= 0 else len(x.dims) + 1 + block["axis"]
    end = len(x.dims) if block["num_axes"] == -1 else start + block["num_axes"]
    if not 0 <= start <= end <= len(x.dims):
        raise block.error(f"'{r['bottom'][0]}' {shown(x.dims)} has no axes {start} up to {end}", "axis")
    dims = (*x.dims[:start], *_filled(r, x.dims, start, end), *x.dims[end:])
    if _count(dims) != _count(x.dims):
        raise block.error(f"'{r['bottom'][0]}' {shown(x.dims)} can't become {shown(dims)}", "shape")
    if dims[: x.lead] != x.dims[: x.lead]:
        raise block.error(
            f"'{r['bottom'][0]}' {shown(x.dims)} would become {shown(dims)}, but "
            f"{'the first axis is the lanes and stays' if x.lead == 1 else 'the first two axes stay'}",
            "shape",
        )
    features = dims[x.lead :] or (1,)
    p.add(r, r["name"], "reshape", (x,), {"shape": size(features)}, lead=x.lead)
    p.put(r, Blob(r["name"], dims, x.lead, features))


def _filled(r: Record, before: Dims, start: int, end: int) -> Dims:
    """Return the new axes, with 0 copied from the bottom and -1 worked out."""
    dims: list[int] = []
    for index, dim in enumerate(r["reshape_param"]["shape"]["dim"]):
        if dim == 0 and start + index >= len(before):
            raise r["reshape_param"].error(f"{shown(before)} has no axis {start + index} to copy", "shape")
        dims.append(before[start + index] if dim == 0 else dim)
    if dims.count(-1) > 1:
        raise r["reshape_param"].error("at most one dim is -1", "shape")
    inferred = _count(before[start:end]) // _count(tuple(dim for dim in dims if dim != -1))
    return tuple(inferred if dim == -1 else dim for dim in dims)


def _count(dims: Dims) -> int:
    """Return how many numbers there are, for one lane where only the data knows how many lanes."""
    return prod(dim or 1 for dim in dims)
