from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from random import Random
from xml.etree import ElementTree

import pytest

from unrolled.errors import NetError, UsageError
from unrolled.net import Chain, Edge, Layer, Param, Spec, chain, unroll_graph
from unrolled.net.pictures import draw_svg

SVG = "{http://www.w3.org/2000/svg}"


def layer(
    name: str, kind: str, *sources: str | Edge, unroll: int | str | None = None, **settings: object
) -> Layer:
    edges = tuple(Edge(source) if isinstance(source, str) else source for source in sources)
    return Layer(name, kind, edges, settings, unroll=unroll)


def char_rnn(partition: int | None = None) -> Spec:
    layers = (
        layer("text", "text", size=7),
        layer("onehot", "one-hot", Edge("text", "all"), size=7),
        layer("lstm1", "recurrent", "onehot", cell="lstm", hidden=5),
        layer("lstm2", "recurrent", "lstm1", cell="lstm", hidden=6),
        layer("logits", "linear", "lstm2", size=7),
        layer("label", "label", Edge("text", "all")),
        layer("loss", "softmax-loss", "logits", "label"),
    )
    return Spec(layers, partition=partition)


def translator() -> Spec:
    source, target = "source", "target"
    return Spec(
        (
            layer("words", "one-hot", size=9, unroll=source),
            layer("encoder", "recurrent", "words", cell="gru", hidden=5, unroll=source),
            layer("before", "one-hot", size=8, unroll=target),
            layer(
                "decoder", "recurrent", "before", Edge("encoder", "last"), cell="gru", hidden=5, unroll=target
            ),
            layer("read", "attention", "decoder", Edge("encoder", "all"), unroll=target),
            layer("logits", "linear", "read", size=8, unroll=target),
        )
    )


def feedback() -> Spec:
    return Spec(
        (
            layer("onehot", "one-hot", size=4),
            layer(
                "gru",
                "recurrent",
                "onehot",
                Edge("out", shift=1),
                Edge("onehot", shift=3),
                cell="gru",
                hidden=3,
            ),
            layer("mix", "eltwise", "gru", Edge("gru", shift=2), Edge("mix", shift=1)),
            layer("out", "linear", "mix", size=4),
        )
    )


def between() -> Spec:
    """A net with one copy between its columns, at their top, and two-way recurrence."""
    return Spec(
        (
            layer("text", "text", size=4),
            layer("vector", "embedding", Edge("text", "all"), size=4, width=3),
            layer("mean", "mean", Edge("vector", "all"), unroll=1),
            layer("style", "linear", "mean", size=2, unroll=1),
            layer(
                "back",
                "recurrent",
                "vector",
                Edge("style", "all"),
                cell="rnn",
                hidden=3,
                direction="backward",
            ),
            layer("sum", "sum", Edge("back", "all"), unroll=1),
            layer("class", "linear", "sum", size=2, unroll=1),
            layer("target", "ids", size=2, unroll=1),
            layer("loss", "softmax-loss", "class", "target", unroll=1),
        )
    )


def stack(layers: int) -> Spec:
    first = layer("x0", "one-hot", size=3)
    rest = (layer(f"x{n}", "linear", f"x{n - 1}", size=3) for n in range(1, layers))
    return Spec((first, *rest))


def by_hand(steps: int) -> Spec:
    """A net unrolled by hand: two layers a step, one after the other, that share a weight."""
    layers = [layer("h0", "constant", size=3)]
    for t in range(1, steps + 1):
        layers.append(layer(f"x{t}", "floats", size=2))
        edges = (Edge(f"h{t - 1}"), Edge(f"x{t}"))
        layers.append(Layer(f"h{t}", "linear", edges, {"size": 3}, params=(Param("x_to_y", "W"),)))
    return Spec(tuple(layers), unroll=1)


NETS = {
    "char-rnn": (char_rnn(), 5),
    "translator": (translator(), {"source": 4, "target": 3}),
    "feedback": (feedback(), 6),
    "between": (between(), 4),
    "one layer": (stack(1), 1),
    "by hand": (by_hand(4), 1),
    "wide": (chain(Chain(9, layers=3, dropout=0.5)), 11),
}


