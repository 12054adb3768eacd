"""A spec as a runnable module: ``logits, state = net(ids, state)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unrolled.cells import BUILT_IN, Cell, GatedCell
from unrolled.errors import CellError, OwnCellError, UsageError, nearest
from unrolled.net.layers import Embedding, LayerModule, Linear, OneHot, Shape, settings_of
from unrolled.net.spec import Layer, Spec
from unrolled.unrolling import choose_engine, unroll

if TYPE_CHECKING:
    from unrolled.data import Vocab

Masks = dict[str, Tensor]
State = dict[str, Any]
"""A net's state: for each recurrent layer, by name, the state of its cell."""


class Net(nn.Module):
    """Run a spec over T steps of B lanes.

    ``cells`` holds the classes of the user's own cells, under the names that the spec gives them
    (``my.py:Leaky``) or the class's name alone (``Leaky``); a spec never imports code by itself.
    ``vocab`` travels with a net whose ids are text.
    """

    def __init__(
        self, spec: Spec, vocab: Vocab | None = None, cells: Mapping[str, type[Cell]] | None = None
    ) -> None:
        super().__init__()
        self.spec, self.vocab = spec, vocab
        self.boundary: str | None = None
        self.engine = "auto"
        self.dropout_generator: torch.Generator | None = None
        self.layers = nn.ModuleDict()
        self.dropouts: dict[str, tuple[float, int]] = {}
        self._assemble({**BUILT_IN, **(cells or {})})

    def _assemble(self, cells: Mapping[str, type[Cell]]) -> None:
        layers, width = list(self.spec), 0
        for layer, follower in zip(layers, [*layers[1:], None], strict=True):
            module, width = self._module(layer, follower, width, cells)
            if module is not None:
                self.layers[layer.name] = module

    def _module(
        self, layer: Layer, follower: Layer | None, width: int, cells: Mapping[str, type[Cell]]
    ) -> tuple[nn.Module | None, int]:
        settings = layer.settings
        if layer.type == "one-hot":
            gathers = follower is not None and issubclass(_cell_class(follower, cells), GatedCell)
            return (None if gathers else _make(OneHot, layer, ())), settings["size"]
        if layer.type == "floats":
            return None, settings["size"]
        if layer.type == "embedding":
            return _make(Embedding, layer, ()), settings["width"]
        if layer.type == "recurrent":
            cell = _make_cell(_cell_class(layer, cells), width, settings["hidden"])
            return cell, cell.output_size
        if layer.type == "dropout":
            self.dropouts[layer.name] = (settings["ratio"], width)
            return None, width
        if layer.type == "linear":
            return _make(Linear, layer, (Shape((width,)),)), settings["size"]
        raise UsageError(
            f"layer '{layer.name}' has the unknown type '{layer.type}'" + nearest(layer.type, TYPES)
        )

    @property
    def cells(self) -> dict[str, Cell]:
        """The recurrent layers by name, in order."""
        return {name: layer for name, layer in self.layers.items() if isinstance(layer, Cell)}

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def initial_state(self, lanes: int) -> State:
        """Return the state of ``lanes`` lanes that have read nothing."""
        return {name: cell.initial_state(lanes) for name, cell in self.cells.items()}

    def engines(self) -> dict[str, str]:
        """Return the name of the engine that runs each recurrent layer over a plain window."""
        found: dict[str, str] = {}
        for name, cell in self.cells.items():
            gathers = isinstance(cell, GatedCell) and self.spec.layers[0].type == "one-hot"
            like = next(cell.parameters(), torch.empty(0))
            first = gathers and not found
            x = torch.zeros(2, 1, dtype=torch.long) if first else torch.zeros(2, 1, cell.input_size)
            x = x.to(like.device) if first else x.to(like)
            found[name] = choose_engine(cell, x, engine=self.engine)[0].name
        return found

    def forward(
        self,
        x: Tensor,
        state: State | None = None,
        *,
        fresh: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Read ids x [T, B] (or floats [T, B, D]); return logits [T, B, V] and the next state.

        ``fresh`` [T, B] or [B] marks where a lane starts anew, ``lengths`` [B] stops lanes early, as in
        ``unroll``. With engine ``naive`` every layer runs one step at a time, which replaces::

            for t in range(T):
                logits[t], state = net(x[t : t + 1], state)
        """
        if x.dim() < 2:
            raise UsageError(f"a net reads [T, B] or [T, B, D], this has the shape {tuple(x.shape)}")
        if not x.is_floating_point():
            x = self._checked_ids(x)
        if state is None:
            state = self.initial_state(x.shape[1])
        elif not isinstance(state, dict) or state.keys() != self.cells.keys():
            raise UsageError(
                f"this net's state is a dict with {', '.join(self.cells)}, as from initial_state(lanes); "
                f"came {', '.join(map(str, state)) if isinstance(state, dict) else type(state).__name__}"
            )
        masks = self._draw_masks(x)
        if self.engine != "naive" or len(x) < 2:
            return self._run(x, state, fresh, lengths, masks)
        outputs = []
        for t in range(len(x)):
            step_fresh = None if fresh is None else _fresh_at(fresh, t)
            live = None if lengths is None else (lengths - t).clamp(0, 1)
            step_masks = {name: mask[t : t + 1] for name, mask in masks.items()}
            y, state = self._run(x[t : t + 1], state, step_fresh, live, step_masks)
            outputs.append(y)
        return torch.cat(outputs), state

    def _checked_ids(self, ids: Tensor) -> Tensor:
        """Return ids as int64; UsageError for one that the net does not know (looked for on a CPU only)."""
        size = self.spec.input_size
        if ids.device.type == "cpu" and ids.numel() and not -1 <= int(ids.min()) <= int(ids.max()) < size:
            raise UsageError(
                f"this net reads ids from 0 to {size - 1}, or -1 for none; "
                f"came {int(ids.min())} to {int(ids.max())}"
            )
        return ids.long()

    def _run(
        self, x: Tensor, state: State, fresh: Tensor | None, lengths: Tensor | None, masks: Masks
    ) -> tuple[Tensor, State]:
        next_state: State = {}
        for layer in self.spec:
            module = self.layers._modules.get(layer.name)
            if isinstance(module, Cell):
                x, next_state[layer.name] = unroll(
                    module, x, state[layer.name], fresh=fresh, lengths=lengths, engine=self.engine
                )
            elif module is not None:
                x = module(x)
            elif layer.name in masks:
                x = x * masks[layer.name]
        return x, next_state

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one id a lane, x [B] (or floats [B, D]); return logits [B, V] and the next state.

        It is ``forward`` for one step without dropout, with nothing checked: what a stream runs, and with
        engine ``naive`` the same to the bit.
        """
        next_state: State = {}
        for name, module in self.layers.items():
            if isinstance(module, Cell):
                x, next_state[name] = module.step(x, state[name])
            elif isinstance(module, Linear) and x.dim() == 2:
                x = module(x[None])[0]
            else:
                x = module(x)
        return x, next_state

    def _draw_masks(self, x: Tensor) -> Masks:
        """Draw each dropout layer's mask for the whole window, so that no engine can change it."""
        if not self.training or not self.dropouts:
            return {}
        like = next(self.parameters())
        masks = {}
        for name, (ratio, width) in self.dropouts.items():
            mask = torch.empty(x.shape[0], x.shape[1], width, dtype=like.dtype, device=like.device)
            masks[name] = mask.bernoulli_(1 - ratio, generator=self.dropout_generator).div_(1 - ratio)
        return masks


def _make(cls: type[LayerModule], layer: Layer, inputs: tuple[Shape, ...]) -> LayerModule:
    return cls(settings_of(layer.type, layer.settings), inputs)


TYPES = ("one-hot", "embedding", "floats", "recurrent", "dropout", "linear")


def _fresh_at(fresh: Tensor, t: int) -> Tensor | None:
    if fresh.dim() == 2:
        return fresh[t : t + 1]
    return fresh if t == 0 else None


def _make_cell(cls: type, width: int, hidden: int) -> Cell:
    """Make a cell; a mistake in a user's ``__init__`` is told as theirs."""
    try:
        cell: Cell = cls(width, hidden)
    except (AttributeError, LookupError, NameError, TypeError, ValueError) as error:
        raise CellError(
            f"{cls.__name__}(input_size={width}, hidden_size={hidden}) failed: "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    return cell


def _cell_class(layer: Layer, cells: Mapping[str, type[Cell]]) -> type:
    """Return the class of a recurrent layer's cell, or NoneType for another layer."""
    if layer.type != "recurrent":
        return type(None)
    name = layer.settings["cell"]
    tail = name.rpartition(":")[2]
    if name in cells:
        return cells[name]
    if tail in cells and tail not in BUILT_IN:
        return cells[tail]
    if ":" in name:
        raise OwnCellError(
            f"this net uses the cell {name}, which is your code; name it too: --cell {name} "
            f"(in Python: cells={{'{name.rpartition(':')[2]}': the class}})"
        )
    raise CellError(
        f"there is no cell '{name}'; known are {', '.join(sorted(BUILT_IN))}" + nearest(name, BUILT_IN)
    )
