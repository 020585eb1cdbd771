"""The page of `kd-report --serve` in a real browser: it grows, and a run's own page runs no script."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, overflow
from leaderboard_cases import right, sweep_of_two_modes, write_run
from report_servers import serving

from kd_runner.reports import serve

pytestmark = pytest.mark.slow

HOSTILE = """<!doctype html><title>a run</title><meta name=referrer content=unsafe-url>
<p id=said>nothing</p><a href="PLACE" referrerpolicy=unsafe-url>more</a>
<script>said.textContent = "ran"; location.href = "PLACE?" + location.href;</script>
<script src="PLACE"></script><p onclick="location.href = 'PLACE'">click</p>"""


def test_it_shows_what_runs_and_grows(tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "FRESH", 0.0)
    monkeypatch.setattr(serve, "SHARE", 0)
    sweep = sweep_of_two_modes(tmp_path / "sweep")
    state = {"stage": "student", "epoch": 3, "epochs": 9, "seconds_per_epoch": 2.5, "where": "<b>node3</b>, GPU 2"}
    (sweep / "7" / "now.json").write_text(json.dumps(state))
    with serving(sweep) as server:
        page = browser.open(server.address, width=390, height=844)
        page.locator("#live-counts", has_text="6 of 11 runs done, 1 running").wait_for()
        assert page.locator("#live-running tbody td").all_inner_texts()[-1] == "<b>node3</b>, GPU 2"
        browser.picture(page, "served_phone")
        assert overflow(page) <= 0
        shutil.rmtree(sweep / "7")
        write_run(sweep / "7", ["distillation=dkd", "seed=7"], right(90))
        page.locator("#live-counts", has_text="7 of 11 runs done").wait_for()
        page.locator("header", has_text="7 runs in 3 rows").wait_for()  # the whole page is new


@contextmanager
def another_host(asked: list[str]) -> Iterator[str]:
    """The address of a server that notes what it was asked for, and where from."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} from {self.headers['Referer']}")
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)  # of daemons: a browser keeps connections open
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.socket.close()


def test_the_page_of_a_run_runs_nothing_and_knows_no_token(tmp_path: Path, browser: Browser) -> None:
    sweep = sweep_of_two_modes(tmp_path / "sweep")
    asked: list[str] = []
    with another_host(asked) as place:
        (sweep / "0" / "report.html").write_text(HOSTILE.replace("PLACE", place))
        with serving(sweep, token="the-token") as server:
            page = browser.open(server.address)
            page.locator("a[href='0/report.html']").first.evaluate("(link) => link.click()")
            page.locator("#said", has_text="nothing").wait_for()
            own = f"{server.address.removesuffix('the-token/')}{server.token_of('/0/report.html')}/0/report.html"
            assert page.url == own
            page.locator("p").last.click()
            assert asked == []
            page.locator("a").click()  # a person may follow a link
            page.wait_for_url(place)
    assert any(line.startswith("/ from") for line in asked)
    assert "the-token" not in " ".join(asked)
    assert any("script" in error.lower() for error in browser.errors)  # the browser says what it refused
    browser.errors.clear()
