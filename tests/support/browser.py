"""A real browser for tests of pages: Debian's chromium, headless, without a network.

    @pytest.mark.slow
    def test_it(browser: Browser) -> None:
        page = browser.open(path.as_uri(), width=390, dark=True)
        browser.picture(page, "report_phone")

When the test ends, the pages must have had no error and must have asked no other host for anything.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser as Chromium
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
PICTURES = Path(__file__).parents[1] / "screenshots"  # ignored by git; kept by CI
HERE = ("127.0.0.1", "localhost", "::1")
WITHOUT_A_HOST = ("file", "data", "blob", "about")


class Browser:
    """Pages of a browser, and what went wrong on them.

    Args:
        errors: Those that pages threw and those that they wrote to the console.
        strangers: Addresses on other hosts that pages asked for.
    """

    def __init__(self, chromium: Chromium) -> None:
        self.chromium = chromium
        self.errors: list[str] = []
        self.strangers: list[str] = []

    def open(self, address: str, width: int = 1200, height: int = 900, dark: bool = False, **context: Any) -> Page:
        """A page of its own at `address`; `context` is what playwright's Browser.new_context takes beside."""
        scheme = "dark" if dark else "light"
        view = self.chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **context)
        page = view.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("request", lambda request: self._asked_for(request.url))
        page.on("websocket", lambda socket: self._asked_for(socket.url))
        page.goto(address)
        return page

    def picture(self, page: Page, name: str, whole: bool = True) -> Path:
        """A screenshot of the page for people to look at, by `name`; `whole`: beyond what the window shows."""
        PICTURES.mkdir(exist_ok=True)
        path = PICTURES / f"{name}.png"
        page.screenshot(path=path, full_page=whole)
        return path

    def check(self) -> None:
        """Assert that nothing went wrong so far."""
        assert self.errors == []
        assert self.strangers == []

    def _asked_for(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in WITHOUT_A_HOST and parts.hostname not in HERE:
            self.strangers.append(address)


def overflow(page: Page) -> int:
    """Pixels by which the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.fixture
def browser() -> Iterator[Browser]:
    """A browser whose pages are checked when the test ends; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no chromium: apt install chromium")
    as_root = ["--no-sandbox"] if os.name == "posix" and os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=program, args=as_root)
        try:
            opened = Browser(chromium)
            yield opened
            opened.check()
        finally:
            chromium.close()
