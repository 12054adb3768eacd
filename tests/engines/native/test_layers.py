"""The compiled layers against torch's, in float64, and a row's bits in any company."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from unrolled.engines.native import compiler, layers
from unrolled.errors import UsageError

pytestmark = pytest.mark.skipif(
    not any(compiler.shutil.which(name) for name in compiler.COMPILERS),
    reason="there is no C++ compiler here",
)
BOUND = 1e-6
SIZES = pytest.mark.parametrize(
    ("N", "D", "K"), [(1, 1, 1), (7, 3, 17), (100, 64, 96), (301, 130, 5), (97, 65, 64)]
)


@pytest.fixture(autouse=True, scope="module")
def scratch_full_of_nan() -> Iterator[None]:
    """Every room that is asked for is full of NaN."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "room", lambda *shape: torch.full(shape, torch.nan))
        yield


def close(found: Tensor, wanted: Tensor) -> bool:
    found, wanted = found.detach().double(), wanted.detach()
    return bool((found - wanted).norm() <= BOUND * max(float(wanted.norm()), 1.0))


@SIZES
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_linear_is_torchs_in_values_and_gradients(
    N: int, D: int, K: int, threads: int, transposed: bool, biased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(N)
    monkeypatch.setattr(layers, "_SMALL", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x, W = torch.randn(N, D), torch.randn(K, D).t() if transposed else torch.randn(D, K)
    leaves = [x, W, torch.randn(K)] if biased else [x, W]
    exact = [part.double().requires_grad_() for part in leaves]
    leaves = [part.requires_grad_() for part in leaves]
    weigh = torch.randn(N, K)
    y = layers.linear(leaves[0], leaves[1], leaves[2] if biased else None)
    wanted = exact[0] @ exact[1] + (exact[2] if biased else 0.0)
    assert close(y, wanted)
    grads = torch.autograd.grad((y * weigh).sum(), leaves)
    for ours, theirs in zip(grads, torch.autograd.grad((wanted * weigh).sum(), exact), strict=True):
        assert close(ours, theirs)


def test_bf16_rounds_the_factors_of_linear() -> None:
    torch.manual_seed(3)
    x, W, bias = torch.randn(50, 33), torch.randn(33, 20), torch.randn(20)
    x, W = x.requires_grad_(), W.requires_grad_()
    y, weigh = layers.linear(x, W, bias, bf16=True), torch.randn(50, 20)
    exact = [part.detach().bfloat16().double() for part in (x, W, weigh)]
    assert close(y, exact[0] @ exact[1] + bias.double())
    d_x, d_W = torch.autograd.grad((y * weigh).sum(), [x, W])
    assert close(d_x, exact[2] @ exact[1].t())
    assert close(d_W, exact[0].t() @ exact[2])


def test_a_row_of_linear_has_the_same_bits_in_any_company(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    monkeypatch.setattr(layers, "_SMALL", 0)
    x, W, bias = torch.randn(100, 33), torch.randn(33, 77), torch.randn(77)
    wanted = layers.linear(x, W, bias)
    for trial in range(100):
        rows = torch.randperm(100)[: 1 + trial]
        crowd = torch.full_like(x, torch.nan) if trial % 2 else torch.randn(100, 33)
        crowd[rows] = x[rows]
        assert torch.equal(layers.linear(x[rows], W, bias), wanted[rows])
        assert torch.equal(layers.linear(crowd, W, bias)[rows], wanted[rows])


def test_linear_is_one_chain_of_multiply_adds() -> None:
    # Numbers of few bits, so that float64 holds each product, and each sum before it is rounded.
    torch.manual_seed(2)
    x, W, bias = (torch.randint(-512, 512, shape).float() / 64 for shape in ((9, 50), (50, 20), (20,)))
    big = bias.double() + 2**16
    sums = big.expand(9, 20)
    for k in range(50):
        sums = (sums + x[:, k : k + 1].double() * W[k].double()).float().double()
    assert torch.equal(layers.linear(x, W, big.float()), sums.float())


@SIZES
def test_softmax_loss_is_torchs_in_values_gradients_and_what_is_right(N: int, D: int, K: int) -> None:
    torch.manual_seed(N)
    logits, targets = torch.randn(N, K) * 5, torch.randint(-1, K, (N,))
    logits[0] = 1.0  # all alike: the first is the likeliest
    exact = logits.double().requires_grad_()
    nats, right = layers.softmax_loss(logits.requires_grad_(), targets)
    wanted = functional.cross_entropy(exact, targets, ignore_index=-1, reduction="none")
    assert close(nats, wanted)
    assert torch.equal(right, logits.argmax(-1) == targets)
    weigh = torch.randn(N)
    [ours] = torch.autograd.grad((nats * weigh).sum(), logits)
    [theirs] = torch.autograd.grad((wanted * weigh).sum(), exact)
    assert close(ours, theirs)


def test_softmax_loss_knows_large_and_absent_numbers() -> None:
    logits = torch.tensor(
        [[1e4, -1e4, 0.0], [-torch.inf, 0.0, 1.0], [torch.nan, 0.0, 1.0], [3e38, -3e38, 0.0]]
    )
    targets = torch.tensor([0, 2, 1, 1])
    nats, right = layers.softmax_loss(logits, targets)
    wanted = functional.cross_entropy(logits, targets, reduction="none")
    torch.testing.assert_close(nats, wanted, equal_nan=True, rtol=1e-6, atol=1e-6)
    assert right.tolist() == [True, True, False, False]


def test_targets_may_be_whole_numbers_of_any_width() -> None:
    logits, targets = torch.randn(5, 3), torch.tensor([2, -1, 0, 1, 2])
    wanted, _ = layers.softmax_loss(logits, targets)
    for dtype in (torch.int32, torch.int16, torch.int8):
        assert torch.equal(layers.softmax_loss(logits, targets.to(dtype))[0], wanted)


def test_a_target_that_is_no_id_is_told() -> None:
    for wrong in (3, -2):
        with pytest.raises(UsageError, match=f"targets are ids from 0 to 2, or -1; came {wrong}"):
            layers.softmax_loss(torch.zeros(2, 3), torch.tensor([0, wrong]))


def test_second_derivatives_are_refused() -> None:
    x, W = torch.randn(4, 3, requires_grad=True), torch.randn(3, 5)
    for y in (layers.linear(x, W, None), layers.softmax_loss(x, torch.zeros(4, dtype=torch.long))[0]):
        [d_x] = torch.autograd.grad(y.sum(), x, create_graph=True)
        with pytest.raises(UsageError, match="no second derivatives; run with engine='naive'"):
            d_x.square().sum().backward()


def test_serves_only_plain_float32_on_a_cpu() -> None:
    x = torch.randn(4, 3)
    assert layers.serves(x, None)
    assert not layers.serves(x.double())
    assert not layers.serves(x[:0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not layers.serves(x)
