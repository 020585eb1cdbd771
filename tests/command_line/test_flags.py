"""Flags and settings, told apart wherever they stand."""

from __future__ import annotations

import pytest

from kd_runner.command_line.flags import split_flags
from kd_runner.errors import SettingsError


def test_flags_take_their_values_along() -> None:
    words = ["seed=1", "-m", "--cfg", "job", "teacher=cnn", "--config-dir=mine", "-cd", "other", "--resolve"]
    flags = ["-m", "--cfg", "job", "--config-dir=mine", "-cd", "other", "--resolve"]
    assert split_flags(words) == (flags, ["seed=1", "teacher=cnn"])


def test_a_flag_at_the_end_without_its_value_is_left_to_hydra() -> None:
    assert split_flags(["--cfg"]) == (["--cfg"], [])


def test_an_unknown_flag_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SettingsError, match=r"^--mulitrun: no such option \(did you mean --multirun\?\); see "):
        split_flags(["--mulitrun=1"])
