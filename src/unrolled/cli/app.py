"""The list of verbs; each one's module is imported when it is called, not to list it."""

from __future__ import annotations

from typing import Any

from cyclopts import App, Parameter

from unrolled import __version__
from unrolled.cli.overview import ABOUT, DATA_ABOUT, DATA_VERBS, NET_ABOUT, NET_VERBS, VERBS
from unrolled.errors import UsageError


def _fits(_: Any, value: Any) -> None:
    """Raise UsageError for a whole number so long that no message could show it."""
    if isinstance(value, int) and abs(value) >= 2**64:
        raise UsageError("wanted whole numbers of at most 64 bits, came a flag with a larger one")


app = App(
    name="unrolled",
    help=ABOUT,
    version=f"unrolled {__version__}",
    version_flags=["--version"],
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # main must hear of it, to let go of a pipe that is full
    default_parameter=Parameter(negative=(), show_default=False, validator=_fits),
)
data = App(name="data", help=DATA_ABOUT)
for name, (function, about) in VERBS.items():
    app.command(f"unrolled.cli.verbs:{function}", name=name, help=about)
for name, (function, about) in DATA_VERBS.items():
    data.command(f"unrolled.cli.verbs:{function}", name=name, help=about)
app.command(data)
net = App(name="net", help=NET_ABOUT)
for name, (function, about) in NET_VERBS.items():
    net.command(f"unrolled.cli.verbs:{function}", name=name, help=about)
app.command(net)
