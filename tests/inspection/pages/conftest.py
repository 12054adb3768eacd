"""A browser without a network, and what is asked of every page that opens in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="pages are tested in a browser: pip install playwright")

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start the system's Chromium; without one the test is skipped, unless PAGES_NEED_BROWSER is set."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        if os.environ.get("PAGES_NEED_BROWSER"):
            pytest.fail("there is no Chromium on the PATH; scripts/install-browser installs one")
        pytest.skip("there is no Chromium on the PATH")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@dataclass
class Opened:
    """A page in the browser, and everything that it should not have done."""

    page: Page
    faults: list[str] = field(default_factory=list)
    """Requests beyond the file itself, lines on the console, errors, dialogs."""


OpenPage = Callable[..., Opened]


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[OpenPage]:
    """Return what opens HTML, or a file, in a window of a size, offline; at the end there are no faults."""
    opened: list[Opened] = []

    def open_(
        html: str | Path, *, width: int = 1400, height: int = 900, scheme: str = "light", hash_: str = ""
    ) -> Opened:
        path = html
        if isinstance(html, str):
            path = tmp_path / f"page-{len(opened)}.html"
            path.write_text(html, encoding="utf-8")
        assert isinstance(path, Path)
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
        )  # type: ignore[arg-type]
        this = Opened(context.new_page())
        address = path.absolute().as_uri()
        this.page.on(
            "request", lambda request: request.url.split("#")[0] == address or this.faults.append(request.url)
        )
        this.page.on("console", lambda line: this.faults.append(line.text))
        this.page.on("pageerror", lambda error: this.faults.append(str(error)))
        this.page.on(
            "dialog", lambda dialog: (this.faults.append(f"dialog {dialog.message}"), dialog.dismiss())
        )
        this.page.goto(address + hash_)
        opened.append(this)
        return this

    yield open_
    faults = [fault for this in opened for fault in this.faults]
    for this in opened:
        this.page.context.close()
    assert not faults
