"""The page of an inspection, in a browser that has no network."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from playwright.sync_api import Page
from torch import Tensor

import unrolled
from unrolled.data import Vocab
from unrolled.inspection.inspecting import Inspection
from unrolled.inspection.recording import Recording
from unrolled.inspection.ruler import Memory
from unrolled.net import Chain, Net, chain

from ..writing import speech
from .conftest import OpenPage


class Quoting(unrolled.GatedCell):
    """Unit 3 is 1 inside quotes, turned over at each quotation mark; the others are of random weights."""

    gates = ("turn", "n")
    vectors = ("knows",)

    @staticmethod
    def next_state(turn: Tensor, n: Tensor, knows: Tensor, state: Tensor) -> Tensor:
        turns = torch.sigmoid(turn)
        return knows * (state + turns * (1 - 2 * state)) + (1 - knows) * torch.tanh(n)


def quoting_net(vocab: Vocab, hidden: int = 11) -> Net:
    """Return a net whose first layer knows whether it is inside quotes, and whose second knows nothing."""
    torch.manual_seed(5)
    net = Net(
        chain(Chain(len(vocab), cell="Quoting", layers=2, hidden=hidden)), vocab, {"Quoting": Quoting}
    ).eval()
    first, second = net.cells.values()
    quote = vocab.symbols.index('"')
    with torch.no_grad():
        second.knows.zero_()
        first.knows.copy_(torch.eye(hidden)[3])
        first.x_to_gates[:, 3], first.h_to_gates[:, 3], first.bias[3] = -20.0, 0.0, 0.0
        first.x_to_gates[quote, 3] = 20.0
        first.h_to_gates[3] = 0.0
    return net


@pytest.fixture(scope="module")
def recording() -> Recording:
    symbols = speech(3, 5000)
    vocab = Vocab.of("".join(symbols))
    return unrolled.record(quoting_net(vocab), vocab.encode("".join(symbols)))


@pytest.fixture(scope="module")
def html(recording: Recording) -> str:
    return Inspection.of(recording).page()


def data_of(html: str) -> Any:
    found = re.search(r'id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    return json.loads(found[1])


def array_of(html: str, name: str) -> bytes:
    found = re.search(rf'id="array-{name}">(.*?)</script>', html, re.DOTALL)
    assert found
    return base64.b64decode(found[1])


def pixel(page: Page, t: int, down: str = "-grid.line / 2 + 1") -> list[int]:
    """Return the colour at the left edge of symbol t's cell, ``down`` from its middle."""
    found: list[int] = page.evaluate(
        f"""(() => {{
          const [x, y] = grid.placeOf({t});
          const context = new OffscreenCanvas(1, 1).getContext("2d");
          context.drawImage(grid.canvas, x - grid.cell / 2 + 1, y + {down}, 1, 1, 0, 0, 1, 1);
          return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
        }})()"""
    )
    return found


def hover(page: Page, t: int) -> None:
    page.evaluate(f"view.scrollTop = Math.max(0, (grid.rowOf({t}) - 2) * grid.rowHeight)")
    page.wait_for_timeout(60)
    page.evaluate("document.getElementById('text').scrollIntoView({block: 'center'})")
    x, y = page.evaluate(f"grid.placeOf({t})")
    box = page.locator("#cells").bounding_box()
    assert box
    page.mouse.move(box["x"] + x, box["y"] + y)


def shown_number(page: Page, id_: str) -> float:
    text = page.locator(f"#{id_}").inner_text()
    return float(text.replace("−", "-").replace(",", "").split()[0])


def test_K12_the_text_is_coloured_by_the_chosen_unit_from_blue_to_green(
    html: str, recording: Recording, open_page: OpenPage
) -> None:
    page = open_page(html, hash_="#unit=quoting1.h:0").page
    name, unit = page.evaluate("[seen.unit.name, seen.unit.unit]")
    values = recording.series[name][:, unit]
    seen = range(page.evaluate("grid.rows[12][0]"))
    low, high = min(seen, key=lambda t: values[t]), max(seen, key=lambda t: values[t])
    assert values[low] < -0.3 and values[high] > 0.3
    red, green, blue = pixel(page, low)
    assert blue > green and blue > red
    red, green, blue = pixel(page, high)
    assert green > blue and green > red