def drawn_at_random(seed: int) -> Spec:
    """A net of up to 12 layers of three lengths, with edges of every kind."""
    draw = Random(seed)
    layers: list[Layer] = []
    for number in range(draw.randint(2, 12)):
        length, edges = draw.choice([None, None, 1, "a"]), dict[Edge, None]()
        for source in draw.choices(layers, k=draw.randint(0, 3)) if layers else ():
            kind = "same" if source.unroll == length else draw.choice(["all", "last"])
            kind = "last" if kind == "all" and source.unroll != 1 else kind
            edges[Edge(source.name, kind, draw.choice([0, 0, 1, 3]) if kind == "same" else 0)] = None
        name, long = f"l{number}", [layer for layer in layers if layer.unroll != 1]
        if long and draw.random() < 0.25:
            layers.append(layer(name, "mean", Edge(draw.choice(long).name, "all"), unroll=1))
        elif edges and draw.random() < 0.5:
            layers.append(layer(name, "recurrent", *edges, cell="rnn", hidden=3, unroll=length))
        else:
            layers.append(
                layer(
                    name,
                    "eltwise" if edges else "floats",
                    *edges,
                    unroll=length,
                    **({} if edges else {"size": 3}),
                )
            )
    return Spec(tuple(layers))


NETS |= {f"random {seed}": (drawn_at_random(seed), {"": 4, "a": 3}) for seed in range(20)}
small = pytest.mark.parametrize(("spec", "steps"), NETS.values(), ids=NETS)


def parts(svg: str, panel: str) -> ElementTree.Element:
    root = ElementTree.fromstring(svg)
    return next(group for group in root.iter(f"{SVG}g") if group.get("class") == panel)


def groups(element: ElementTree.Element, word: str) -> list[ElementTree.Element]:
    return [group for group in element.iter(f"{SVG}g") if word in group.get("class", "").split()]


def words(element: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()) for text in element.iter(f"{SVG}text")]


def kinds(element: ElementTree.Element) -> Counter[str]:
    return Counter(group.get("class", "").split()[-1] for group in groups(element, "edge"))


@small
def test_every_copy_is_a_box_with_its_layers_name(spec: Spec, steps: int) -> None:
    boxes = groups(parts(draw_svg(spec, steps), "unrolled"), "copy")
    graph = unroll_graph(spec, steps)
    assert Counter(box.get("data-copy") for box in boxes) == Counter(copy.name for copy in graph)
    for box in boxes:
        assert words(box)[0].startswith(box.get("data-copy", "").partition("#")[2])


@small
def test_every_layer_is_a_box_in_the_rolled_net(spec: Spec, steps: int) -> None:
    boxes = groups(parts(draw_svg(spec, steps), "rolled"), "layer")
    assert {box.get("data-layer") for box in boxes} == {layer.name for layer in spec}
    for box in boxes:
        assert words(box)[0] == box.get("data-layer")


@small
def test_every_link_of_the_graph_is_one_line_of_its_kind(spec: Spec, steps: int) -> None:
    wanted: Counter[str] = Counter()
    for copy in unroll_graph(spec, steps):
        for link in copy.links:
            edge = link.edge
            wanted["own" if edge is None else "shift" if edge.shift else edge.kind] += 1
    assert kinds(parts(draw_svg(spec, steps), "unrolled")) == wanted


@small
def test_every_edge_of_the_net_is_one_line_and_every_loop_a_loop(spec: Spec, steps: int) -> None:
    drawn = kinds(parts(draw_svg(spec, steps), "rolled"))
    edges = sum(len(layer.sources) for layer in spec)
    assert drawn["own"] == sum(layer.type == "recurrent" for layer in spec)
    assert drawn.total() - drawn["own"] == edges


@small
def test_no_line_runs_through_a_box(spec: Spec, steps: int) -> None:
    svg = draw_svg(spec, steps)
    for panel, box in (("rolled", "layer"), ("unrolled", "copy")):
        element = parts(svg, panel)
        rects = [_rect(group) for group in groups(element, box)]
        for edge in groups(element, "edge"):
            wire = edge.find(f"{SVG}path")
            assert wire is not None
            told = [float(n) for n in re.findall(r"-?[\d.]+", wire.get("d", ""))]
            points = list(zip(told[::2], told[1::2], strict=True))
            if "C" in wire.get("d", ""):
                continue
            for a, b in pairwise(points):
                assert not any(_crosses(a, b, rect) for rect in rects), edge.find(f"{SVG}title").text


