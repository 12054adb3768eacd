import pytest

from unrolled.settings import TrainingSettings
from unrolled.training.schedules import learning_rate


def rates(updates: int, **settings: object) -> list[float]:
    made = TrainingSettings(**{"lr": 0.3, **settings})  # type: ignore[arg-type]
    return [learning_rate(made, update, per_epoch=10, total=100) for update in range(updates)]


def test_inverse_is_singas_rule_with_gamma_as_one_over_decay_every() -> None:
    gamma, power = 0.04, 0.75
    found = rates(90, schedule="inverse", decay_every=1 / gamma, decay_power=power, decay_unit="update")
    assert found == pytest.approx([0.3 * (1 + gamma * s) ** -power for s in range(90)], rel=1e-14)


def test_inverse_with_power_one_is_singas_inverse_t() -> None:
    found = rates(90, schedule="inverse", decay_every=7.0, decay_unit="update")
    assert found == pytest.approx([0.3 / (1 + s / 7) for s in range(90)], rel=1e-14)


def test_inverse_counts_epochs_where_it_is_told_to() -> None:
    found = rates(30, schedule="inverse", decay_every=2.0)
    assert found == pytest.approx([0.3 / (1 + s / 10 / 2) for s in range(30)], rel=1e-14)


def test_fixed_step_takes_each_rate_from_its_update_on() -> None:
    found = rates(12, schedule="fixed-step", lr_steps=(2, 5, 9), lr_values=(0.2, 0.05, 0.1))
    assert found == [0.3] * 2 + [0.2] * 3 + [0.05] * 4 + [0.1] * 3


def test_fixed_step_from_update_0_never_shows_lr() -> None:
    assert rates(3, schedule="fixed-step", lr_steps=(0, 1), lr_values=(0.2, 0.1)) == [0.2, 0.1, 0.1]


def test_linear_ends_where_final_after_says() -> None:
    found = rates(60, schedule="linear", final_lr=0.05, final_after=40)
    assert found[:41] == pytest.approx([(1 - s / 40) * 0.3 + s / 40 * 0.05 for s in range(41)], rel=1e-14)
    assert found[40:] == pytest.approx([0.05] * 20)
