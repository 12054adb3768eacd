"""Every draw: at the ends of temperature, logits and truncation, and a million against their distribution."""

from __future__ import annotations

import ctypes
import math
import random
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import unrolled
from unrolled.engines.native import sampler
from unrolled.net import Chain, Net, chain, initialise
from unrolled.net.layers import Sample
from unrolled.sample import Choice, Reader, Stream, draw

from .trials import Trial, Wrong

Floats = NDArray[np.float64]
Draw = Callable[[Floats, float, Choice], int]

TEMPERATURES = (0.0, 5e-324, 1e-300, 1e-6, 1e-3, 1.0, 1e3, 1e6, 1e300)
TOP_K = (0, 1, 2, 13, 2**31, 2**63 - 1, 2**64 + 1)
TOP_P = (5e-324, 1e-9, 0.5, 1 - 2**-53, 1.0)
MIN_P = (0.0, 5e-324, 0.5, 1.0)
UNIFORMS = (0.0, 5e-324, 0.25, 0.5, 0.9, 1 - 2**-53)
LARGEST = float(np.finfo(np.float32).max)
V = 13


def plain(logits: Floats, uniform: float, choice: Choice) -> int:
    """Draw as the plain sampler does."""
    return draw(logits, uniform, choice)


def native(logits: Floats, uniform: float, choice: Choice) -> int:
    """Draw as the compiled sampler does."""
    kind: Any = unrolled.RNN
    library = sampler._library((kind,), (kind.next_state,), "float32")
    lane = sampler.Lane(
        np.zeros(1, np.float32), np.zeros(1, np.int64), logits.astype(np.float32), np.zeros(1),
        (choice.temperature, choice.top_k, choice.top_p, choice.min_p),
    )  # fmt: skip
    row = sampler._Row()
    sampler._fill_row(row, lane, np.zeros(0, np.int64))
    numbers, room = logits.astype(np.float32), np.full(6 * len(logits) + 400, np.nan)
    found: int = library.draw_one(
        ctypes.byref(row), ctypes.c_void_p(numbers.ctypes.data), ctypes.c_double(uniform), len(numbers),
        ctypes.c_void_p(room.ctypes.data),
    )  # fmt: skip
    return found


def layer(logits: Floats, uniform: float, choice: Choice) -> int:
    """Draw as the layer of type sample does, which knows a temperature alone."""
    module = Sample.__new__(Sample)
    torch.nn.Module.__init__(module)
    module.temperature, module.generator = (
        choice.temperature,
        torch.Generator().manual_seed(int(uniform * 99)),
    )
    return int(module(torch.from_numpy(logits.astype(np.float32))[None, None])[0, 0])


SAMPLERS: dict[str, Draw] = {"plain": plain, "native": native, "layer": layer}


def logits_of(kind: str, numbers: np.random.Generator) -> Floats:
    """Return logits [V] at an end, each a float32."""
    normal = numbers.normal(size=V)
    if kind == "one far above":
        normal[numbers.integers(V)] = 1e4
    elif kind == "all equal":
        normal[:] = numbers.choice([0.0, -1e4, 1e4, 1e30])
    elif kind == "two equal":
        normal[numbers.choice(V, 2, replace=False)] = 20.0
    elif kind.startswith("±"):
        normal = numbers.choice([-1.0, 1.0], V) * numbers.uniform(0.5, 1, V) * float(kind[1:])
    elif kind == "the largest":
        normal = numbers.choice([-LARGEST, LARGEST, 0.0], V)
    return normal.astype(np.float32).astype(np.float64)


KINDS = ("normal", "one far above", "all equal", "two equal", "±1e4", "±1e30", "the largest")


def allowed(logits: Floats, choice: Choice) -> set[int]:
    """Return the ids that may be drawn, found in another way than by either sampler."""
    best = {int(i) for i in np.flatnonzero(logits == logits.max())}
    if choice.temperature == 0:
        return {min(best)}
    with np.errstate(over="ignore", under="ignore"):
        weights = np.exp((logits - logits.max()) / choice.temperature)
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], i))
    keep = order[: choice.top_k or None]
    total, sums = math.fsum(weights), 0.0
    for place, i in enumerate(order):
        sums += weights[i]
        if sums >= choice.top_p * total * (1 + 1e-12) and choice.top_p < 1:
            keep = [j for j in keep if j in order[: place + 1]]
            break
    return {i for i in keep if weights[i] > 0 and weights[i] >= choice.min_p * weights[order[0]]}