def _rect(group: ElementTree.Element) -> tuple[float, float, float, float]:
    rect = group.find(f"{SVG}rect")
    assert rect is not None
    x, y, width, height = (float(rect.get(key, "")) for key in ("x", "y", "width", "height"))
    return x + 1, y + 1, x + width - 1, y + height - 1


def _crosses(a: tuple[float, float], b: tuple[float, float], rect: tuple[float, float, float, float]) -> bool:
    left, top, right, low = rect
    return (
        min(a[0], b[0]) < right and max(a[0], b[0]) > left and min(a[1], b[1]) < low and max(a[1], b[1]) > top
    )


@small
def test_all_that_is_drawn_lies_inside_the_picture(spec: Spec, steps: int) -> None:
    svg = draw_svg(spec, steps)
    root = ElementTree.fromstring(svg)
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    for rect in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.get(key, "")) for key in ("x", "y", "width", "height"))
        assert x >= 0 and y >= 0 and x + w <= width + 0.1 and y + h <= height + 0.1
    for path in root.iter(f"{SVG}path"):
        told = re.findall(r"[MLQC ](-?[\d.]+) (-?[\d.]+)", path.get("d", ""))
        assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in told)


def test_columns_are_headed_by_their_steps() -> None:
    told = words(parts(draw_svg(char_rnn(), 5), "unrolled"))
    assert [word for word in told if word.startswith("step ")] == [f"step {t}" for t in range(5)]


def test_layers_name_their_type_and_their_main_setting() -> None:
    told = words(parts(draw_svg(char_rnn(), 2), "rolled"))
    assert {"lstm, 5", "lstm, 6", "one-hot, 7", "linear, 7", "softmax-loss"} <= set(told)


def test_a_shift_is_written_at_its_edge() -> None:
    told = words(parts(draw_svg(feedback(), 5), "rolled"))
    assert Counter(word for word in told if "shift" in word) == {"shift 1": 2, "shift 2": 1, "shift 3": 1}


def test_the_legend_shows_the_kinds_that_occur_and_no_others() -> None:
    for spec, steps in NETS.values():
        svg = draw_svg(spec, steps)
        drawn = kinds(parts(svg, "rolled")) | kinds(parts(svg, "unrolled"))
        assert kinds(parts(svg, "legend")) == dict.fromkeys(drawn, 1)


def test_long_nets_are_cut_in_the_middle_and_say_so() -> None:
    svg = draw_svg(char_rnn(), 50)
    told = words(parts(svg, "unrolled"))
    assert "… 40 more steps …" in told
    steps = [word for word in told if word.startswith("step ")]
    assert steps == [f"step {t}" for t in (*range(5), *range(45, 50))]
    assert len(groups(parts(svg, "unrolled"), "copy")) == 1 + 6 * 10


def test_lines_lead_into_what_is_left_out_and_out_of_it() -> None:
    drawn = kinds(parts(draw_svg(char_rnn(), 50), "unrolled"))
    assert drawn == {"all": 20, "same": 5 * 10, "own": 2 * (4 + 1 + 1 + 4)}


def test_both_lengths_of_a_translator_are_cut_by_themselves() -> None:
    told = words(parts(draw_svg(translator(), {"source": 30, "target": 20}), "unrolled"))
    assert {"… 24 more steps …", "… 14 more steps …", "source", "target"} <= set(told)


@pytest.mark.parametrize("spec", [stack(2000), by_hand(1000)], ids=["stack", "by hand"])
def test_the_picture_of_2000_layers_is_of_bounded_size_and_says_what_it_left_out(spec: Spec) -> None:
    svg = draw_svg(spec, 5)
    root = ElementTree.fromstring(svg)
    assert len(svg) < 200_000 and float(root.get("height", "")) < 3000
    hidden = len(spec.layers) - 23
    assert words(root).count(f"… {hidden:,} more layers …") == 2
    assert len(groups(root, "layer")) == 23


def test_a_thousand_edges_between_two_layers_are_bounded_too() -> None:
    reads = tuple(Edge("x", shift=shift) for shift in range(1, 1001))
    spec = Spec((layer("x", "floats", size=3), layer("sum", "eltwise", *reads)))
    svg = draw_svg(spec, 60)
    assert len(svg) < 100_000
    assert "shift 1, 2, 3, 4, … 1000" in words(parts(svg, "rolled"))


