"""What the training report must show, one test a requirement; how it looks is tested with a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import unrolled

TEXT = 'He said "no" (and {left}). [[A link]] <b>bold</b>, [ok]\n \\begin{x} so \\end{x}\n' * 120
AT = (100, 300, 500, 700, 1200, 2000)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the page of a run of 2,000 updates shows."""
    folder = tmp_path_factory.mktemp("reports")
    (folder / "book.txt").write_text(TEXT)
    run = unrolled.train(
        folder / "book.txt", run=folder / "run", hidden=9, layers=1, lanes=5, window=11, max_updates=2000,
        report_every=50, validate_every=500, sample_every=0, sample_at=AT, debug=True,
    )  # fmt: skip
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', unrolled.report(run))
    assert found is not None
    [numbers] = json.loads(found[1])["runs"]
    return dict(numbers)


def test_H5_the_report_has_plots_of_loss_and_accuracy(shown: dict[str, Any]) -> None:
    assert [len(shown["curves"][kind]["nats"]) for kind in ("train", "validation")] == [40, 4]
    for curve in shown["curves"].values():
        assert len(curve["accuracy"]) == len(curve["nats"]) and curve["nats"][-1] < curve["nats"][0]
    static = Path(unrolled.__file__).parent / "inspection" / "pages" / "static" / "report.js"
    assert '["Loss", "nats", ["train", "validation"]' in static.read_text(encoding="utf-8")


def test_K8_the_report_has_the_repetition_of_each_temperature(shown: dict[str, Any]) -> None:
    found = shown["temperatures"]
    assert [each["temperature"] for each in found] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    assert all(each["length"] == 2000 and 0 <= each["share"] <= 1 for each in found)
    assert found[0]["share"] > found[-1]["share"]


def test_K9_the_report_tells_what_is_new_and_where_the_longest_copy_stands(shown: dict[str, Any]) -> None:
    for stage in shown["stages"]:
        new, copy = stage["novelty"], stage["novelty"]["longest"]
        assert copy["text"] in TEXT and copy["text"] == stage["pieces"][1] and copy["file"] == "book.txt"
        assert copy["text"].split("\n")[0] in TEXT.splitlines()[copy["line"] - 1] + "\n"
        for parts in (new["words"], new["lines"]):
            assert parts["new"] <= parts["count"] and (parts["new"] > 0) == bool(parts["listed"])
            assert all(text not in TEXT.splitlines() for text in parts["listed"])


def test_K10_the_report_has_the_samples_of_the_chosen_updates(shown: dict[str, Any]) -> None:
    assert [stage["update"] for stage in shown["stages"]] == list(AT)
    assert all(sum(map(len, stage["pieces"])) == 200 for stage in shown["stages"])


def test_K11_the_report_scores_what_samples_open_beside_the_training_text(shown: dict[str, Any]) -> None:
    kinds = {'"', "(", "[", "{", "[[", "<", "\\begin"}
    for stage in shown["stages"]:
        assert {each["kind"] for each in stage["structure"]} == kinds
        assert all(each["training"] == 1 for each in stage["structure"])
    last = shown["stages"][-1]["structure"]
    assert any(each["share"] is not None for each in last)


def test_S16_the_report_has_the_sizes_that_debug_recorded(shown: dict[str, Any]) -> None:
    sizes = shown["sizes"]
    assert sizes["layers"][-1] == "loss" and "lstm1" in sizes["layers"]
    assert (sizes["updates"][0], sizes["updates"][-1]) == (50, 2000) and len(sizes["steps"]) == 11
    for table in ("value", "gradient"):
        assert len(sizes[table]) == len(sizes["layers"]) and all(size > 0 for size in sizes[table][0])
