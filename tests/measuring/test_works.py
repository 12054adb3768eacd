from __future__ import annotations

import pytest
import torch

import unrolled
from unrolled.cells import ConcatRNN
from unrolled.errors import UsageError
from unrolled.measuring import works
from unrolled.measuring.works import CHARS, SYMBOLS, Case, Size, net_of, precisions, size_of


@pytest.mark.parametrize(
    ("words", "size"),
    [("128", Size(128, 50, 50)), ("512", Size(512, 100, 100)), ("7x3x20", Size(7, 3, 20))],
)
def test_a_size_is_a_name_or_three_numbers_and_is_called_so(words: str, size: Size) -> None:
    assert size_of(words) == size and size.label == words
    assert str(Size(7, 3, 20)) == "2×7, 3 lanes × 20 steps"


@pytest.mark.parametrize("words", ["", "64", "7x3", "7x3x0", "7x3x20x1", "axbxc", "-1x2x3", "1e2x3x4"])
def test_what_is_no_size_is_a_one_line_error(words: str) -> None:
    with pytest.raises(UsageError, match=f"sizes: wanted 128, 512 or HIDDEN.*came '{words}'"):
        size_of(words)


@pytest.mark.parametrize("embedding", [True, False])
def test_the_net_has_two_layers_over_an_embedding_or_one_hot_rows(embedding: bool) -> None:
    net = net_of(Case("gru", Size(7, 3, 5), "naive", "float64", embedding=embedding))
    assert [(c.input_size, c.hidden_size) for c in net.cells.values()] == [
        (7 if embedding else SYMBOLS, 7),
        (7, 7),
    ]
    assert net.engine == "naive" and next(net.parameters()).dtype == torch.float64


def test_an_update_changes_every_weight_and_goes_on_from_the_lanes_states() -> None:
    case = Case("lstm", Size(5, 3, 4), "naive", "float64")
    net = net_of(case)
    before = {name: weight.clone() for name, weight in net.weights().items()}
    update = works.update_of(net, case)
    first = update()
    assert all(not torch.equal(weight, before[name]) for name, weight in net.weights().items())
    for _ in range(30):
        last = update()
    assert last.total < first.total and last.count == 3 * 4  # type: ignore[attr-defined]


def test_draws_go_on_where_the_last_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    class Told(unrolled.Stream):
        def take(self, count: int) -> list[int]:
            found = super().take(count)
            drawn.extend(found)
            return found

    monkeypatch.setattr(works, "Stream", Told)
    net = net_of(Case("rnn", Size(5, 1, 1)))
    draw = works.draws_of(net)
    draw()
    draw()
    stream = unrolled.Stream(net, unrolled.Choice(temperature=0.8), seed=1)
    assert drawn == [next(stream) for _ in range(2 * CHARS)]


def test_a_users_cell_is_measured_under_its_own_name() -> None:
    class Mine(ConcatRNN):
        pass

    net = net_of(Case("my.py:Mine", Size(5, 2, 3)), {"my.py:Mine": Mine})
    assert [type(cell) for cell in net.cells.values()] == [Mine, Mine]


def test_precisions_are_those_of_the_settings_and_bf16_is_one_of_products() -> None:
    assert set(precisions()) == {"float32", "float64", "bf16"}
    net = net_of(Case("rnn", Size(5, 2, 3), precision="bf16"))
    assert net.bf16 and next(net.parameters()).dtype == torch.float32
    assert not net_of(Case("rnn", Size(5, 2, 3))).bf16
