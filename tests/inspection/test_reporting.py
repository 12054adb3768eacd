from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unrolled
from unrolled.inspection import evolution, novelty, repetition_by_temperature, training_text
from unrolled.inspection.closing import KINDS
from unrolled.inspection.reporting import LENGTH, Effort, summarised
from unrolled.net import Chain, Net, chain

TEXT = 'the cat "sat" on (the) mat. a dog ate the hat, and ran.\n' * 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> unrolled.Run:
    folder = tmp_path_factory.mktemp("reporting")
    (folder / "book.txt").write_text(TEXT)
    return unrolled.train(
        folder / "book.txt", run=folder / "run", hidden=9, layers=1, lanes=5, window=7, max_updates=24,
        report_every=3, validate_every=8, sample_every=6, sample_length=70, sample_prime="the", lr=0.01,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(run: unrolled.Run) -> dict[str, Any]:
    return summarised(run)


def test_curves_are_the_run_s_metrics(run: unrolled.Run, found: dict[str, Any]) -> None:
    for kind in ("train", "validation"):
        lines = [line for line in run.metrics.lines() if line["kind"] == kind]
        assert found["lines"][kind] == len(lines) == len(found["curves"][kind]["update"])
        for key, values in found["curves"][kind].items():
            np.testing.assert_allclose(values, [line[key] for line in lines], rtol=1e-5)
    best = min((line for line in lines), key=lambda line: line["nats"])
    assert found["best"]["update"] == best["update"] and found["best"]["nats"] == best["nats"]
    assert found["updates"] == 24 and found["epochs"] == pytest.approx(lines[-1]["epoch"])
    assert found["parameters"] == sum(p.numel() for p in run.load().parameters())


def test_settings_that_differ_are_told_with_their_defaults(found: dict[str, Any]) -> None:
    assert ["hidden", "9", "128"] in found["changed"] and ["epochs", "0", "50"] in found["changed"]
    assert ["sample_prime", "the", "unset"] in found["changed"]
    assert not [name for name, *_ in found["changed"] if name == "cell"]
    assert found["settings"]["cell"] == "lstm" and found["net"] == "lstm, 1 layer of 9 units"


def test_stages_are_the_evolution_with_what_is_copied_cut_out(
    run: unrolled.Run, found: dict[str, Any]
) -> None:
    training = training_text(run)
    stages = evolution(run, training)
    assert [stage["update"] for stage in found["stages"]] == [stage.update for stage in stages]
    for stage, told in zip(stages, found["stages"], strict=True):
        assert "".join(told["pieces"]) == stage.text and told["prime"] == "the"
        copy = novelty(stage.text, training, prime=stage.prime).longest
        assert copy is not None and told["pieces"][1] == copy.text
        place = told["novelty"]["longest"]
        assert (place["length"], place["file"], place["line"]) == (copy.length, "book.txt", copy.line)
        assert {each["kind"] for each in told["structure"]} == {'"', "("}
        assert all(each["words"] == KINDS[each["kind"]] for each in told["structure"])
        assert all(each["training"] == 1 for each in told["structure"])


def test_temperatures_are_those_of_the_newest_model(run: unrolled.Run, found: dict[str, Any]) -> None:
    wanted = repetition_by_temperature(run.load(), length=LENGTH)
    assert [each["text"] for each in found["temperatures"]] == [each.text for each in wanted]
    assert [each["share"] for each in found["temperatures"]] == [each.repetition.share for each in wanted]


def test_bounded_effort_leaves_out_what_takes_long_and_says_so(run: unrolled.Run) -> None:
    quick = summarised(run, effort=Effort(1e-6))
    assert quick["temperatures"][0]["length"] == 50
    assert not quick["compared"] and quick["stages"][0]["novelty"] is None
    [note] = quick["notes"]
    assert f"unrolled report {run.directory}" in note


def test_a_larger_net_writes_less_in_the_same_time(run: unrolled.Run) -> None:
    net, effort = run.load(), Effort(0.25)
    large = Net(chain(Chain(net.output_size, cell="lstm", layers=2, hidden=256)), net.vocab)
    assert 50 < effort.length(large) < effort.length(net) == LENGTH == Effort().length(large)


def test_a_damaged_checkpoint_is_passed_over_and_said(run: unrolled.Run, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run.directory, tmp_path / "run", symlinks=True)
    newest = tmp_path / "run" / "checkpoints" / "24" / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    found = summarised(unrolled.Run(tmp_path / "run"))
    assert "is damaged" in found["notes"][0] and found["temperatures"]


def test_a_sample_is_shown_up_to_a_limit(run: unrolled.Run, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run.directory, tmp_path / "run", symlinks=True)
    longer = unrolled.Run(tmp_path / "run")
    entry = {"update": 25, "epoch": 1.0, "temperature": 1.0, "prime": "", "text": "the cat " * 4000}
    longer.samples.append(entry)
    stage = summarised(longer)["stages"][-1]
    assert sum(map(len, stage["pieces"])) == 20_000 and stage["hidden"] == 12_000
    assert math.isclose(stage["repetition"]["loop"]["times"], 4000, rel_tol=1e-3)
