"""One update: forward, loss, backward, clip, step, cut. Nothing here knows of text, files or clocks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from unrolled.cells import from_named_tensors, map_state, named_tensors
from unrolled.data import Batch, Window
from unrolled.errors import NonFiniteError, UsageError
from unrolled.net import Net, Score
from unrolled.settings import TrainingSettings
from unrolled.training.losses import Loss, loss_for
from unrolled.training.optimizers import make_optimizer, optimizer_tensors, restore_optimizer
from unrolled.training.passes import Pass, PlainPass, pieces
from unrolled.training.recompute import EXAMPLES, RecomputedPass, check_pieces, chunks
from unrolled.unrolling import detach

OPTIMIZER, LANES, RANDOM = "optimizer:", "lanes:", "random:"


@dataclass(frozen=True)
class Learned:
    """What one update saw."""

    total: float
    """The loss, summed over the window's targets."""
    count: int
    """How many targets there were."""
    correct: int
    """How many of them were predicted right before the update."""
    grad_norm: float
    """The norm of all gradients together, before clipping."""


class Learner:
    """A net, its optimizer, and where its lanes stand.

    ::

        outputs, state = net(window.inputs, state, fresh=window.fresh, lengths=window.lengths)
        loss(outputs, window.targets).backward()
        clip; optimizer.step(); state = detach(state)

    Gradients are of the mean over the window's targets. A window may begin with context, steps that were
    read before: then ``state`` is the one before these, and gradients reach back through them.
    """

    def __init__(self, net: nn.Module, settings: TrainingSettings, loss: Loss | None = None) -> None:
        self.net, self.settings, self.loss = net, settings, loss
        self.parameters = list(net.parameters())
        self.device = self.parameters[0].device
        self.optimizer: Optimizer = make_optimizer(settings, net)
        self.state: Any = None
        self.dropout = torch.Generator(self.device).manual_seed(settings.seed + 1)
        if isinstance(net, Net):
            net.dropout_generator = self.dropout
        if settings.recompute or settings.reach:
            check_pieces(net)

    def learn(self, window: Window | Batch, lr: float) -> Learned:
        """Do one update; NonFiniteError, before anything changed, if the loss or a gradient is not finite."""
        window = on_device(window, self.parameters[0])
        if not self.net.training:
            self.net.train()
        read = self._read(window)
        total = float(read.score.total.detach())
        if not _finite(total):
            raise self._not_finite(total, window)
        for parameter in self.parameters:
            parameter.grad = None
        read.backward()
        norm = self._clip()
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["scale"]
        self.optimizer.step()
        # torch's fused optimizers leave the versions of what they change as they were.
        torch.autograd.graph.increment_version(self.parameters)
        carries = window.carries if isinstance(window, Batch) else read.next_state is not None
        self.state = detach(read.next_state) if carries else None
        return Learned(total, read.score.count, int(read.score.correct), norm)

    def _read(self, window: Window | Batch) -> Pass:
        """Run forward, at once or so that backward recomputes."""
        settings, found = self.settings, pieces(window)
        if isinstance(window, Batch) and (settings.recompute or settings.reach):
            raise UsageError(EXAMPLES)
        if settings.recompute and len(cut := chunks(found)) > len(found):
            return RecomputedPass(self._judge, self.net, cut, self.state)
        return PlainPass(self._judge, found, self.state)

    def _judge(self, window: Window | Batch, state: Any) -> tuple[Score, Any]:
        return judge(self.net, window, state, self.loss)

    def _clip(self) -> float:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        value = float(norm)
        if not _finite(value):
            name = first_not_finite((n, p.grad) for n, p in self.net.named_parameters())
            if name is None:
                raise NonFiniteError(
                    f"the norm of all gradients is too large for {norm.dtype}; {ADVICE}", "norm"
                )
            raise self.cause() or NonFiniteError(
                f"the gradient of {name} is not finite; {ADVICE}", f"gradient of {name}"
            )
        most, largest = self.settings.clip_norm, self.settings.clip_value
        if most and value + 1e-5 > 0.999 * most:  # a norm surely below would be multiplied by 1
            nn.utils.clip_grads_with_norm_(self.parameters, most, norm)
        elif largest:
            nn.utils.clip_grad_value_(self.parameters, largest)
        return value

    def _not_finite(self, loss: float, window: Window | Batch) -> NonFiniteError:
        """Return the error for a loss that is not finite: the first cause that can be found."""
        data: dict[str, Tensor] = (
            dict(window.inputs)
            if isinstance(window, Batch)
            else {"inputs": window.inputs, "targets": window.targets}
        )
        if (name := first_not_finite(data.items())) is not None:
            return NonFiniteError(f"the window's {name} are not finite; mend the data", name)
        return self.cause() or NonFiniteError(f"the loss is {loss}; {ADVICE}", "loss")

    def cause(self) -> NonFiniteError | None:
        """Return the error for a weight or a state of the lanes that is not finite, or None."""
        if (name := first_not_finite(self.net.named_parameters())) is not None:
            return NonFiniteError(f"the weight {name} is not finite; {ADVICE}", name)
        lanes = named_tensors(self.state) if self.state is not None else {}
        if (name := first_not_finite(lanes.items())) is not None:
            return NonFiniteError(f"the state {LANES}{name} is not finite; {ADVICE}", LANES + name)
        return None

    def tensors(self) -> dict[str, Tensor]:
        """Return everything that the next update depends on, but for the weights, as named tensors."""
        lanes = named_tensors(self.state) if self.state is not None else {}
        found = {OPTIMIZER + name: t for name, t in optimizer_tensors(self.optimizer, self.net).items()}
        found |= {LANES + name: tensor for name, tensor in lanes.items()}
        found[RANDOM + "dropout"] = self.dropout.get_state()
        found[RANDOM + "torch"] = torch.get_rng_state()
        if self.device.type == "cuda":
            found[RANDOM + "cuda"] = torch.cuda.get_rng_state(self.device)
        return found

    def restore(self, tensors: Mapping[str, Tensor], template: Any) -> None:
        """Take back what ``tensors`` returned; ``template`` is a state of the same structure."""
        restore_optimizer(self.optimizer, self.net, under(OPTIMIZER, tensors))
        lanes = under(LANES, tensors)
        if lanes:
            self.state = map_state(lambda t: t.to(self.device), from_named_tensors(template, lanes))
        random = under(RANDOM, tensors)
        if ("cuda" in random) == (self.device.type == "cuda"):
            self.dropout.set_state(random["dropout"])
        torch.set_rng_state(random["torch"])
        if self.device.type == "cuda" and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"], self.device)


