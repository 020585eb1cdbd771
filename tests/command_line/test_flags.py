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


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        (["-student.epochs=3"], "student.epochs=3"),
        (["--student.epochs", "3"], "student.epochs=3"),
        (["--teacher.epochs=5"], "teacher.epochs=5"),  # and not the student's, as for --epochs
        (["--teacher-epochs", "5"], "teacher.epochs=5"),
        (["--batch-size", "8"], "batch_size=8"),
        (["--tags=[a]"], "'tags=[a]'"),
        (["-lr", "0.1"], "optimizer.lr=0.1"),
        (["--seed"], "seed=…"),
    ],
)
def test_a_setting_that_is_typed_as_a_flag(words: list[str], typed: str) -> None:
    with pytest.raises(SettingsError) as refused:
        split_flags(words)
    flag = words[0].partition("=")[0]
    line = f"{flag}: no such option; settings are typed without dashes, as KEY=VALUE: type {typed}"
    assert str(refused.value) == line


def test_a_letter_is_no_setting() -> None:
    with pytest.raises(SettingsError, match=r"^-t: no such option.*; see kd-runner --help$"):
        split_flags(["-t", "4"])
