"""Read a text with a net and write down everything that happened on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.cells import Cell, GatedCell, map_state, named_tensors
from unrolled.data import Vocab
from unrolled.errors import UsageError
from unrolled.inspection.activations import GateReader
from unrolled.inspection.reading import check_reads_text, checked_ids, document_starts, shown
from unrolled.net import Net, State
from unrolled.net.quiet import device_of, undisturbed

FloatArray = NDArray[np.float32]

_BLOCK = 256  # steps after which gates and guesses are computed together


@dataclass(frozen=True)
class Recording:
    """What a net did at each of T symbols of a text. Position t is the step that read symbol t."""

    ids: NDArray[np.int64]
    """The text, [T]."""
    symbols: list[str]
    """Each id's own text, T of them."""
    series: dict[str, FloatArray]
    """[T, H] by ``<layer>.<part>``: the fields of the state after the step, then the gates of the step."""
    layer_of: dict[str, str]
    """The layer of each series."""
    activations: dict[str, str]
    """Of the series that are gates: the function that made them, ``sigmoid`` or ``tanh`` say; empty for a
    pre-activation."""
    surprise: FloatArray
    """Bits [T] that symbol t cost, given those before; NaN at 0, before which there was nothing."""
    guesses: NDArray[np.int64]
    """The likeliest ids [T, k] for symbol t + 1, the likeliest first; of equal ones the lowest id first."""
    probabilities: FloatArray
    """The guesses' probabilities, [T, k]."""
    state: State
    """The net's state after the text, to go on from."""
    vocab: Vocab | None = None
    """What the net's ids stand for."""

    def __len__(self) -> int:
        return len(self.ids)

    def shown(self, ids: NDArray[np.int64]) -> list[str]:
        """Return the text of ids [N], guesses for example, each as in ``symbols``."""
        return shown(self.vocab, ids)

    def is_gate(self, name: str) -> bool:
        """Tell whether a series is a gate's, and not a field of the state."""
        return name in self.activations

    @property
    def layers(self) -> list[str]:
        """The recurrent layers, in order."""
        return list(dict.fromkeys(self.layer_of.values()))

    def _repr_html_(self) -> str:
        from unrolled.inspection.inspecting import Inspection

        return Inspection.of(self)._repr_html_()


def record(model: Net, ids: Iterable[int], *, state: State | None = None, top: int = 5) -> Recording:
    """Read ``ids`` [T] one at a time; return states, gates, surprise and the ``top`` guesses at each.

    ::

        for t in range(T):
            logits[t], state = model.step(ids[t : t + 1], state)

    States are those of this loop to the bit (for a net that is no plain chain, of the loop with engine
    ``naive``), in evaluation mode, anew after each boundary of the net's documents. Gates are computed from
    them for many steps at once, the same to rounding; what counts as a gate is told at ``GateReader.of``.
    Where two parts of a layer have one name, the gate's is ``gate_<name>``.

    Neither the model nor ``state`` is changed afterwards; meanwhile the model's cells are watched, so no
    other thread may use it. The result takes T · H · 4 bytes a part: 0.5 GB for 20,000 symbols and two
    LSTMs of 512 units.

    UsageError for a net that can't read symbol by symbol, and for ids or a state that don't fit it.
    """
    check_reads_text(model)
    text = checked_ids(model, ids)
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise UsageError(f"top: wanted 1 guess or more, came {top!r}")
    engine = None if model.straight is not None else "naive"
    with undisturbed(model, engine), torch.no_grad():
        walk = _Walk(model, text, _started(model, state), min(top, model.output_size))
        return walk.run()


def _started(net: Net, state: State | None) -> State:
    """Return a copy of the state to start in."""
    blank = net.initial_state(1)
    if state is None:
        return blank
    wanted, came = (
        {name: (tuple(x.shape), x.dtype) for name, x in named_tensors(s).items()} for s in (blank, state)
    )
    if wanted != came:
        wrong = next(name for name in (*wanted, *came) if wanted.get(name) != came.get(name))
        raise UsageError(
            f"wanted a state of this net for one lane, {wrong} {wanted.get(wrong, 'absent')}; "
            f"came {wrong} {came.get(wrong, 'absent')}; take net.initial_state(1) or a recording's state"
        )
    copy: State = map_state(torch.clone, state)
    return copy