ADVICE = "nothing was updated or saved. Lower --lr, or clip harder with --clip-norm"


def judge(net: nn.Module, window: Window | Batch, state: Any, loss: Loss | None = None) -> tuple[Score, Any]:
    """Run a net over a window; return the loss and the next state.

    A net with loss layers judges itself, unless ``loss`` is given; else the targets choose the loss.
    """
    if isinstance(window, Batch):
        if not isinstance(net, Net):
            raise UsageError("batches of examples are for nets made from a spec")
        return net.judge(window.inputs, state=state, lengths=window.lengths)
    marks: dict[str, Any] = {"fresh": window.fresh, "lengths": window.lengths}
    if isinstance(net, Net) and net.has_loss and loss is None:
        return net.judge(window.inputs, window.targets, state, **marks)
    outputs, state = net(window.inputs, state, **marks)
    return (loss or loss_for(window.targets))(outputs, window.targets, window.lengths), state


def first_not_finite(tensors: Iterable[tuple[str, Tensor | None]]) -> str | None:
    """Return the name of the first tensor that holds a NaN or an infinity."""
    for name, tensor in tensors:
        if tensor is not None and tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            return name
    return None


def on_device(window: Window | Batch, like: Tensor) -> Window | Batch:
    """Move what the net computes with; marks and lengths stay where the engines want them, on the CPU.

    An example's floats get the net's number format too.
    """
    if isinstance(window, Batch):
        floats = {name: x.to(like) for name, x in window.inputs.items() if x.is_floating_point()}
        ids = {name: x.to(like.device) for name, x in window.inputs.items() if name not in floats}
        return replace(window, inputs={**floats, **ids})
    if like.device.type == "cpu":
        return window
    return window._replace(inputs=window.inputs.to(like.device), targets=window.targets.to(like.device))


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _finite(value: float) -> bool:
    return abs(value) < float("inf")
