"""YAML files of options that would fill the memory, or end in a message that names no file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hostile import BOMB, bounded, nothing_happens
from hydra import compose, initialize_config_dir

from kd_runner.command_line.yaml_files import bounded_files
from kd_runner.config.conf_dir import CONF_DIR
from kd_runner.errors import SettingsError


def composed_with(folder: Path, content: bytes) -> Any:
    """The teacher of the settings that are composed with a file of that content."""
    (folder / "teacher").mkdir(parents=True)
    (folder / "teacher" / "odd.yaml").write_bytes(content)
    with bounded_files(), initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        return compose("config", overrides=["teacher=odd", f"hydra.searchpath=[{folder}]"]).teacher


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (BOMB.encode(), "must not unfold to more than 100,000 values by its references"),
        (b"a: &a [*a]", "must not unfold to more than"),
        (b"a: &a\n  <<: *a", "must not unfold to more than"),
        (b"[" * 5000, "must not be nested so deeply"),
        (b"1", "must hold settings by their keys"),
    ],
)
def test_a_file_is_refused_in_one_line(content: bytes, line: str, tmp_path: Path) -> None:
    with bounded(20), nothing_happens(tmp_path), pytest.raises(SettingsError) as refused:
        composed_with(tmp_path / "options", content)
    assert line in str(refused.value)
    assert "odd.yaml" in str(refused.value)
    assert str(refused.value).isprintable()


def test_a_file_with_references_works_as_before(tmp_path: Path) -> None:
    teacher = composed_with(tmp_path / "options", b"defaults: [mlp]\nhidden: &h [8, 8]\nnorm: *h\n")
    assert teacher.hidden == teacher.norm == [8, 8]
