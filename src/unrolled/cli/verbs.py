"""What each verb takes. Every setting's flag is made from its field in ``settings``."""

from __future__ import annotations

from dataclasses import asdict, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from unrolled.settings import GROUPS, descriptions


def _flags() -> type:
    """Make a dataclass with a flag, unset by default, for every setting."""
    docs = descriptions()
    made: list[tuple[str, Any, Any]] = []
    for group, cls in GROUPS.items():
        for field in fields(cls):
            kind: Any = bool if field.type == "bool" else str
            default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
            known = "" if default in (None, "") else f" [default: {default}]"
            shown = Parameter(
                help=docs[field.name] + known, group=f"Settings: {group}", allow_leading_hyphen=kind is str
            )
            made.append((field.name, Annotated[kind | None, shown], None))
    cls = make_dataclass("Flags", made, frozen=True)
    cls.__module__ = __name__
    return cls


Flags: Any = _flags()

OwnCell = Annotated[str | None, Parameter(help="The run's own cell, PATH.py:NAME, if it has one.")]
Json = Annotated[bool, Parameter(help="Print data as JSON on stdout, words on stderr.")]
RunPath = Annotated[Path, Parameter(help="A run's directory, or one checkpoint of it.")]


def train(
    *text: Annotated[
        str,
        Parameter(help="Text files, a name that 'unrolled data list' shows, JSON lines, or a job.conf."),
    ],
    net: Annotated[
        str | None,
        Parameter(help="A net: TOML, .conf, .prototxt, net.py:FUNCTION, or a shipped pattern's name."),
    ] = None,
    run: Annotated[Path | None, Parameter(help="The run's directory [default: runs/<stem>-NNN].")] = None,
    recipe: Annotated[str | None, Parameter(help="A shipped recipe's name, or a TOML file.")] = None,
    quiet: Annotated[bool, Parameter(help="Print nothing but errors.")] = False,
    json: Json = False,
    print_config: Annotated[bool, Parameter(help="Print all settings and their origin, and stop.")] = False,
    flags: Annotated[Flags | None, Parameter(name="*")] = None,
) -> None:
    """Train a model on text, and write in its manner."""
    from unrolled.cli import training

    given = asdict(flags) if flags is not None else {}
    what = training.What(tuple(text), net, recipe)
    if print_config:
        training.print_config(what, given, json)
    else:
        training.train(what, run, given, training.Voice(quiet, json))


def resume(
    run: RunPath,
    *,
    epochs: Annotated[int | None, Parameter(help="Go on until so many epochs are done.")] = None,
    max_updates: Annotated[int | None, Parameter(help="Go on until so many updates are done.")] = None,
    text: Annotated[list[Path] | None, Parameter(help="Where the text is now, if it moved.")] = None,
    cell: OwnCell = None,
    device: Annotated[str | None, Parameter(help="Compute elsewhere from now on: cpu, cuda, auto.")] = None,
    engine: Annotated[str | None, Parameter(help="Run the cells by another engine from now on.")] = None,
    quiet: Annotated[bool, Parameter(help="Print nothing but errors.")] = False,
    json: Json = False,
) -> None:
    """Go on with a run exactly as if it had never stopped."""
    from unrolled.cli import training

    changes = training.Changes(epochs, max_updates, text, cell, device, engine)
    training.resume(run, changes, training.Voice(quiet, json))


