"""The learning rate as a pure function of the number of updates done."""

from __future__ import annotations

import bisect
import math

from unrolled.settings import TrainingSettings


def learning_rate(settings: TrainingSettings, update: int, per_epoch: int, total: int) -> float:
    """Return the learning rate of the update after ``update`` are done, of ``total``, ``per_epoch`` an epoch.

    step: lr x f^n, n the decays due: the first after ``decay_after``, then one each ``decay_every``.
    exponential: lr x f^(s / decay_every). inverse: lr x (1 + s / decay_every)^-``decay_power``. fixed-step:
    from ``lr_steps[i]`` updates on it is ``lr_values[i]``. linear and cosine: from lr to ``final_lr`` at
    ``final_after``, or ``total`` where that is 0 (cosine: Loshchilov and Hutter 2017). ``warmup`` multiplies
    by (update + 1) / warmup at first.
    """
    base, final = settings.lr, settings.final_lr
    done = update / per_epoch if settings.decay_unit == "epoch" else float(update)
    share = min(1.0, update / max(1, settings.final_after or total))
    rate = base
    if settings.schedule == "step":
        rate = base * settings.decay_factor ** _decays(settings, done)
    elif settings.schedule == "exponential":
        rate = base * settings.decay_factor ** (done / settings.decay_every)
    elif settings.schedule == "inverse":
        rate = base * (1 + done / settings.decay_every) ** -settings.decay_power
    elif settings.schedule == "fixed-step":
        reached = bisect.bisect_right(settings.lr_steps, update)
        rate = settings.lr_values[reached - 1] if reached else base
    elif settings.schedule == "linear":
        rate = base + (final - base) * share
    elif settings.schedule == "cosine":
        rate = final + (base - final) * (1 + math.cos(math.pi * share)) / 2
    return rate * min(1.0, (update + 1) / settings.warmup) if settings.warmup else rate


def _decays(settings: TrainingSettings, done: float) -> int:
    first = settings.decay_every if settings.decay_after is None else settings.decay_after
    return 0 if done < first else math.floor((done - first) / settings.decay_every + 1e-9) + 1


def number_of_updates(settings: TrainingSettings, per_epoch: int) -> int:
    """Return after how many updates training ends, by epochs or max_updates, whichever comes first."""
    limits = [settings.epochs * per_epoch, settings.max_updates]
    return min(limit for limit in limits if limit)
