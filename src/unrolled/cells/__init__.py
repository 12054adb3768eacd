"""The mathematics of one step: the three kinds of cell, and the built-in ones."""

from __future__ import annotations

from unrolled.cells.base import Cell
from unrolled.cells.concat_rnn import ConcatRNN
from unrolled.cells.gated import GatedCell
from unrolled.cells.gru import GRU
from unrolled.cells.linear import LinearCell
from unrolled.cells.lstm import LSTM, LSTMState
from unrolled.cells.min_gru import MinGRU
from unrolled.cells.min_lstm import MinLSTM
from unrolled.cells.peephole_lstm import PeepholeLSTM
from unrolled.cells.rnn import RNN, ReluRNN
from unrolled.cells.state import from_named_tensors, map_state, named_tensors
from unrolled.cells.user import UserCell, load_cell

BUILT_IN: dict[str, type[GatedCell]] = {
    "rnn": RNN,
    "relu-rnn": ReluRNN,
    "lstm": LSTM,
    "gru": GRU,
    "peephole-lstm": PeepholeLSTM,
}
"""The gated cells."""
LINEAR: dict[str, type[LinearCell]] = {"min-gru": MinGRU, "min-lstm": MinLSTM}
"""The linear cells."""
NAMED: dict[str, type[Cell]] = {**BUILT_IN, **LINEAR, "concat-rnn": ConcatRNN}
"""All cells that settings and specs may name."""

__all__ = [
    "BUILT_IN",
    "GRU",
    "LINEAR",
    "LSTM",
    "NAMED",
    "RNN",
    "Cell",
    "ConcatRNN",
    "GatedCell",
    "LSTMState",
    "LinearCell",
    "MinGRU",
    "MinLSTM",
    "PeepholeLSTM",
    "ReluRNN",
    "UserCell",
    "from_named_tensors",
    "load_cell",
    "map_state",
    "named_tensors",
]
