"""JAX: lax.scan over time with the input products taken out of the loop, jit, donated buffers."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from peers import CHARS, LAYERS, SYMBOLS, few_processors, not_installed

TEMPERATURE = 0.8
GATES = {"lstm": 4, "gru": 3, "rnn": 1}


def build(work: dict[str, Any]) -> Callable[[], object]:
    """Return an update or draws."""
    few_processors(work["threads"])
    if work["threads"] == 1:
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    try:
        import jax
    except ImportError:
        raise not_installed("JAX") from None
    jax.config.update("jax_platforms", "cpu")
    return _update(work) if work["do"] == "train" else _draw(work)


def _parameters(cell: str, H: int) -> Any:
    """Return weights within ±1/√H, as everyone here begins with."""
    import jax

    shapes: dict[str, tuple[int, ...]] = {"embedding": (SYMBOLS, H), "w": (H, SYMBOLS), "b": (SYMBOLS,)}
    for layer in range(LAYERS):
        width = GATES[cell] * H
        shapes |= {f"W{layer}": (H, width), f"U{layer}": (H, width), f"bias{layer}": (width,)}
        if cell == "gru":
            shapes[f"h_bias{layer}"] = (H,)
    keys = jax.random.split(jax.random.PRNGKey(0), len(shapes))
    bound = H**-0.5
    return {
        name: jax.random.uniform(key, shape, minval=-bound, maxval=bound)
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def step(cell: str, p: Any, layer: int, from_x: Any, state: Any) -> Any:
    """Return the next state of a layer; ``from_x`` holds x's product and the bias."""
    import jax.numpy as jnp
    from jax.nn import sigmoid

    h = state[0]
    from_h = h @ p[f"U{layer}"]
    if cell == "rnn":
        return (jnp.tanh(from_x + from_h),)
    if cell == "lstm":
        i, f, g, o = jnp.split(from_x + from_h, 4, axis=-1)
        c = sigmoid(f) * state[1] + sigmoid(i) * jnp.tanh(g)
        return sigmoid(o) * jnp.tanh(c), c
    x_r, x_z, x_n = jnp.split(from_x, 3, axis=-1)
    h_r, h_z, h_n = jnp.split(from_h, 3, axis=-1)
    z = sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + sigmoid(x_r + h_r) * (h_n + p[f"h_bias{layer}"]))
    return ((1 - z) * n + z * h,)


def _zeros(cell: str, *shape: int) -> list[tuple[Any, ...]]:
    import jax.numpy as jnp

    return [tuple(jnp.zeros(shape) for _ in range(2 if cell == "lstm" else 1)) for _ in range(LAYERS)]


def _update(work: dict[str, Any]) -> Callable[[], object]:
    import jax
    import jax.numpy as jnp

    cell, H, B, T = (work[name] for name in ("cell", "hidden", "lanes", "window"))

    def loss_of(p: Any, ids: Any, targets: Any, states: Any) -> Any:
        x, last = None, []
        for layer, state in enumerate(states):
            table = p["embedding"] @ p["W0"] + p["bias0"] if layer == 0 else None
            from_x = table[ids] if layer == 0 else x @ p[f"W{layer}"] + p[f"bias{layer}"]

            def advance(state: Any, row: Any, layer: int = layer) -> Any:
                state = step(cell, p, layer, row, state)
                return state, state[0]

            state, x = jax.lax.scan(advance, state, from_x)
            last.append(state)
        logits = jax.nn.log_softmax(x @ p["w"] + p["b"])
        return -jnp.mean(jnp.take_along_axis(logits, targets[..., None], -1)), last

    @partial(jax.jit, donate_argnums=(0, 1, 2, 5))
    def learn(p: Any, m: Any, v: Any, count: Any, ids: Any, states: Any, targets: Any) -> Any:
        (loss, states), grads = jax.value_and_grad(loss_of, has_aux=True)(p, ids, targets, states)
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
        scale = jnp.minimum(1.0, 5.0 / (norm + 1e-6))
        grads = jax.tree.map(lambda g: g * scale, grads)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        p = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), p, m, v)
        return p, m, v, states, loss

    p = _parameters(cell, H)
    m, v = jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p)
    states, count = _zeros(cell, B, H), 0
    inputs, targets = jax.random.randint(jax.random.PRNGKey(1), (2, T, B), 0, SYMBOLS)

    def update() -> float:
        nonlocal p, m, v, states, count
        count += 1
        p, m, v, states, loss = learn(p, m, v, float(count), inputs, states, targets)
        return float(loss)

    return update


def _draw(work: dict[str, Any]) -> Callable[[], object]:
    """Draw inside one jitted scan; embedding, first layer's weights and bias folded into a table."""
    import jax
    import jax.numpy as jnp

    cell, H = work["cell"], work["hidden"]
    p = _parameters(cell, H)
    p["table"] = p["embedding"] @ p["W0"] + p["bias0"]

    @jax.jit
    def run(p: Any, carry: Any, keys: Any) -> Any:
        def advance(carry: Any, key: Any) -> Any:
            id_, states = carry
            x, after = None, []
            for layer, state in enumerate(states):
                from_x = p["table"][id_] if layer == 0 else x @ p[f"W{layer}"] + p[f"bias{layer}"]
                after.append(step(cell, p, layer, from_x, state))
                x = after[-1][0]
            id_ = jax.random.categorical(key, (x @ p["w"] + p["b"]) / TEMPERATURE)
            return (id_, after), id_

        return jax.lax.scan(advance, carry, keys)

    carry = (jnp.zeros((), jnp.int32), _zeros(cell, H))
    key = jax.random.PRNGKey(2)

    def draw() -> None:
        nonlocal carry, key
        key, own = jax.random.split(key)
        carry, ids = run(p, carry, jax.random.split(own, CHARS))
        ids.block_until_ready()

    return draw
