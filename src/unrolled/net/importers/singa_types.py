"""SINGA's layer types as Unrolled's: type, settings and the roles of parameters, in SINGA's order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from unrolled.errors import UsageError, nearest
from unrolled.net.importers.schema import Record
from unrolled.net.importers.singa_fields import CONFS, INITS
from unrolled.net.importers.textformat import shown
from unrolled.net.spec import VOCAB, Param

Role = tuple[str, str | None]
"""A parameter's name in our layer type, and the gate whose slice it is."""


class Ours(NamedTuple):
    """What a layer of SINGA's is here."""

    type: str
    settings: dict[str, Any]
    roles: tuple[Role, ...] = ()


GRU_GATES = ("z", "r", "n")
"""SINGA's z, r, c by our names."""
FUNCTIONS = {"RELU": "relu", "SIGMOID": "sigmoid", "TANH": "tanh", "STANH": "stanh"}
NO_COUNTERPART = (
    "kBMBackward", "kCConvolution", "kCPooling", "kCSVInput", "kCSVOutput", "kConvolution", "kDummy",
    "kCudnnActivation", "kCudnnConv", "kCudnnLRN", "kCudnnPool", "kCudnnSoftmax", "kCudnnSoftmaxLoss",
    "kImagePreprocess", "kLRN", "kMnist", "kParser", "kPooling", "kPrefetch", "kRBMHid", "kRBMVis",
    "kRGBImage", "kRecordInput", "kRecordOutput", "kSingleLabelRecordInput", "kStoreInput",
)  # fmt: skip
"""SINGA's types that Unrolled has none for."""


def our_type(layer: Record) -> Ours:
    """Return what a layer is here; UsageError at its place for a type without counterpart."""
    if "user_type" in layer:
        return _user_cell(layer)
    kind = layer["type"]
    if kind is None:
        raise layer.error(f"layer '{layer['name']}' wants a type, and has none")
    check_type(layer, kind)
    conf_name, make = _TYPES[kind]
    for other in CONFS:
        if other in layer and other != conf_name:
            raise layer.error(f"layer '{layer['name']}' is a {kind}, which takes no {other}", other)
    return make(layer)


def check_type(layer: Record, kind: str) -> None:
    """Raise UsageError at the field ``type`` where Unrolled has no counterpart for it."""
    if kind in _TYPES:
        return
    if kind in NO_COUNTERPART:
        raise layer.error(f"type {kind}: Unrolled has no counterpart for this layer", "type")
    known = nearest(kind, _TYPES) or f"; known are {', '.join(_TYPES)}"
    raise layer.error(f"type {shown(kind)}: there is no such layer{known}", "type")


def our_params(layer: Record, ours: Ours, notes: list[str]) -> tuple[Param, ...]:
    """Return a layer's parameters; a GRU's candidate gets its hidden bias frozen at zero."""
    given, name = layer["param"], layer["name"]
    roles = ours.roles
    if ours.settings.get("cell") == "gru" and len(given) not in (0, len(roles)):
        raise layer.error(
            f"layer '{name}' (kGRU) takes {len(roles)} params"
            f"{'' if len(roles) == 6 else ', or 6 without bias'}; came {len(given)}",
            "param",
            len(given) - 1,
        )
    if len(given) > len(roles):
        raise layer.error(
            f"layer '{name}' has {len(roles)} parameters, came {len(given)}", "param", len(roles)
        )
    if len(given) < len(roles) or any(param["init"] is None for param in given):
        notes.append(f"layer '{name}': parameters without an init begin by Unrolled's own rule")
    params = [_param(param, *role) for param, role in zip(given, roles, strict=False)]
    _check_scales(layer, params)
    if len(roles) == 9:
        params.append(Param("h_bias_n", init={"type": "constant", "value": 0.0}, lr=0.0, decay=0.0))
    return tuple(params)


