"""The fields of a SINGA 0.3 job, as data."""

from __future__ import annotations

from unrolled.net.importers.schema import Schema, each, inner, number, one_of, switch, text, whole
from unrolled.net.spec import Kind

PHASES = {"kTrain": "train", "kVal": "validation", "kTest": "test"}
CONNECTIONS: dict[str, Kind] = {
    "kUnrollOneToOne": "same",
    "kUnrollOneToAll": "all",
    "kUnrollFirstToLast": "last",
}
INITS = {
    "kConstant": ("constant", ("value",)),
    "kUniform": ("uniform", ("low", "high")),
    "kGaussian": ("gaussian", ("mean", "std")),
    "kGaussianSqrtFanIn": ("gaussian-fan-in", ("mean", "std")),
    "kUniformSqrtFanIn": ("uniform-fan-in", ("low", "high")),
    "kUniformSqrtFanInOut": ("uniform-fan-in-out", ("low", "high")),
}
"""Our rule for each of SINGA's, and the fields that it takes."""
OPTIMIZERS = {
    "kSGD": "sgd",
    "kAdaGrad": "adagrad",
    "kRMSProp": "rmsprop",
    "kNesterov": "nesterov",
    "kAdaDelta": "adadelta",
    "kAdam": "adam",
    "kAdamMax": "adamax",
}
RATES = ("kFixed", "kStep", "kLinear", "kExponential", "kInverse", "kInverseT", "kFixedStep")

_SHARE = number(low=0, under=1)

INIT = Schema(
    "init",
    {
        "type": one_of(*INITS, required=True),
        "value": number(1.0),
        "low": number(-1.0),
        "high": number(1.0),
        "mean": number(0.0),
        "std": number(1.0, low=0),
    },
)
PARAM = Schema(
    "param",
    {
        "name": text(""),
        "init": inner(INIT, optional=True),
        "lr_scale": number(1.0, low=0),
        "wd_scale": number(1.0, low=0),
        "share_from": text(""),
    },
)
CHAR_RNN = Schema(
    "char_rnn_conf",
    {
        "path": text(),
        "vocab_path": text(),
        "unroll_len": whole(50, low=1),
        "batchsize": whole(1, low=1),
    },
)
DUMMY = Schema(
    "rnn_dummy_conf",
    {
        "dynamic_srclayer": text(),
        "shape": each(whole(low=1)),
        "integer": switch(False),
        "low": number(0.0),
        "high": number(0.0),
    },
)
USER_CELL = Schema("an extension of a user's layer", {"dim_hidden": whole(low=1)}, {"hidden": "dim_hidden"})
SOFTMAX_LOSS = Schema("softmaxloss_conf", {"topk": whole(1, low=1), "scale": number(1.0)})
ACTIVATION = Schema("activation_conf", {"type": one_of("RELU", "SIGMOID", "TANH", "STANH", required=True)})
CONFS = {
    "char_rnn_conf": inner(CHAR_RNN),
    "onehot_conf": inner(Schema("onehot_conf", {"vocab_size": whole(low=1)})),
    "embedding_conf": inner(
        Schema("embedding_conf", {"vocab_size": whole(low=1), "feature_dim": whole(100, low=1)})
    ),
    "gru_conf": inner(Schema("gru_conf", {"dim_hidden": whole(low=1), "bias_term": switch(True)})),
    "innerproduct_conf": inner(
        Schema(
            "innerproduct_conf",
            {"num_output": whole(low=1), "bias_term": switch(True), "transpose": switch(False)},
        )
    ),
    "dropout_conf": inner(Schema("dropout_conf", {"dropout_ratio": number(0.5, low=0, under=1)})),
    "activation_conf": inner(ACTIVATION, optional=True),
    "softmaxloss_conf": inner(SOFTMAX_LOSS),
    "argsort_conf": inner(Schema("argsort_conf", {"topk": whole(1, low=1)})),
    "rnn_dummy_conf": inner(DUMMY),
    "concate_conf": inner(Schema("concate_conf", {"concate_dim": whole(0), "num_concates": whole(low=1)})),
    "slice_conf": inner(
        Schema("slice_conf", {"slice_dim": whole(0), "num_slices": whole(low=1, high=10_000)})
    ),
    "split_conf": inner(Schema("split_conf", {"num_splits": whole(1, low=1)})),
}
"""What a layer's type is told, one message for some types."""

