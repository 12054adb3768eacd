from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import unrolled
from unrolled.errors import UsageError
from unrolled.inspection.pages.report import gathered, names, page
from unrolled.net.files import shipped

OpenPage = Callable[..., Any]

TEXT = 'He said "no" (and {left}). [[A link]] <b>bold</b>, [ok]\n  \\begin{x} so \\end{x}\n' * 120
HOSTILE = [
    "</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>", "<!--<script>", "]]>",
    "&lt;b&gt;", "javascript:alert(3)", '"onload="alert(4)', "${alert(5)}",
    "\u202e", "\x00", "\u2028", "\u200f", "\u00ad", "\ufeffx",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> unrolled.Run:
    """Return a run with a diary of 14 samples and --debug; no test may change it."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "book.txt").write_text(TEXT)
    return unrolled.train(
        folder / "book.txt", run=folder / "first", hidden=16, layers=1, lanes=7, window=11, max_updates=120,
        report_every=10, validate_every=40, sample_every=10, sample_at=(1, 3), sample_length=90, debug=True,
        lr=0.01, sample_prime="He ", split="0.9,0.1",
    )  # fmt: skip


@pytest.fixture(scope="module")
def html(run: unrolled.Run) -> str:
    return unrolled.report(run)


def test_the_page_shows_loss_and_accuracy_as_curves_and_their_numbers(html: str, open_page: OpenPage) -> None:
    opened = open_page(html).page
    captions = opened.locator("figcaption").all_inner_texts()
    assert captions[:2] == ["Loss", "Accuracy"] and len(captions) == 5
    assert opened.locator("figure canvas").count() == 5
    assert "nats = " not in opened.locator("figure").first.inner_text()
    opened.locator("figure .u-over").first.hover()
    assert re.search(r"training[\d.]+ nats = [\d.]+ bits", opened.locator("figure").first.inner_text())
    opened.get_by_text("The numbers behind the curves").click()
    assert opened.locator("table", has_text="nats per char").count() == 2


def test_all_curves_zoom_together_and_a_double_click_shows_all_again(html: str, open_page: OpenPage) -> None:
    opened = open_page(html).page

    def seen() -> list[tuple[float, float]]:
        return [
            tuple(found)
            for found in opened.evaluate(
                "plots.map(({plot}) => [plot.plot.scales.x.min, plot.plot.scales.x.max])"
            )
        ]

    whole = seen()
    box = opened.locator(".u-over").first.bounding_box()
    y = box["y"] + 50
    opened.mouse.move(box["x"] + box["width"] * 0.3, y)
    opened.mouse.down()
    opened.mouse.move(box["x"] + box["width"] * 0.6, y, steps=4)
    opened.mouse.up()
    zoomed = seen()
    assert all(low > 30 and high < 90 for low, high in zoomed)
    opened.mouse.dblclick(box["x"] + box["width"] * 0.5, y)
    assert seen() == whole
    opened.locator("#nearer").press("Enter")
    assert all(high - low < 0.6 * 110 for low, high in seen())
    opened.locator("#whole").press("Enter")
    assert seen() == whole
    opened.select_option("#over", "epoch")
    assert all(high < 20 for _, high in seen())


def test_the_stages_are_stepped_through_by_keys_and_all_are_printed(html: str, open_page: OpenPage) -> None:
    opened = open_page(html).page
    shown = opened.locator(".stage:visible h3")
    assert opened.locator(".stage").count() == 12 and shown.all_inner_texts() == ["Update 120"]
    opened.locator("#stage").press("Home")
    assert shown.all_inner_texts() == ["Update 1"]
    assert opened.locator("#stage").get_attribute("aria-valuetext") == "update 1"
    opened.locator("#stage").press("ArrowRight")
    opened.locator("#later").press("Enter")
    assert shown.all_inner_texts() == ["Update 10"]
    opened.locator("#all").press("Space")
    assert shown.count() == 12
    opened.locator("#all").press("Space")
    opened.emulate_media(media="print")
    assert shown.count() == 12


def test_a_stage_shows_its_prime_what_is_copied_and_its_scores(
    html: str, run: unrolled.Run, open_page: OpenPage
) -> None:
    opened = open_page(html).page
    stage = opened.locator(".stage:visible")
    [entry] = [line for line in run.samples.lines() if line["update"] == 120]
    assert stage.locator("pre").inner_text() == entry["prime"] + entry["text"]
    assert stage.locator(".prime").inner_text() == "He "
    copied = stage.locator("mark").inner_text()
    assert copied in TEXT and copied in entry["text"]
    scores = stage.locator(".scores").inner_text()
    assert f"{len(copied)} characters, book.txt, line " in scores
    assert "new words" in scores and "new lines" in scores and "repetition" in scores
    table = opened.locator("table.heat").first.inner_text()
    for kind in ("straight quotes", "round brackets", "links [[ ]]", "tags", "\\begin{x}"):
        assert kind in table
    opened.get_by_role("button", name="Show the stage of update 3").or_(
        opened.locator(".jump", has_text=re.compile("^3$"))
    ).first.click()
    assert stage.locator("h3").inner_text() == "Update 3"


def test_the_page_shows_repetition_at_each_temperature_and_the_sizes_of_layers(
    html: str, open_page: OpenPage
) -> None:
    opened = open_page(html, width=400, scheme="dark").page
    rows = opened.locator("table.temperatures tbody tr")
    assert rows.count() == 6 and rows.first.inner_text().startswith("0, the likeliest")
    opened.get_by_text("Temperature 0, the likeliest").click()
    assert len(opened.locator("details[open] pre").inner_text()) > 1500
    titles = opened.locator("h3").all_inner_texts()
    assert "Values over the updates" in titles and "Gradients over the updates" in titles
    assert opened.locator("table.heat.tight").first.locator("tbody tr").count() >= 3
    assert opened.evaluate("document.documentElement.scrollWidth") == 400
    opened.get_by_text("The net as a picture").click()
    assert opened.locator(".picture svg").bounding_box()["height"] > 100


def test_several_runs_are_compared_and_one_is_chosen_by_keys(
    run: unrolled.Run, tmp_path: Path, open_page: OpenPage
) -> None:
    (tmp_path / "first").mkdir()
    for name in ("config.toml", "metrics.jsonl", "samples.jsonl"):
        text = (run.directory / name).read_text()
        changed = text.partition("\n")[2] if name == "config.toml" else text  # without the hash of the rest
        (tmp_path / "first" / name).write_text(changed.replace("hidden = 16", "hidden = 17"))
    opened = open_page(unrolled.report(run, tmp_path / "first", *[run] * 6), width=400).page
    assert opened.locator("h1").inner_text() == "8 runs compared"
    results = opened.locator("#results-table tbody tr")
    other = f"{run.directory.parent.name}/first"
    assert [row.split("\t")[0] for row in results.all_inner_texts()][:3] == [
        other, f"{tmp_path.name}/first", f"{other} (2)",
    ]  # fmt: skip
    assert opened.locator("#settings-table tbody tr").all_inner_texts() == [
        "\t".join(["hidden", "16", "17", *["16"] * 6])
    ]
    assert opened.locator("figcaption").all_inner_texts()[:2] == ["Loss in validation", "Loss in training"]
    dashes = opened.evaluate("plots[0].plot.lines.map((line) => `${line.colour} ${line.dash}`)")
    assert len(set(dashes)) == 8
    opened.locator("#run").press("ArrowDown")
    assert "What needs the model is left out" in opened.locator(".notes").inner_text()
    wide = "[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > 400)"
    found = f"{wide}.filter((e) => !e.closest('.scroll')).map((e) => e.outerHTML.slice(0, 80))"
    assert opened.evaluate(found) == []


def test_a_run_of_examples_has_curves_and_answers_only(tmp_path: Path, open_page: OpenPage) -> None:
    net = unrolled.read_net(shipped()["patterns/many-to-many"])
    run = unrolled.train(
        (), net=net.spec, run=tmp_path / "run", task="reversed-strings", max_updates=4, sample_every=2,
        examples=60, lanes=5,
    )  # fmt: skip
    opened = open_page(unrolled.report(run)).page
    assert "Examples that are wholly right" in opened.locator("figcaption").all_inner_texts()
    assert " -> " in opened.locator(".stage:visible pre").inner_text()
    headings = opened.locator("h2:visible").all_inner_texts()
    assert headings == ["The course of the training", "The diary: what it wrote while it learned"]


def test_a_run_without_metrics_diary_model_or_text_has_a_page(
    run: unrolled.Run, tmp_path: Path, open_page: OpenPage
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        text = (run.directory / "config.toml").read_text().partition("\n")[2].replace("book.txt", "gone.txt")
        (tmp_path / name / "config.toml").write_text(text)
    opened = open_page(unrolled.report(tmp_path / "one"), width=400).page
    assert "Nothing was measured yet" in opened.locator("#lead").inner_text()
    assert opened.locator(".notes li").count() == 2 and "gone.txt" in opened.locator(".notes").inner_text()
    assert "nothing to draw" in opened.locator("#charts").inner_text()
    assert "has no samples" in opened.locator("#one").inner_text()
    both = open_page(unrolled.report(tmp_path / "one", tmp_path / "two")).page
    assert "equal settings" in both.locator("#settings-table").inner_text()


def test_hostile_text_is_shown_as_text(tmp_path: Path, open_page: OpenPage) -> None:
    text = tmp_path / "<b>book.txt"
    text.write_text("\n".join(HOSTILE) * 30, encoding="utf-8")
    directory = tmp_path / "<img src=x onerror=alert(6)>\u202e]]>&amp;"
    run = unrolled.train(
        text, run=directory, hidden=5, layers=1, lanes=3, window=7, max_updates=2, sample_every=1,
        sample_prime="</script><!--", validate_every=2, report_every=1,
    )  # fmt: skip
    everything = "".join(HOSTILE) + "\ud800 \udfff"
    run.samples.append(
        {"update": 3, "epoch": 1.0, "temperature": 1.0, "prime": HOSTILE[0], "text": everything}
    )
    html = unrolled.report(run)
    assert html.isascii() or not set(html) & {"\u202e", "\u2028", "\x00", "\ud800"}
    opened = open_page(html).page
    assert opened.locator("h1").inner_text() == "<img src=x onerror=alert(6)>⟨202E⟩]]>&amp;"
    sample = opened.locator(".stage:visible pre")
    assert sample.locator(".prime").inner_text() == HOSTILE[0]
    shown = sample.inner_text()
    for part in [*HOSTILE[:8], "⟨202E⟩", "⟨0000⟩", "⟨2028⟩", "⟨200F⟩", "⟨D800⟩", "⟨DFFF⟩"]:
        assert part in shown
    assert opened.locator("main img, main b, main script").count() == 0
    both = open_page(unrolled.report(run, run)).page
    assert both.locator("#run option").first.inner_text() == "<img src=x onerror=alert(6)>⟨202E⟩]]>&amp;"


def test_what_was_gathered_is_json_and_the_page_holds_it_all(html: str, run: unrolled.Run) -> None:
    [numbers] = gathered([run])
    again = json.loads(json.dumps(numbers, allow_nan=False))
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html)
    assert found is not None and json.loads(found[1]) == {"runs": [again]}
    assert page([numbers]) == html


def test_a_name_is_as_much_of_a_path_as_tells_it_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert names([Path("a/one"), Path("b/two")]) == ["one", "two"]
    assert names([Path("a/one"), Path("b/one"), Path("two")]) == ["a/one", "b/one", "two"]
    assert names([Path("one"), tmp_path / "one", Path("a/../one")]) == ["one", "one (2)", "one (3)"]
    assert names([Path("one"), Path("a/one")]) == [f"{tmp_path.name}/one", "a/one"]
    assert names([Path(os.sep)]) == [os.sep]


def test_a_report_needs_a_run() -> None:
    with pytest.raises(UsageError, match="at least one run"):
        unrolled.report()