def _check_scales(layer: Record, params: list[Param]) -> None:
    """Refuse gates of one packed parameter that would learn at different rates."""
    first: dict[str, Param] = {}
    for index, param in enumerate(params):
        other = first.setdefault(param.role, param)
        if (param.lr, param.decay) != (other.lr, other.decay):
            raise layer.error(
                f"parameters '{other.name}' and '{param.name}' are parts of one here and learn at one rate; "
                "give them one lr_scale and one wd_scale",
                "param",
                index,
            )


def _param(param: Record, role: str, gate: str | None) -> Param:
    return Param(
        role,
        param["name"],
        gate,
        None if param["init"] is None else _init(param["init"]),
        lr=param["lr_scale"],
        decay=param["wd_scale"],
        share_from=param["share_from"],
    )


def _init(init: Record) -> dict[str, Any]:
    """Return how a parameter begins; ``value`` multiplies what a rule draws that divides by the fan."""
    rule, fields = INITS[init["type"]]
    scaled = "fan" in rule
    for name in init.given:
        if name not in ("type", *fields) and not (scaled and name == "value"):
            raise init.error(f"init {init['type']} takes {', '.join(fields)}, and no {name}", name)
    if rule == "constant" and "value" not in init:
        raise init.error("init kConstant wants a value, and has none")
    scale = init["value"] if scaled else 1.0
    return {"type": rule, **{name: scale * init[name] for name in fields}}


def wanted(layer: Record, conf: str, field: str) -> Any:
    """Return a field of a layer's own message; UsageError at the layer where it isn't given."""
    value = layer[conf][field]
    if value is None:
        place = layer[conf].place_of() if conf in layer else layer.place_of()
        kind = layer["type"] or "user_type"
        what = f"layer '{layer['name']}' ({kind}) wants {conf} {{ {field}: ... }}, and has none"
        raise UsageError(f"{place}: {what}")
    return value


def _user_cell(layer: Record) -> Ours:
    cell, name = layer["user_type"], layer["name"]
    path, _, cls = cell.rpartition(":")
    if layer["type"] not in (None, "kUserLayer"):
        raise layer.error(f"layer '{name}' has a type and a user_type; give one of them", "user_type")
    if not path.endswith(".py") or not cls.isidentifier():
        raise layer.error(
            f'user_type: wanted "PATH.py:NAME", a class of your own, came "{shown(cell)}"', "user_type"
        )
    sizes = [found["dim_hidden"] for found in (*layer.extensions.values(), layer["gru_conf"])]
    hidden = next((size for size in sizes if size is not None), None)
    if hidden is None:
        raise layer.error(f"layer '{name}' wants its size: [cell_conf] {{ dim_hidden: ... }}", "user_type")
    return Ours("recurrent", {"cell": cell, "hidden": hidden})


def _gru(layer: Record) -> Ours:
    bias = layer["gru_conf"]["bias_term"] and len(layer["param"]) != 6
    packed = ("x_to_rzn", "h_to_rzn", "bias_rzn") if bias else ("x_to_rzn", "h_to_rzn")
    settings = {"cell": "gru", "hidden": wanted(layer, "gru_conf", "dim_hidden")}
    roles = tuple((role, gate) for role in packed for gate in GRU_GATES)
    return Ours("recurrent", settings if bias else {**settings, "bias": False}, roles)


def _inner_product(layer: Record) -> Ours:
    conf = layer["innerproduct_conf"]
    settings: dict[str, Any] = {"size": wanted(layer, "innerproduct_conf", "num_output")}
    settings |= {} if conf["bias_term"] else {"bias": False}
    settings |= {"transpose": True} if conf["transpose"] else {}
    return Ours("linear", settings, (("x_to_y", None), ("bias", None))[: 2 if conf["bias_term"] else 1])


def _embedding(layer: Record) -> Ours:
    size = wanted(layer, "embedding_conf", "vocab_size")
    return Ours(
        "embedding", {"size": size, "width": layer["embedding_conf"]["feature_dim"]}, (("id_to_x", None),)
    )


def _softmax_loss(layer: Record) -> Ours:
    conf = layer["softmaxloss_conf"]
    return Ours("softmax-loss", {name: conf[name] for name in ("topk", "scale") if name in conf})


