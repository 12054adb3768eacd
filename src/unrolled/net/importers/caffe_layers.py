"""Caffe's layer types: what each becomes here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

from unrolled.net.importers.caffe_blobs import (
    UNKNOWN,
    Blob,
    Dims,
    Input,
    Phase,
    features_of,
    name_of,
    shown,
    size,
)
from unrolled.net.importers.schema import Record
from unrolled.net.spec import Edge, Param


class Weight(NamedTuple):
    """One of a layer's parameters: our role for it, its shape in Caffe, and how it is filled."""

    role: str
    dims: tuple[Any, ...]
    filler: Record
    turned: bool = False
    """Whether Caffe's first axis is our first too; usually a matrix lies the other way round."""


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
    name, rates = given["name"], {"lr": given["lr_mult"], "decay": given["decay_mult"]}
    if not name:
        return Param(weight.role, init=init, **rates)
    _share(p, r, weight, given)
    return Param(weight.role, name, init=init)


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
                f"parameter '{name}' is shared, and {field} is {given[field]:g} here and {rates[ours]:g} before",
                field,
            )


def _words(dims: tuple[Any, ...]) -> str:
    axes = shown(tuple(part for part in dims if isinstance(part, int)))
    return axes + "".join(f" of {part}" for part in dims if isinstance(part, str))


def _init(weight: Weight) -> dict[str, Any]:
    """Return a filler as ours; its fans are told by our axes, inputs before outputs."""
    filler = weight.filler
    kind = filler["type"]
    if filler["sparse"] != -1:
        raise filler.error("sparse fillers have no counterpart; leave sparse out", "sparse")
    match kind:
        case "constant":
            return {"type": kind, "value": filler["value"]}
        case "uniform":
            return {"type": kind, "low": filler["min"], "high": filler["max"]}
        case "gaussian":
            return {"type": kind, "mean": filler["mean"], "std": filler["std"]}
    variance = filler["variance_norm"].lower()
    other = {"fan_in": "fan_out", "fan_out": "fan_in"}
    return {"type": kind, "variance": other.get(variance, variance) if weight.turned else variance}


# Values from outside.


def _source(p: Phase, r: Record, index: int, dims: Dims | None, rows: int = UNKNOWN) -> None:
    """Make a top that comes from outside, of at least ``rows`` rows where its shape is unknown."""
    top = r["top"][index]
    lead = 2 if p.recurrent and top not in p.static else 1
    if dims is not None and len(dims) < lead:
        raise r.error(
            f"'{top}' {shown(dims)} needs the axes {'[T × N × ...]' if lead == 2 else '[N × ...]'}",
            "top",
            index,
        )
    source = Input(name_of(r, index), r, top, dims, lead, p.length(lead))
    p.keep(r, source)
    known = dims or (rows, UNKNOWN)[:lead]
    blob = Blob(source.name, known, lead, features_of(source) if dims else (), source)
    p.put(r, blob, index)
    if top == "cont" and lead == 2 and (dims is None or len(dims) == 2):
        source.reads = "marks"
    elif lead == 2 and p.steps is None:
        p.steps = known[0]


def _input(p: Phase, r: Record) -> None:
    for index, dims in enumerate(_shapes(r, "input_param")):
        _source(p, r, index, dims)


def _shapes(r: Record, block: str) -> list[Dims]:
    """Return a shape for each top: one for all, or one each."""
    given = [tuple(shape["dim"]) for shape in r[block]["shape"]]
    if len(given) not in (1, len(r["top"])):
        raise r[block].error(
            f"wanted one shape, or one for each of the {len(r['top'])} tops, came {len(given)}", "shape"
        )
    return given if len(given) > 1 else given * len(r["top"])


def _hdf5(p: Phase, r: Record) -> None:
    rows = r["hdf5_data_param"]["batch_size"]
    for index, top in enumerate(r["top"]):
        dims = tuple(p.shapes[top]) if top in p.shapes else None
        if dims is not None and (not dims or dims[0] != rows):
            raise r["hdf5_data_param"].error(
                f"batch_size is {rows}, and the shape given for '{top}' is {shown(dims)}", "batch_size"
            )
        _source(p, r, index, dims, rows)


