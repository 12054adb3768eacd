"""The generated functions: what they compute, how exactly, and the same in every lane."""

from __future__ import annotations

import ctypes
import math
import runpy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import unrolled
from unrolled.engines.native import compiler
from unrolled.engines.native.compiler import BuildError, build
from unrolled.engines.native.evaluation import evaluate
from unrolled.engines.native.generation import kept, slot_order, slots, source_of
from unrolled.engines.native.program import Program, program_of
from unrolled.engines.native.tracing import trace

needs_compiler = pytest.mark.skipif(
    not any(compiler.shutil.which(name) for name in compiler.COMPILERS),
    reason="there is no C++ compiler here",
)
GATED = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "gated.py"))

FUNCTIONS = {
    "exp": torch.exp,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "softplus": functional.softplus,
    "gelu": functional.gelu,
    "silu": functional.silu,
    "relu": torch.relu,
    "abs": torch.abs,
    "clamp": lambda x: x.clamp(-1, 2),
    "where": lambda x: torch.where(x > 0.5, x, -x),
}
Everything = NamedTuple("Everything", [(name, Tensor) for name in FUNCTIONS])  # type: ignore[misc]


class Functions(unrolled.GatedCell):
    """Every function of one gate, each a field of the state."""

    gates = ("a",)
    State = Everything

    @staticmethod
    def next_state(a: Tensor, state: Any) -> Any:
        return Everything(*(function(a) for function in FUNCTIONS.values()))


def update(program: Program, sums: Tensor, vectors: Tensor, states: Tensor) -> Tensor:
    """One step [fields, n] of the compiled mathematics."""
    n = sums.shape[-1]
    after, keeps = torch.full((program.fields, n), math.nan), torch.full((program.num_slots, n), math.nan)
    pointers = [ctypes.c_void_p(part.data_ptr()) for part in (sums, vectors, states, after, keeps)]
    program.library.update_units(ctypes.c_int64(n), *pointers)
    return after


def compiled(cell: type[unrolled.GatedCell]) -> Program:
    program = program_of(cell)
    assert isinstance(program, Program), program
    return program


def functions_of(x: Tensor) -> dict[str, Tensor]:
    found = update(compiled(Functions), x, torch.empty(0), torch.zeros(len(FUNCTIONS), len(x)))
    return dict(zip(FUNCTIONS, found, strict=True))


@needs_compiler
def test_functions_are_exact_to_a_few_parts_in_ten_millions() -> None:
    torch.manual_seed(1)
    sizes = torch.cat(
        [torch.linspace(-110, 100, 1 << 17), torch.randn(1 << 16), torch.linspace(-1, 1, 1 << 16)]
    )
    x = torch.cat([sizes, torch.randn(1 << 16) * 10.0 ** torch.randint(-30, 3, (1 << 16,))])
    found = functions_of(x)
    bounds = {"exp": 2e-7, "sigmoid": 2e-7, "tanh": 2e-7, "log": 2e-7, "sqrt": 6e-8, "softplus": 3e-7}
    for name, bound in bounds.items():
        exact = FUNCTIONS[name](x.double())
        # Below 2^-126 a float32 has fewer digits, above 3.4e38 none.
        normal = (exact.abs() > 1.2e-38) & (exact.abs() < 3.4e38) & ((x > 0) | (name not in ("log", "sqrt")))
        normal &= ~((x > 20) & (name == "softplus"))
        error = ((found[name].double() - exact) / exact).abs()[normal].max()
        assert error < bound, f"{name}: {error:.2e}"
    exact = functional.gelu(x.double())
    assert ((found["gelu"].double() - exact).abs() / x.abs().double().clamp(min=1e-30)).max() < 3e-7
    for name in ("relu", "abs", "clamp", "where"):
        assert torch.equal(found[name], FUNCTIONS[name](x))


@needs_compiler
def test_functions_know_the_special_numbers() -> None:
    special = [
        0.0,
        -0.0,
        math.inf,
        -math.inf,
        math.nan,
        1e-45,
        -1e-45,
        1e-39,
        3.4e38,
        -3.4e38,
        20.0,
        88.8,
        -104.0,
        -88.0,
    ]
    x = torch.tensor([*special, *[1.0] * (-len(special) % 16)])
    found = functions_of(x)
    for name in ("exp", "sigmoid", "tanh", "log", "sqrt", "softplus", "relu", "abs", "clamp", "where"):
        exact = FUNCTIONS[name](x.double()).float()
        torch.testing.assert_close(found[name], exact, rtol=2e-7, atol=2e-45, equal_nan=True, msg=name)


@needs_compiler
def test_a_number_has_the_same_result_in_every_lane() -> None:
    x = torch.rand(16 * 9) * 30
    found = functions_of(x)
    for shift in (1, 5, 16, 100):
        for name, moved in functions_of(x.roll(shift)).items():
            assert torch.equal(moved, found[name].roll(shift))


@needs_compiler
@pytest.mark.parametrize(
    "cell", [unrolled.GRU, unrolled.LSTM, GATED["Coupled"]], ids=lambda cell: cell.__name__
)
def test_the_compiled_mathematics_is_the_traced_one(cell: type[unrolled.GatedCell]) -> None:
    torch.manual_seed(2)
    traced = trace(cell)
    inputs = [*slots(cell, traced), *traced.vectors, *traced.before]
    values = torch.randn(len(inputs), 64) * 2
    S, V = len(traced.slices), len(traced.vectors)
    found = update(compiled(cell), values[:S].clone(), values[S : S + V].clone(), values[S + V :].clone())
    named = {node.name: value.double() for node, value in zip(inputs, values, strict=True)}
    wanted = torch.stack(evaluate(traced.after, named))
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-6)


def test_slots_leave_each_side_in_one_piece() -> None:
    assert slot_order(unrolled.GRU) == ([2, 0, 1], [0, 1, 2])
    names = [node.name for node in slots(unrolled.GRU, trace(unrolled.GRU))]
    assert names == ["slice n_x", "slice r", "slice z", "slice n_h"]
    assert slot_order(unrolled.LSTM) == ([0, 1, 2, 3], [0, 1, 2, 3])


def test_an_activation_is_kept_where_the_way_back_needs_no_more() -> None:
    traced = trace(unrolled.LSTM)
    keeps = kept(traced.slices, traced.after, [])
    assert [node.op for node in keeps] == ["sigmoid", "sigmoid", "tanh", "sigmoid"]
    assert kept(traced.slices, traced.after, traced.slices) == list(traced.slices)


@needs_compiler
def test_the_portable_form_compiles_and_computes_the_same_mathematics() -> None:
    source = source_of(Functions, trace(Functions))
    portable: Any = build(source, [["-fopenmp"]])
    portable.lanes.restype = ctypes.c_int64
    assert portable.lanes() == 4
    x, ours = torch.randn(64), compiled(Functions)
    fields = len(FUNCTIONS)
    other = Program(portable, ours.problem, ours.on_x, ours.on_h, 0, fields, 4)
    a, b = (update(program, x, torch.empty(0), torch.zeros(fields, 64)) for program in (ours, other))
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6, equal_nan=True)


def test_a_cell_without_a_compiler_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lonely(unrolled.RNN):
        pass

    monkeypatch.setenv("PATH", str(tmp_path))
    reason = program_of(Lonely)
    assert isinstance(reason, str)
    assert "no C++ compiler" in reason
    assert issubclass(BuildError, Exception)
