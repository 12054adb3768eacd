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