def at_the_ends(sampler_name: str, kind: str, folder: Path, random_: random.Random) -> None:
    """Draw with every temperature and truncation: an id that may come, never an exception."""
    draw_, numbers = SAMPLERS[sampler_name], np.random.default_rng(random_.randrange(1 << 32))
    truncations = [(0, 1.0, 0.0)] if sampler_name == "layer" else list(product(TOP_K, TOP_P, MIN_P))
    for temperature in TEMPERATURES:
        logits = logits_of(kind, numbers)
        for top_k, top_p, min_p in truncations:
            choice = Choice(temperature, top_k, top_p, min_p)
            for uniform in UNIFORMS:
                may = allowed(logits, choice)
                with np.errstate(all="raise", under="ignore"):
                    came = draw_(logits, uniform, choice)
                if sampler_name == "native":
                    may &= {plain(logits, uniform * (1 + e), choice) for e in (-1e-13, 0, 1e-13)}
                if came not in may:
                    raise Wrong(f"{came} of {logits.tolist()} at {choice}, {uniform!r}; wanted of {may}")
        _check_cold(draw_, logits)


def _check_cold(draw_: Draw, logits: Floats) -> None:
    """Raise Wrong unless next to no temperature takes the likeliest, where it is alone."""
    first, second = np.sort(logits)[[-1, -2]]
    for temperature in (0.0, 1e-300, 1e-6):
        for uniform in UNIFORMS:
            came = draw_(logits, uniform, Choice(temperature))
            if first - second > 1e-3 and came != int(logits.argmax()):
                raise Wrong(f"{came} of {logits.tolist()} at {temperature}, {uniform!r}")


@cache
def net_of(engine: str) -> Net:
    """Return a small net with weights by chance that has opinions."""
    torch.set_num_threads(1)
    torch.manual_seed(3)
    vocab = unrolled.Vocab.of("abcdefg hijk")
    net = Net(chain(Chain(outputs=len(vocab), cell="gru", layers=1, hidden=24)), vocab)
    initialise(net, "uniform", 0.9, None)
    net.engine = engine
    return net.eval()


CHOICES = {
    "temperature 1": Choice(),
    "temperature 0.5": Choice(0.5),
    "temperature 3": Choice(3.0),
    "top-k 4": Choice(1.0, 4),
    "top-p 0.7": Choice(1.0, 0, 0.7),
    "min-p 0.2, temperature 1.5": Choice(1.5, 0, 1.0, 0.2),
}
BINS = 61


