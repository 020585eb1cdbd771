"""The means of a sweep's rows, with their bands, as runs of TensorBoard."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from logged_scalars import scalars

from kd_runner.comparison.groups import Group
from kd_runner.files.results import Run
from kd_runner.tracking import mean_curves

NODE = {"_target_": "kd_runner.models.resnet.ResNet", "depth": 8}


def a_run(folder: Path, student: list[float], teacher: float) -> Run:
    folder.mkdir()
    epochs = {
        "student": [{"val_accuracy": value, "val_loss": 1 - value} for value in student],
        "teacher": [{"val_accuracy": teacher}],
    }
    (folder / "analysis.json").write_text(json.dumps({"epochs": epochs}))
    (folder / "settings.json").write_text(json.dumps({"teacher": NODE, "student": NODE}))
    return Run(folder, (), (), {})


@pytest.fixture
def groups(tmp_path: Path) -> list[Group]:
    """Two rows with the same teachers, of which one run stopped an epoch early, and a row of one run."""
    rows = {
        "distillation=dkd temperature.value=4": [[0.1, 0.5], [0.3, 0.7]],
        "distillation=soft temperature.value=4": [[0.2, 0.4], [0.4]],
        "distillation=at temperature.value=4": [[0.9, 0.9]],
    }
    return [
        Group((), [a_run(tmp_path / f"{row}{seed}", curve, 0.8 + seed / 10) for seed, curve in enumerate(curves)], name)
        for row, (name, curves) in enumerate(rows.items())
    ]


def test_each_row_is_a_run_with_its_mean_and_band(groups: list[Group], tmp_path: Path) -> None:
    root = tmp_path / "tensorboard"
    tags = mean_curves.write(root, groups)
    assert tags == ["accuracy/validation", "loss/validation"]
    names = ["mean_row1_dkd_T4", "mean_row2_soft_T4", "mean_teacher_ResNet-8"]
    assert sorted(path.name for path in root.iterdir()) == names
    first, second, teacher = (scalars(root / name) for name in names)
    deviation = 0.1 * 2**0.5  # of two numbers that are 0.2 apart, with n - 1
    for tag, expected in (
        ("accuracy/validation", [0.2, 0.6]),
        ("standard_deviation/accuracy/validation_low", [0.2 - deviation, 0.6 - deviation]),
        ("standard_deviation/accuracy/validation_high", [0.2 + deviation, 0.6 + deviation]),
        ("loss/validation", [0.8, 0.4]),
    ):
        assert [step for step, _ in first[tag]] == [1, 2]
        assert [value for _, value in first[tag]] == pytest.approx(expected)
    assert second["accuracy/validation"] == [(1, pytest.approx(0.3))]
    assert teacher["accuracy/validation"] == [(1, pytest.approx(0.85))]


def test_another_report_replaces_the_means(groups: list[Group], tmp_path: Path) -> None:
    root = tmp_path / "tensorboard"
    mean_curves.write(root, groups)
    (root / "mean_row2_soft_T4" / "mine").write_text("")
    mean_curves.delete_earlier(root)
    assert [path.name for path in root.iterdir()] == ["mean_row2_soft_T4"]
    assert mean_curves.write(root, groups[2:]) == []


def test_a_mean_says_how_many_runs_of_its_row_it_lacks(tmp_path: Path) -> None:
    runs = [a_run(tmp_path / str(seed), [0.1 * seed], 0.8) for seed in range(3)]
    (runs[0].folder / "analysis.json").unlink()
    teacher = {"teacher": {"accuracy": 0.8}}
    mean_curves.write(tmp_path / "tensorboard", [Group((), [replace(run, result=teacher) for run in runs], "a=1")])
    names = ["mean_row1_a=1_2_of_3_runs", "mean_teacher_ResNet-8_2_of_3_runs"]
    assert sorted(path.name for path in (tmp_path / "tensorboard").iterdir()) == names
    assert scalars(tmp_path / "tensorboard" / names[0])["accuracy/validation"] == [(1, pytest.approx(0.15))]


def test_settings_and_numbers_of_anyone_end_no_report(groups: list[Group], tmp_path: Path) -> None:
    for number, run in enumerate(groups[0].runs + groups[1].runs):
        content = json.loads((run.folder / "analysis.json").read_text())
        wrong = (10**400, float("nan"), None, True)[number]
        content["epochs"]["student"][0] |= {"val_loss": wrong, "val_map": wrong, "train_loss": 0.5}
        (run.folder / "analysis.json").write_text(json.dumps(content))
        (run.folder / "settings.json").write_text(json.dumps({"teacher": [5, "x", None, {}][number], "student": 3}))
    assert mean_curves.write(tmp_path / "out", groups) == ["accuracy/validation", "loss/validation", "training/loss"]
    assert scalars(tmp_path / "out" / "mean_row1_dkd_T4")["loss/validation"] == [(2, pytest.approx(0.4))]
    assert scalars(tmp_path / "out" / "mean_teacher_network")["accuracy/validation"] == [(1, pytest.approx(0.85))]


@pytest.mark.parametrize("content", ["", "[]", '{"epochs": 3}', '{"epochs": {"student": [1, {"val_loss": "x"}]}}'])
def test_files_of_anyone_are_left_out(content: str, tmp_path: Path) -> None:
    (tmp_path / "analysis.json").write_text(content)
    assert mean_curves.epochs_of(tmp_path) == {}


def test_the_layout_has_the_charts_that_have_curves() -> None:
    ((_, charts),) = mean_curves.layout(["loss/validation", "accuracy/validation"]).items()
    assert list(charts) == [
        "loss, validation images",
        "accuracy, validation images",
    ]  # the last is shown first
    assert charts["loss, validation images"] == [
        "Margin",
        ["loss/validation", "standard_deviation/loss/validation_low", "standard_deviation/loss/validation_high"],
    ]


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("distillation=dkd temperature.value=2", "dkd_T2"),
        ("student.hidden=[16] student.epochs=2 teacher.epochs=3", "hidden=[16]_student.epochs=2_teacher.epochs=3"),
        ("defaults", "defaults"),
    ],
)
def test_names_are_short(name: str, short: str) -> None:
    assert mean_curves._short(name) == short
