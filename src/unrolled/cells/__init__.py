"""The mathematics of one step: the two kinds of cell, and the built-in ones."""

from __future__ import annotations

from unrolled.cells.base import Cell
from unrolled.cells.concat_rnn import ConcatRNN
from unrolled.cells.gated import GatedCell
from unrolled.cells.gru import GRU
from unrolled.cells.lstm import LSTM, LSTMState
from unrolled.cells.rnn import RNN, ReluRNN
from unrolled.cells.state import from_named_tensors, map_state, named_tensors
from unrolled.cells.user import UserCell, load_cell

BUILT_IN: dict[str, type[GatedCell]] = {"rnn": RNN, "relu-rnn": ReluRNN, "lstm": LSTM, "gru": GRU}
"""The gated cells that every engine knows."""
NAMED: dict[str, type[Cell]] = {**BUILT_IN, "concat-rnn": ConcatRNN}
"""All cells that settings and specs may name."""

__all__ = [
    "BUILT_IN",
    "GRU",
    "LSTM",
    "NAMED",
    "RNN",
    "Cell",
    "ConcatRNN",
    "GatedCell",
    "LSTMState",
    "ReluRNN",
    "UserCell",
    "from_named_tensors",
    "load_cell",
    "map_state",
    "named_tensors",
]