def sample(
    run: RunPath,
    *,
    prime: Annotated[str | None, Parameter(help="Text to begin with.", allow_leading_hyphen=True)] = None,
    length: Annotated[
        int | None, Parameter(help="Characters to write (bytes, for a byte model) [default: 500].")
    ] = None,
    temperature: Annotated[float, Parameter(help="0 takes the likeliest, 1 draws as the model says.")] = 1.0,
    top_k: Annotated[int, Parameter(help="Draw from the k likeliest; 0: from all.")] = 0,
    top_p: Annotated[float, Parameter(help="Draw from the likeliest that sum to p.")] = 1.0,
    min_p: Annotated[
        float, Parameter(help="Draw from those at least p times as likely as the likeliest.")
    ] = 0.0,
    seed: Annotated[int | None, Parameter(help="Equal seeds write equal texts.")] = None,
    stop: Annotated[str | None, Parameter(help="End before this text.", allow_leading_hyphen=True)] = None,
    skip_unseen: Annotated[bool, Parameter(help="Leave out what the vocabulary lacks in the prime.")] = False,
    input: Annotated[
        list[str] | None, Parameter(help="A JSON object for a net that learned from examples; repeatable.")
    ] = None,
    model: Annotated[
        Path | None, Parameter(help="The run whose weights a SINGA sampling job (RUN ends in .conf) takes.")
    ] = None,
    weights: Annotated[str, Parameter(help="float32, or fewer bits and faster: bf16, int8.")] = "float32",
    count: Annotated[int, Parameter(help="Write so many texts, with seeds that follow each other.")] = 1,
    cell: OwnCell = None,
    json: Json = False,
) -> None:
    """Write text in the manner of a trained model."""
    from unrolled.cli import using

    given = (prime, length, stop, skip_unseen, seed, tuple(input or ()), model, weights, count)
    options = using.SampleOptions(*given)
    using.sample(run, cell, options, (temperature, top_k, top_p, min_p), json)


def evaluate(
    run: RunPath,
    text: Annotated[str, Parameter(help="A text file, or a name of the catalog.")],
    *,
    lanes: Annotated[int, Parameter(help="Read in so many lanes: faster, with less context.")] = 1,
    window: Annotated[
        int, Parameter(help="Steps taken at once; changes nothing but speed and memory.")
    ] = 256,
    skip_unseen: Annotated[bool, Parameter(help="Leave out what the vocabulary lacks.")] = False,
    weights: Annotated[
        str | None, Parameter(help="Read by the loop that samples, its weights float32, bf16 or int8.")
    ] = None,
    cell: OwnCell = None,
    json: Json = False,
) -> None:
    """Measure how well a model predicts a text."""
    from unrolled.cli import using

    using.evaluate(run, text, cell, (lanes, window, skip_unseen, weights), json)


def inspect(
    run: RunPath,
    text: Annotated[
        str | None,
        Parameter(
            help="A text file, a name of the catalog, or - [default: the run's own validation text].",
            allow_leading_hyphen=True,
        ),
    ] = None,
    *,
    output: Annotated[
        Path | None, Parameter(name=["--output", "-o"], help="The page [default: RUN/inspection.html].")
    ] = None,
    length: Annotated[int, Parameter(help="Read so many symbols of it [default: 20000].")] = 20_000,
    longest: Annotated[
        int, Parameter(help="Longest context of the memory ruler; 0 leaves it out [default: 1000].")
    ] = 1000,
    predicate: Annotated[
        list[str] | None,
        Parameter(help="Hold units against a function of yours too, PATH.py:NAME; repeatable."),
    ] = None,
    regex: Annotated[
        list[str] | None,
        Parameter(help="Hold units against the matches of NAME=PATTERN too; repeatable."),
    ] = None,
    megabytes: Annotated[
        float, Parameter(help="The page's size at most; 0 keeps every unit [default: 3].")
    ] = 3.0,
    skip_unseen: Annotated[bool, Parameter(help="Leave out what the vocabulary lacks.")] = False,
    cell: OwnCell = None,
    json: Json = False,
) -> None:
    """Show what a model's units learned, on one page that opens anywhere.

    The page colours the text by any unit, shows the five best guesses under each symbol, which units know
    something of the text, how far back the model remembers, and how far its gates are open.
    """
    from unrolled.cli import looking

    wanted = looking.Wanted(length, longest, tuple(predicate or ()), tuple(regex or ()), skip_unseen)
    looking.inspect(run, text, cell, wanted, (output, megabytes), json)


def report(
    *run: Annotated[Path, Parameter(help="Run directories; several are compared.")],
    output: Annotated[
        Path | None,
        Parameter(name=["--output", "-o"], help="The page to write [default: RUN/report.html, of one run]."),
    ] = None,
    cell: OwnCell = None,
    json: Json = False,
) -> None:
    """Show on one page how a training went, or compare several."""
    from unrolled.cli import looking

    looking.report(run, output, cell, json)


