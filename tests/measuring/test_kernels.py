from __future__ import annotations

import pytest
import torch

from unrolled.measuring import kernels
from unrolled.measuring.kernels import Kernel, listed, update_of
from unrolled.measuring.rounds import Manner
from unrolled.measuring.works import Size

SMALL = Size(8, 3, 5)


def test_every_format_is_listed_for_both_cells_and_float16_layer_by_layer_in_even_lanes() -> None:
    found = {kernel.label for kernel in listed()}
    assert len(found) == 2 * (4 + 2)
    for cell in ("LSTM", "GRU"):
        for numbers in ("float32", "tf32", "bfloat16", "float16"):
            assert f"nn.{cell}, {numbers}, 2 layers in one call, 100 lanes" in found
        for lanes in (104, 128):
            assert f"nn.{cell}, float16, layer by layer, {lanes} lanes" in found


@pytest.mark.parametrize(("cell", "numbers", "apart"), [
    ("lstm", "float32", False), ("gru", "float32", True), ("gru", "tf32", False), ("lstm", "bfloat16", True),
])  # fmt: skip
def test_an_update_on_a_kernel_learns(cell: str, numbers: str, apart: bool) -> None:
    torch.manual_seed(0)
    update = update_of(Kernel(cell, numbers, apart, SMALL), "cpu")
    first = update()
    for _ in range(60):
        last = update()
    assert isinstance(first, float) and isinstance(last, float) and last < 0.99 * first


def test_the_formats_of_the_process_are_left_as_they_were() -> None:
    places = torch.backends.cuda.matmul, torch.backends.cudnn.rnn
    before = [place.fp32_precision for place in places]
    update_of(Kernel("gru", "tf32", size=SMALL), "cpu")()
    assert [place.fp32_precision for place in places] == before


def test_kernels_are_told_with_their_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    few = [Kernel("lstm", "float32", size=SMALL), Kernel("gru", "bfloat16", True, SMALL)]
    monkeypatch.setattr(kernels, "listed", lambda: few)
    found = kernels.measure("cpu", Manner(rounds=1, seconds=1e-3, allowed=1.0))
    assert [row["kernel"] for row in found] == [kernel.label for kernel in few]
    assert all(row["chars_per_second"] == pytest.approx(15 / row["seconds"]) for row in found)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_every_listed_kernel_runs_on_a_gpu() -> None:
    for kernel in listed():
        update = update_of(kernel, "cuda")
        assert update() > 0  # type: ignore[operator]
