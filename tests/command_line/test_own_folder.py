"""A config.yaml in a folder of own options is refused, as Hydra would not read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.command_line.own_folder import config_dirs, refuse_ignored_files
from kd_runner.errors import SettingsError


def test_the_folders_that_are_named() -> None:
    assert config_dirs(["--config-dir", "a", "-cd=b", "seed=1", "--config-dir=c"]) == ["b", "c", "a"]


def test_an_ignored_file_is_refused_unless_another_is_chosen(tmp_path: Path) -> None:
    refuse_ignored_files(["--config-dir", str(tmp_path)])
    (tmp_path / "config.yaml").touch()
    for words in (["--config-dir", str(tmp_path)], [f"hydra.searchpath=[file://{tmp_path}]"]):
        with pytest.raises(SettingsError, match=r"config.yaml would be ignored beside kd-runner's own"):
            refuse_ignored_files(words)
    refuse_ignored_files([f"--config-dir={tmp_path}", "--config-name", "mine"])
