"""`kd-runner new`: its files, and that they work as they are."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kd_runner.command_line.new_parts import GROUPS, new_part
from kd_runner.errors import SettingsError


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["loss", "mine"], "new: must be mode, network or dataset, got loss"),
        (["mode", "My-Mode"], "new: NAME must be of small letters, digits and _, such as my_mode, got My-Mode"),
        (["mode", "class"], "new: NAME must be no word of Python's own, such as my_class, got class"),
        (["mode", "dkd"], "new: distillation=dkd is an option of kd-runner: choose another name"),
        (["mode"], "new: the following arguments are required: name; as in kd-runner new mode mine"),
        (["mode", "mine", "--nope"], "new: unrecognized arguments: --nope; as in kd-runner new mode mine"),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], line: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        new_part(words, tmp_path)
    assert str(refused.value) == line
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_there_are_not_replaced(tmp_path: Path) -> None:
    said = str(new_part(["network", "mine"], tmp_path)).splitlines()
    assert said[-2:] == [
        "run it    kd-runner --config-dir my_conf student=mine 'trust=[my_package]'",
        "remove it rm my_package/mine.py my_package/test_mine.py my_conf/student/mine.yaml my_conf/teacher/mine.yaml",
    ]
    (tmp_path / "my_package" / "mine.py").write_text("# mine")
    with pytest.raises(SettingsError, match=r"^new: my_package/mine.py is there already, and is not replaced"):
        new_part(["dataset", "mine"], tmp_path)
    assert (tmp_path / "my_package" / "mine.py").read_text() == "# mine"


@pytest.mark.slow
def test_a_new_mode_network_and_data_set_are_tested_trained_and_removed(tmp_path: Path) -> None:
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False)

    for kind in GROUPS:
        done = command("kd_runner", "new", kind, f"my_{kind}")
        assert done.returncode == 0, done.stderr
    tests = command("pytest", "-q", "-p", "no:cacheprovider", "my_package")
    assert "4 passed" in tests.stdout, tests.stdout
    words = ["--config-dir", "my_conf", "dataset=my_dataset", "student=my_network", "distillation=my_mode"]
    words += ["teacher=my_network", "trust=[my_package]", "teacher.epochs=1", "student.epochs=1"]
    done = command("kd_runner", *words, "distillation.weight=2", "dataset.flip=true", "distillation.power=1.5")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "starting  my_dataset, my_network → my_network, my_mode"
    assert lines[1] == f"code      my_package is read from {tmp_path}/my_package/__init__.py"
    shutil.rmtree(tmp_path / "my_package")
    shutil.rmtree(tmp_path / "my_conf")
    (tmp_path / "my_conf").mkdir()
    gone = command("kd_runner", *words)
    assert gone.returncode == 2
    assert re.match(r"kd-runner: \w+: must be one of .*, got my_\w+(; kd-runner help .*)?\n$", gone.stderr), gone.stderr
