from __future__ import annotations

from pathlib import Path

import unrolled
from unrolled.net import Chain, Layer, Spec, chain
from unrolled.runs import Run, Source
from unrolled.runs.notebook import harmless
from unrolled.settings import Settings


def test_a_run_is_a_plain_table_in_a_notebook(tmp_path: Path) -> None:
    book = tmp_path / "<b>book.txt"
    book.write_text("the cat sat on the mat<img>.\n" * 40, encoding="utf-8")
    directory = tmp_path / "<script>alert(1)<\u2215script>\u202e"
    run = unrolled.train(
        book, run=directory, hidden=5, layers=1, lanes=3, window=7, max_updates=4, sample_prime="<img>"
    )
    html = run._repr_html_()
    assert html.startswith("<table><tr><th>run</th><td>") and html.endswith("</td></tr></table>")
    assert "&lt;script&gt;alert(1)&lt;\u2215script&gt;⟨202E⟩" in html and "&lt;b&gt;book.txt" in html
    assert "<td>4</td>" in html and "<th>hidden</th><td>5 (default 128)</td>" in html
    assert "<th>sample_prime</th><td>&lt;img&gt; (default unset)</td>" in html
    assert not [part for part in ("<script", "<img", "<b>", "\u202e") if part in html]
    best = min(line["nats"] for line in run.metrics.lines() if line["kind"] == "validation")
    assert f"<th>best validation</th><td>{best:.4f} at update " in html


def test_a_run_that_has_nothing_yet_and_one_whose_metrics_are_damaged_are_shown(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("abc " * 50)
    run = Run.create(tmp_path / "bare", Settings(), Source(("book.txt",), "00"))
    assert "<th>best validation</th><td>none</td>" in run._repr_html_()
    run = unrolled.train(tmp_path / "book.txt", run=tmp_path / "run", hidden=3, lanes=2, max_updates=1)
    run.metrics.path.write_text("{]\n")
    assert "<th>best validation</th><td>unreadable</td>" in run._repr_html_()


def test_what_can_t_be_seen_is_written_as_its_number() -> None:
    assert harmless('a\x00\u202eb\ud800\n]]>&"') == "a⟨0000⟩⟨202E⟩b⟨D800⟩⟨000A⟩]]&gt;&amp;&quot;"
    assert harmless("né 漢 😀") == "né 漢 😀"


def test_a_spec_is_its_picture_in_a_notebook() -> None:
    from unrolled.net.pictures import draw_svg

    spec = chain(Chain(7, cell="gru", layers=2, hidden=5))
    assert spec._repr_html_() == draw_svg(spec) and spec._repr_html_().startswith("<svg")


def test_a_hostile_spec_is_harmless_in_a_notebook() -> None:
    name = "<script>alert(1)</script><!--\u202e]]>"
    spec = Spec((Layer(name, "ids", settings={"size": 5}),), name=name)
    assert "<script" not in spec._repr_html_() and "<!--" not in spec._repr_html_()
    broken = Spec((Layer(name, "no-such-type"),))._repr_html_()
    assert broken.startswith("<p>") and "&lt;script&gt;" in broken
    assert not [part for part in ("<script", "<!--", "\u202e") if part in broken]
