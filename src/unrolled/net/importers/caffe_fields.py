"""The fields of Caffe's prototxt, as data: what a net, a layer and each of its messages may hold."""

from __future__ import annotations

from unrolled.net.importers.schema import Schema, each, inner, number, one_of, switch, text, whole

FILLERS = ("constant", "uniform", "gaussian", "xavier", "msra")
FANS = ("FAN_IN", "FAN_OUT", "AVERAGE")
NORMALIZATIONS = ("FULL", "VALID", "BATCH_SIZE", "NONE")
OPERATIONS = ("PROD", "SUM", "MAX")

PHASE = one_of("TRAIN", "TEST", numbers={0: "TRAIN", 1: "TEST"})
ENGINE = one_of("DEFAULT", "CAFFE", "CUDNN", numbers=dict(enumerate(("DEFAULT", "CAFFE", "CUDNN"))))
SHAPE = Schema("shape", {"dim": each(whole(low=1))})
FILLER = Schema(
    "filler",
    {
        "type": text("constant", words=FILLERS),
        "value": number(0.0),
        "min": number(0.0),
        "max": number(1.0),
        "mean": number(0.0),
        "std": number(1.0, low=0),
        "sparse": whole(-1),
        "variance_norm": one_of(*FANS, default="FAN_IN", numbers=dict(enumerate(FANS))),
    },
)
RULE = Schema(
    "rule",
    {
        "phase": PHASE,
        "min_level": whole(),
        "max_level": whole(),
        "stage": each(text()),
        "not_stage": each(text()),
    },
)
PARAM = Schema(
    "param",
    {
        "name": text(""),
        "share_mode": one_of("STRICT", "PERMISSIVE", numbers={0: "STRICT", 1: "PERMISSIVE"}),
        "lr_mult": number(1.0, low=0),
        "decay_mult": number(1.0, low=0),
    },
)

_WEIGHTS = {"weight_filler": inner(FILLER), "bias_filler": inner(FILLER)}
_ENGINE_ONLY = {"engine": ENGINE}

BLOCKS = {
    "hdf5_data_param": Schema(
        "hdf5_data_param",
        {
            "source": text(required=True),
            "batch_size": whole(low=1, required=True),
            "shuffle": switch(False),
        },
    ),
    "dummy_data_param": Schema(
        "dummy_data_param", {"data_filler": each(inner(FILLER)), "shape": each(inner(SHAPE))}
    ),
    "input_param": Schema("input_param", {"shape": each(inner(SHAPE))}),
    "inner_product_param": Schema(
        "inner_product_param",
        {
            "num_output": whole(low=1, required=True),
            "bias_term": switch(True),
            **_WEIGHTS,
            "axis": whole(1),
            "transpose": switch(False),
        },
    ),
    "slice_param": Schema(
        "slice_param",
        {"axis": whole(1), "slice_dim": whole(1, low=0), "slice_point": each(whole(low=1))},
    ),
    "concat_param": Schema("concat_param", {"axis": whole(1), "concat_dim": whole(1, low=0)}),
    "eltwise_param": Schema(
        "eltwise_param",
        {
            "operation": one_of(*OPERATIONS, default="SUM", numbers=dict(enumerate(OPERATIONS))),
            "coeff": each(number()),
            "stable_prod_grad": switch(True),
        },
    ),
    "sigmoid_param": Schema("sigmoid_param", _ENGINE_ONLY),
    "tanh_param": Schema("tanh_param", _ENGINE_ONLY),
    "relu_param": Schema("relu_param", {"negative_slope": number(0.0), **_ENGINE_ONLY}),
    "softmax_param": Schema("softmax_param", {"axis": whole(1), **_ENGINE_ONLY}),
    "reshape_param": Schema(
        "reshape_param",
        {
            "shape": inner(Schema("shape", {"dim": each(whole(low=-1))})),
            "axis": whole(0),
            "num_axes": whole(-1, low=-1),
        },
    ),
    "dropout_param": Schema("dropout_param", {"dropout_ratio": number(0.5, low=0)}),
    "embed_param": Schema(
        "embed_param",
        {
            "num_output": whole(low=1, required=True),
            "input_dim": whole(low=1, required=True),
            "bias_term": switch(True),
            **_WEIGHTS,
        },
    ),
    "loss_param": Schema(
        "loss_param",
        {
            "ignore_label": whole(),
            "normalization": one_of(*NORMALIZATIONS, numbers=dict(enumerate(NORMALIZATIONS))),
            "normalize": switch(),
        },
    ),
    "accuracy_param": Schema(
        "accuracy_param", {"top_k": whole(1, low=1), "axis": whole(1), "ignore_label": whole()}
    ),
    "recurrent_param": Schema(
        "recurrent_param",
        {
            "num_output": whole(low=1, required=True),
            **_WEIGHTS,
            "debug_info": switch(False),
            "expose_hidden": switch(False),
        },
    ),
}
"""What a layer holds beside what all layers hold."""

COMMON = {
    "name": text(required=True),
    "type": text(required=True),
    "bottom": each(text()),
    "top": each(text()),
    "loss_weight": each(number()),
    "param": each(inner(PARAM)),
    "include": each(inner(RULE)),
    "exclude": each(inner(RULE)),
    "propagate_down": each(switch()),
}
"""What all layers hold."""

REFUSED = {
    "blobs": "weights are not read out of a net's file; take them out",
    "phase": "a layer's phase is not read; write include { phase: TRAIN } or TEST",
    "transform_param": "nothing here transforms data; bring it in as the net shall read it",
}
"""Fields of Caffe's that have no counterpart, and what to do."""

NET = Schema(
    "a net",
    {
        "name": text(""),
        "state": inner(
            Schema("state", {"phase": PHASE, "level": whole(0, low=0, high=0), "stage": each(text())})
        ),
        "input": each(text()),
        "input_shape": each(inner(SHAPE)),
        "input_dim": each(whole(low=1)),
        "layer": each(inner(Schema("layer", {}))),
        "force_backward": switch(False),
        "debug_info": switch(False),
    },
)


def layer_schema(blocks: tuple[str, ...]) -> Schema:
    """Return the fields of a layer whose type takes some blocks."""
    return Schema("layer", {**COMMON, **{name: inner(BLOCKS[name]) for name in blocks}})
