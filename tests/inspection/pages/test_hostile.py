"""What comes from others is shown as text and does nothing, whatever it is."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import unrolled
from unrolled.data import Vocab
from unrolled.inspection.inspecting import Inspection
from unrolled.inspection.pages.document import as_json
from unrolled.inspection.predicates import from_function
from unrolled.inspection.recording import Recording
from unrolled.net import Chain, Net, chain

from .conftest import OpenPage
from .hostile import HOSTILE


def reading(symbols: list[str], name: str) -> Recording:
    """Return a recording of symbols, whatever they are, whose layer is called ``name`` too."""
    known = list(dict.fromkeys(symbols))
    net = Net(chain(Chain(len(known), cell="gru", layers=1, hidden=5)), Vocab("char", tuple("ab"))).eval()
    net.vocab = None
    number = {symbol: i for i, symbol in enumerate(known)}
    found = unrolled.record(net, [number[symbol] for symbol in symbols])
    assert found.guesses.max() < len(known)
    layer = dict.fromkeys(found.series, name)
    return Shown(**{**vars(found), "symbols": symbols, "layer_of": layer}).with_names(known)


class Shown(Recording):
    """A recording whose ids have names of their own."""

    def with_names(self, names: list[str]) -> Shown:
        """Call the ids so."""
        object.__setattr__(self, "names", names)
        return self

    def shown(self, ids: np.ndarray) -> list[str]:
        """Return the names."""
        names: list[str] = vars(self)["names"]
        return [names[id_] for id_ in ids.tolist()]


def hostile_page() -> str:
    """Return a page on which everything that others may write is hostile."""
    everything = "\n".join(HOSTILE)
    recording = reading([*HOSTILE, *everything] * 3, HOSTILE[0])
    on = np.resize([0, 0, 0, 1, 1, 1, 1], len(recording)).astype(bool)
    chars = [len(symbol) for symbol in recording.symbols]
    predicate = from_function(
        HOSTILE[1], lambda text: np.resize(np.repeat(on, chars), len(text)).tolist(), numeric=False
    )
    name = next(iter(recording.series))
    recording.series[name][:, 2] = 2.0 * on - 1
    found = Inspection.of(recording, [dataclasses.replace(predicate, words=everything)])
    facts = tuple((f"fact {i}", text) for i, text in enumerate(HOSTILE))
    return dataclasses.replace(found, title=everything, facts=facts, notes=HOSTILE).page()


def test_hostile_text_and_names_are_shown_and_nothing_else_happens(open_page: OpenPage) -> None:
    page = open_page(hostile_page()).page
    page.wait_for_timeout(150)
    page.locator("#guesses").check()
    page.keyboard.press("ArrowRight")
    page.locator("#text").hover(position={"x": 60, "y": 25})
    page.locator("#plain summary").click()
    visible = page.evaluate("(texts) => texts.map(visible)", list(HOSTILE))
    assert page.locator("#facts dd").all_text_contents() == visible
    assert page.locator("#notes li").all_text_contents() == visible
    page.wait_for_function("document.getElementById('plain-text').textContent")
    read = "".join([*HOSTILE, *"\n".join(HOSTILE)] * 3)
    assert page.locator("#plain-text").text_content() == page.evaluate("visible", read)
    strange = "iframe, object, embed, form, img, video, base, link, textarea, template, body script script"
    assert page.locator(strange).count() == 0


@pytest.mark.parametrize("text", HOSTILE)
def test_no_mark_up_and_nothing_beyond_ascii_is_left_in_the_data(text: str) -> None:
    written = as_json({text: [text]})
    assert written.isascii() and not set("<>&\x00\x7f") & set(written)
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    assert json.loads(written) == {whole: [whole]}


def test_the_policy_lets_nothing_in_or_out_but_the_pages_own_scripts_and_styles(open_page: OpenPage) -> None:
    html = Inspection("a", (), reading(list("abcab"), "x"), None).page()
    policy = html.split('content="default-src')[1].split('"')[0]
    assert (
        policy.startswith(" 'none'; script-src 'sha256-") and "unsafe" not in policy and "http" not in policy
    )
    opened = open_page(html)
    did = opened.page.evaluate(
        """async () => {
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          const image = new Image();
          const seen = new Promise((resolve) => {
            image.onload = () => resolve("seen");
            image.onerror = () => resolve("not");
          });
          image.src = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=";
          const fetched = await fetch("data:text/plain,x").then(() => true, () => false);
          return [window.ran ?? false, await seen, fetched];
        }"""
    )
    assert did == [False, "not", False]
    assert len(opened.faults) >= 3 and all(
        "Content Security Policy" in fault or "CSP" in fault for fault in opened.faults
    )
    opened.faults.clear()
