"""States go by value: mapped, named, and built again."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unrolled.cells import LSTMState, from_named_tensors, map_state, named_tensors
from unrolled.errors import CellError, LoadError


def net_state() -> dict[str, Any]:
    return {"low": LSTMState(torch.randn(3, 4), torch.randn(3, 4)), "high": torch.randn(3, 5)}


def test_map_state_keeps_the_structure() -> None:
    state = net_state()
    doubled = map_state(lambda a: 2 * a, state)
    assert isinstance(doubled["low"], LSTMState)
    assert torch.equal(doubled["low"].c, 2 * state["low"].c)
    assert torch.equal(doubled["high"], 2 * state["high"])


def test_map_state_takes_several_states_of_one_structure() -> None:
    a, b = net_state(), net_state()
    total = map_state(torch.add, a, b)
    assert torch.equal(total["low"].h, a["low"].h + b["low"].h)


def test_tensors_have_names_and_find_their_way_back() -> None:
    state = net_state()
    flat = named_tensors(state, "lanes")
    assert list(flat) == ["lanes.low.h", "lanes.low.c", "lanes.high"]
    again = from_named_tensors(net_state(), flat, "lanes")
    assert isinstance(again["low"], LSTMState)
    assert again["low"].c is state["low"].c
    assert again["high"] is state["high"]


def test_one_tensor_has_the_prefix_as_its_name() -> None:
    h = torch.randn(3, 4)
    assert list(named_tensors(h)) == [""]
    assert list(named_tensors(LSTMState(h, h))) == ["h", "c"]
    assert from_named_tensors(h, {"": h}) is h


def test_a_missing_tensor_is_named() -> None:
    with pytest.raises(LoadError, match=r"needs a tensor named 'low.c'; there are low.h"):
        from_named_tensors(net_state(), {"low.h": torch.zeros(1)})


@pytest.mark.parametrize("state", [None, [torch.zeros(2)], (torch.zeros(2), torch.zeros(2))])
def test_what_is_no_state_gets_one_line(state: Any) -> None:
    for use in (named_tensors, lambda s: map_state(torch.neg, s)):
        with pytest.raises(CellError, match="a state is a tensor, a NamedTuple of tensors, or a dict"):
            use(state)