def _activation(layer: Record) -> Ours:
    if layer["activation_conf"] is None:
        raise layer.error(f"layer '{layer['name']}' (kActivation) wants activation_conf {{ type: ... }}")
    return Ours("activation", {"function": FUNCTIONS[layer["activation_conf"]["type"]]})


def _argsort(layer: Record) -> Ours:
    conf = layer["argsort_conf"]
    if conf["topk"] != 1:
        raise conf.error(f"argsort_conf: only topk 1 has a counterpart, the likeliest; came {conf['topk']}")
    return Ours("argmax", {})


def _rnn_dummy(layer: Record) -> Ours:
    conf = layer["rnn_dummy_conf"]
    wanted(layer, "rnn_dummy_conf", "dynamic_srclayer")
    if layer["srclayers"]:
        raise layer.error(
            "kRNNDummy takes its values from dynamic_srclayer; it has no srclayers", "srclayers"
        )
    if conf["integer"] and conf["shape"] not in ((), (1,)):
        raise conf.error(f"a kRNNDummy of integers gives one id, shape: 1; came {conf['shape']}", "shape")
    if not conf["low"] < conf["high"]:
        raise conf.error(f"wanted low less than high, came {conf['low']:g} and {conf['high']:g}", "low")
    return Ours("copy", {})


def _concat(layer: Record) -> Ours:
    conf = layer["concate_conf"]
    if conf["concate_dim"] != 1:
        raise conf.error(
            "kConcate: only concate_dim 1 has a counterpart, side by side in a lane", "concate_dim"
        )
    return Ours("concat", {})


def _slice(layer: Record) -> Ours:
    conf = layer["slice_conf"]
    if conf["slice_dim"] != 1:
        raise conf.error("kSlice: only slice_dim 1 has a counterpart, parts of a lane's numbers", "slice_dim")
    return Ours("slice", {})


def _plain(type_: str, **settings: Any) -> Callable[[Record], Ours]:
    return lambda layer: Ours(type_, settings)


_TYPES: dict[str, tuple[str, Callable[[Record], Ours]]] = {
    "kCharRNN": ("char_rnn_conf", _plain("text", size=VOCAB)),
    "kCharRNNInput": ("char_rnn_conf", _plain("text", size=VOCAB)),
    "kRNNLabel": ("", _plain("label")),
    "kOneHot": ("onehot_conf", lambda l: Ours("one-hot", {"size": wanted(l, "onehot_conf", "vocab_size")})),
    "kEmbedding": ("embedding_conf", _embedding),
    "kGRU": ("gru_conf", _gru),
    "kInnerProduct": ("innerproduct_conf", _inner_product),
    "kDropout": ("dropout_conf", lambda l: Ours("dropout", {"ratio": l["dropout_conf"]["dropout_ratio"]})),
    "kActivation": ("activation_conf", _activation),
    "kReLU": ("", _plain("activation", function="relu")),
    "kSigmoid": ("", _plain("activation", function="sigmoid")),
    "kTanh": ("", _plain("activation", function="tanh")),
    "kSTanh": ("", _plain("activation", function="stanh")),
    "kSoftmax": ("", _plain("softmax")),
    "kSoftmaxLoss": ("softmaxloss_conf", _softmax_loss),
    "kEuclideanLoss": ("", _plain("euclidean-loss")),
    "kAccuracy": ("argsort_conf", lambda l: Ours("accuracy", {"topk": l["argsort_conf"]["topk"]})),
    "kArgSort": ("argsort_conf", _argsort),
    "kRNNDummy": ("rnn_dummy_conf", _rnn_dummy),
    "kCharRNNOutput": ("char_rnn_conf", _plain("copy")),
    "kConcate": ("concate_conf", _concat),
    "kSlice": ("slice_conf", _slice),
    "kSplit": ("split_conf", _plain("copy")),
}
"""For each of SINGA's types the name of its own message, if any, and what it is here."""
