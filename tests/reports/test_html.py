"""Pages from templates: nothing in them is taken for HTML, and dictionaries have their keys alone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from leaderboard_cases import HOSTILE, sweep_over_a_grid

from kd_runner.config.settings import Settings
from kd_runner.reports.html import BROWSER, browser_file, render
from kd_runner.reports.run_page import write
from kd_runner.reports.sweep_report import report
from kd_runner.runs.run import run


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return sweep_over_a_grid(tmp_path / "sweep")


def test_a_dictionary_in_a_template_has_its_keys_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a key is called, `a.items` is what the dictionary holds, and never Python's method of that name."""
    (tmp_path / "t.html").write_text(
        "{{ a.items }}{{ a.keys }}{{ a.values }}{{ a.count }}{{ a.get }}"
        "{% if b.rows is defined or b.items is defined %}wrong{% endif %}"
        "{% for name, value in b|items %}{{ name }}{% endfor %}"
    )
    monkeypatch.setattr("kd_runner.reports.html.TEMPLATES", tmp_path)
    content: dict[str, Any] = {"a": {"items": 1, "keys": 2, "values": 3, "count": 4, "get": 5}, "b": {"x": 1}}
    assert render("t.html", **content) == "12345x"


@pytest.mark.parametrize("where", ["override", "error", "class"])
def test_nothing_is_taken_for_html(sweep: Path, where: str, settings: Callable[..., Settings], tmp_path: Path) -> None:
    if where == "class":
        folder = tmp_path / "run"
        folder.mkdir()
        run(
            settings("teacher=mlp", "teacher.hidden=[8]", "baseline=false", "tracking.images=false"),
            folder,
            [f"x={HOSTILE}"],
        )
        analysis = json.loads((folder / "analysis.json").read_text())
        analysis["classes"] = [f"{HOSTILE} {number}" for number in range(10)]
        (folder / "analysis.json").write_text(json.dumps(analysis))
        page = write(folder, folder).read_text()
        assert page.count("&lt;script&gt;") > 50
    else:
        page = report([sweep], sweep).read_text()
        assert page.count("&lt;script&gt;") == 2
    assert len(re.findall("<script", page)) == (1 if where == "class" else 2)  # for print, and that of the tables


def test_only_the_scripts_of_the_package_run_on_a_page(sweep: Path) -> None:
    """The page names the digests of its scripts, so that a browser runs no other, and asks no other host."""
    page = report([sweep], sweep).read_text()
    policy = re.search('http-equiv="Content-Security-Policy"\\s+content="([^"]*)"', page)
    assert policy is not None
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    scripts = re.findall("<script>(.*?)</script>", page, re.S)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert len(scripts) == 2


def test_the_libraries_are_those_of_the_record() -> None:
    """Files of browser/ that others wrote are as tools/browser_libraries.py fetched them, and can stand in a page."""
    record = json.loads(browser_file("libraries.json"))
    assert set(record) == {"tabulator.min.js", "echarts.min.js", "tabulator.min.css"}
    for name, about in record.items():
        raw = browser_file(name).encode()
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (about["bytes"], about["sha256"])
    for path in BROWSER.glob("*.js"):
        text = path.read_text(encoding="utf-8").lower()
        assert "</script" not in text
        assert "<!--" not in text
        assert ("license" in text[:3000]) is path.name.endswith(".min.js")
