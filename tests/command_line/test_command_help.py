"""Commands by their names, and words that are nearly one."""

from __future__ import annotations

import pytest

from kd_runner.cli import command
from kd_runner.command_line.command_help import COMMANDS, OTHER_NAMES, about_command, refuse_commands
from kd_runner.command_line.messages import help_text
from kd_runner.command_line.other_commands import MODULES
from kd_runner.deploy.export_command import FORMATS
from kd_runner.errors import SettingsError


def test_every_command_of_the_help_and_every_format_is_known() -> None:
    assert set(MODULES) < set(COMMANDS)
    text = help_text()
    assert [name for name in COMMANDS if not any(f"{begin}{name}" in text for begin in ("kd-", "kd-runner "))] == []
    assert [name for name in FORMATS if "kd-export" not in str(about_command(name))] == []
    assert not set(COMMANDS) & set(OTHER_NAMES)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["exprot", "runs/odd", "--format", "onnx"], "exprot: no such command (did you mean kd-export RUN "),
        (["kd-export", "RUN"], "kd-export: no such command (did you mean kd-export RUN --format FORMAT?)"),
        (["predit", "RUN", "cat.jpg"], "predit: no such command (did you mean kd-predict RUN cat.jpg?)"),
        (["--config-dir", "mine", "stopp", "a"], "stopp: no such command (did you mean kd-runner stop SWEEP [JOB …]?)"),
        (["verify", "a"], "verify: no such command (did you mean kd-report --verify RUN or kd-runner store verify?)"),
        (["-m", "export", "RUN"], "export: a command must be the first word: kd-export RUN --format FORMAT"),
        (["seed=1", "stop"], "stop: a command must be the first word: kd-runner stop SWEEP [JOB …]"),
    ],
)
def test_a_word_that_is_nearly_a_command(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(words) == 2
    assert capsys.readouterr().err.startswith(f"kd-runner: {line}")


@pytest.mark.parametrize(
    "words",
    [
        ["soft"],
        ["student.epochs", "3"],
        ["evaluate", "a"],
        ["resume", "RUN"],
        ["--config-dir", "new"],
        ["a=stop"],
        ["x"],
    ],
)
def test_other_words_stay(words: list[str]) -> None:
    refuse_commands(words)
    with pytest.raises(SettingsError, match=r"^new: a command must"):
        refuse_commands([*words, "new"])
