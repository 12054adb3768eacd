"""A spec as a runnable module: ``outputs, state = net(inputs, state)``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unrolled.cells import Cell
from unrolled.errors import UsageError
from unrolled.net.arguments import Arguments, Lengths, checked, masks, whole_message
from unrolled.net.build import Builder, Layers, Twin
from unrolled.net.check import check, phases_of
from unrolled.net.execution import Call, Execution, State
from unrolled.net.fill import fill_params
from unrolled.net.layers import Loss, Sample, SoftmaxLoss
from unrolled.net.score import Score, score
from unrolled.net.sharing import scales
from unrolled.net.spec import VOCAB, Layer, Spec
from unrolled.net.straight import straight_walk
from unrolled.net.wiring import AGE, Wiring
from unrolled.unrolling import choose_engine

if TYPE_CHECKING:
    from unrolled.data import Field, Vocab

Values = dict[str, Tensor]


class Net(nn.Module):
    """Run a spec over T steps of B lanes.

    ``cells`` holds the classes of the user's own cells, under the names that the spec gives them
    (``my.py:Leaky``) or the class's name alone (``Leaky``); a spec never imports code by itself.
    ``vocab`` travels with a net whose ids are text. ``phase`` chooses among layers that belong to some
    phases only; ``in_phase`` gives the same net in another. NetError where the spec makes no sense.
    """

    def __init__(
        self,
        spec: Spec,
        vocab: Vocab | None = None,
        cells: Mapping[str, type[Cell]] | None = None,
        *,
        phase: str | None = None,
        like: Net | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec if vocab is None else spec.with_sizes({VOCAB: len(vocab)})
        self.fields: tuple[Field, ...] = ()
        """What the inputs' values are read by, where the data are examples."""
        self.vocab, self.phase = vocab, phase or phases_of(spec)[0]
        self.boundary: str | None = None
        self.engine = "auto"
        self.bf16 = False
        """Whether the factors of matrix products are rounded to bfloat16."""
        self.dropout_generator: torch.Generator | None = None
        self.own_cells = dict(cells or {})
        self._phases: dict[str, Net] = {self.phase: self} if like is None else like._phases
        check(self.spec, self.phase)
        self.wiring = Wiring(self.spec.in_phase(self.phase))
        builder = Builder(self.wiring.spec, self.own_cells, {} if like is None else like._twins())
        builder.build(self.wiring.components)
        self.layers: Layers = Layers({layer.name: builder.modules[layer.name] for layer in self.wiring.spec})
        self.wiring.finish(builder.modules, builder.shapes)
        self.register_buffer("_like", torch.empty(0), persistent=False)
        self._straight = straight_walk(self.wiring)
        if like is None:
            fill_params(self)

    _like: Tensor

    def in_phase(self, phase: str) -> Net:
        """Return this net in another phase; layers that are in both are the same, weights and all.

        It is made once, so that what is set on its own layers stays.
        """
        if self.wiring.spec == self.spec.in_phase(phase):
            return self
        if phase not in self._phases:
            root = next(iter(self._phases.values()))
            if root is not self:
                return root.in_phase(phase)
            self._phases[phase] = Net(self.spec, self.vocab, self.own_cells, phase=phase, like=self)
        net = self._phases[phase]
        net.boundary, net.fields = self.boundary, self.fields
        net.engine, net.bf16 = self.engine, self.bf16
        like = next(self.parameters(), self._like)
        return net.to(like.device, like.dtype).train(self.training)

    def _twins(self) -> dict[str, Twin]:
        """Return the layers for a net in another phase to take over."""
        shapes = self.wiring.shapes
        return {
            layer.name: Twin(layer, self.layers[layer.name], [shapes[edge.source] for edge in layer.sources])
            for layer in self.wiring.spec
        }

    @property
    def cells(self) -> dict[str, Cell]:
        """The recurrent layers by name, in order."""
        return {name: layer for name, layer in self.layers.named().items() if isinstance(layer, Cell)}

    @property
    def num_parameters(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    @property
    def output_size(self) -> int:
        """How many numbers the output layer gives a step, or how many ids it chooses from."""
        shape = self.wiring.shapes[self.wiring.output]
        return shape.ids or shape.width

    @property
    def input_names(self) -> tuple[str, ...]:
        """The layers that are given values from outside, in order, labels among them."""
        return tuple(self.wiring.inputs)

    @property
    def target_names(self) -> tuple[str, ...]:
        """The inputs that losses and accuracies compare with, and labels."""
        return self.wiring.targets

    @property
    def has_loss(self) -> bool:
        """Whether the net itself says what it should make small."""
        return any(isinstance(module, Loss) for module in self.wiring.modules.values())

    @property
    def writes_text(self) -> bool:
        """Whether a stream can draw from it: the output hangs on the text alone, step by step."""
        waiting, seen = [self.wiring.output], set[str]()
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += [edge.source for edge in self.wiring.layers[name].sources]
        outside = seen & set(self.input_names)
        return self.vocab is not None and not self.is_whole and outside == {self._text_name()}

    def _text_name(self) -> str:
        """Return the input whose values are a text's ids."""
        ids = [name for name in self.input_names if name not in self.target_names]
        return ids[0] if len(ids) == 1 else ""

    @property
    def loss_unit(self) -> str:
        """What the net's loss is counted in: nats, or just a number."""
        kinds = [m for m in self.layers.named().values() if isinstance(m, Loss)]
        return "loss" if kinds and not isinstance(kinds[0], SoftmaxLoss) else "nats"

    @property
    def straight(self) -> list[tuple[str, Any, bool]] | None:
        """The layers from the only input to the output: name, module, whether it is recurrent; or None."""
        return self._straight

    @property
    def is_whole(self) -> bool:
        """Whether the net must see a whole sequence at once, because some layer reads the future."""
        return self.wiring.reads_future is not None

    def weights(self) -> dict[str, Tensor]:
        """Return what a checkpoint holds, each shared parameter once."""
        found: dict[str, Tensor] = {}
        seen: set[int] = set()
        for name, tensor in self.state_dict(keep_vars=True).items():
            if id(tensor) not in seen:
                seen.add(id(tensor))
                found[name] = tensor.detach()
        return found

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take back what ``weights`` returned."""
        with torch.no_grad():
            for name, tensor in self.weights().items():
                tensor.copy_(weights[name])

    def scales(self) -> dict[str, tuple[float, float]]:
        """Return what multiplies learning rate and weight decay, for each parameter that says so, by name."""
        found = scales(self.wiring.spec, self.wiring.modules, self.own_cells)
        return {f"layers.{place.layer}.{place.role}": scale for place, scale in found.items()}

    def initial_state(self, lanes: int) -> State:
        """Return the state of ``lanes`` lanes that have read nothing.

        UsageError for a net that has no such state: one that must see a whole sequence (see ``start``).
        """
        if self.is_whole:
            raise UsageError(whole_message(self.wiring, "has no state to start from; call net.start(inputs)"))
        self._sync()
        return {name: self._first_part(name, lanes) for name in self.wiring.state_names}

    def _first_part(self, name: str, lanes: int) -> Any:
        module = self.wiring.modules.get(name)
        if isinstance(module, Cell):
            return module.initial_state(lanes)
        if name == AGE:
            return torch.zeros(lanes, dtype=torch.int64, device=self.wiring.device)
        return self.wiring.blank_line(self.wiring.shifted[name], lanes)

    def engines(self) -> dict[str, str]:
        """Return what runs each recurrent layer over a plain window: an engine's name, or "step by step"."""
        found: dict[str, str] = {}
        for component in self.wiring.components:
            for layer in component.layers:
                cell = self.layers[layer.name]
                if not isinstance(cell, Cell):
                    continue
                if component.scan:
                    found[layer.name] = "step by step"
                    continue
                like = next(cell.parameters(), torch.empty(0))
                reads = layer.sources[self.wiring.feeding(layer)[0]].source
                ids = reads in self.wiring.gathered
                x = (
                    torch.zeros(2, 1, dtype=torch.long)
                    if ids
                    else torch.zeros(2, 1, *self._item(layer, cell))
                )
                x = x.to(like.device) if ids else x.to(like)
                found[layer.name] = choose_engine(cell, x, engine=self.engine, bf16=self.bf16)[0].name
        return found

    def _item(self, layer: Layer, cell: Cell) -> tuple[int, ...]:
        feeding = [self.wiring.shapes[layer.sources[i].source] for i in self.wiring.feeding(layer)]
        if len(feeding) == 1 and not cell.reads_ids:
            return feeding[0].features
        return (cell.input_size,)

    def forward(
        self,
        inputs: Tensor | Mapping[str, Tensor],
        state: State | None = None,
        *,
        fresh: Tensor | None = None,
        lengths: Lengths = None,
        steps: int | None = None,
    ) -> tuple[Any, State]:
        """Read the inputs; return outputs and the next state.

        One tensor is the case of one input, ids [T, B] or floats [T, B, D]: the output layer's values
        [T, B, ...] come back. With inputs by name all layers' values come back by name, [n, B, ...]; what
        hangs on an input that isn't given (a label, say) is left out.

        ``fresh`` [T, B] or [B] marks where a lane starts anew; ``lengths`` [B] stops lanes early, by name
        of a length where there are several. ``steps`` is how many steps a net takes whose inputs don't
        tell. With engine ``naive`` every layer runs one step at a time, which replaces::

            for t in range(T):
                outputs[t], state = net(inputs[t : t + 1], state)

        A net that reads the future takes neither ``state``, unless from ``start``, nor ``fresh``.
        """
        named = inputs if isinstance(inputs, Mapping) else {self._one_input(): inputs}
        call = self._call(named, state, fresh, lengths, steps)
        run = self._finished(call)
        if isinstance(inputs, Mapping):
            return {name: run.dense(name) for name in run.values}, run.next_state
        if self.wiring.output not in run.values:
            missing = ", ".join(name for name in self.input_names if name not in named)
            raise UsageError(
                f"the output '{self.wiring.output}' hangs on more inputs: {missing}; give a dict"
            )
        return run.dense(self.wiring.output), run.next_state

    def judge(
        self,
        inputs: Tensor | Mapping[str, Tensor],
        targets: Tensor | None = None,
        state: State | None = None,
        *,
        fresh: Tensor | None = None,
        lengths: Lengths = None,
    ) -> tuple[Score, State]:
        """Return what the net's loss layers say, and the next state.

        ``targets`` go with one input; with inputs by name the targets are among them.
        """
        call = self._call(self._with_targets(inputs, targets), state, fresh, lengths, None)
        run = self._finished(call)
        return score(run), run.next_state

    def judged_values(
        self,
        inputs: Tensor | Mapping[str, Tensor],
        targets: Tensor | None = None,
        state: State | None = None,
        *,
        fresh: Tensor | None = None,
        lengths: Lengths = None,
    ) -> Values:
        """Return every layer's values after a backward pass from the loss, with their gradients kept."""
        call = self._call(self._with_targets(inputs, targets), state, fresh, lengths, None)
        run = self._run(call, folds=False)
        for value in run.values.values():
            if value.requires_grad:
                value.retain_grad()
        torch.autograd.backward(score(run).total)
        return run.values

    def _with_targets(
        self, inputs: Tensor | Mapping[str, Tensor], targets: Tensor | None
    ) -> Mapping[str, Tensor]:
        named = dict(inputs) if isinstance(inputs, Mapping) else {self._one_input(): inputs}
        return named if targets is None else {**named, **dict.fromkeys(self.target_names, targets)}

    def _finished(self, call: Call) -> Execution:
        steps = call.counts[self.wiring.lengths[self.wiring.output]]
        if self.engine == "naive" and not self.is_whole and self.wiring.streams and steps:
            return self._step_by_step(call)
        return self._run(call)

    def start(self, inputs: Mapping[str, Tensor], *, lengths: Lengths = None) -> State:
        """Run what comes before the part that streams, an encoder say; return the state that it goes on from.

        ::

            state = net.start({"source": ids}, lengths={"source": lengths})
            for t in range(T):
                values, state = net({"x": x[t : t + 1]}, state)
        """
        wiring = self.wiring
        if not wiring.streams:
            raise UsageError(whole_message(wiring, "has no part that streams"))
        call = self._call(inputs, None, None, lengths, 1)
        execution = Execution(wiring, call, self.engine, bf16=self.bf16)
        execution.run(tuple(c for c in wiring.components if not wiring.is_stream(c)))
        return execution.started()

    def _run(self, call: Call, folds: bool = True) -> Execution:
        execution = Execution(self.wiring, call, self.engine, folds=folds, bf16=self.bf16)
        execution.run(self.wiring.components)
        return execution

    def _step_by_step(self, call: Call) -> Execution:
        """Run a net that streams one step at a time."""
        long, length = self.wiring.lengths[self.wiring.output], self.wiring.data_length
        state = call.state
        pieces: dict[str, list[Tensor]] = {}
        for t in range(call.counts[long]):
            at = slice(t, t + 1)
            live = {k: (n - t).clamp(0, 1) if k == long else n for k, n in call.lengths.items()}
            step = replace(
                call,
                inputs={n: x[at] if length(n) == long else x for n, x in call.inputs.items()},
                counts={**call.counts, long: 1},
                state=state,
                fresh=None if call.fresh is None else call.fresh[at],
                lengths=live,
                masks={n: m[at] if length(n) == long else m for n, m in call.masks.items()},
            )
            run = self._run(step)
            state = run.next_state
            for name, value in run.values.items():
                pieces.setdefault(name, []).append(value)
        joined = {n: torch.cat(p) if length(n) == long else p[-1] for n, p in pieces.items()}
        return Execution(self.wiring, call, self.engine, joined, state)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one id a lane, x [B] (or floats [B, D]); return the output [B, ...] and the next state.

        It is ``forward`` for one step without dropout, with nothing checked: what a stream runs, and with
        engine ``naive`` the same to the bit.
        """
        if self._straight is None:
            y, state = self(x[None], state)
            return y[0], state
        next_state: State = {}
        for name, module, recurrent in self._straight:
            if recurrent:
                x, next_state[name] = module.step(x, state[name])
            else:
                x = module(x[None])[0]
        return x, next_state

    def _call(
        self,
        inputs: Mapping[str, Tensor],
        state: State | None = None,
        fresh: Tensor | None = None,
        lengths: Lengths = None,
        steps: int | None = None,
    ) -> Call:
        """Check what the net is called with, and draw what it drops."""
        self._sync()
        call = checked(Arguments(inputs, state, fresh, lengths, steps), self.wiring)
        if self.training:
            call.masks = masks(call, self.wiring, self.dropout_generator)
        return call

    def _sync(self) -> None:
        """Tell the wiring where and in which numbers the net computes."""
        like = next(self.parameters(), self._like)
        self.wiring.device, self.wiring.like = like.device, torch.empty(0, dtype=like.dtype)

    def _one_input(self) -> str:
        layers = self.wiring.layers
        given = [name for name in self.input_names if layers[name].type not in ("label", "continues")]
        feeding = [name for name in given if name not in self.target_names]
        if len(feeding) != 1:
            told = ", ".join(given) or "none"
            raise UsageError(f"this net has the inputs {told}; give a dict of tensors")
        return feeding[0]

    def seed(self, seed: int) -> Net:
        """Give the layers that draw (``sample``, random first values) a generator of their own."""
        self._sync()
        self.draw_from(torch.Generator(self.wiring.device).manual_seed(seed))
        return self

    def draw_from(self, generator: torch.Generator | None) -> None:
        """Give the layers that draw a generator; None gives torch's own back."""
        self.wiring.generator = generator
        for module in self.wiring.modules.values():
            if isinstance(module, Sample):
                module.generator = generator
