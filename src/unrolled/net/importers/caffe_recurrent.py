"""Caffe's own recurrent layers, LSTM and RNN."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from unrolled.net.importers.caffe_blobs import Blob, Phase, shown
from unrolled.net.importers.caffe_params import Weight, params
from unrolled.net.importers.schema import Record
from unrolled.net.spec import Edge, Param


def lstm(p: Phase, r: Record) -> None:
    """Read an LSTM: Caffe packs its gates i f o g, we i f g o."""
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


def rnn(p: Phase, r: Record) -> None:
    """Read an RNN, o = tanh(W_ho h + b_o): here a recurrent, a linear and a tanh layer."""
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
