"""The marks that a run leaves in its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.files.run_folder import holds_a_run, weights_file


@pytest.mark.parametrize(
    ("name", "is_run"),
    [("settings.json", True), ("kd-runner.log", True), (".hydra", True), ("console.log", False), ("notes.txt", False)],
)
def test_a_run_is_known_by_its_marks(name: str, is_run: bool, tmp_path: Path) -> None:
    assert not holds_a_run(tmp_path)
    (tmp_path / name).write_text("")
    assert holds_a_run(tmp_path) == is_run


def test_teachers_have_files_of_their_own() -> None:
    assert [weights_file(stage) for stage in ("baseline", "teachers.b")] == [
        "baseline.safetensors",
        "teachers.b.safetensors",
    ]
