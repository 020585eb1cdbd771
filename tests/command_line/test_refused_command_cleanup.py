"""What a refused command leaves: nothing, unless it was there before."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from kd_runner.command_line.refused_command_cleanup import folder_goes_where_refused, remember_absent, remove_traces
from kd_runner.errors import SettingsError
from kd_runner.log_handlers import LogFile


def begin(folder: Path) -> LogFile:
    """What Hydra makes of a command before its settings are checked."""
    remember_absent(folder)
    (folder / ".hydra").mkdir(parents=True)
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
        (folder / ".hydra" / name).touch()
    return LogFile(str(folder / "kd-runner.log"))


def test_folders_that_the_command_made_go(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    folder = tmp_path / "outputs" / "runs" / "1"
    handler = begin(folder)
    logging.getLogger().addHandler(handler)
    remove_traces(folder, ".hydra")
    logging.getLogger().warning("later")
    assert handler not in logging.getLogger().handlers
    assert list(tmp_path.rglob("*")) == [tmp_path / "outputs"]


def test_a_folder_that_was_there_and_a_run_that_began_stay(tmp_path: Path) -> None:
    begin(tmp_path).close()
    remove_traces(tmp_path, ".hydra")
    assert [path.name for path in tmp_path.iterdir()] == ["kd-runner.log"]
    begin(tmp_path / "run").close()
    (tmp_path / "run" / "settings.json").touch()
    remove_traces(tmp_path / "run", ".hydra")
    assert (tmp_path / "run" / ".hydra" / "config.yaml").exists()


def test_the_folder_of_a_refused_sweep_goes_and_that_of_a_failed_one_stays(tmp_path: Path) -> None:
    def sweep(error: Exception) -> None:
        with folder_goes_where_refused(tmp_path / "a" / "b"):
            (tmp_path / "a" / "b").mkdir(parents=True)
            (tmp_path / "a" / "b" / ".sweep.lock").touch()
            raise error

    with pytest.raises(SettingsError):
        sweep(SettingsError("no"))
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="no"):
        sweep(ValueError("no"))
    assert (tmp_path / "a" / "b").exists()