LAYER = Schema(
    "layer",
    {
        "name": text(required=True),
        "type": one_of(),
        "user_type": text(),
        "srclayers": each(text()),
        "param": each(inner(PARAM)),
        "include": each(one_of(*PHASES)),
        "exclude": each(one_of(*PHASES)),
        "unroll_len": whole(low=1),
        "unroll_conn_type": each(one_of(*CONNECTIONS)),
        "shift": each(whole(low=0)),
        "partition_dim": whole(low=-1, high=1),
        **CONFS,
    },
    extensions=USER_CELL,
)
NET = Schema(
    "neuralnet",
    {"layer": each(inner(LAYER)), "unroll_len": whole(1, low=1), "partition_dim": whole(0, low=-1, high=1)},
)

LEARNING_RATE = Schema(
    "learning_rate",
    {
        "type": one_of(*RATES, default="kFixed"),
        "base_lr": number(0.01, over=0),
        "step_conf": inner(
            Schema(
                "step_conf",
                {"gamma": number(over=0, high=1, required=True), "change_freq": whole(low=1, required=True)},
            ),
            optional=True,
        ),
        "fixedstep_conf": inner(
            Schema("fixedstep_conf", {"step": each(whole(low=0)), "step_lr": each(number(low=0))}),
            optional=True,
        ),
        "linear_conf": inner(
            Schema(
                "linear_conf",
                {"change_freq": whole(low=1, required=True), "final_lr": number(low=0, required=True)},
            ),
            optional=True,
        ),
        "exponential_conf": inner(
            Schema("exponential_conf", {"change_freq": whole(low=1, required=True)}), optional=True
        ),
        "inverse_conf": inner(
            Schema(
                "inverse_conf", {"gamma": number(low=0, required=True), "pow": number(low=0, required=True)}
            ),
            optional=True,
        ),
        "inverset_conf": inner(
            Schema("inverset_conf", {"final_lr": number(over=0, required=True)}), optional=True
        ),
    },
)
UPDATER = Schema(
    "updater",
    {
        "type": one_of(*OPTIMIZERS, required=True),
        "learning_rate": inner(LEARNING_RATE),
        "rmsprop_conf": inner(Schema("rmsprop_conf", {"rho": _SHARE})),
        "adadelta_conf": inner(Schema("adadelta_conf", {"rho": _SHARE})),
        "adam_conf": inner(Schema("adam_conf", {"beta1": _SHARE, "beta2": _SHARE})),
        "adammax_conf": inner(Schema("adammax_conf", {"beta1": _SHARE, "beta2": _SHARE})),
        "momentum": number(0.0, low=0, under=1),
        "weight_decay": number(0.0, low=0),
        "delta": number(1e-8, over=0),
        "clip_low": number(0.0),
        "clip_high": number(0.0),
    },
)
CLUSTER = Schema(
    "cluster",
    {
        "nworker_groups": whole(1, low=1),
        "nserver_groups": whole(1, low=1),
        "nworkers_per_group": whole(1, low=1),
        "nservers_per_group": whole(1, low=1),
        "nworkers_per_procs": whole(1, low=1),
        "nservers_per_procs": whole(1, low=1),
        "server_worker_separate": switch(False),
        "share_memory": switch(True),
        "sync_freq": whole(1),
        "start_port": whole(),
        "workspace": text(),
    },
)
JOB = Schema(
    "job",
    {
        "name": text(""),
        "train_steps": whole(0, low=0),
        "test_steps": whole(0, low=0),
        "test_freq": whole(0, low=0),
        "validate_steps": whole(0, low=0),
        "validate_freq": whole(0, low=0),
        "checkpoint_freq": whole(0, low=0),
        "checkpoint_path": each(text()),
        "disp_freq": whole(0, low=0),
        "gpu": each(whole(low=0)),
        "debug": switch(False),
        "train_one_batch": inner(
            Schema("train_one_batch", {"alg": one_of("kBP", "kBPTT", "kCD")}, {"Alg": "alg"})
        ),
        "updater": inner(UPDATER, optional=True),
        "neuralnet": inner(NET, required=True),
        "cluster": inner(CLUSTER),
    },
    {"net": "neuralnet"},
)
