"""The browser of the tests notices what it is there to notice."""

from __future__ import annotations

import pytest
from browser import Browser, overflow

pytestmark = pytest.mark.slow


def as_page(body: str) -> str:
    return f"data:text/html,<!doctype html><meta name=viewport content=width=device-width><body style=margin:0>{body}"


def test_a_quiet_page_passes(browser: Browser) -> None:
    page = browser.open(as_page("<p>hello"), width=390)
    assert page.inner_text("p") == "hello"
    assert overflow(page) == 0
    assert overflow(browser.open(as_page("<div style=width:500px>wide</div>"), width=390)) == 110


def test_errors_and_other_hosts_are_noticed(browser: Browser) -> None:
    browser.open(as_page("<script>nonsense()</script>"))
    assert any("nonsense" in error for error in browser.errors)
    browser.open(as_page("<img src='http://example.invalid/x.png'>"))
    assert browser.strangers == ["http://example.invalid/x.png"]
    browser.errors.clear()
    browser.strangers.clear()
