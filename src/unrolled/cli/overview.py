"""The verbs and what they do: what ``unrolled --help`` shows, at once and with nothing imported."""

from __future__ import annotations

ABOUT = "You write one step. Unrolled runs it through time."
VERBS = {
    "train": ("train", "Train a model on text, and write in its manner."),
    "resume": ("resume", "Go on with a run exactly as if it had never stopped."),
    "sample": ("sample", "Write text in the manner of a trained model."),
    "eval": ("evaluate", "Measure how well a model predicts a text."),
    "inspect": ("inspect", "Show what a model's units learned, on one page that opens anywhere."),
    "report": ("report", "Show on one page how a training went, or compare several."),
    "bench": ("bench", "Measure how fast each engine is here, for built-in cells or one of your own."),
    "info": ("info", "Show versions, devices, and which engine runs each cell and why."),
}
DATA_VERBS = {
    "list": ("list_data", "List the texts of the catalog and the shipped recipes."),
    "vocab": ("vocab", "Print the characters of a text in the order of their ids, and nothing else."),
}
NET_VERBS = {
    "show": ("show_net", "Show how a net runs: schedule, engines, shapes, parameters, state."),
    "unroll": ("unroll_net", "List the unrolled graph, copy by copy."),
    "draw": ("draw_net", "Draw the net, rolled and unrolled, as SVG, DOT or JSON."),
    "roll": ("roll_net", "Write a net that was unrolled by hand as the rolled net, in TOML."),
}
NET_ABOUT = "Look at nets: files of layers and edges through time."
DATA_ABOUT = "Look at texts and vocabularies."


def overview() -> str:
    """Return the help page of the program itself."""
    about = {name: line for name, (_, line) in VERBS.items()}
    about |= {f"data {name}": line for name, (_, line) in DATA_VERBS.items()}
    about |= {f"net {name}": line for name, (_, line) in NET_VERBS.items()}
    verbs = "\n".join(f"  {name:<12}{line}" for name, line in about.items())
    return (
        f"Usage: unrolled COMMAND\n\n{ABOUT}\n\nCommands:\n{verbs}\n\n"
        "'unrolled COMMAND --help' shows what a command takes, 'unrolled --version' the version."
    )