def test_names_with_signs_of_xml_are_written_as_they_are() -> None:
    names = ['a < b & "c"', "d's > ]]>", "層é→"]
    layers = [layer(names[0], "one-hot", size=3)]
    layers += [layer(name, "linear", before, size=3) for before, name in pairwise(names)]
    root = ElementTree.fromstring(draw_svg(Spec(tuple(layers), name="<&>"), 2))
    assert set(names) <= set(words(root))
    assert {group.get("data-layer") for group in groups(root, "layer")} == set(names)
    title = root.find(f"{SVG}title")
    assert title is not None and title.text == "The net <&>. Unrolled over 2 steps"


def test_a_long_name_is_shortened_and_told_in_full() -> None:
    name = "a_layer_with_a_name_that_never_" + "ends" * 30
    svg = draw_svg(Spec((layer(name, "one-hot", size=3),)), 3)
    root = ElementTree.fromstring(svg)
    assert f"0#{name}" in [title.text for title in root.iter(f"{SVG}title")]
    assert all(len(word) < 40 for word in words(root)) and float(root.get("width", "")) < 1200


def test_the_same_net_gives_the_same_picture() -> None:
    for spec, steps in NETS.values():
        assert draw_svg(spec, steps) == draw_svg(Spec.from_dict(spec.to_dict()), steps)


def test_a_picture_stands_alone_and_tells_itself_in_words() -> None:
    svg = draw_svg(translator(), {"source": 4, "target": 3})
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img" and "prefers-color-scheme:dark" in svg
    description = root.find(f"{SVG}desc")
    assert description is not None and description.text is not None
    assert "decoder (gru, 5) reads before, encoder (last)" in description.text
    assert "script" not in svg and "href" not in svg and "url(" not in svg and " id=" not in svg


def test_parameters_shared_by_name_are_tagged_with_one_colour() -> None:
    one = (Param("x_to_y", "proj"),)
    layers = (
        layer("x", "one-hot", size=4),
        Layer("a", "linear", (Edge("x"),), {"size": 4}, params=one),
        Layer("b", "linear", (Edge("a"),), {"size": 4}, params=one),
        layer("c", "linear", "b", size=4),
    )
    svg = draw_svg(Spec(layers), 3)
    tagged = [g for g in groups(parts(svg, "rolled"), "layer") if "proj" in words(g)]
    assert [group.get("data-layer") for group in tagged] == ["a", "b"]
    colours = [rect.get("fill") for group in tagged for rect in group.iter(f"{SVG}rect") if rect.get("fill")]
    assert len(colours) == 2 and len(set(colours)) == 1
    assert "shared by a, b: proj" in words(parts(svg, "legend"))
    marked = [g for g in groups(parts(svg, "unrolled"), "copy") for r in g if r.get("fill") == colours[0]]
    assert len(marked) == 2 * 3


@pytest.mark.parametrize(("count", "shown"), [(2, ["@0", "@1"]), (9, ["@0", "@1", "…", "@8"])])
def test_partitions_are_coloured_and_numbered(count: int, shown: list[str]) -> None:
    svg = draw_svg(char_rnn(partition=0), 3, partitions=count)
    boxes = {box.get("data-copy"): box for box in groups(parts(svg, "unrolled"), "copy")}
    assert words(boxes["1#lstm2"])[1:] == shown
    colours = [rect.get("fill") for rect in boxes["1#lstm2"].iter(f"{SVG}rect") if rect.get("fill")]
    assert len(set(colours)) == len(colours) == len(shown) - shown.count("…")
    assert any(word.startswith(f"{count} parts") for word in words(parts(svg, "legend")))


def test_a_phase_shows_only_its_layers() -> None:
    spec = chain(Chain(5, layers=1, hidden=4))
    spec = Spec((*spec.layers, Layer("dump", "argmax", (Edge("logits"),), include=("test",))))
    for phase, found in (("train", False), ("test", True)):
        assert ("dump" in words(ElementTree.fromstring(draw_svg(spec, 2, phase=phase)))) is found


def test_what_cannot_be_unrolled_is_refused_as_by_the_graph() -> None:
    with pytest.raises(UsageError, match="wanted at least 1, came 0"):
        draw_svg(char_rnn(), 0)
    with pytest.raises(NetError, match="no such layer"):
        draw_svg(Spec((layer("a", "linear", "b", size=3),)), 2)
