"""The first line of a run, and where packages of a person's own were found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from kd_runner.command_line.in_short import in_short, log_packages
from kd_runner.config.conf_dir import CONF_DIR


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "digits, cnn → cnn, soft"),
        (["teacher=resnet", "student=timm", "+distillation@plus.at=at"], "digits, resnet 56 → resnet18, soft + at"),
        (["+teacher@teachers.b=mlp"], "digits, cnn and mlp → cnn, soft"),
    ],
)
def test_a_run_in_a_few_words(words: list[str], line: str) -> None:
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        assert in_short(compose("config", overrides=words, return_hydra_config=True)) == line


def test_the_place_of_a_package(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kd_runner")
    (tmp_path / "a_package_of_mine").mkdir()
    (tmp_path / "a_package_of_mine" / "__init__.py").touch()
    sys.path.insert(0, str(tmp_path))
    try:
        log_packages(["a_package_of_mine", "no_such_package"])
    finally:
        sys.path.remove(str(tmp_path))
    assert caplog.messages == [f"code      a_package_of_mine is read from {tmp_path}/a_package_of_mine/__init__.py"]
