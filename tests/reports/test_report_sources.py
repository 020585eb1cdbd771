"""Where the numbers of a report come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.errors import SettingsError
from kd_runner.reports.report_sources import Sources


def test_names_and_paths(tmp_path: Path) -> None:
    (tmp_path / "sweep" / "0").mkdir(parents=True)
    (tmp_path / "sweep" / "0" / "now.json").touch()
    sources = Sources.of([tmp_path / "sweep"])
    assert sources.holding("now.json") == [tmp_path / "sweep" / "0"]
    assert sources.has(tmp_path / "sweep" / "0", "now.json")
    assert not sources.has(tmp_path / "sweep", "now.json")
    assert sources.relative(tmp_path / "sweep" / "0", tmp_path / "sweep") == "0"
    assert sources.relative(tmp_path / "sweep" / "0", tmp_path / "out") == "../sweep/0"
    assert sources.resolve(tmp_path / "sweep" / "0") == str((tmp_path / "sweep" / "0").resolve())
    with pytest.raises(SettingsError, match="no folder"):
        Sources.of([tmp_path / "nothing"])
