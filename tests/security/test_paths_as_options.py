"""Names of options that are paths: they lead to anybody's file, which is then no file of kd-runner's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kd_runner.cli import command
from kd_runner.command_line.foreign_files import leads_out
from kd_runner.command_line.resume import is_for_a_person
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.errors import BAD_SETTINGS

EVIL = "# @package hydra\njob: {env_set: {EVIL: '1'}}\n"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a stranger's file, as seen from the folder of launchers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.yaml").write_text(EVIL)
    return os.path.relpath(tmp_path / "evil", CONF_DIR / "hydra" / "launcher")


@pytest.mark.parametrize("group", ["hydra/launcher", "hydra/sweeper"])
def test_a_typed_path_is_checked_as_a_strangers_file(path: str, group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command([f"{group}={path}", "--cfg", "hydra"]) == BAD_SETTINGS
    assert "hydra.job.env_set.EVIL: must be typed" in capsys.readouterr().err
    assert "EVIL" not in os.environ


def test_a_configuration_of_ones_own_cannot_name_a_path(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own").mkdir()
    content = f"defaults: [config, {{override hydra/launcher: {path}}}, _self_]\n"
    (tmp_path / "own" / "mine.yaml").write_text(content)
    words = ["--config-path", str(tmp_path / "own"), "--config-name", "mine", "--cfg", "hydra"]
    assert command([*words, f"hydra.searchpath=[{CONF_DIR}]"]) != 0
    assert "EVIL" not in capsys.readouterr().out


@pytest.mark.parametrize("value", ["../../../tmp/evil", "/tmp/evil", "a/b", "'../x'", "${oc.env:X}", "pool,../x", ""])
@pytest.mark.parametrize("group", ["hydra/launcher", "hydra/sweeper"])
def test_a_folders_path_must_be_typed_again(group: str, value: str) -> None:
    assert is_for_a_person(f"{group}={value}")


@pytest.mark.parametrize("word", ["hydra/launcher=pool", "hydra/launcher=slurm", "hydra/sweeper=optuna"])
def test_plain_names_come_back(word: str) -> None:
    assert not is_for_a_person(word)


def test_paths_that_lead_out() -> None:
    assert leads_out("hydra/launcher/../../x")
    assert leads_out("hydra\\..\\x")
    assert not leads_out("experiment/published/a..b")
