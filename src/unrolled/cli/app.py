"""The list of verbs; each one's module is imported when it is called, not to list it."""

from __future__ import annotations

from cyclopts import App, Parameter

from unrolled import __version__
from unrolled.cli.overview import ABOUT, DATA_ABOUT, DATA_VERBS, NET_ABOUT, NET_VERBS, VERBS

app = App(
    name="unrolled",
    help=ABOUT,
    version=f"unrolled {__version__}",
    version_flags=["--version"],
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # main must hear of it, to let go of a pipe that is full
    default_parameter=Parameter(negative=(), show_default=False),
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