def _dummy(p: Phase, r: Record) -> None:
    block, tops = r["dummy_data_param"], len(r["top"])
    fillers = block["data_filler"]
    if len(fillers) not in (0, 1, tops):
        raise block.error(
            f"wanted one data_filler, or one for each of the {tops} tops, came {len(fillers)}", "data_filler"
        )
    for index, dims in enumerate(_shapes(r, "dummy_data_param")):
        filler = fillers[index if len(fillers) > 1 else 0] if fillers else None
        if filler is not None and filler["type"] != "constant":
            raise filler.error("only constant DummyData has a counterpart; take an Input layer", "type")
        value = filler["value"] if filler else 0.0
        lead = 2 if p.recurrent and r["top"][index] not in p.static else 1
        if len(dims) < lead:
            raise r.error(f"'{r['top'][index]}' {shown(dims)} has too few axes, wanted {lead}", "top", index)
        features = dims[lead:] or (1,)
        settings = {"size": size(features)} | ({"value": value} if value else {})
        p.add(r, name_of(r, index), "constant", (), settings, lead=lead)
        p.put(r, Blob(name_of(r, index), dims, lead, features, value=value), index)


# Functions of one lane and step.


def _inner_product(p: Phase, r: Record) -> None:
    block, x = r["inner_product_param"], p.numbers(r, 0)
    axis = p.axis(r, "inner_product_param", x)
    if prod(x.dims[x.lead : axis]) != 1:
        raise block.error(
            f"axis {axis} of '{r['bottom'][0]}' {shown(x.dims)} multiplies {prod(x.dims[x.lead : axis])} rows of "
            f"each lane and step by one matrix, and here that takes all numbers at once; "
            f"wanted axis {x.lead}",
            "axis",
        )
    D, K, turned = prod(x.dims[axis:]), block["num_output"], block["transpose"]
    weights = [Weight("x_to_y", (D, K) if turned else (K, D), block["weight_filler"], turned)]
    if block["bias_term"]:
        weights.append(Weight("bias", (K,), block["bias_filler"]))
    settings = {"size": K} | ({} if block["bias_term"] else {"bias": False})
    settings |= {"transpose": True} if turned else {}
    p.add(r, r["name"], "linear", (x,), settings, params(p, r, weights), x.lead)
    p.put(r, Blob(r["name"], (*x.dims[:axis], K), x.lead, (K,)))


def _embed(p: Phase, r: Record) -> None:
    block = r["embed_param"]
    V, K = block["input_dim"], block["num_output"]
    ids = p.ids(r, 0, V)
    weights = [Weight("id_to_x", (V, K), block["weight_filler"], True)]
    if block["bias_term"]:
        weights.append(Weight("bias", (K,), block["bias_filler"]))
    settings = {"size": V, "width": K} | ({"bias": True} if block["bias_term"] else {})
    p.add(r, r["name"], "embedding", (ids,), settings, params(p, r, weights), ids.lead)
    p.put(r, Blob(r["name"], (*ids.dims, K), ids.lead, (K,)))


def _slice(p: Phase, r: Record) -> None:
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


def _concat(p: Phase, r: Record) -> None:
    xs, block = p.joined(r, len(r["bottom"])), "concat_param"
    axis = p.axis(r, block, xs[0], "concat_dim" if "concat_dim" in r[block] else "axis")
    for index, x in enumerate(xs):
        _same(r, index, _without(axis, x.dims), _without(axis, xs[0].dims), x, xs[0])
    xs, at = p.along(r, xs, axis)
    p.add(r, r["name"], "concat", xs, {"axis": at}, lead=xs[0].lead)
    dims, features = list(xs[0].dims), list(xs[0].features)
    dims[axis], features[at] = sum(x.dims[axis] for x in xs), sum(x.features[at] for x in xs)
    p.put(r, Blob(r["name"], tuple(dims), xs[0].lead, tuple(features)))


def _without(axis: int, dims: Dims) -> Dims:
    return dims[:axis] + dims[axis + 1 :]


def _same(r: Record, index: int, came: Dims, wanted: Dims, x: Blob, first: Blob) -> None:
    """Raise UsageError where a bottom's axes are not the first one's; an unknown one fits any."""
    fits = len(came) == len(wanted) and all(
        a == b or UNKNOWN in (a, b) for a, b in zip(came, wanted, strict=True)
    )
    if not fits:
        raise r.error(
            f"'{r['bottom'][index]}' {shown(x.dims)} does not fit '{r['bottom'][0]}' {shown(first.dims)}",
            "bottom",
            index,
        )


