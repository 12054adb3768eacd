"""Tasks whose answers are known, made by rule: what a recurrent network can be checked against."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from unrolled.errors import UsageError

HELLO = "hello"
"""The text of Karpathy's article on the unreasonable effectiveness of RNNs."""

HELLO_SYMBOLS = ("h", "e", "l", "o")
"""Its vocabulary, in the article's order."""

COUNTING_SYMBOLS = tuple("0123456789")
"""The vocabulary of ``counting_text``; 0 never occurs."""


def counting_text(repeats: int = 100) -> str:
    """Return 1 2 2 3 3 3 … 9×9 as one text without spaces, 45 symbols ``repeats`` times.

    A model without memory can predict 37 of 45 symbols, one with memory all. From Chainer's example of a
    simple sequence, which has 100 repeats and 10 symbols (``COUNTING_SYMBOLS``).
    """
    check_size("repeats", repeats)
    return "".join(str(digit) * digit for digit in range(1, 10)) * repeats


def binary_addition(bits: int, lanes: int, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
    """Draw pairs of numbers below 2^bits; return their bits x [T, B, 2] and their sum's y [T, B, 1].

    Floats 0.0 and 1.0, T = bits + 1 with room for the carry, the least significant bit first. From the
    article on automatic unrolling in Caffe.
    """
    check_size("bits", bits)
    check_size("lanes", lanes)
    x = torch.randint(2, (bits + 1, lanes, 2), generator=generator)
    x[-1] = 0
    y = torch.empty(bits + 1, lanes, 1)
    carry = torch.zeros(lanes, dtype=torch.int64)
    for t in range(bits + 1):
        total = x[t].sum(-1) + carry
        y[t, :, 0] = total % 2
        carry = total // 2
    return x.float(), y


def copy_task(
    length: int, delay: int, lanes: int, generator: Generator | None = None, symbols: int = 8
) -> tuple[Tensor, Tensor]:
    """Draw symbols to say again after a delay; return ids inputs [T, B] and targets [T, B].

    T = 2 · length + delay and symbols + 2 ids: the symbols, then ``symbols`` (blank) and ``symbols + 1``
    (go, at step length + delay - 1). Inputs are ``length`` symbols, then blanks but for go; targets are
    blank, then the symbols from step length + delay on. From Hochreiter and Schmidhuber, 1997, in the
    form of Arjovsky, Shah and Bengio, 2016.
    """
    for name, size in (("length", length), ("delay", delay), ("lanes", lanes), ("symbols", symbols)):
        check_size(name, size)
    said = torch.randint(symbols, (length, lanes), generator=generator)
    inputs = torch.full((2 * length + delay, lanes), symbols)
    targets = inputs.clone()
    inputs[:length] = said
    inputs[length + delay - 1] = symbols + 1
    targets[length + delay :] = said
    return inputs, targets


def anbn_text(lines: int, longest: int, generator: Generator | None = None) -> str:
    """Draw ``lines`` lines a^n b^n with n from 1 to ``longest``, each ended by a newline.

    Once the first b has come, the rest of its line is certain. From Gers and Schmidhuber, 2001.
    """
    check_size("lines", lines)
    check_size("longest", longest)
    counts = torch.randint(1, longest + 1, (lines,), generator=generator).tolist()
    return "".join("a" * n + "b" * n + "\n" for n in counts)


def check_size(name: str, size: int) -> None:
    """Raise a UsageError for a size below 1."""
    if size < 1:
        raise UsageError(f"A generated task needs {name} of at least 1, not {size}. Raise it.")