def test_K12_hovering_shows_the_numbers_of_the_recording(
    html: str, recording: Recording, open_page: OpenPage
) -> None:
    page = open_page(html).page
    name, unit = page.evaluate("[seen.unit.name, seen.unit.unit]")
    largest = float(np.abs(recording.series[name][:, unit]).max())
    for t in (1, 37, 1234, 4999):
        hover(page, t)
        assert shown_number(page, "position") == t
        assert shown_number(page, "value") == pytest.approx(
            recording.series[name][t, unit], abs=largest / 254 + 0.005
        )
        assert shown_number(page, "bits") == pytest.approx(recording.surprise[t], abs=0.011)
        guesses = page.locator("#symbol .guess .mono").all_inner_texts()
        symbols = [*recording.shown(recording.guesses[t - 1]), *recording.shown(recording.guesses[t])]
        assert guesses == ["↵" if s == "\n" else "␣" if s == " " else s for s in symbols]
        shares = page.locator("#symbol .guess .share").all_inner_texts()
        wanted = [*recording.probabilities[t - 1], *recording.probabilities[t]]
        assert [float(share.split()[0]) / 100 for share in shares] == pytest.approx(wanted, abs=0.008)


def test_K12_five_guesses_stand_under_each_symbol_coloured_by_probability(
    html: str, recording: Recording, open_page: OpenPage
) -> None:
    page = open_page(html, hash_="#guesses=1").page
    assert page.locator("#guesses").is_checked() and page.evaluate("grid.guesses") == 5
    t = int(np.argmax(recording.probabilities[:200, 0])) + 1
    above = page.evaluate(f"guessesFor({t}).map(([text]) => text)")
    assert above == recording.shown(recording.guesses[t - 1])
    red, _, blue = pixel(page, t, "grid.line / 2 + 11")
    assert red > blue + 60 * recording.probabilities[t - 1, 0]


def test_K13_the_planted_unit_is_the_first_pane_in_plain_words(html: str, open_page: OpenPage) -> None:
    page = open_page(html).page
    assert page.locator("#panes h3").first.inner_text() == "on inside double quotes, r = 1.00 unit 1/3"
    assert page.evaluate("[seen.unit.name, seen.unit.unit]") == ["quoting1.h", 3]
    pane = data_of(html)["findings"]["panes"][0]
    values = np.frombuffer(array_of(html, "values"), np.int8).reshape(-1, 5001)[pane["unit"]]
    passage = values[pane["begin"] : pane["begin"] + len(pane["truth"])]
    assert np.array_equal(np.rint(passage / 127), np.asarray(pane["truth"]) / 100)


def test_arrow_keys_go_through_units_and_the_address_keeps_the_choice(html: str, open_page: OpenPage) -> None:
    page = open_page(html, hash_="#unit=quoting2.h:4").page
    before = page.evaluate("grid.canvas.toDataURL()")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("[seen.unit.name, seen.unit.unit]") == ["quoting2.h", 5]
    assert page.evaluate("grid.canvas.toDataURL()") != before
    assert "quoting2 h 5" in page.locator("#words").inner_text()
    assert "quoting2 h 5" in page.locator("#live").inner_text()
    assert page.evaluate("new URLSearchParams(location.hash.slice(1)).get('unit')") == "quoting2.h:5"
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    assert page.evaluate("seen.unit.unit") == 10  # round and round
    page.locator("#stretch").check()
    page.reload()
    assert page.evaluate("[seen.unit.name, seen.unit.unit, seen.stretch]") == ["quoting2.h", 10, True]


def test_another_address_changes_all_that_is_seen(html: str, open_page: OpenPage) -> None:
    page = open_page(html, hash_="#unit=quoting2.h:4&stretch=1").page
    page.evaluate("location.hash = '#unit=quoting1.h:3&guesses=1&surprise=0&span=300-310'")
    page.wait_for_function("seen.unit.name === 'quoting1.h'")
    assert page.evaluate("[grid.guesses, grid.surprise, seen.stretch, seen.span]") == [
        5, False, False, [300, 310]
    ]  # fmt: skip
    assert page.locator("#guesses").is_checked() and not page.locator("#surprise").is_checked()
    assert page.locator("#span").is_visible()
    page.evaluate("location.hash = '#unit=quoting1.h:2'")
    page.wait_for_function("seen.unit.unit === 2")
    assert page.evaluate("[grid.guesses, grid.surprise, seen.span]") == [0, True, None]
    assert page.locator("#span").is_hidden()


def test_a_key_that_is_held_changes_the_address_once(html: str, open_page: OpenPage) -> None:
    page = open_page(html, hash_="#unit=quoting2.h:0").page
    for _ in range(300):
        page.keyboard.down("ArrowRight")
    assert page.evaluate("seen.unit.unit") == 300 % 11 == 3
    assert page.evaluate("new URLSearchParams(location.hash.slice(1)).get('unit')") == "quoting2.h:1"
    page.keyboard.up("ArrowRight")
    assert page.evaluate("new URLSearchParams(location.hash.slice(1)).get('unit')") == "quoting2.h:3"


