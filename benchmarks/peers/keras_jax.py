"""Keras 3 on JAX: its own layers, compiled by its own fit loop's train step."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from peers import LAYERS, SYMBOLS, few_processors, not_installed


def build(work: dict[str, Any]) -> Callable[[], object]:
    """Return an update: stateful layers, clipping by the norm of all gradients, Adam."""
    few_processors(work["threads"])
    os.environ.setdefault("KERAS_BACKEND", "jax")
    if work["threads"] == 1:
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    try:
        import keras
        import numpy as np
    except ImportError:
        raise not_installed("Keras") from None
    kind = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}[work["cell"]]
    H, B, T = work["hidden"], work["lanes"], work["window"]
    options = {"return_sequences": True, "stateful": True}
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(B, T), dtype="int32"),
            keras.layers.Embedding(SYMBOLS, H),
            *(kind(H, **options) for _ in range(LAYERS)),
            keras.layers.Dense(SYMBOLS),
        ]
    )
    model.compile(
        keras.optimizers.Adam(1e-3, global_clipnorm=5.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    ids = np.random.default_rng(0).integers(SYMBOLS, size=(2, B, T)).astype("int32")
    return lambda: model.train_on_batch(ids[0], ids[1])
