"""The verbs that use a model: sample and eval."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unrolled.cli.notes import note
from unrolled.errors import UsageError

if TYPE_CHECKING:
    from unrolled.cells import Cell
    from unrolled.net import Net
    from unrolled.sample import Choice, Stream


LENGTH = 500
TOGETHER = 128
"""How many texts of one command are drawn at once; more would not be drawn faster."""


@dataclass(frozen=True)
class SampleOptions:
    """What is sampled, apart from how an id is chosen."""

    prime: str | None
    length: int | None
    stop: str | None
    skip_unseen: bool
    seed: int | None
    inputs: tuple[str, ...] = ()
    model: Path | None = None
    weights: str = "float32"
    count: int = 1


def sample(
    run: Path,
    cell: str | None,
    options: SampleOptions,
    choice: tuple[float, int, float, float],
    as_json: bool,
) -> None:
    """Print a sample as it comes, the prime first; or as one JSON object."""
    if options.length is not None and options.length < 0:
        raise UsageError(f"--length: wanted 0 or more, came {options.length}")
    if options.stop == "":
        raise UsageError("--stop: wanted a text, came an empty one; leave it out to go on to the length")
    if options.count < 1:
        raise UsageError(f"--count: wanted 1 or more, came {options.count}")
    from unrolled.sample import Choice, Stream, default_prime, text_pieces

    chosen = Choice(*choice)
    if run.suffix == ".conf":
        if options.weights != "float32" or options.count > 1:
            raise UsageError("--weights and --count are for a run; a SINGA sampling job takes neither")
        _sample_job(run, cell, options, as_json)
        return
    net = _load(run, cell)
    if options.inputs or net.vocab is None:
        _check_answerable(options, chosen)
        _answer(net, options, chosen.temperature, as_json)
        return
    prime = default_prime(net) if options.prime is None else options.prime
    ids = net.vocab.encode(prime, skip_unseen=options.skip_unseen)
    if options.skip_unseen and net.vocab.units == "char" and len(ids) < len(prime):
        left_out = len(prime) - len(ids)
        note(f"{left_out} of the prime's {len(prime)} characters are not in the vocabulary, skipped")
    if options.count > 1:
        _sample_many(net, chosen, ids, options, as_json)
        return
    stream = Stream(net, chosen, seed=options.seed, weights=options.weights).prime(ids)
    if as_json:
        _print_sample_as_json(stream, options)
        return
    if options.prime is not None:
        sys.stdout.write(net.vocab.decode(ids))
    last = ""
    for piece in text_pieces(stream, LENGTH if options.length is None else options.length, options.stop):
        sys.stdout.write(piece)
        sys.stdout.flush()
        last = piece or last
    if not last.endswith("\n"):
        sys.stdout.write("\n")


def _print_sample_as_json(stream: Stream, options: SampleOptions) -> None:
    from unrolled.sample import text_pieces

    logprobs: list[float] = []
    stream.on_draw = lambda _, logprob: logprobs.append(logprob)
    length = LENGTH if options.length is None else options.length
    text = "".join(text_pieces(stream, length, options.stop))
    found = {"text": text, "prime": options.prime, "seed": stream.seed, "logprobs": logprobs}
    print(json.dumps(found, ensure_ascii=False))


def _sample_many(net: Net, choice: Choice, prime: Any, options: SampleOptions, as_json: bool) -> None:
    """Print texts, TOGETHER at a time, each as its seed would write it alone."""
    from unrolled.sample import Stream

    first = Stream(net, choice, seed=options.seed, weights=options.weights).seed
    for done in range(0, options.count, TOGETHER):
        seeds = [(first + n) % 2**64 for n in range(done, min(done + TOGETHER, options.count))]
        for seed, (text, logprobs) in zip(
            seeds, _drawn_together(net, choice, prime, options, seeds), strict=True
        ):
            if as_json:
                found = {"text": text, "prime": options.prime, "seed": seed, "logprobs": logprobs}
                print(json.dumps(found, ensure_ascii=False))
            else:
                print(f"{'' if seed == first else chr(10)}--- seed {seed}\n{options.prime or ''}{text}")


def _drawn_together(
    net: Net, choice: Choice, prime: Any, options: SampleOptions, seeds: list[int]
) -> Iterator[tuple[str, list[float]]]:
    """Yield the text of each seed, and the log probabilities of what it took to write it."""
    from unrolled.sample import Stream, Streams, pieces_of

    assert net.vocab is not None
    streams = [Stream(net, choice, seed=seed, weights=options.weights) for seed in seeds]
    heard: list[list[float]] = [[] for _ in streams]
    for stream, logprobs in zip(streams, heard, strict=True):
        stream.on_draw = lambda _, logprob, to=logprobs: to.append(logprob)
    length = LENGTH if options.length is None else options.length
    together = Streams(streams).prime([prime] * len(streams)).take(length)
    for ids, logprobs in zip(together, heard, strict=True):
        waiting = iter(ids)
        text = "".join(pieces_of(waiting, net.vocab, length, options.stop))
        yield text, logprobs[: length - len(list(waiting))]


def _sample_job(path: Path, cell: str | None, options: SampleOptions, as_json: bool) -> None:
    """Print what a SINGA sampling job writes."""
    import torch

    from unrolled.answering import written
    from unrolled.runs.jobs import sampling_job
    from unrolled.sample import pieces_of

    job = sampling_job(path, options.model, cells_of(options.model or path, cell), note)
    for message in job.notes:
        note(message)
    seed = torch.Generator().seed() if options.seed is None else options.seed
    ids = (int(drawn[0]) for drawn in written(job.net, seed=seed))
    length = options.length if options.length is not None else job.length or LENGTH
    pieces = pieces_of(ids, job.vocab, length, options.stop)
    if as_json:
        print(json.dumps({"text": "".join(pieces), "seed": seed}, ensure_ascii=False))
        return
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")


def _check_answerable(options: SampleOptions, choice: Choice) -> None:
    """Raise UsageError for a flag that only the sampling of text follows."""
    given = {
        "--prime": options.prime is not None,
        "--stop": options.stop is not None,
        "--skip-unseen": options.skip_unseen,
        "--top-k": choice.top_k,
        "--top-p": choice.top_p < 1,
        "--min-p": choice.min_p,
        "--weights": options.weights != "float32",
        "--count": options.count > 1,
    }
    for flag in given:
        if given[flag]:
            raise UsageError(f"{flag} is for a net that writes text; one that answers --input takes none")


def _answer(net: Net, options: SampleOptions, temperature: float, as_json: bool) -> None:
    """Print what a net that learned from examples says to each input."""
    import torch

    from unrolled.answering import answers, set_temperature

    names = ", ".join(name for name in net.input_names if name not in net.target_names)
    if not options.inputs:
        raise UsageError(f"this net answers examples; give one: --input '{{...}}' with {names}")
    rows = []
    for text in options.inputs:
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise UsageError(f"--input: wanted a JSON object with {names}, came {text[:60]!r}")
        rows.append(row)
    set_temperature(net, temperature)
    seed = torch.Generator().seed() if options.seed is None else options.seed
    longest = 200 if options.length is None else options.length
    for row, answer in zip(rows, answers(net, rows, longest=longest, seed=seed), strict=True):
        shown = answer if isinstance(answer, str) and not as_json else json.dumps(answer, ensure_ascii=False)
        print(json.dumps({"input": row, "answer": answer}, ensure_ascii=False) if as_json else shown)


def evaluate(
    run: Path, text: str, cell: str | None, how: tuple[int, int, bool, str | None], as_json: bool
) -> None:
    """Print how well a model predicts a text."""
    lanes, window, skip_unseen, weights = how
    net = _load(run, cell)
    if weights is not None:
        _check_weights(net, weights)
    if net.vocab is None:
        _evaluate_examples(net, text, as_json)
        return
    from unrolled.data import Corpus, catalog
    from unrolled.training import evaluate_text

    paths, _ = catalog.resolve([text])
    assert net.vocab is not None
    corpus = Corpus.open(*paths, vocab=net.vocab, boundary=net.boundary, skip_unseen=skip_unseen)
    for notice in corpus.notices:
        note(notice)
    found = evaluate_text(net, corpus, lanes, window, weights)
    if as_json:
        print(json.dumps(asdict(found)))
        return
    print(f"{found.nats_per_char:.4f} nats a char, {found.bits_per_char:.4f} bits a char")
    print(
        f"{found.bits_per_byte:.4f} bits a byte, {found.accuracy:.2%} right, {found.chars:,} chars predicted"
    )
    if lanes > 1:
        print(f"{found.shortened:,} of them had less context than with one lane")


def _check_weights(net: Net, weights: str) -> None:
    from unrolled.sample import WEIGHTS

    if weights not in WEIGHTS:
        raise UsageError(f"--weights: wanted one of {', '.join(WEIGHTS)}, came {weights!r}")
    if net.vocab is None or not net.writes_text:
        raise UsageError("--weights is for a net that writes text; leave it out")


def _evaluate_examples(net: Net, path: str, as_json: bool) -> None:
    """Print how well a net that learned from examples does on a file of them."""
    from unrolled.training import evaluate_examples

    found = evaluate_examples(net, path)
    if as_json:
        print(json.dumps(found))
        return
    unit = net.loss_unit
    print(f"{found['loss']:.4f} {unit} a target, {found['accuracy']:.2%} right, {found['targets']:,} targets")
    print(f"{found['exact']:.2%} of {found['examples']:,} examples right in everything")


def _load(run: Path, cell: str | None) -> Net:
    from unrolled.runs.model import load_checkpoint

    return load_checkpoint(run, cells_of(run, cell), note)


def cells_of(run: Path, cell: str | None) -> Mapping[str, type[Cell]]:
    """Return the classes that ``--cell`` names; say so if their source is not what the run began with."""
    if cell is None:
        return {}
    from unrolled.training.own_cells import own_cell

    own = own_cell(cell)
    if own is None:
        raise UsageError(f"--cell: wanted PATH.py:NAME, came the built-in '{cell}', which needs no flag")
    known = _known_cell(run)
    if known and known != own.sha256:
        note(f"{own.name} has changed since the run began (SHA-256 {str(own.sha256)[:12]}, was {known[:12]})")
    return own.cells


def _known_cell(run: Path) -> str | None:
    from unrolled.runs import Run

    return Run(run).source.cell_sha256 if (run / "config.toml").is_file() else None
