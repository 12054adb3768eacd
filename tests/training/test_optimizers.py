from typing import Any

import pytest
import torch
from torch import nn

from unrolled.data import Window
from unrolled.net import Chain, Net, chain
from unrolled.settings import TrainingSettings
from unrolled.training.learner import Learner
from unrolled.training.optimizers import make_optimizer


def test_nesterov_is_the_step_ahead_of_the_momentum() -> None:
    torch.manual_seed(2)
    net = nn.Linear(5, 3).double()
    lr, momentum, decay = 0.03, 0.7, 0.01
    settings = TrainingSettings(optimizer="nesterov", lr=lr, momentum=momentum, weight_decay=decay)
    optimizer = make_optimizer(settings, net)
    data, history = net.weight.detach().clone(), torch.zeros(3, 5, dtype=torch.float64)
    for _ in range(6):
        gradient = torch.randn(3, 5, dtype=torch.float64)
        net.weight.grad = gradient.clone()
        optimizer.step()
        before, gradient = history, gradient + decay * data
        history = momentum * history + lr * gradient
        data = data - (1 + momentum) * history + momentum * before
        torch.testing.assert_close(net.weight.detach(), data, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("rule", ["sgd", "adam", "adagrad", "rmsprop"])
def test_an_update_counts_as_a_change_of_every_weight(rule: Any) -> None:
    net, settings = Net(chain(Chain(7, layers=1, hidden=5))), TrainingSettings(optimizer=rule)
    learner, ids = Learner(net, settings), torch.randint(7, (5, 3))
    versions = [parameter._version for parameter in net.parameters()]
    learner.learn(Window(ids[:-1], ids[1:], None, None), 0.1)
    now = [parameter._version for parameter in net.parameters()]
    assert all(after > before for before, after in zip(versions, now, strict=True))


@pytest.mark.parametrize("share", [0.3, 0.9995, 1.0, 1.0005, 3.0])
def test_gradients_are_clipped_as_by_torch_whether_their_norm_is_above_or_below(share: float) -> None:
    torch.manual_seed(4)
    net, ids = Net(chain(Chain(7, layers=2, hidden=5))), torch.randint(7, (6, 3))
    window = Window(ids[:-1], ids[1:], None, None)
    start = {name: value.clone() for name, value in net.state_dict().items()}
    plain = Learner(net, TrainingSettings(optimizer="sgd", clip_norm=0)).learn(window, 0.0)
    most = share * plain.grad_norm
    wanted = [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]
    nn.utils.clip_grads_with_norm_(_with_gradients(wanted), most, torch.tensor(plain.grad_norm))
    net.load_state_dict(start)
    learned = Learner(net, TrainingSettings(optimizer="sgd", clip_norm=most)).learn(window, 0.0)
    assert learned.grad_norm == plain.grad_norm
    found = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def _with_gradients(gradients: list[torch.Tensor]) -> list[nn.Parameter]:
    """Return parameters whose gradients these are, to be clipped in place."""
    parameters = [nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return parameters
