"""The verbs about nets: show, unroll, draw, roll."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.cli.notes import note
from unrolled.errors import NetError, UsageError, nearest

if TYPE_CHECKING:
    from unrolled.cells import Cell
    from unrolled.net import Spec
    from unrolled.net.files import Loaded

PICTURES = (".svg", ".dot", ".json")
DRAWN = 5
"""Copies that are drawn where nothing is said."""


@dataclass(frozen=True)
class Which:
    """The net that a verb is about: a file or what stands for one, a phase, and the user's own cell."""

    file: str
    phase: str | None = None
    cell: str | None = None


def show(which: Which, vocab: int | None, as_json: bool) -> None:
    """Print how a net runs: its schedule, engines, shapes, parameters and state."""
    if vocab is not None and not 1 <= vocab < 2**31:
        raise UsageError(f"--vocab: wanted a whole number of at least 1, came {vocab}")
    from unrolled.net.summary import empty_net, sizes_of, summary

    with _opened(which) as (loaded, cells):
        sizes = sizes_of(loaded.spec, vocab)
        found = summary(empty_net(loaded.spec, cells, phase=which.phase, sizes=sizes))
        given = {layer.name for layer in loaded.spec if isinstance(layer.settings.get("size"), int)}
    known = given | ({"vocab"} if vocab is not None else set())
    found["placeholders"] = {name: size for name, size in sizes.items() if name not in known}
    if as_json:
        print(json.dumps(found))
        return
    for line in _shown(found):
        print(line)


def _shown(found: Mapping[str, Any]) -> Iterator[str]:
    layers, unroll = found["layers"], found["unroll"]
    length = "as many steps as the data" if unroll is None else f"{unroll} steps"
    yield (
        f"{found['name'] or 'a net'}: {len(layers)} layers in phase {found['phase']}, {length}, "
        f"{found['parameters']:,} parameters"
    )
    for size, number in found["placeholders"].items():
        hint = "; --vocab N says otherwise" if size == "vocab" else ""
        yield f"The size '{size}' comes with the data; {number} is taken here{hint}"
    yield ""
    yield from _table(
        ("layer", "type", "copies", "gives", "parameters", "reads"), [_layer_row(layer) for layer in layers]
    )
    yield ""
    yield "In this order:"
    yield from _order(found["components"])
    cost = found["step_by_step"]
    if cost:
        low, high = (_time(seconds) for seconds in cost["seconds"])
        yield (
            f"Step by step costs about {cost['layer_calls']:,} layer calls a window of {cost['steps']:,} "
            f"steps, forward and backward: {low} to {high} beside the arithmetic"
        )
    yield from _time_and_state(found)


def _layer_row(layer: Mapping[str, Any]) -> tuple[str, ...]:
    shape, length = layer["shape"], layer["length"]
    gives = f"one of {shape['ids']} ids" if isinstance(shape, dict) else str(shape or "a number")
    reads = ", ".join(source if isinstance(source, str) else _edge(source) for source in layer["sources"])
    numbers = f"{layer['parameters']:,}" if layer["parameters"] else ""
    return layer["name"], layer["type"], "data" if length is None else str(length), gives, numbers, reads


def _edge(edge: Mapping[str, Any]) -> str:
    if "shift" not in edge:
        return f"{edge['kind']} of {edge['source']}"
    initial = edge.get("initial")
    starts = "" if initial is None else f", at first {initial}"
    if isinstance(initial, dict):
        starts = f", at first drawn from {initial['low']:g} to {initial['high']:g}"
    return f"{edge['source']} {edge['shift']} back{starts}"


