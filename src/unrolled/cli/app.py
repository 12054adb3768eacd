"""The list of verbs; each one's module is imported when it is called, not to list it."""

from __future__ import annotations

from cyclopts import App, Parameter

from unrolled import __version__

VERBS = {
    "train": ("train", "Train a model on text, and write in its manner."),
    "resume": ("resume", "Go on with a run exactly as if it had never stopped."),
    "sample": ("sample", "Write text in the manner of a trained model."),
    "eval": ("evaluate", "Measure how well a model predicts a text."),
    "info": ("info", "Show versions, devices, and which engine runs each cell and why."),
}
DATA_VERBS = {
    "list": ("list_data", "List the texts of the catalog and the shipped recipes."),
    "vocab": ("vocab", "Print the characters of a text in the order of their ids, and nothing else."),
}

app = App(
    name="unrolled",
    help="You write one step. Unrolled runs it through time.",
    version=f"unrolled {__version__}",
    version_flags=["--version"],
    help_format="plaintext",
    default_parameter=Parameter(negative=(), show_default=False),
)
data = App(name="data", help="Look at texts and vocabularies.")
for name, (function, about) in VERBS.items():
    app.command(f"unrolled.cli.verbs:{function}", name=name, help=about)
for name, (function, about) in DATA_VERBS.items():
    data.command(f"unrolled.cli.verbs:{function}", name=name, help=about)
app.command(data)
