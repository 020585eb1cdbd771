"""The folder of a run's event files."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.files import atomic, tolerant_json
from kd_runner.files.run_folder import GRID
from kd_runner.tracking import event_files


def test_a_run_has_its_own_place_and_jobs_are_beside_each_other(tmp_path: Path) -> None:
    assert event_files.event_folder_of(tmp_path / "run") == tmp_path / "run" / "tensorboard"
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    atomic.write_json(sweep / GRID, {"jobs": ["a", "b"], "folders": ["0", "x/1"], "names": ["0_dkd", "1_soft"]})
    assert event_files.event_folder_of(sweep / "x" / "1") == sweep / "tensorboard" / "1_soft"
    assert event_files.event_folder_of(sweep / "networks" / "teacher_ab") == sweep / "tensorboard" / "teacher_ab"
    assert event_files.event_folder_of(sweep / "elsewhere") == sweep / "elsewhere" / "tensorboard"
    folders = {name: event_files.is_of_a_sweep(sweep / name) for name in ("x/1", "networks/teacher_ab", "elsewhere")}
    assert folders == {"x/1": True, "networks/teacher_ab": True, "elsewhere": False}
    atomic.write_json(sweep / GRID, {"jobs": ["a"], "folders": ["0"]})  # an older version's
    assert event_files.event_folder_of(sweep / "0") == sweep / "0" / "tensorboard"


def test_a_sweep_is_read_once_for_all_of_its_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atomic.write_json(tmp_path / GRID, {"folders": ["0", "1"], "names": ["a", "b"]})
    read = []
    json_of = tolerant_json.json_of
    monkeypatch.setattr(tolerant_json, "json_of", lambda path: read.append(path) or json_of(path))
    for job, name in (("0", "a"), ("1", "b"), ("0", "a")):
        assert event_files.event_folder_of(tmp_path / job) == tmp_path / "tensorboard" / name
    assert read == [tmp_path / GRID]
