"""One HTML file that holds its data, its program and its looks, and can reach nothing outside.

Text of others (a corpus, a vocabulary, a run's name, a sample) stands only in the data, as JSON of ASCII in
which no mark-up can begin, and reaches what is seen as text alone. The Content-Security-Policy allows the
page's own scripts and styles by their hashes and nothing else, so that even a fault could load nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

_MORE = {"inspection": ("grid",)}
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


def document(
    page: str,
    data: Mapping[str, Any],
    arrays: Mapping[str, bytes] | None = None,
    *,
    pictures: Iterable[str] = (),
) -> str:
    """Return the page called ``page`` (``inspection`` or ``report``), which shows ``data``.

    ``data`` is what JSON can say; its ``null`` stands for what is not a number. ``arrays`` are raw numbers by
    name, little-endian; the page takes them from base64. ``pictures`` are the SVG pictures among the data,
    whose style sheets are allowed.
    """
    styles = ["".join(_static(name) for name in ("uplot.css", "common.css", f"{page}.css"))]
    own = ("common", "curves", *_MORE.get(page, ()), page)
    scripts = [_static("uplot.js"), "".join(_static(f"{name}.js") for name in own)]
    allowed = [*styles, *(style for picture in pictures for style in _STYLE.findall(picture))]
    policy = (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(allowed)}; base-uri 'none'"
    )
    blocks = [_block("data", "application/json", as_json(data))]
    for name, raw in (arrays or {}).items():
        blocks.append(_block(f"array-{name}", "text/plain", base64.b64encode(raw).decode("ascii")))
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}; form-action \'none\'">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        "<title>Unrolled</title>",
        *(f"<style>{style}</style>" for style in styles),
    ]
    body = [_static(f"{page}.html"), *blocks, *(f"<script>{script}</script>" for script in scripts)]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            *head,
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>",
            "",
        ]
    )


def as_json(data: Any) -> str:
    r"""Return data as JSON that can stand in HTML: ASCII, ``<``, ``>`` and ``&`` as ``\u003c`` and so on.

    U+2028, U+2029, NUL, marks of direction and lone surrogates are escapes too.
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _block(name: str, kind: str, content: str) -> str:
    """Return a block of data, which no browser runs."""
    return f'<script type="{kind}" id="{name}">{content}</script>'


def _hashes(contents: Iterable[str]) -> str:
    digests = (hashlib.sha256(content.encode()).digest() for content in contents)
    return " ".join(dict.fromkeys(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests))


def _static(name: str) -> str:
    return files(__package__).joinpath("static", name).read_text(encoding="utf-8")
