"""The verbs train and resume."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.cli.looking import report_of_training
from unrolled.cli.notes import note
from unrolled.errors import UsageError
from unrolled.settings import Resolved, resolve, to_tables

if TYPE_CHECKING:
    from unrolled.cli.terminal import Terminal
    from unrolled.net import Net
    from unrolled.runs import Run

FINAL_LENGTH = 500


@dataclass(frozen=True)
class Voice:
    """How much is said, and where: words go to stderr when stdout carries JSON."""

    quiet: bool
    json: bool

    def terminal(self) -> Terminal:
        """Return what prints a training."""
        from unrolled.cli.terminal import Terminal, Words

        return Terminal(Words(stderr=self.json, quiet=self.quiet, highlight=False))


def print_config(what: What, flags: Mapping[str, Any], as_json: bool) -> None:
    """Print every setting with its value and where it came from; a net's file is read for its settings."""
    tables = None
    if what.net is not None or any(text.endswith((".conf", ".prototxt")) for text in what.texts):
        from unrolled.training.lesson_files import lesson_of

        _, tables = lesson_of(what.texts, what.net)
    resolved = resolve(what.recipe, os.environ, flags, tables)
    if as_json:
        print(json.dumps({"settings": to_tables(resolved.settings), "origin": resolved.origin}, indent=1))
    else:
        print(config_table(resolved))


def config_table(resolved: Resolved) -> str:
    """Return the settings as TOML whose comments say where each value came from."""
    import tomli_w

    lines, group = [], ""
    for where, name, value, origin in resolved.table():
        if where != group:
            lines += ["", f"[{where}]"] if group else [f"[{where}]"]
            group = where
        plain = list(value) if isinstance(value, tuple) else value
        text = f"# {name} is unset" if value is None else tomli_w.dumps({name: plain}).strip()
        lines.append(f"{' '.join(text.split()):<40} # {origin}")
    return "\n".join(lines)


@dataclass(frozen=True)
class What:
    """What is asked to be trained: texts, a net's file, a recipe."""

    texts: tuple[str, ...]
    net: str | None
    recipe: str | None


def train(what: What, run: Path | None, flags: Mapping[str, Any], voice: Voice) -> None:
    """Train on texts or examples; end with a sample and the next commands."""
    if not what.texts and what.net is None:
        raise UsageError("train needs a text: a file, or a name that 'unrolled data list' shows")
    from unrolled.training import train_with
    from unrolled.training.lesson_files import lesson_of

    lesson, tables = lesson_of(what.texts, what.net)
    resolved = resolve(what.recipe, os.environ, flags, tables)
    if lesson.spec is not None:
        _check_no_chain(resolved)
    with voice.terminal() as terminal:
        made = train_with(resolved.settings, lesson, run, terminal)
        terminal.close()
        _conclude(made, terminal, voice)


def _check_no_chain(resolved: Resolved) -> None:
    """Raise UsageError for a flag that describes a chain, where a net's file is there."""
    for name in ("layers", "hidden", "dropout", "embedding", "embedding_dropout"):
        if resolved.origin[name].startswith("--"):
            raise UsageError(
                f"{resolved.origin[name]} is for nets without a file; write it in the net's file"
            )
    if resolved.origin["cell"].startswith("--") and ".py:" not in resolved.settings.net.cell:
        raise UsageError(
            "--cell: the net's file says which cells it has; wanted one of your own that it names, "
            f"PATH.py:NAME, came {resolved.settings.net.cell!r}"
        )


@dataclass(frozen=True)
class Changes:
    """What a resume changes."""

    epochs: int | None
    max_updates: int | None
    text: list[Path] | None
    cell: str | None
    device: str | None
    engine: str | None


def resume(directory: Path, changes: Changes, voice: Voice) -> None:
    """Go on with a run; end with a sample and the next commands."""
    from unrolled import training

    with voice.terminal() as terminal:
        made = training.resume(directory, listener=terminal, **vars(changes))
        terminal.close()
        _conclude(made, terminal, voice)


def _conclude(run: Run, terminal: Terminal, voice: Voice) -> None:
    found = _summary(run)
    report, why_none = report_of_training(run, found["seconds"])
    if report is None:
        terminal.said(f"there is no report of this training: {why_none}")
    if voice.json:
        print(json.dumps(found))
    if voice.quiet or voice.json:
        return
    training, net = run.settings.training, run.load()
    if net.writes_text:
        temperature, prime = training.sample_temperature, training.sample_prime
        text = run.sample(FINAL_LENGTH, prime=prime, temperature=temperature, seed=training.seed)
        terminal.text(f"{FINAL_LENGTH} characters at temperature {temperature:g}", (prime or "") + text)
    best, unit = found["best_validation_nats"], net.loss_unit
    scored = f", best validation {best:.4f} {unit}" if best is not None else ""
    print(f"{found['updates']:,} updates in {found['seconds']:.0f} s{scored}. The run is {run.directory}")
    if report is not None:
        print(f"The report is {report}")
    further = (
        f"--max-updates {2 * found['updates']}" if training.max_updates else f"--epochs {2 * training.epochs}"
    )
    resume = [] if found["gave_up"] else [f"  unrolled resume {run.words} {further}"]
    print("\n".join(["Next:", *_uses(run, net), *resume]))


def _uses(run: Run, net: Net) -> list[str]:
    """Return the commands that use a model: to write, to be measured, to answer an example."""
    if net.writes_text:
        return [
            f'  unrolled sample {run.words} --prime "The " --temperature 0.7',
            f"  unrolled eval {run.words} {_text_of(run)}",
            f"  unrolled inspect {run.words}",
        ]
    asked = [field.name for field in net.fields if field.name not in net.target_names]
    given = ", ".join(f'"{name}": ...' for name in asked)
    return [f"  unrolled sample {run.words} --input '{{{given}}}'"] if asked else []


def _text_of(run: Run) -> str:
    """Return the run's text as somebody would type it; the catalog's texts by their names."""
    from unrolled.data import cache_folder, catalog

    path = Path(run.source.text[0])
    in_catalog = path.is_relative_to(cache_folder()) and path.stem in catalog.names()
    return path.stem if in_catalog else shlex.quote(str(path))


def _summary(run: Run) -> dict[str, Any]:
    """Return the one object that ``--json`` ends with."""
    update, checkpoint = run.newest(note)
    position = checkpoint.state["position"]
    rates = [line.get("chars_per_second") for line in run.metrics.lines() if line.get("kind") == "train"]
    running = position["total"] / position["count"] if position["count"] else None
    return {
        "run": str(run.directory),
        "updates": update,
        "train_nats": position["train_nats"] if position["train_nats"] is not None else running,
        "validation_nats": position["validation_nats"],
        "best_validation_nats": position["best_nats"],
        "seconds": round(position["seconds"], 3),
        "chars_per_second": rates[-1] if rates else None,
        "gave_up": 0 < run.settings.training.patience <= position["stale"],
        "parameters": sum(tensor.numel() for tensor in checkpoint.model.values()),
    }