def _eltwise(p: Phase, r: Record) -> None:
    xs, block = p.joined(r, len(r["bottom"])), r["eltwise_param"]
    for index, x in enumerate(xs):
        _same(r, index, x.dims, xs[0].dims, x, xs[0])
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


def _same_shape(kind: str, **settings: Any) -> Callable[[Phase, Record], None]:
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


def _softmax(p: Phase, r: Record) -> None:
    x = p.numbers(r, 0)
    (x,), at = p.along(r, [x], p.axis(r, "softmax_param", x))
    p.add(r, r["name"], "softmax", (x,), {"axis": at}, lead=x.lead)
    p.put(r, replace(x, layer=r["name"], input=None, value=None))


def _split(p: Phase, r: Record) -> None:
    x = p.bottom(r, 0)
    for index in range(len(r["top"])):
        p.add(r, name_of(r, index), "copy", (x,), lead=x.lead)
        p.put(r, replace(x, layer=name_of(r, index)), index)


def _reshape(p: Phase, r: Record) -> None:
    x, block = p.numbers(r, 0), r["reshape_param"]
    start = block["axis"] if block["axis"] >= 0 else len(x.dims) + 1 + block["axis"]
    end = len(x.dims) if block["num_axes"] == -1 else start + block["num_axes"]
    if not 0 <= start <= end <= len(x.dims):
        raise block.error(f"'{r['bottom'][0]}' {shown(x.dims)} has no axes {start} up to {end}", "axis")
    dims = (*x.dims[:start], *_filled(r, x.dims, start, end), *x.dims[end:])
    if prod(dims) != prod(x.dims):
        raise block.error(f"'{r['bottom'][0]}' {shown(x.dims)} can't become {shown(dims)}", "shape")
    if dims[: x.lead] != x.dims[: x.lead]:
        raise block.error(
            f"'{r['bottom'][0]}' {shown(x.dims)} would become {shown(dims)}; lanes and steps stay as they are "
            f"here, the first {'axis' if x.lead == 1 else 'two axes'}",
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
    rest = prod(dim for dim in dims if dim != -1)
    inferred = prod(before[start:end]) // rest if rest else 0
    return tuple(inferred if dim == -1 else dim for dim in dims)


# Ends of the net.


def _euclidean(p: Phase, r: Record) -> None:
    output = p.numbers(r, 0)
    target = p.numbers(r, 1, like=output)
    came, wanted = ((*x.dims[: x.lead], prod(x.wanted)) for x in (target, output))
    _same(r, 1, came, wanted, target, output)
    if output.lead == 2:
        p.notes.append(
            f"layer '{r['name']}': Caffe divides the sum of squares by the steps alone, "
            "here the mean is over steps and lanes"
        )
    p.add(r, r["name"], "euclidean-loss", (output, target), _scale(r), lead=output.lead)
    p.put(r, Blob(r["name"], (), 0, ()))


def _scale(r: Record) -> dict[str, Any]:
    weights = r["loss_weight"]
    if len(weights) > 1:
        raise r.error(f"wanted one loss_weight, came {len(weights)}", "loss_weight", 1)
    return {"scale": weights[0]} if weights and weights[0] != 1 else {}


def _softmax_loss(p: Phase, r: Record) -> None:
    logits, target = _classes(p, r, "softmax_param")
    settings, loss = _scale(r), r["loss_param"]
    ignores = "ignore_label" in loss
    if ignores and loss["ignore_label"] != -1:
        settings["ignore"] = loss["ignore_label"]
    how = loss["normalization"] or ("BATCH_SIZE" if loss["normalize"] is False else "VALID")
    if how == "NONE":
        raise loss.error(
            "a sum over all targets has no counterpart, only the mean; wanted VALID", "normalization"
        )
    if how != "VALID" and ignores:
        p.notes.append(
            f"layer '{r['name']}': Caffe divides by all targets ({how}), here the mean is over those that count"
        )
    p.add(r, r["name"], "softmax-loss", (logits, target), settings, lead=logits.lead)
    p.put(r, Blob(r["name"], (), 0, ()))


def _accuracy(p: Phase, r: Record) -> None:
    block = r["accuracy_param"]
    if "ignore_label" in block:
        raise block.error("an accuracy that ignores a label has no counterpart; leave it out", "ignore_label")
    logits, target = _classes(p, r, "accuracy_param")
    settings = {"topk": block["top_k"]} if block["top_k"] != 1 else {}
    p.add(r, r["name"], "accuracy", (logits, target), settings, lead=logits.lead)
    p.put(r, Blob(r["name"], (), 0, ()))


def _classes(p: Phase, r: Record, block: str) -> tuple[Blob, Blob]:
    """Return logits [..., V] and targets, one of V ids."""
    logits = p.numbers(r, 0)
    axis = p.axis(r, block, logits)
    V = logits.dims[axis]
    if prod(logits.wanted) != V:
        raise r[block].error(
            f"'{r['bottom'][0]}' {shown(logits.dims)} has more than the {V} classes of axis {axis} for each lane "
            "and step; wanted one prediction each",
            "axis",
        )
    target = p.ids(r, 1, V)
    _same(r, 1, target.dims[: target.lead], logits.dims[: logits.lead], target, logits)
    return p.shaped(r, logits, (V,)), target


# Recurrent layers.


def _lstm(p: Phase, r: Record) -> None:
    sources, D, static = _recurrent_sources(p, r)
    H, block = r["recurrent_param"]["num_output"], r["recurrent_param"]
    weights = [
        Weight("x_to_ifgo", (4 * H, D, "LSTM gates"), block["weight_filler"]),
        Weight("bias_ifgo", (4 * H, "LSTM gates"), block["bias_filler"]),
        Weight("h_to_ifgo", (4 * H, H, "LSTM gates"), block["weight_filler"]),
    ]
    _cell(p, r, r["name"], "lstm", sources, weights, static)
    dims = p.bottom(r, 0).dims[:2]
    p.put(r, Blob(r["name"], (*dims, H), 2, (H,)))


def _rnn(p: Phase, r: Record) -> None:
    sources, D, static = _recurrent_sources(p, r)
    block = r["recurrent_param"]
    H, name, fill = block["num_output"], r["name"], block["weight_filler"]
    weights = [
        Weight("x_to_h", (H, D), fill),
        Weight("bias_h", (H,), block["bias_filler"]),
        Weight("h_to_h", (H, H), fill),
        Weight("x_to_y", (H, H), fill),
        Weight("bias", (H,), block["bias_filler"]),
    ]
    after = _cell(p, r, f"{name}_h", "rnn", sources, weights, static)
    p.add(r, f"{name}_o", "linear", (Edge(f"{name}_h"),), {"size": H}, after, lead=2)
    p.add(r, name, "activation", (Edge(f"{name}_o"),), {"function": "tanh"}, lead=2)
    p.put(r, Blob(name, (*p.bottom(r, 0).dims[:2], H), 2, (H,)))


def _cell(
    p: Phase, r: Record, name: str, cell: str, sources: list[Edge], weights: list[Weight], static: bool
) -> tuple[Param, ...]:
    """Add the recurrent layer; return the parameters after its first three."""
    named = _without_static(p, r, weights) if static else params(p, r, weights)
    settings = {"cell": cell, "hidden": r["recurrent_param"]["num_output"]}
    p.add(r, name, "recurrent", sources, settings, named[:3], lead=2)
    return named[3:]


def _without_static(p: Phase, r: Record, weights: list[Weight]) -> tuple[Param, ...]:
    """Read parameters of which the third, from static input, is here a part of the first, from all input."""
    given = r["param"]
    if len(given) < 3:
        named = params(p, r, weights)
    else:
        for field in ("name", "lr_mult", "decay_mult"):
            if given[2][field] != given[0][field] or given[2]["name"]:
                raise given[2].error(
                    "the weights from x and from the static input are one matrix here; give both one lr_mult "
                    "and decay_mult, and no names",
                    field,
                )
        rest = {**r.values, "param": (*given[:2], *given[3:])}
        named = params(p, replace(r, values=rest), weights)
    if named[0].init and named[0].init["type"] in ("xavier", "msra"):
        p.notes.append(
            f"layer '{r['name']}': the weights from x and from the static input are one matrix here, "
            "and filled as one"
        )
    return named


def _recurrent_sources(p: Phase, r: Record) -> tuple[list[Edge], int, bool]:
    """Return the edges of a recurrent layer, its input's width, and whether some of that is static."""
    if r["recurrent_param"]["expose_hidden"]:
        raise r["recurrent_param"].error(
            "expose_hidden has no counterpart: a net's state goes in and comes out beside its values",
            "expose_hidden",
        )
    x = p.numbers(r, 0)
    if x.lead != 2:
        raise r.error(
            f"'{r['bottom'][0]}' {shown(x.dims)} has no time axis; wanted [T × N × ...]", "bottom", 0
        )
    _continue(p, r)
    x = p.shaped(r, x, (prod(x.wanted),))
    if len(r["bottom"]) < 3:
        return [Edge(x.layer)], x.features[0], False
    static = p.numbers(r, 2)
    if static.lead != 1:
        raise r.error(
            f"'{r['bottom'][2]}' is computed from sequences; static input is [N × ...]", "bottom", 2
        )
    static = p.shaped(r, static, (prod(static.wanted),))
    width = x.features[0] + static.features[0]
    return [Edge(x.layer), Edge(static.layer, "all")], width, True


def _continue(p: Phase, r: Record) -> None:
    """Read the marks of where sequences go on: one input for the whole net, or a constant 1."""
    cont = p.bottom(r, 1)
    name = r["bottom"][1]
    if cont.input is not None:
        p.read_as(cont.input, "marks", 0, r, 1)
        marks = cont.input.name
        if cont.lead != 2 or len(cont.dims) != 2:
            raise r.error(
                f"'{name}' {shown(cont.dims)} says where sequences go on; wanted [T × N]", "bottom", 1
            )
    elif cont.value == 1:
        marks = ""
    else:
        raise r.error(
            f"'{name}' says where sequences go on; wanted an input of the net, or DummyData of 1", "bottom", 1
        )
    if p.marks is not None and p.marks != marks:
        raise r.error(
            f"'{name}' marks other starts than '{p.marks or 'a constant'}' for a layer before; "
            "a net starts anew as a whole, so give all layers one cont",
            "bottom",
            1,
        )
    p.marks = marks


@dataclass(frozen=True)
class Type:
    """A layer type: how it is read, the messages it may hold, how many bottoms and tops it has."""

    read: Callable[[Phase, Record], None]
    blocks: tuple[str, ...] = ()
    bottoms: tuple[int, int | None] = (1, 1)
    tops: tuple[int, int | None] = (1, 1)
    loss: bool = False
    learns: bool = False


TYPES: dict[str, Type] = {
    "HDF5Data": Type(_hdf5, ("hdf5_data_param",), (0, 0), (1, None)),
    "DummyData": Type(_dummy, ("dummy_data_param",), (0, 0), (1, None)),
    "Input": Type(_input, ("input_param",), (0, 0), (1, None)),
    "InnerProduct": Type(_inner_product, ("inner_product_param",), learns=True),
    "Embed": Type(_embed, ("embed_param",), learns=True),
    "Slice": Type(_slice, ("slice_param",), tops=(1, None)),
    "Concat": Type(_concat, ("concat_param",), bottoms=(1, None)),
    "Eltwise": Type(_eltwise, ("eltwise_param",), bottoms=(2, None)),
    "Sigmoid": Type(_same_shape("activation", function="sigmoid"), ("sigmoid_param",)),
    "TanH": Type(_same_shape("activation", function="tanh"), ("tanh_param",)),
    "ReLU": Type(_same_shape("activation", function="relu"), ("relu_param",)),
    "Dropout": Type(_same_shape("dropout"), ("dropout_param",)),
    "Softmax": Type(_softmax, ("softmax_param",)),
    "Split": Type(_split, tops=(1, None)),
    "Reshape": Type(_reshape, ("reshape_param",)),
    "EuclideanLoss": Type(_euclidean, ("loss_param",), (2, 2), (0, 1), loss=True),
    "SoftmaxWithLoss": Type(_softmax_loss, ("softmax_param", "loss_param"), (2, 2), (0, 1), loss=True),
    "Accuracy": Type(_accuracy, ("accuracy_param",), (2, 2), (0, 1)),
    "RNN": Type(_rnn, ("recurrent_param",), (2, 3), learns=True),
    "LSTM": Type(_lstm, ("recurrent_param",), (2, 3), learns=True),
}
"""The layer types that have a counterpart, by their names in Caffe."""
