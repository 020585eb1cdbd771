"""Settings from a Python program are those of a command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import composed
from hydra import compose, initialize_config_dir

from kd_runner.command_line.python_settings import composed_settings
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.config.settings import check
from kd_runner.errors import SettingsError


def test_they_are_those_of_the_same_command() -> None:
    given = {"teacher": "resnet", "teacher.depth": 8, "distillation": ["dkd", "at"], "plus": {"at": {"weight": 3.0}}}
    given |= {"optimizer.lr": np.float64(0.5), "store": Path("a/b")}
    done = composed_settings(["student.epochs=7"], given)
    words = ["teacher=resnet", "teacher.depth=8", "student.epochs=7", "distillation=dkd", "+distillation@plus.at=at"]
    assert done.settings == check(composed(*words, "plus.at.weight=3.0", "optimizer.lr=0.5", "store=a/b"))
    assert done.in_short == "digits, resnet 8 → cnn, dkd + at"
    expanded = [words[2], "teacher=resnet", "distillation=dkd", "+distillation@plus.at=at"]
    assert done.overrides == [*expanded, "teacher.depth=8", "plus.at.weight=3.0", "optimizer.lr=0.5", "store=a/b"]


def test_a_target_stands_in_place_of_an_option() -> None:
    node = {"_target_": "kd_runner.models.mlp.mlp", "hidden": [5]}
    student = composed_settings([], {"student": {**node, "epochs": 3}}).settings.student
    assert student.node == node
    assert student.epochs == 3
    beside = composed_settings([], {"student._target_": node["_target_"], "student.hidden": [5]}).settings
    assert beside.student.node == node
    kept = composed_settings(["student=mlp"], {"student._target_": node["_target_"]}).settings.student.node
    assert kept.keys() > node.keys()
    mode = composed_settings([], {"distillation": {"_target_": "kd_runner.distillation.dkd.DKD"}}).settings.distillation
    assert (mode.weight, mode.label_weight, mode.default_temperature) == (1.0, 1.0, None)


def test_own_options_and_a_program_that_uses_hydra(tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "mine.yaml").write_text("_target_: kd_runner.models.mlp.mlp\nhidden: [3]\n")
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        done = composed_settings([], {"student": "mine"}, config_dir=tmp_path)
        assert compose("config").seed == 0  # as before
    assert done.settings.student.node["hidden"] == [3]
    with pytest.raises(SettingsError, match=r"^student.hiden: no such setting \(did you mean student.hidden\?\)"):
        composed_settings(["student=mlp", "student.hiden=3"], {})
