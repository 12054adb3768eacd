"""A large matrix product by torch, the nearest that a library comes to what the processor can multiply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

SIZE = 1024
OPERATIONS = 2 * SIZE**3


def build(work: dict[str, Any]) -> Callable[[], object]:
    """Return one product of two square matrices."""
    torch.set_num_threads(work["threads"])
    numbers = getattr(torch, work["numbers"])
    a, b = (torch.randn(SIZE, SIZE).to(numbers) for _ in range(2))
    return lambda: a @ b