def bench(
    *,
    cells: Annotated[
        str | None, Parameter(help="Built-in cells [default: lstm,gru,rnn; none beside --cell].")
    ] = None,
    cell: Annotated[str | None, Parameter(help="A cell of your own, PATH.py:NAME.")] = None,
    sizes: Annotated[
        str, Parameter(help="128 (2×128, 50 lanes × 50 steps), 512 (100 × 100), or HIDDENxLANESxWINDOW.")
    ] = "128",
    engines: Annotated[str | None, Parameter(help="Engines to compare [default: all].")] = None,
    threads: Annotated[int, Parameter(help="Processor threads; 0 leaves PyTorch's choice.")] = 0,
    rounds: Annotated[int, Parameter(help="Undisturbed timings that are wanted of each [default: 7].")] = 7,
    precision: Annotated[str, Parameter(help="As for train [default: float32].")] = "float32",
    device: Annotated[str, Parameter(help="cpu, cuda, or auto for a GPU where there is one.")] = "auto",
    json: Json = False,
) -> None:
    """Measure how fast each engine is here: a whole update, sampling one stream, and several.

    Lists are separated by commas. Engines run in turns, and timings are dropped in which other processes
    took more than 8 % of the processor. On a GPU the kernels of its library are measured too.
    """
    from unrolled.cli import bench

    wanted = bench.Wanted(cells, cell, sizes, engines, threads, rounds, precision, device)
    bench.bench(wanted, json)


def info(*, json: Json = False) -> None:
    """Show versions, devices, and which engine runs each cell and why."""
    from unrolled.cli import about

    about.info(json)


def list_data(*, json: Json = False) -> None:
    """List the texts of the catalog and the shipped recipes."""
    from unrolled.cli import about

    about.list_data(json)


def vocab(
    text: Annotated[str, Parameter(help="A text file, or a name of the catalog.")],
    *,
    units: Annotated[str, Parameter(help="char or byte.")] = "char",
    json: Json = False,
) -> None:
    """Print the characters of a text in the order of their ids, and nothing else."""
    from unrolled.cli import about

    about.vocab(text, units, json)


NetFile = Annotated[
    str, Parameter(help="A .toml, .conf or .prototxt file, PATH.py:FUNCTION, a run, or a shipped net's name.")
]
Phase = Annotated[str | None, Parameter(help="train, validation or test, where the net differs in them.")]
NetCell = Annotated[str | None, Parameter(help="A cell of your own that the net uses, PATH.py:NAME.")]
Steps = Annotated[
    str | None,
    Parameter(
        help="How many steps; of named lengths as in source=4,5 (the net's own: 5) [default: the net's]."
    ),
]
Partitions = Annotated[
    int, Parameter(help="Into how many parts layers with a partition are split [default: 1].")
]
Output = Annotated[
    Path | None, Parameter(name=["--output", "-o"], help="The file to write [default: stdout].")
]


def show_net(
    file: NetFile,
    *,
    phase: Phase = None,
    cell: NetCell = None,
    vocab: Annotated[int | None, Parameter(help="The size that is called vocab.")] = None,
    json: Json = False,
) -> None:
    """Show how a net runs: schedule, engines, shapes, parameters, state."""
    from unrolled.cli import nets

    nets.show(nets.Which(file, phase, cell), vocab, json)


def unroll_net(
    file: NetFile,
    *,
    steps: Steps = None,
    partitions: Partitions = 1,
    phase: Phase = None,
    cell: NetCell = None,
    json: Json = False,
    node_link: Annotated[
        bool, Parameter(help="Print the graph as node-link JSON, which networkx reads.")
    ] = False,
) -> None:
    """List the unrolled graph, copy by copy."""
    from unrolled.cli import nets

    nets.unroll(nets.Which(file, phase, cell), nets.Unrolled(steps, partitions), json, node_link)


def draw_net(
    file: NetFile,
    *,
    steps: Annotated[str, Parameter(help="How many columns, as for net unroll [default: 5].")] = "5",
    partitions: Partitions = 1,
    phase: Phase = None,
    cell: NetCell = None,
    output: Output = None,
) -> None:
    """Draw the net, rolled and unrolled; the ending of -o, .svg, .dot or .json, chooses the form."""
    from unrolled.cli import nets

    nets.draw(nets.Which(file, phase, cell), nets.Unrolled(steps, partitions), output)


def roll_net(file: NetFile, *, output: Output = None) -> None:
    """Write a net that was unrolled by hand as the rolled net, in TOML."""
    from unrolled.cli import nets

    nets.roll(file, output)