def test_where_nothing_is_found_the_unit_that_moves_most_is_seen_first(
    recording: Recording, open_page: OpenPage
) -> None:
    values = np.full((len(recording), 3), 0.9, np.float32)
    values[:, 2] = np.where(np.arange(len(recording)) % 7 < 3, -0.8, 0.8)
    still = dataclasses.replace(
        recording, series={"lstm1.h": values}, layer_of={"lstm1.h": "lstm1"}, activations={}
    )
    page = open_page(Inspection("still", (), still, None).page()).page
    assert page.evaluate("seen.unit.unit") == 2


def test_gradients_that_all_but_vanish_are_drawn_as_far_as_they_tell_something(
    recording: Recording, open_page: OpenPage
) -> None:
    steps = np.array([1, 2, 3, 10, 100, 150])
    gradient = np.array([0.19, 0.07, 2e-9, 1e-18, 3.9e-55, 0.0])
    memory = Memory(
        steps, bits=np.full(6, 2.1), excess=np.full(6, 0.1), error=np.full(6, 0.01), whole=2.0, reach=steps,
        gradient=gradient,
    )  # fmt: skip
    page = open_page(Inspection("faint", (), recording, None, memory=memory).page()).page
    page.wait_for_function("document.getElementById('kept').textContent")
    assert page.locator("#memory figure").nth(1).inner_text().endswith("are among the numbers only.")
    page.locator("#memory summary").click()
    assert page.locator("#memory-table tr").nth(5).inner_text().endswith("3.90e−55")
    ticks = page.evaluate("[decades(0, 0, 1e-9, 1), decades(0, 0, 1e-55, 1).length, decades(0, 0, 0.1, 1)]")
    assert ticks == [[pytest.approx(10.0**k) for k in (-9, -7, -5, -3, -1)], 8, [0.1, 1]]


def test_a_byte_that_is_no_ascii_is_two_digits_in_its_cell(html: str, open_page: OpenPage) -> None:
    page = open_page(html).page
    assert page.evaluate(r"['\\xc3', '\\', 'x', '\n'].map(brief)") == ["c3", "\\", "x", "↵"]


def test_K13_a_span_lists_the_units_that_are_on_there_and_off_elsewhere(
    html: str, recording: Recording, open_page: OpenPage
) -> None:
    page = open_page(html).page
    text = "".join(recording.symbols)
    begin = text.index('"', 300)
    end = text.index('"', begin + 1)
    hover(page, begin)
    page.mouse.down()
    x, y = page.evaluate(f"grid.placeOf({end - 1})")
    box = page.locator("#cells").bounding_box()
    assert box
    page.mouse.move(box["x"] + x, box["y"] + y, steps=4)
    page.mouse.up()
    assert page.evaluate("seen.span") == [begin, end]
    wanted = unrolled.inspection.units_of_span(recording.series, begin, end, top=12)
    listed = page.locator("#span-units button span:first-child").all_inner_texts()
    assert listed[0] == "quoting1 h 3"
    told = page.locator("#span-units button span:last-child").all_inner_texts()
    deviations = [float(line.split("(+")[1].split()[0]) for line in told]
    assert deviations == pytest.approx([one.difference for one in wanted], abs=0.12)
    page.reload()
    assert page.evaluate("seen.span") == [begin, end] and page.locator("#span-units button").count() == len(
        listed
    )
    page.locator("#text").focus()
    page.keyboard.press("Escape")
    assert page.evaluate("seen.span") is None and page.locator("#span").is_hidden()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    first = page.evaluate("seen.span")
    assert first[1] - first[0] == 2 and "surprise" in page.locator("#live").text_content()


def synthetic(recording: Recording, length: int, hidden: int) -> Recording:
    """Return a recording of random numbers, of any size."""
    draw = np.random.default_rng(0)
    values = np.tanh(draw.standard_normal((length, hidden), np.float32))
    ids = np.resize(recording.ids, length)
    return dataclasses.replace(
        recording,
        ids=ids,
        symbols=recording.shown(ids),
        series={"lstm1.h": values},
        layer_of={"lstm1.h": "lstm1"},
        activations={},
        guesses=np.resize(recording.guesses, (length, 5)),
        probabilities=np.resize(recording.probabilities, (length, 5)),
        surprise=np.resize(recording.surprise, length),
    )


