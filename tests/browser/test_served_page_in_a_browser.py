"""The page of `kd-report --serve` in a real browser: it grows, and a run's own page can reach nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from browser import Browser, overflow
from leaderboard_cases import right, sweep_of_two_modes, write_run
from test_serve import serving

from kd_runner.reports import serve

pytestmark = pytest.mark.slow

STEALS = """<!doctype html><title>a run</title><p id=said>nothing</p><script>
fetch("/state").then((answer) => answer.text(), () => "could not").then((text) => { said.textContent = text; });
</script>"""


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


def test_the_page_of_a_run_reaches_nothing(tmp_path: Path, browser: Browser) -> None:
    sweep = sweep_of_two_modes(tmp_path / "sweep")
    (sweep / "0" / "report.html").write_text(STEALS)
    with serving(sweep) as server:
        page = browser.open(f"{server.address}0/report.html")
        page.locator("#said", has_text="could not").wait_for()
    assert any("connect" in error.lower() for error in browser.errors)  # the browser says what it refused
    browser.errors.clear()