class _Walk:
    """One walk over a text, and the arrays that it fills."""

    def __init__(self, net: Net, ids: NDArray[np.int64], state: State, top: int) -> None:
        self.net, self.ids, self.state, self.top = net, ids, state, top
        self.starts = document_starts(net, ids)
        self.cells = {name: cell for name, cell in net.cells.items() if name in state}
        self.readers = {n: GateReader.of(c) for n, c in self.cells.items() if isinstance(c, GatedCell)}
        self.series: dict[str, FloatArray] = {}
        self.layer_of: dict[str, str] = {}
        self.activations: dict[str, str] = {}
        T = len(ids)
        self.surprise = np.full(T, np.nan, np.float32)
        self.guesses = np.zeros((T, top), np.int64)
        self.probabilities = np.zeros((T, top), np.float32)

    def run(self) -> Recording:
        """Take all steps, block by block."""
        with _watched(self.cells) as seen:
            for begin in range(0, len(self.ids), _BLOCK):
                self._block(begin, min(begin + _BLOCK, len(self.ids)), seen)
        names = [name for layer in self.cells for name in self.series if self.layer_of[name] == layer]
        return Recording(
            self.ids,
            shown(self.net.vocab, self.ids),
            {name: self.series[name] for name in names},
            {name: self.layer_of[name] for name in names},
            self.activations,
            self.surprise,
            self.guesses,
            self.probabilities,
            map_state(torch.clone, self.state),
            self.net.vocab,
        )

    def _block(self, begin: int, end: int, seen: dict[str, list[tuple[Tensor, Any]]]) -> None:
        ids = torch.from_numpy(self.ids[begin:end]).to(device_of(self.net))
        logits, states = [], []
        for t in range(begin, end):
            if self.starts[t]:
                self.state = self.net.initial_state(1)
            y, self.state = self.net.step(ids[t - begin : t - begin + 1], self.state)
            logits.append(y)
            states.append(self.state)
        self._write_guesses(begin, torch.cat(logits))
        for layer in self.cells:
            fields = named_tensors(_stacked([state[layer] for state in states]))
            for field, values in fields.items():
                self._write(layer, field or "h", begin, values)
        for layer, reader in self.readers.items():
            if len(seen[layer]) == end - begin:
                xs, before = zip(*seen[layer], strict=True)
                for part, values in reader.read(torch.cat(xs), _stacked(before)).items():
                    self._write_gate(layer, part, begin, values)
                self._name_gates(layer, reader)
            seen[layer].clear()

    def _write_gate(self, layer: str, part: str, begin: int, values: Tensor) -> None:
        self._write(layer, self._gate_name(layer, part), begin, values)

    def _name_gates(self, layer: str, reader: GateReader) -> None:
        for gate in reader.gates:
            self.activations[f"{layer}.{self._gate_name(layer, gate.name)}"] = gate.activation

    def _gate_name(self, layer: str, part: str) -> str:
        fields = [field or "h" for field in named_tensors(self.state[layer])]
        return f"gate_{part}" if part in fields else part

    def _write(self, layer: str, part: str, begin: int, values: Tensor) -> None:
        """Put ``values`` [n, ...] of some steps in their series."""
        name, flat = f"{layer}.{part}", values.flatten(1)
        if name not in self.series:
            self.series[name] = np.zeros((len(self.ids), flat.shape[1]), np.float32)
            self.layer_of[name] = layer
        self.series[name][begin : begin + len(flat)] = flat.float().cpu().numpy()

    def _write_guesses(self, begin: int, logits: Tensor) -> None:
        """Put down guesses and surprise for logits [n, V], in float64."""
        logits = logits.double()
        nats = torch.log_softmax(logits, -1).cpu().numpy()
        order = np.argsort(-logits.cpu().numpy(), axis=-1, kind="stable")[:, : self.top]
        rows = slice(begin, begin + len(nats))
        self.guesses[rows] = order
        self.probabilities[rows] = np.exp(np.take_along_axis(nats, order, -1))
        following = self.ids[begin + 1 : begin + 1 + len(nats)]
        bits = -nats[np.arange(len(following)), following] / np.log(2)
        self.surprise[begin + 1 : begin + 1 + len(following)] = bits


def _stacked(states: Iterable[Any]) -> Any:
    """Lay states of one lane on top of each other, [n, H]."""
    return map_state(lambda *parts: torch.cat(parts), *states)


@contextmanager
def _watched(cells: dict[str, Cell]) -> Iterator[dict[str, list[tuple[Tensor, Any]]]]:
    """Note what each cell's ``step`` is given, x and the state before it, while this lasts."""
    seen: dict[str, list[tuple[Tensor, Any]]] = {name: [] for name in cells}

    def noting(name: str, cell: Cell) -> Any:
        step = cell.step

        def noted(x: Tensor, state: Any) -> tuple[Tensor, Any]:
            seen[name].append((x, state))
            return step(x, state)

        return noted

    own = {name: vars(cell).get("step") for name, cell in cells.items()}
    try:
        for name, cell in cells.items():
            vars(cell)["step"] = noting(name, cell)
        yield seen
    finally:
        for name, cell in cells.items():
            del vars(cell)["step"]
            if own[name] is not None:
                vars(cell)["step"] = own[name]
