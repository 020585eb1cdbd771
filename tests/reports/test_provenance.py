"""The commands that a report shows."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from leaderboard_cases import sweep_over_a_grid
from page_text import text_of

from kd_runner.files import read_cache
from kd_runner.files.read_cache import ReadCache
from kd_runner.reports.provenance import settings_in, sweep_command
from kd_runner.reports.sweep_report import report


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return sweep_over_a_grid(tmp_path / "sweep")


def test_the_command_is_the_one_that_was_typed(sweep: Path) -> None:
    typed = sweep_command(sweep / "multirun.yaml")
    assert typed is not None
    assert shlex.split(typed) == [
        "kd-runner", "-m", "--config-dir=/own conf", "distillation=soft,dkd", "temperature.value=1,2,10", "seed=0,1",
        "dataset.root=/a b",
    ]  # fmt: skip
    (sweep / "multirun.yaml").write_text("hydra: [")
    assert sweep_command(sweep / "multirun.yaml") is None
    report([sweep], sweep)
    text = text_of(sweep / "report.html")
    assert "kd-runner distillation=soft temperature.value=1 seed=0 optimizer.lr=0.1" in text
    assert "And 2 more runs" in text


@pytest.mark.parametrize("indent", [2, None])
def test_settings_are_the_same_from_the_file_and_from_the_cache(
    indent: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_cache, "SETTLED", 0.0)
    monkeypatch.setattr(read_cache, "FEWEST", 1)
    contents = {
        "plain": {"seed": 1, "student": {"channels": [4, 8], "bias": True, "deep": {"x": None, "y": {}}}, "lr": 1e-05},
        "other": {"seed": 2, "student": {"channels": [4, 8], "bias": True, "deep": {"x": None, "y": {}}}, "lr": 1e-05},
        "letters": {"name": "Ä \x1b[31m", "seed": 1},
        "brackets": {"[odd": 1, "seed": 1},
        "empty": {},
    }
    for name, content in contents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.json").write_text(json.dumps(content, indent=indent))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "settings.json").write_text('{\n  "seed": 1,\n  "lr"')
    expected = {
        "plain": ({"seed": "1", "student.channels": "[4, 8]", "student.bias": "true", "student.deep.x": "null",
                   "student.deep.y": "{}", "lr": "1e-05"}, ""),
        "letters": ({"name": "Ä \ufffd[31m", "seed": "1"}, ""),
        "brackets": ({"[odd": "1", "seed": "1"}, ""),
        "empty": ({}, ""),
        "broken": ({}, "settings.json cannot be read"),
        "nothing": ({}, "settings.json is not there"),
    }  # fmt: skip
    expected["other"] = ({**expected["plain"][0], "seed": "2"}, "")
    cache = ReadCache(tmp_path / ".report_cache")
    for reader in (None, cache):
        assert {name: tuple(settings_in(tmp_path / name, reader)) for name in expected} == expected
    cache.save()
    again = ReadCache(tmp_path / ".report_cache")
    monkeypatch.setattr("kd_runner.reports.provenance._line_of", pytest.fail)
    assert {name: tuple(settings_in(tmp_path / name, again)) for name in expected if name != "nothing"} == {
        name: settings for name, settings in expected.items() if name != "nothing"
    }
