"""A spec as a runnable module: ``outputs, state = net(inputs, state)``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unrolled.cells import Cell, GatedCell
from unrolled.errors import NetError, UsageError, nearest
from unrolled.net.build import Builder, Layers, Twin
from unrolled.net.check import check, phases_of
from unrolled.net.execution import AGE, HELD, REAL, Call, Execution, State
from unrolled.net.fill import fill_params
from unrolled.net.layers import Accuracy, Dropout, LayerModule, Loss, Sample, SoftmaxLoss
from unrolled.net.score import Score, score
from unrolled.net.spec import VOCAB, Layer, Length, Spec
from unrolled.net.wiring import Wiring
from unrolled.unrolling import choose_engine

if TYPE_CHECKING:
    from unrolled.data import Field, Vocab

Values = dict[str, Tensor]
Lengths = Tensor | Mapping[Length, Tensor] | None


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
        self.dropout_generator: torch.Generator | None = None
        self.own_cells = dict(cells or {})
        self._phases: dict[str, Net] = {}
        check(self.spec, self.phase)
        self.wiring = Wiring(self.spec.in_phase(self.phase))
        builder = Builder(self.wiring.spec, self.own_cells, {} if like is None else like._twins())
        builder.build(self.wiring.components)
        self.layers: Layers = Layers({layer.name: builder.modules[layer.name] for layer in self.wiring.spec})
        self.wiring.finish(builder.modules, builder.shapes)
        self.register_buffer("_like", torch.empty(0), persistent=False)
        self._straight = self._straight_walk()
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
            self._phases[phase] = Net(self.spec, self.vocab, self.own_cells, phase=phase, like=self)
        net = self._phases[phase]
        net.boundary, net.engine, net.fields = self.boundary, self.engine, self.fields
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
        return tuple(layer.name for layer in self.wiring.spec if self._reads_outside(layer))

    @property
    def target_names(self) -> tuple[str, ...]:
        """The inputs that losses and accuracies compare with, and labels."""
        judges = [layer for layer in self.wiring.spec if isinstance(self.layers[layer.name], Loss | Accuracy)]
        judged = {edge.source for layer in judges for edge in layer.sources[1:]}
        labels = {layer.name for layer in self.wiring.spec if layer.type == "label"}
        return tuple(name for name in self.input_names if name in judged | labels)

    @property
    def has_loss(self) -> bool:
        """Whether the net itself says what it should make small."""
        return any(isinstance(module, Loss) for module in self.layers.named().values())

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
        found: dict[str, tuple[float, float]] = {}
        for layer in self.wiring.spec:
            for param in layer.params:
                name, scale = f"layers.{layer.name}.{param.role}", (param.lr, param.decay)
                if found.setdefault(name, scale) != scale:
                    raise NetError(
                        f"layer '{layer.name}': the gates of '{param.role}' are one parameter here and learn "
                        "at one rate; give them one lr and one decay",
                        layer.name,
                        "params",
                    )
        return found

    def initial_state(self, lanes: int) -> State:
        """Return the state of ``lanes`` lanes that have read nothing.

        UsageError for a net that has no such state: one that must see a whole sequence (see ``start``).
        """
        if self.is_whole:
            raise UsageError(self._whole_message("has no state to start from; call net.start(inputs)"))
        self._sync()
        wiring = self.wiring
        state = {n: cell.initial_state(lanes) for n, cell in self.cells.items() if n in wiring.streams}
        for key, edge in wiring.shifted.items():
            if key.rpartition(":")[0] in wiring.streams:
                state[key] = wiring.blank_line(edge, lanes)
        if wiring.has_age:
            state[AGE] = torch.zeros(lanes, dtype=torch.int64, device=wiring.device)
        return state

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
                found[layer.name] = choose_engine(cell, x, engine=self.engine)[0].name
        return found

    def _item(self, layer: Layer, cell: Cell) -> tuple[int, ...]:
        feeding = [self.wiring.shapes[layer.sources[i].source] for i in self.wiring.feeding(layer)]
        if len(feeding) == 1 and not isinstance(cell, GatedCell):
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
        values, next_state = self._values(call)
        if isinstance(inputs, Mapping):
            return {name: self._dense(name, value) for name, value in values.items()}, next_state
        if self.wiring.output not in values:
            missing = ", ".join(name for name in self.input_names if name not in named)
            raise UsageError(
                f"the output '{self.wiring.output}' hangs on more inputs: {missing}; give a dict"
            )
        return self._dense(self.wiring.output, values[self.wiring.output]), next_state

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
        values, next_state = self._values(call)
        return self._score(call, values), next_state

    def _score(self, call: Call, values: Values) -> Score:
        run = Execution(self.wiring, self.layers.named(), call, self.engine)
        run.values |= values
        return score(self, run)

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
        values, _ = self._run(call)
        for value in values.values():
            if value.requires_grad:
                value.retain_grad()
        torch.autograd.backward(self._score(call, values).total)
        return values

    def _with_targets(
        self, inputs: Tensor | Mapping[str, Tensor], targets: Tensor | None
    ) -> Mapping[str, Tensor]:
        named = dict(inputs) if isinstance(inputs, Mapping) else {self._one_input(): inputs}
        return named if targets is None else {**named, **dict.fromkeys(self.target_names, targets)}

    def _values(self, call: Call) -> tuple[Values, State]:
        if self.engine == "naive" and not self.is_whole and self.wiring.streams:
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
            raise UsageError(self._whole_message("has no part that streams"))
        call = self._call(inputs, None, None, lengths, 1)
        execution = Execution(wiring, self.layers.named(), call, self.engine)
        execution.run(tuple(c for c in wiring.components if not wiring.is_stream(c)))
        return execution.started()

    def _run(self, call: Call) -> tuple[Values, State]:
        execution = Execution(self.wiring, self.layers.named(), call, self.engine)
        execution.run(self.wiring.components)
        return execution.values, execution.next_state

    def _step_by_step(self, call: Call) -> tuple[Values, State]:
        """Run a net that streams one step at a time."""
        long = self.wiring.lengths[self.wiring.output]
        T, state = call.counts[long], call.state
        pieces: dict[str, list[Tensor]] = {}
        for t in range(T):
            at = slice(t, t + 1)
            live = {k: (n - t).clamp(0, 1) if k == long else n for k, n in call.lengths.items()}
            step = replace(
                call,
                inputs={n: x[at] if self._length(n) == long else x for n, x in call.inputs.items()},
                counts={**call.counts, long: 1},
                state=state,
                fresh=None if call.fresh is None else call.fresh[at],
                lengths=live,
                masks={n: m[at] if self._length(n) == long else m for n, m in call.masks.items()},
            )
            values, state = self._run(step)
            for name, value in values.items():
                pieces.setdefault(name, []).append(value)
        joined = {n: torch.cat(p) if self._length(n) == long else p[-1] for n, p in pieces.items()}
        return joined, state

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

    def _straight_walk(self) -> list[tuple[str, Any, bool]] | None:
        """Return the layers from the only input to the output, where they are one line without a shift."""
        walk: list[tuple[str, Any, bool]] = []
        name, wiring = self.wiring.output, self.wiring
        while True:
            layer, module = wiring.layers[name], self.layers[name]
            if name in [done for done, _, _ in walk] or name not in wiring.streams | wiring.texts:
                return None
            if isinstance(module, Cell):
                walk.append((name, module, True))
            elif not isinstance(module, Dropout) and name not in wiring.gathered:
                walk.append((name, module, False))
            if not layer.sources:
                if isinstance(module, LayerModule) and module.reads_outside:
                    walk.pop()
                walked = {name for name, _, recurrent in walk if recurrent}
                return walk[::-1] if walked == set(self._state_names()) else None
            if len(layer.sources) > 1 or layer.sources[0].shift or self._reads_outside(layer):
                return None
            edge = layer.sources[0]
            if edge.kind == "last" or (edge.kind == "all" and edge.source not in wiring.texts):
                return None
            name = edge.source

    def _call(
        self,
        inputs: Mapping[str, Tensor],
        state: State | None,
        fresh: Tensor | None,
        lengths: Lengths,
        steps: int | None,
    ) -> Call:
        """Check what the net is called with."""
        self._sync()
        checked = {name: self._checked(name, x) for name, x in inputs.items()}
        marks = self._marks(checked)
        lanes = self._lanes(checked, state)
        counts = self._counts(checked, steps, state)
        long = self.wiring.lengths[self.wiring.output]
        stops = self._lengths(lengths, counts, lanes)
        fresh = self._fresh(marks if fresh is None else fresh, counts[long], stops.get(long), lanes, state)
        call = Call(checked, lanes, counts, self._checked_state(state), fresh, stops)
        return replace(call, masks=self._draw_masks(call))

    def _sync(self) -> None:
        """Tell the wiring where and in which numbers the net computes."""
        like = next(self.parameters(), self._like)
        self.wiring.device, self.wiring.like = like.device, torch.empty(0, dtype=like.dtype)

    def _checked(self, name: str, x: Tensor) -> Tensor:
        if name not in self.input_names:
            known = ", ".join(self.input_names) or "none"
            raise UsageError(
                f"this net has no input '{name}'; its inputs are {known}" + nearest(name, self.input_names)
            )
        layer, shape = self.wiring.layers[name], self.wiring.shapes[name]
        if layer.type == "continues":
            return x
        size = shape.ids or getattr(self.layers[name], "size", 0)
        axes = () if size else shape.features
        if x.dim() != 2 + len(axes) or tuple(x.shape[2:]) != axes or x.is_floating_point() == bool(size):
            wanted = "whole numbers [T, B]" if size else f"floats [T, B{''.join(f', {n}' for n in axes)}]"
            raise UsageError(f"input '{name}' wants {wanted}, came {x.dtype} {list(x.shape)}")
        if size and x.device.type == "cpu" and x.numel():
            low, high = int(x.min()), int(x.max())
            if not -1 <= low <= high < size:
                raise UsageError(
                    f"this net reads ids from 0 to {size - 1}, or -1 for none; came {low} to {high}"
                )
        return x.long() if size else x

    def _marks(self, inputs: Mapping[str, Tensor]) -> Tensor | None:
        """Return where ``continues`` layers say that a lane starts anew."""
        marks = [x for name, x in inputs.items() if self.wiring.layers[name].type == "continues"]
        return None if not marks else torch.stack([x == 0 for x in marks]).any(0)

    def _lanes(self, inputs: Mapping[str, Tensor], state: State | None) -> int:
        found = {name: x.shape[1] for name, x in inputs.items()}
        if len(set(found.values())) > 1:
            told = ", ".join(f"'{name}' has {lanes}" for name, lanes in found.items())
            raise UsageError(f"all inputs need one number of lanes; {told}")
        if found:
            return next(iter(found.values()))
        for part in (state or {}).values():
            tensor = part if isinstance(part, Tensor) else part[0] if isinstance(part, tuple) else None
            if tensor is not None:
                return int(tensor.shape[0])
        return 1

    def _counts(
        self, inputs: Mapping[str, Tensor], steps: int | None, state: State | None
    ) -> dict[Length, int]:
        counts: dict[Length, int] = {1: 1}
        given: dict[Length, str] = {}
        for name, x in inputs.items():
            length = self._length(name)
            wanted = length if isinstance(length, int) else counts.get(length, len(x))
            if len(x) != wanted:
                whose = f", as '{given[length]}' has" if length in given else ""
                raise UsageError(f"input '{name}' wants {wanted} steps{whose}; came {len(x)}")
            counts[length] = wanted
            given[length] = name
        for layer in self.wiring.spec:
            length = self._length(layer.name)
            if isinstance(length, int):
                counts.setdefault(length, length)
            elif length not in counts and steps is not None:
                counts[length] = steps
        streams = self.wiring.lengths[self.wiring.output]
        if streams not in counts:
            waiting = [n for n in self.input_names if self._length(n) == streams]
            advice = f"give {', '.join(waiting)}, or steps=" if waiting else "say steps="
            raise UsageError(f"nothing says how many steps to take; {advice}")
        if steps is not None and counts[streams] != steps:
            raise UsageError(f"the inputs have {counts[streams]} steps, steps= says {steps}")
        return counts

    def _length(self, name: str) -> Length:
        """Return the length of a layer's values; a text's are as many as the net has steps."""
        return None if name in self.wiring.texts else self.wiring.lengths[name]

    def _fresh(
        self, fresh: Tensor | None, steps: int, stops: Tensor | None, lanes: int, state: State | None
    ) -> Tensor | None:
        """Return the marks [T, B] of real steps; None where they change nothing."""
        if fresh is None:
            return None
        if fresh.dtype != torch.bool or list(fresh.shape) not in ([lanes], [steps, lanes]):
            raise UsageError(
                f"fresh must be bool, [{steps}, {lanes}] or [{lanes}] for step 0; "
                f"came {fresh.dtype} {list(fresh.shape)}"
            )
        if fresh.dim() == 1:
            fresh = torch.cat([fresh[None], torch.zeros(steps - 1, lanes, dtype=torch.bool).to(fresh.device)])
        if stops is not None:
            fresh = fresh & (torch.arange(steps)[:, None] < stops).to(fresh.device)
        if not bool(fresh.any()) or (state is None and not bool(fresh[1:].any())):
            return None
        if self.is_whole or any(e.kind == "last" for layer in self.wiring.spec for e in layer.sources):
            raise UsageError(
                self._whole_message("can't start anew inside a window; give each sequence a lane of its own")
            )
        return fresh

    def _lengths(self, lengths: Lengths, counts: Mapping[Length, int], lanes: int) -> dict[Length, Tensor]:
        if lengths is None:
            return {}
        if isinstance(lengths, Tensor):
            long = [length for length in counts if length != 1]
            if len(long) > 1 and None not in long:
                names = ", ".join(map(str, long))
                raise UsageError(f"this net has several lengths, {names}; give lengths by name")
            lengths = {None if None in long or not long else long[0]: lengths}
        found: dict[Length, Tensor] = {}
        for length, stops in lengths.items():
            if length not in counts:
                raise UsageError(f"this net has no length '{length}'")
            if list(stops.shape) != [lanes] or stops.is_floating_point() or stops.dtype == torch.bool:
                came = f"{stops.dtype} {list(stops.shape)}"
                raise UsageError(f"lengths must be {lanes} whole numbers, one a lane; came {came}")
            stops = stops.cpu()
            if lanes and not 0 <= int(stops.min()) <= int(stops.max()) <= counts[length]:
                raise UsageError(f"lengths must be from 0 to {counts[length]}; came {stops.tolist()}")
            if bool((stops < counts[length]).any()):
                found[length] = stops
        return found

    def _checked_state(self, state: State | None) -> State:
        if state is None:
            return {}
        if self.is_whole and HELD not in (state if isinstance(state, dict) else {}):
            raise UsageError(self._whole_message("takes no state but that of net.start(inputs)"))
        if not self.is_whole:
            self._check_parts(state)
        return state

    def _check_parts(self, state: Any) -> None:
        wanted = set(self._state_names())
        if isinstance(state, dict) and wanted == state.keys() - {HELD, REAL}:
            return
        came = ", ".join(map(str, state)) if isinstance(state, dict) else type(state).__name__
        raise UsageError(
            f"this net's state is a dict with {', '.join(self._state_names()) or 'nothing in it'}, as from "
            f"initial_state(lanes); came {came}"
        )

    def _state_names(self) -> list[str]:
        wiring = self.wiring
        lines = [key for key in wiring.shifted if key.rpartition(":")[0] in wiring.streams]
        cells = [name for name in self.cells if name in wiring.streams]
        return [*cells, *lines, *([AGE] if wiring.has_age else [])]

    def _whole_message(self, what: str) -> str:
        return f"layer '{self.wiring.reads_future}' reads a whole sequence, so this net {what}"

    def _one_input(self) -> str:
        names = [
            name for name in self.input_names if self.wiring.layers[name].type not in ("label", "continues")
        ]
        targets = {
            edge.source for layer in self.wiring.spec if "loss" in layer.type for edge in layer.sources[1:]
        }
        feeding = [name for name in names if name not in targets]
        if len(feeding) != 1:
            told = ", ".join(names) or "none"
            raise UsageError(f"this net has the inputs {told}; give a dict of tensors")
        return feeding[0]

    def _reads_outside(self, layer: Layer) -> bool:
        module = self.layers[layer.name]
        outside = isinstance(module, LayerModule) and module.reads_outside
        return outside or (not layer.sources and layer.type in ("one-hot", "embedding"))

    def _dense(self, name: str, value: Tensor) -> Tensor:
        """Return a layer's values; a one-hot that was kept as ids becomes rows."""
        if name not in self.wiring.gathered:
            return value
        rows: Tensor = self.layers[name](value)
        return rows

    def _draw_masks(self, call: Call) -> dict[str, Tensor]:
        """Draw each dropout layer's mask for the whole window, so that no engine can change it."""
        if not self.training:
            return {}
        masks = {}
        for name, module in self.layers.named().items():
            ratio = module.ratio if isinstance(module, Dropout) else 0.0
            if ratio and self._length(name) in call.counts:
                n, features = call.counts[self._length(name)], self.wiring.shapes[name].features
                mask = torch.empty(
                    n, call.lanes, *features, dtype=self.wiring.like.dtype, device=self.wiring.device
                )
                masks[name] = mask.bernoulli_(1 - ratio, generator=self.dropout_generator).div_(1 - ratio)
        return masks

    def seed(self, seed: int) -> Net:
        """Give the layers that draw (``sample``, random first values) a generator of their own."""
        self._sync()
        self.wiring.generator = torch.Generator(self.wiring.device).manual_seed(seed)
        for module in self.layers.named().values():
            if isinstance(module, Sample):
                module.generator = self.wiring.generator
        return self