def test_20000_symbols_and_512_units_are_all_on_the_page_where_it_may_be_large(
    recording: Recording, open_page: OpenPage
) -> None:
    large = Inspection("large", (), synthetic(recording, 20_000, 512), None)
    html = large.page(megabytes=None)
    assert len(array_of(html, "values")) == 20_001 * 512
    page = open_page(html).page
    page.wait_for_function("performance.getEntriesByName('drawn').length")
    assert page.evaluate("units.length") == 512
    hover(page, 19_000)
    assert shown_number(page, "value") == pytest.approx(
        large.recording.series["lstm1.h"][19_000, 0], abs=0.01
    )


def test_a_page_stays_under_its_size_and_keeps_the_units_that_know_something(recording: Recording) -> None:
    whole = synthetic(recording, 5000, 90)
    series = {"noise.h": whole.series["lstm1.h"], **recording.series}
    layer_of = {"noise.h": "noise", **recording.layer_of}
    found = Inspection.of(dataclasses.replace(recording, series=series, layer_of=layer_of))
    html = found.page(megabytes=0.4)
    assert 0.3e6 < len(html) < 0.4e6
    kept = [(name, unit) for name, unit, _ in data_of(html)["units"]]
    assert ("quoting1.h", 3) in kept and len(kept) < 156 == data_of(html)["all"]
    assert len(found.page(megabytes=None)) > 0.6e6


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_page_does_not_scroll_sideways_and_everything_has_a_name(
    html: str, recording: Recording, scheme: str, open_page: OpenPage
) -> None:
    page = open_page(html, width=400, height=800, scheme=scheme).page
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    nameless = """[...document.querySelectorAll('button, select, input')].filter(
      (e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).length"""
    assert page.evaluate(nameless) == 0
    heads = (
        "[...document.querySelectorAll('h1, h2, h3')].filter((e) => e.offsetParent).map((e) => +e.tagName[1])"
    )
    levels = page.evaluate(heads)
    assert levels[0] == 1 and all(after - before <= 1 for before, after in pairwise(levels))
    page.locator("#plain summary").click()
    page.wait_for_function("document.getElementById('plain-text').textContent")
    assert page.locator("#plain-text").text_content() == "".join(recording.symbols)


def test_a_print_shows_the_text_in_colour_without_the_canvas(html: str, open_page: OpenPage) -> None:
    page = open_page(html, scheme="dark").page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("#printed span").count() == 4000 and page.locator("#text").is_hidden()
    grounds = page.evaluate("[...document.querySelectorAll('#printed span')].map((e) => e.style.background)")
    assert "rgb(255, 255, 255)" in grounds and len(set(grounds)) > 1
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#printed span").count() == 0


BLIND = {
    "protan": [(0.1523, 1.0526, -0.2049), (0.1145, 0.7863, 0.0992), (-0.0039, -0.0481, 1.0520)],
    "deutan": [(0.3673, 0.8606, -0.2280), (0.2801, 0.6725, 0.0474), (-0.0118, 0.0429, 0.9689)],
    "tritan": [(1.2555, -0.0767, -0.1788), (-0.0784, 0.9308, 0.1476), (0.0047, 0.6914, 0.3039)],
}
"""Machado, Oliveira, Fernandes, A physiologically-based model for simulation of color vision
deficiency, 2009."""


def test_blue_and_green_differ_for_every_kind_of_colour_vision(html: str, open_page: OpenPage) -> None:
    ends = open_page(html).page.evaluate("ENDS")
    for low, high in ends.values():
        for matrix in [np.eye(3), *map(np.array, BLIND.values())]:
            seen = [matrix @ (np.array(end) / 255) ** 2.2 for end in (low, high)]
            labs = [lab(np.clip(one, 0, 1)) for one in seen]
            assert np.linalg.norm(labs[0] - labs[1]) > 37


def lab(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return CIE L*a*b* of linear sRGB."""
    rgb_to_xyz = [(0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)]
    xyz = np.array(rgb_to_xyz) @ linear
    f = np.cbrt(xyz / np.array([0.9505, 1.0, 1.089]))
    found: NDArray[np.float64] = np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
    return found


def test_a_notebook_shows_the_page_in_a_frame_that_can_touch_nothing(
    recording: Recording, open_page: OpenPage
) -> None:
    page = open_page(f"<!doctype html><p>A notebook</p>{recording._repr_html_()}").page
    frame = page.frames[1]
    frame.wait_for_function("performance.getEntriesByName('drawn').length")
    assert frame.locator("#panes h3").first.inner_text().startswith("on inside double quotes")
    assert (
        frame.evaluate("(() => { try { return parent.document.title; } catch { return 'out of reach'; } })()")
        == "out of reach"
    )
    frame.locator("#text").focus()
    page.keyboard.press("ArrowRight")
    assert frame.evaluate("seen.unit.unit") == 4
