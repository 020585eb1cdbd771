"""Paths that were typed as nothing are refused, and not read as the current folder."""

from __future__ import annotations

import pytest

from kd_runner.command_line.again import read_again
from kd_runner.command_line.empty_values import PATHS, refuse_empty_paths
from kd_runner.command_line.invocation import Invocation
from kd_runner.command_line.python_settings import composed_settings
from kd_runner.errors import SettingsError


@pytest.mark.parametrize("words", [["resume="], ["-m", "resume="], ["resume=''"], ["seed=1", 'resume=" "']])
def test_to_go_on_with_nothing_begins_nothing(words: list[str]) -> None:
    with pytest.raises(SettingsError, match=r"^resume: must be a folder, got nothing$"):
        Invocation(words).translate()
    assert "resume=null" in Invocation(["resume=null", "seed=1"]).translate()


@pytest.mark.parametrize("key", PATHS)
def test_an_empty_path_is_not_the_current_folder(key: str) -> None:
    for word in (f"{key}=", f"++{key}=''"):
        with pytest.raises(SettingsError, match=rf"^{key}: must be .*, got nothing$"):
            Invocation([word]).translate()
    refuse_empty_paths([f"{key}=a", f"{key}=null", key, "name=", "tags=", f"{key}.x="])


@pytest.mark.parametrize("words", [["--config-dir="], ["--config-dir", ""], ["-cd", "", "seed=1"], ["seed=1", "-cd"]])
def test_no_folder_of_own_options(words: list[str]) -> None:
    with pytest.raises(SettingsError, match=r"^(--config-dir|-cd): must be a folder, got nothing$"):
        Invocation(words).translate()


def test_a_program_and_another_command_that_name_nothing() -> None:
    with pytest.raises(SettingsError, match=r"^store: must be a folder, got nothing$"):
        composed_settings([], {"store": ""})
    with pytest.raises(SettingsError, match=r"^again: must be the folder of a run, got nothing$"):
        read_again([""])
