from __future__ import annotations

from pathlib import Path

import pytest

from kd_runner.deploy.model_files import model_file, run_files
from kd_runner.errors import SettingsError
from kd_runner.files.home import typed_run


def test_the_files_of_a_run(tmp_path: Path) -> None:
    for name in ("teacher", "student_last", "student_best"):
        (tmp_path / f"{name}.safetensors").touch()
    assert model_file(tmp_path) == tmp_path / "student_last.safetensors"
    assert model_file(tmp_path, "student_best") == tmp_path / "student_best.safetensors"
    with pytest.raises(SettingsError, match=r"has no baseline.safetensors: its run has no baseline; it has teacher"):
        model_file(tmp_path, "baseline")
    with pytest.raises(SettingsError, match=r"^network: has no effect on .*, which is no folder of a run, got teacher"):
        model_file(tmp_path / "teacher.safetensors", "teacher")
    assert model_file(str(tmp_path / "teacher.safetensors")) == tmp_path / "teacher.safetensors"
    assert list(run_files(tmp_path)) == ["teacher", "student", "student_best"]


def test_a_report_stands_for_its_folder(tmp_path: Path) -> None:
    """It is what a command prints last. A page of the same name that lies elsewhere is a file."""
    (tmp_path / "run").mkdir()
    for name in ("result.json", "student_last.safetensors", "report.html"):
        (tmp_path / "run" / name).touch()
    assert model_file(tmp_path / "run" / "report.html") == tmp_path / "run" / "student_last.safetensors"
    assert typed_run(str(tmp_path / "run" / "report.html")) == tmp_path / "run"
    assert typed_run(str(tmp_path / "run" / "result.json")) == tmp_path / "run" / "result.json"
    long = f"{tmp_path}/{300 * 'x'}/report.html"
    assert str(typed_run(long)) == long
    (tmp_path / "report.html").touch()
    assert typed_run(str(tmp_path / "report.html")) == tmp_path / "report.html"
    (tmp_path / "sweep.json").touch()
    with pytest.raises(SettingsError, match=r"is the folder of a sweep: .* says which run is best on the validation"):
        model_file(tmp_path / "report.html")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], r"is not the folder of a run: it has no student_last\.safetensors"),
        (["settings.json"], r"has no weights yet; kd-runner resume=/\S+ goes on with a run that was stopped$"),
        (
            ["settings.json", "teacher.safetensors"],
            r"completed; it has teacher \(teacher.safetensors\), which can be named instead",
        ),
        (["sweep.json"], "is the folder of a sweep: name the folder of one of its runs, such as .*/0"),
    ],
)
def test_other_folders_get_one_clear_line(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(SettingsError, match=message):
        model_file(tmp_path)


def test_no_link_is_followed_in_a_run(tmp_path: Path) -> None:
    (tmp_path / "secret.safetensors").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/student_best.safetensors").symlink_to(tmp_path / "secret.safetensors")
    with pytest.raises(SettingsError, match=r"student_best\.safetensors is a link, and links are not followed"):
        model_file(tmp_path / "run")
