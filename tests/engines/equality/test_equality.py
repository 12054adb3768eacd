"""A short form of ``scripts/equality``, and that it finds what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import unrolled
from unrolled.engines.native import compiler, layers, program
from unrolled.engines.native.tracing import trace

from .cases import Case, Verdict, table, try_all
from .cells import MADE_UP
from .company import nets
from .forms import ON_X86, Form, forms
from .grid import ends, over
from .invented import invent
from .scratch import filled
from .twins import Ask, judged

needs_compiler = pytest.mark.skipif(
    not any(compiler.shutil.which(name) for name in compiler.COMPILERS),
    reason="there is no C++ compiler here",
)
SEED = 3


@pytest.fixture(autouse=True, scope="module")
def scratch_full_of_nan() -> Iterator[None]:
    with filled(float("nan")):
        yield


@needs_compiler
@pytest.mark.parametrize("name", MADE_UP)
def test_a_cell_that_no_engine_has_seen_equals_the_loop(name: str) -> None:
    row = try_all(name, list(over({name: MADE_UP[name]})), SEED, limit=16)
    assert row.passed == 16, table([row], SEED)


@needs_compiler
def test_a_net_gives_a_row_the_same_bits_in_any_company() -> None:
    some = [case for case in nets() if case.name.split()[1] in ("1", "2", "6")]
    row = try_all("company", some, SEED, limit=50)
    assert row.passed == 50, table([row], SEED)


@needs_compiler
@pytest.mark.parametrize("form", [form for form in forms() if form in ON_X86], ids=lambda form: form.name)
def test_other_vectors_equal_the_loop_too(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNROLLED_CXXFLAGS", form.flags)
    caches = (program._program, layers._library)
    for cache in caches:
        cache.cache_clear()
    try:
        assert layers._library().lanes() == form.lanes
        for cases in (over({"five-gates": MADE_UP["five-gates"]}), ends()):
            row = try_all(form.name, list(cases), SEED, limit=16)
            assert row.passed == 16, table([row], SEED)
    finally:
        for cache in caches:
            cache.cache_clear()


@pytest.mark.parametrize("seed", range(20))
def test_a_drawn_cell_can_be_traced(seed: int) -> None:
    cell = invent(seed)
    assert len(trace(cell).slices) == len(cell.slices())


@dataclass(frozen=True)
class Spoiled(Ask):
    """An unroll whose results by another engine than naive are not as they should be."""

    name: str = ""
    by: float = 0.0

    def results(self, engine: str) -> dict[str, Tensor]:
        found = super().results("naive")
        if engine != "naive":
            found[self.name] = found[self.name] + self.by * found[self.name].norm()
        return found


@pytest.mark.parametrize("name", ["y", "last", "first", "d x", "d bias_rzn"])
def test_an_error_of_a_few_parts_in_a_hundred_thousand_is_found(name: str) -> None:
    cell, x, state = unrolled.GRU(5, 7), torch.randn(6, 3, 5), torch.randn(3, 7)
    name = "d first" if name == "first" else name
    assert judged(Spoiled(cell, x, state, name=name, by=1e-7), ("native",)).wrong is None
    for by in (3e-5, float("nan")):
        verdict = judged(Spoiled(cell, x, state, name=name, by=by), ("native",))
        assert verdict.wrong is not None and name in verdict.wrong


def test_sums_that_cancel_and_kinks_are_told_from_errors() -> None:
    torch.manual_seed(1)
    cell, x = unrolled.ReluRNN(30, 40), torch.randn(1, 1, 30)
    for above, field in ((1e-4, "cancelled"), (0.0, "kinks")):
        # Terms cancel to a little above 0, or to 0, where rounding decides whether relu has slope 0 or 1.
        with torch.no_grad():
            cell.bias.copy_(above - (x[0] @ cell.x_to_gates)[0])
        verdict = judged(Ask(cell, x), ("naive",))
        assert verdict.wrong is None and getattr(verdict, field)
        assert judged(Spoiled(cell, x, name="d bias_h", by=10.0), ("native",)).wrong


def test_a_case_that_raises_or_is_wrong_is_a_failure_with_its_name() -> None:
    def fall() -> Verdict:
        raise ValueError("it fell")

    cases = [Case("good", Verdict), Case("bad", lambda: Verdict(wrong="no")), Case("ugly", fall)]
    row = try_all("three", cases, SEED)
    assert (row.tried, row.passed, len(row.failures)) == (3, 1, 2)
    told = table([row], SEED)
    assert "case bad: no" in told and "it fell" in told
