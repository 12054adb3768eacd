"""A gated cell: matrix products owned by the toolkit, elementwise mathematics written by the author."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from unrolled.cells import torch_layout
from unrolled.cells.base import Cell
from unrolled.cells.state import describe
from unrolled.errors import CellError


class GatedCell(Cell):
    """A cell made of gates; inherit from it, name the ``gates`` and write ``next_state``.

    ::

        class LSTM(GatedCell):
            gates = ("i", "f", "g", "o")
            State = LSTMState

            @staticmethod
            def next_state(i, f, g, o, state):
                c = sigmoid(f) * state.c + sigmoid(i) * tanh(g)
                return LSTMState(sigmoid(o) * tanh(c), c)

    ``next_state`` gets, by position and under these names (the last may have any): one [B, H] a gate in the
    order of ``gates``, which is x @ W + h @ U + b; for a gate in ``split`` its two halves instead, ``n_x`` =
    x @ W + b and ``n_h`` = h @ U + b_h, in the gate's place; then each of ``vectors``, a parameter [H]; at
    last ``state``. It returns the next state, whose first field (itself, where ``State`` is None) is the
    output y and what U multiplies in the next step. It may use elementwise torch operations only.

    Parameters, the gates packed side by side in the order of ``gates``, G of them: ``x_to_ifgo`` [D, G·H],
    ``h_to_ifgo`` [H, G·H], ``bias_ifgo`` [G·H], for split gates ``h_bias_n`` [H each], and the vectors under
    their own names. Gate names of several letters are joined by ``_``. Under any names they are reached as
    ``x_to_gates``, ``h_to_gates``, ``bias``, ``h_bias``.
    """

    reads_ids = True
    gates: ClassVar[tuple[str, ...]] = ()
    split: ClassVar[tuple[str, ...]] = ()
    vectors: ClassVar[tuple[str, ...]] = ()
    torch_kind: ClassVar[str | None] = None

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        check_class(type(self))
        H, GH = hidden_size, len(self.gates) * hidden_size
        self._x_to_gates = f"x_to_{_pack(self.gates)}"
        self._h_to_gates = f"h_to_{_pack(self.gates)}"
        self._bias = f"bias_{_pack(self.gates)}"
        self._h_bias = f"h_bias_{_pack(self._split_in_order())}" if self.split else None
        self.register_parameter(self._x_to_gates, nn.Parameter(torch.empty(input_size, GH)))
        self.register_parameter(self._h_to_gates, nn.Parameter(torch.empty(H, GH)))
        self.register_parameter(self._bias, nn.Parameter(torch.empty(GH)))
        if self._h_bias:
            self.register_parameter(self._h_bias, nn.Parameter(torch.empty(len(self.split) * H)))
        for vector in self.vectors:
            self.register_parameter(vector, nn.Parameter(torch.empty(H)))
        self.reset_parameters()

    @staticmethod
    def next_state(*args: Any, **kwargs: Any) -> Any:
        """Return the next state; see the class."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draw every parameter anew, uniform within ±1/√H as ``torch.nn.LSTM`` does."""
        bound = self.hidden_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    @property
    def x_to_gates(self) -> Tensor:
        """W [D, G·H], whatever the gates are called."""
        return self._weight(self._x_to_gates)

    @property
    def h_to_gates(self) -> Tensor:
        """U [H, G·H], whatever the gates are called."""
        return self._weight(self._h_to_gates)

    @property
    def bias(self) -> Tensor:
        """The bias [G·H] on x's side, the only one of a gate that is not split."""
        return self._weight(self._bias)

    def like(self) -> Tensor:
        """Return the bias: all weights are of one kind."""
        return self.bias

    @property
    def h_bias(self) -> Tensor | None:
        """The bias on h's side, [H] for each split gate in the order of ``gates``; None without any."""
        return self._weight(self._h_bias) if self._h_bias else None

    @property
    def vector_parameters(self) -> tuple[Tensor, ...]:
        """The parameters named in ``vectors``, each [H]."""
        return tuple(self._weight(name) for name in self.vectors)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Take ``x`` [B, D], or ids [B] that stand for one-hot rows; return y [B, H] and the next state."""
        state = self.next_state(*self.preactivations(x, state), *self.vector_parameters, state)
        return (state if self.State is None else state[0]), state

    def preactivations(self, x: Tensor, state: Any) -> tuple[Tensor, ...]:
        """Return what ``next_state`` gets of the gates, each [B, H], under the names in ``slices()``.

        An id picks its row of W and costs no product; id −1 means no id, a row of zeros.
        """
        h = state if self.State is None else state[0]
        from_x = self._from_x(x)
        if not self.split:
            return torch.split(torch.addmm(from_x, h, self.h_to_gates), self.hidden_size, dim=-1)
        return self._split_slices(from_x, h @ self.h_to_gates)

    def join(self, from_x: Tensor, from_h: Tensor) -> tuple[Tensor, ...]:
        """Return what ``preactivations`` does, given x @ W + b and h @ U, each [B, G·H]."""
        if not self.split:
            return torch.split(from_x + from_h, self.hidden_size, dim=-1)
        return self._split_slices(from_x, from_h)

    @classmethod
    def slices(cls) -> tuple[str, ...]:
        """Return the names of the slices of ``preactivations``: ``r z n_x n_h`` for a GRU."""
        halves = [(f"{gate}_x", f"{gate}_h") if gate in cls.split else (gate,) for gate in cls.gates]
        return tuple(name for names in halves for name in names)

    def load_torch(self, module: nn.Module, layer: int = 0, *, reverse: bool = False) -> None:
        """Copy the weights of one layer and direction of ``torch.nn.RNN/LSTM/GRU``, or of one of its cells.

        torch keeps two biases; they are added where this cell has one, so the numbers agree to rounding.
        """
        torch_layout.load(self, module, layer, reverse)

    def _weight(self, name: str) -> Tensor:
        """Return a weight by attribute: ``torch.func`` and parametrizations may put a tensor there."""
        weight: Tensor = getattr(self, name)
        return weight

    def _from_x(self, x: Tensor) -> Tensor:
        """Return x @ W + b [B, G·H]."""
        if x.is_floating_point():
            if x.dim() != 2:
                raise CellError(
                    f"{type(self).__name__} takes x [B, {self.input_size}] a step, came {describe(x)}"
                )
            return torch.addmm(self.bias, x, self.x_to_gates)
        if x.dim() != 1:
            raise CellError(f"{type(self).__name__} takes ids [B] a step, came {describe(x)}")
        rows = functional.embedding(x.clamp(min=0).long(), self.x_to_gates)
        return torch.where((x >= 0).unsqueeze(-1), rows, 0.0) + self.bias

    def _split_slices(self, from_x: Tensor, from_h: Tensor) -> tuple[Tensor, ...]:
        H = self.hidden_size
        assert self.h_bias is not None
        h_biases = dict(zip(self._split_in_order(), torch.split(self.h_bias, H), strict=True))
        slices: list[Tensor] = []
        for gate, x_part, h_part in zip(
            self.gates, torch.split(from_x, H, -1), torch.split(from_h, H, -1), strict=True
        ):
            slices += [x_part, h_part + h_biases[gate]] if gate in self.split else [x_part + h_part]
        return tuple(slices)

    @classmethod
    def _split_in_order(cls) -> tuple[str, ...]:
        return tuple(gate for gate in cls.gates if gate in cls.split)


def check_class(cls: type[GatedCell]) -> None:
    """Raise ``CellError`` where ``gates``, ``split``, ``vectors`` or ``next_state`` of ``cls`` do not fit."""
    name = cls.__name__
    for attribute in ("gates", "split", "vectors"):
        _check_names(name, attribute, getattr(cls, attribute))
    if not cls.gates:
        raise CellError(f'{name} names no gates; write gates = ("i", "f", "g", "o"), one name a gate')
    for gate in cls.split:
        if gate not in cls.gates:
            raise CellError(
                f"{name}.split names {gate!r}, which is no gate; its gates are {', '.join(cls.gates)}"
            )
    arguments = [*cls.slices(), *cls.vectors, "state"]
    for argument in arguments:
        if arguments.count(argument) > 1:
            raise CellError(f"{name}: next_state would get {argument!r} twice; rename a gate or a vector")
    for vector in cls.vectors:
        if hasattr(cls, vector):
            raise CellError(
                f"{name}.vectors: {vector!r} is already an attribute of the cell; name it otherwise"
            )
    wanted = f"@staticmethod def next_state({', '.join(arguments)})"
    if cls.next_state is GatedCell.next_state:
        raise CellError(f"{name} has no next_state; write {wanted}")
    if not isinstance(inspect.getattr_static(cls, "next_state"), staticmethod):
        raise CellError(f"{name}.next_state must be a static method; write {wanted}")
    came = list(inspect.signature(cls.next_state).parameters)
    if came[:-1] != arguments[:-1] or len(came) != len(arguments):
        raise CellError(f"{name} must have {wanted}, came next_state({', '.join(came)})")


def _check_names(name: str, attribute: str, names: Any) -> None:
    if not isinstance(names, tuple) or not all(isinstance(n, str) and n.isidentifier() for n in names):
        raise CellError(f'{name}.{attribute} must be a tuple of names such as ("i", "f"), came {names!r}')
    twice = [n for n in names if names.count(n) > 1]
    if twice:
        raise CellError(f"{name}.{attribute} names {twice[0]!r} twice; give each a name of its own")


def _pack(gates: tuple[str, ...]) -> str:
    return ("" if all(len(gate) == 1 for gate in gates) else "_").join(gates)