def _order(components: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Name the components in order; neighbours that run alike share a line."""
    groups: list[tuple[str, list[str]]] = []
    for part in components:
        own = part["scan"] or part["runs"] != "all steps at once"
        runs = part["runs"] if part["scan"] or not own else f"engine {part['runs']}"
        if not own and groups and groups[-1][0] == runs:
            groups[-1][1].extend(part["layers"])
        else:
            groups.append((runs, list(part["layers"])))
    for number, (runs, names) in enumerate(groups, 1):
        yield f"  {number}. {runs}: {', '.join(names)}"


def _time_and_state(found: Mapping[str, Any]) -> Iterator[str]:
    if found["reads_future"] is None:
        yield "It streams: windows and single steps go on where the last ended"
    else:
        part = f"; {', '.join(found['streams'])} can go on step by step after it" if found["streams"] else ""
        yield f"It needs whole sequences: layer '{found['reads_future']}' reads all of one{part}"
    if found["state"]:
        yield f"It carries the states of {', '.join(found['state'])}"
    for line in found["delay_lines"]:
        carried = "carried" if line["carried"] else "inside a sequence"
        yield f"Delay line: '{line['layer']}' reads the last {line['shift']} of '{line['source']}', {carried}"
    for shared in found["shared"]:
        yield f"Shared: {shared['param']} by {', '.join(shared['layers'])}"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


@dataclass(frozen=True)
class Unrolled:
    """How far a net is unrolled."""

    steps: str | None
    partitions: int


def unroll(which: Which, how: Unrolled, as_json: bool, node_link: bool) -> None:
    """Print the unrolled graph: a line a copy, or JSON."""
    if as_json and node_link:
        raise UsageError("--json and --node-link are two forms; say one")
    from unrolled.net import unroll_graph

    with _opened(which) as (loaded, cells):
        steps = read_steps(how.steps, loaded.spec)
        graph = unroll_graph(loaded.spec, steps, partitions=how.partitions, phase=which.phase, cells=cells)
    for name, cell in _unnamed_cells(loaded.spec, cells).items():
        note(
            f"layer '{name}' runs {cell}, which is your code, so its parameters aren't listed; "
            f"name it too: --cell {cell}"
        )
    if as_json or node_link:
        print(json.dumps(graph.node_link() if node_link else graph.listing()))
        return
    rows = [
        (
            copy.name,
            copy.layer.type,
            ", ".join(copy.sources),
            ", ".join(
                p.name if p.shared_from is None else f"{p.name} = {p.shared_from}" for p in copy.params
            ),
        )
        for copy in graph
    ]
    for line in _table(("layer", "type", "sources", "parameters"), rows):
        print(line)


def draw(which: Which, how: Unrolled, output: Path | None) -> None:
    """Draw the rolled net and its unrolled columns: SVG, DOT or node-link JSON."""
    ending = output.suffix.lower() if output is not None else ".svg"
    if ending not in PICTURES:
        raise UsageError(f"-o: a picture ends in {', '.join(PICTURES)}, came {str(output)!r}")
    from unrolled.net import unroll_graph
    from unrolled.net.pictures import draw_dot, draw_svg

    with _opened(which) as (loaded, cells):
        steps = read_steps(how.steps, loaded.spec)
        if isinstance(steps, dict):
            steps = {"": DRAWN, **steps}
        options: dict[str, Any] = {"phase": which.phase, "partitions": how.partitions, "cells": cells}
        if ending == ".json":
            text = json.dumps(unroll_graph(loaded.spec, steps, **options).node_link()) + "\n"
        else:
            text = (draw_dot if ending == ".dot" else draw_svg)(loaded.spec, steps, **options)
    _write(text, output)


def roll(file: str, output: Path | None) -> None:
    """Write a net that was unrolled by hand as the rolled net that it is, in TOML."""
    if output is not None and output.suffix != ".toml":
        raise UsageError(
            f"-o: a rolled net is written as TOML, to a file that ends in .toml, came {str(output)!r}"
        )
    from unrolled.net.files import to_toml
    from unrolled.net.rolling import roll as rolled

    with _opened(Which(file)) as (loaded, _):
        text = to_toml(rolled(loaded.spec))
    _write(text, output)


def read_steps(words: str | None, spec: Spec) -> int | dict[str, int] | None:
    """Return ``--steps`` as a number, or as one for each named length; UsageError for anything else."""
    if words is None:
        return None
    known = {length for layer in spec if isinstance(length := spec.length_of(layer), str)}
    known |= {spec.unroll} if isinstance(spec.unroll, str) else set()
    found: dict[str, int] = {}
    for part in words.split(","):
        name, _, number = part.strip().rpartition("=")
        if name and name not in known:
            has = f"it has {', '.join(sorted(known))}" if known else "it has no named length"
            raise UsageError(f"--steps: this net has no length '{name}'; {has}{nearest(name, known)}")
        if not (number.isascii() and number.isdigit() and 0 < len(number) < 9 and int(number)):
            wanted = (
                "a number from 1 to 99,999,999, or one for each length as in source=4,5 (the net's own: 5)"
            )
            raise UsageError(f"--steps: wanted {wanted}, came {words!r}")
        found["" if name == spec.unroll else name] = int(number)
        found[name] = int(number)
    return found[""] if list(found) == [""] else found


@contextmanager
def _opened(which: Which) -> Iterator[tuple[Loaded, Mapping[str, type[Cell]]]]:
    """Read the net and its cells, print notes, and tell errors that are raised inside with their place."""
    _check_phase(which.phase)
    loaded = _load(which.file)
    for message in loaded.notes:
        note(message)
    cells = {**loaded.cells, **_own_cells(which.cell)}
    with loaded.telling(which.phase):
        yield loaded, cells


def _unnamed_cells(spec: Spec, cells: Mapping[str, type[Cell]]) -> dict[str, str]:
    """Return the layers whose cells nobody named, with what the spec calls the cell."""
    from unrolled.cells import NAMED
    from unrolled.net.params import cell_class

    known = {**NAMED, **cells}
    return {
        layer.name: str(layer.settings["cell"])
        for layer in spec
        if layer.type == "recurrent" and cell_class(layer, known, required=False) is None
    }


def _check_phase(phase: str | None) -> None:
    from unrolled.net.spec import PHASES

    if phase is not None and phase not in PHASES:
        raise UsageError(
            f"--phase: wanted one of {', '.join(PHASES)}, came {phase!r}{nearest(phase, PHASES)}"
        )


def _own_cells(cell: str | None) -> dict[str, type[Cell]]:
    if cell is None:
        return {}
    from unrolled.training.own_cells import own_cell

    own = own_cell(cell)
    if own is None:
        raise UsageError(f"--cell: wanted PATH.py:NAME, came the built-in '{cell}', which needs no flag")
    return own.cells


def _load(file: str) -> Loaded:
    """Return the net of a file, of a run or checkpoint, or of the name of a shipped one."""
    from unrolled.net.files import ENDINGS, read_net, shipped

    path = Path(file)
    place, colon, _ = file.rpartition(":")
    if (colon and place.endswith(".py")) or path.suffix in (*ENDINGS, ".py"):
        return read_net(file)
    if path.is_dir():
        return _from_run(path)
    known = shipped()
    if file in known:
        return read_net(known[file])
    if path.is_file():
        raise UsageError(f"{file}: a net's file ends in {', '.join(ENDINGS)}, or is PATH.py:FUNCTION")
    raise UsageError(
        f"{file}: there is no such file, run or shipped net{nearest(file, known) or _listed(known)}"
    )


def _listed(known: Mapping[str, Path]) -> str:
    return f"; shipped are {', '.join(sorted(known))}"


def _from_run(path: Path) -> Loaded:
    """Return the net of a run's newest checkpoint; LoadError where there is none."""
    from unrolled.net import Spec
    from unrolled.net.files import Loaded
    from unrolled.runs.checkpoint import is_checkpoint, read_model
    from unrolled.runs.model import newest_usable

    notes: list[str] = []
    if is_checkpoint(path):
        folder, (_, config) = path, read_model(path)
    else:
        folder, (_, config) = newest_usable(path, read_model, notes.append)

    def located(error: NetError, _: str | None) -> NetError:
        return NetError(f"{folder}/config.json: {error}", error.layer, error.field)

    return Loaded(Spec.from_dict(config), tuple(notes), locate=located)


def _write(text: str, output: Path | None) -> None:
    """Write to a file, whole or not at all, or to stdout."""
    if output is None:
        sys.stdout.write(text)
        return
    from unrolled.runs.files import replace_file

    try:
        replace_file(output, text.encode())
    except OSError as error:
        raise UsageError(f"-o: {output} can't be written: {error.strerror}") from error


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lay rows out in columns; the last one is as wide as it likes."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