def chi_square(counts: Floats, expected: Floats) -> float:
    """Return the probability of counts that are as far from what was expected, or farther."""
    value = float(((counts - expected) ** 2 / expected).sum())
    half = torch.tensor([(len(counts) - 1) / 2, value / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def probabilities(logits: Floats, choice: Choice) -> Floats:
    """Return what each id's probability [N, V] should be, by ranks and not by the samplers' way."""
    scaled = logits / choice.temperature
    weights = np.exp(scaled - scaled.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    order = np.argsort(-weights, axis=-1, kind="stable")
    sorted_ = np.take_along_axis(weights, order, -1)
    before = np.cumsum(sorted_, -1) - sorted_
    keep = np.ones(sorted_.shape, bool)
    if choice.top_k:
        keep[..., choice.top_k :] = False
    if choice.top_p < 1:
        keep &= before < choice.top_p
    keep &= sorted_ >= choice.min_p * sorted_[..., :1]
    found = np.zeros_like(weights)
    np.put_along_axis(found, order, np.where(keep, sorted_, 0), -1)
    return np.asarray(found / found.sum(-1, keepdims=True))


def _places(logits: Floats, ids: NDArray[np.int64], choice: Choice, seed: int) -> Floats:
    """Return numbers that are uniform in [0, 1) if the ids were drawn as the logits say, and only then.

    Each id is a stretch of [0, 1) as long as its probability, in an order drawn anew each time; the number
    is a place in it.
    """
    numbers = np.random.default_rng(seed)
    chances = probabilities(logits, choice)
    if not (np.take_along_axis(chances, ids[:, None], -1) > 0).all():
        raise Wrong("an id was drawn that is left out")
    order = np.argsort(numbers.random(chances.shape), -1)
    shuffled = np.take_along_axis(chances, order, -1)
    place = (order == ids[:, None]).argmax(-1)[:, None]
    own = np.take_along_axis(shuffled, place, -1)
    below = np.take_along_axis(np.cumsum(shuffled, -1), place, -1) - own
    return np.asarray((below + own * numbers.random((len(ids), 1)))[:, 0])


def streamed(engine: str, weights: str, choice: Choice, count: int, seed: int) -> float:
    """Return the p of ``count`` ids of a stream against the distributions that its own weights give."""
    net, counts, done = net_of(engine), np.zeros(BINS), 0
    stream = Stream(net, choice, seed=seed, weights=weights).prime([0])
    reader = Reader(net, weights) if engine == "auto" else None
    before, state = 0, net.initial_state(1)
    while done < count:
        ids = np.array(stream.take(min(20_000, count - done)), np.int64)
        read = np.concatenate([[before], ids[:-1]])
        if reader is not None:
            [logits] = reader.read(read[:, None])
        else:
            with torch.inference_mode():
                values, state = net(torch.from_numpy(read)[:, None], state)
            logits = values[:, 0].double().numpy()
        places = _places(logits.astype(np.float64), ids, choice, seed + done)
        counts += np.histogram(places, BINS, (0.0, 1.0))[0]
        done, before = done + len(ids), int(ids[-1])
    return chi_square(counts, np.full(BINS, count / BINS))


def fixed(name: str, choice: Choice, count: int, seed: int) -> float:
    """Return the p of ``count`` draws from one distribution, by one sampler."""
    numbers, draw_ = np.random.default_rng(seed), SAMPLERS[name]
    logits = (2 * numbers.normal(size=40)).astype(np.float32).astype(np.float64)
    chances = probabilities(logits[None], choice)[0]
    ids = [draw_(logits, uniform, choice) for uniform in numbers.random(count).tolist()]
    counts = np.bincount(ids, minlength=len(chances)).astype(float)
    if counts[chances == 0].any():
        raise Wrong("an id was drawn that is left out")
    often = chances * count >= 10
    few = [float(part[(chances > 0) & ~often].sum()) for part in (counts, chances * count)]
    seen, wanted = counts[often], chances[often] * count
    if few[1] >= 10:
        seen, wanted = np.append(seen, few[0]), np.append(wanted, few[1])
    return chi_square(seen, wanted * (seen.sum() / wanted.sum()))


def by_chance(p_of: Callable[[int], float], folder: Path, random_: random.Random) -> None:
    """Ask for p > 0.001; where it is less, twice more: a right sampler fails thrice once in 10^9."""
    found = []
    for seed in (1, 2, 3):
        found.append(p_of(seed))
        if found[-1] > 0.001:
            return
    raise Wrong(f"p is {', '.join(f'{p:.2g}' for p in found)}")


MILLION = 1_000_000


def trials() -> Iterator[Trial]:
    """Yield the ends, then the millions."""
    for name, kind in product(SAMPLERS, KINDS):
        for n in range(3):
            yield Trial(f"{name} draws, {kind} {n}", partial(at_the_ends, name, kind))
    for title, choice in CHOICES.items():
        for weights in ("float32", "bf16", "int8"):
            p_of = partial(streamed, "auto", weights, choice, MILLION)
            yield Trial(f"a million of a stream, {weights}, {title}", partial(by_chance, p_of))
        p_of = partial(streamed, "naive", "float32", choice, MILLION // 100)
        yield Trial(f"ten thousand of the plain stream, {title}", partial(by_chance, p_of))
        for name in ("plain", "native"):
            p_of = partial(fixed, name, choice, MILLION)
            yield Trial(f"a million of one distribution, {name}, {title}", partial(by_chance, p_of))
