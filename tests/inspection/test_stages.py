from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

import unrolled
from unrolled.errors import TextError, UsageError
from unrolled.inspection.closing import compared, yardstick
from unrolled.inspection.copies import novelty
from unrolled.inspection.repeats import repetition
from unrolled.inspection.stages import chosen, evolution
from unrolled.inspection.training_text import training_text
from unrolled.net.files import find_net, read_net

WORDS = ["the", "cat", "(sat", "on)", "a", "mat", '"and', 'saw"', "rats", "of", "Ned's", "hats;"]


def trained(tmp_path: Path, *names: str, **more: object) -> unrolled.Run:
    """Train a small net on small texts, the last of which is read for validation in part."""
    draw = random.Random(5)
    texts = []
    for name in names:
        texts.append(tmp_path / name)
        texts[-1].write_text(
            "\n".join(" ".join(draw.choices(WORDS, k=7)) for _ in range(60)), encoding="utf-8"
        )
    small = {"hidden": 6, "layers": 1, "lanes": 7, "window": 9, "sample_every": 3, "sample_length": 50}
    return unrolled.train(texts, run=tmp_path / "run", **{**small, "max_updates": 40, **more})


def test_stages_have_the_diary_and_the_scores_of_its_texts(tmp_path: Path) -> None:
    run = trained(tmp_path, "a.txt")
    training = training_text(run)
    stages = evolution(run, training, seed=2)
    diary = {entry["update"]: entry for entry in run.samples.lines()}
    assert len(stages) == 12 < len(diary)
    assert (stages[0].update, stages[-1].update) == (min(diary), max(diary))
    for stage in stages:
        entry = diary[stage.update]
        assert (stage.epoch, stage.temperature) == (entry["epoch"], entry["temperature"])
        assert (stage.prime, stage.text) == (entry["prime"], entry["text"])
        assert stage.novelty == novelty(stage.text, training, prime=stage.prime)
        assert stage.repetition == repetition(stage.text)
        assert stage.structure == compared(stage.text, yardstick(training, 50, 2))
        assert stage.structure and {one.kind for one in stage.structure} == {'"', "("}


def test_chosen_updates_are_taken_and_one_without_an_entry_is_named_with_its_nearest(tmp_path: Path) -> None:
    run = trained(tmp_path, "a.txt", sample_every=0, sample_at=(1, 5, 17))
    assert [stage.update for stage in evolution(run)] == [1, 5, 17]
    assert [stage.update for stage in evolution(run, at=[17, 5])] == [5, 17]
    with pytest.raises(UsageError, match="no update 14; the nearest is 17"):
        evolution(run, at=[5, 14])


def test_without_the_training_text_there_is_no_novelty(tmp_path: Path) -> None:
    [*_, last] = evolution(trained(tmp_path, "a.txt"))
    assert last.novelty is None and last.repetition is not None and last.structure is not None


def test_a_run_without_a_diary_has_no_stages(tmp_path: Path) -> None:
    run = trained(tmp_path, "a.txt", sample_every=0)
    assert evolution(run, training_text(run)) == []
    with pytest.raises(UsageError, match="is empty"):
        evolution(run, at=[3])


def test_a_run_that_answers_examples_has_stages_without_scores(tmp_path: Path) -> None:
    spec = read_net(find_net("patterns/many-to-one")).spec
    more = {"examples": 90, "lanes": 11, "max_updates": 6, "sample_every": 2}
    run = unrolled.train((), net=spec, task="first-letters", run=tmp_path / "run", **more)
    [*_, last] = evolution(run)
    assert last.text and (last.structure, last.repetition, last.novelty) == (None, None, None)
    with pytest.raises(TextError, match="learned from examples"):
        training_text(run)


def test_the_training_text_is_the_training_part_of_the_files_one_after_the_other(tmp_path: Path) -> None:
    for boundary in (None, "line", "file"):
        folder = tmp_path / str(boundary)
        folder.mkdir()
        run = trained(folder, "a.txt", "b.txt", boundary=boundary, split=(0.8, 0.2))
        whole = "".join((folder / name).read_text() for name in ("a.txt", "b.txt"))
        text = training_text(run)
        assert text.excerpt(0, len(whole)) == whole[: round(0.8 * len(whole))]
        begin = len((folder / "a.txt").read_text())
        assert text.place(begin) == (folder / "b.txt", 1) and text.place(begin - 1) == (folder / "a.txt", 60)
        third = whole.index("\n", begin) + 1
        assert text.place(third) == (folder / "b.txt", 2) and text.place(third - 1) == (folder / "b.txt", 1)


def test_a_text_that_changed_since_is_not_taken_for_the_one_learned_from(tmp_path: Path) -> None:
    run = trained(tmp_path, "a.txt")
    with (tmp_path / "a.txt").open("a") as file:
        file.write("more")
    with pytest.raises(TextError, match="changed since"):
        training_text(run)


def test_stages_are_spaced_in_the_logarithm_and_always_have_both_ends() -> None:
    assert chosen([]) == [] and chosen([7]) == [7] and chosen([3, 1, 2]) == [1, 2, 3]
    found = chosen(range(10, 100_001, 10))
    assert len(found) == 12 and (found[0], found[-1]) == (10, 100_000)
    ratios = [later / earlier for earlier, later in itertools.pairwise(found)]
    assert max(ratios) / min(ratios) < 1.6
    draw = random.Random(9)
    for _ in range(50):
        updates = sorted(draw.sample(range(10**6), draw.randrange(2, 60)))
        found = chosen(updates, most=5)
        assert found == sorted(set(found)) and len(found) == min(5, len(updates))
        assert found[0] == updates[0] and found[-1] == updates[-1] and set(found) <= set(updates)
