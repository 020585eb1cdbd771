"""A network that several jobs of a sweep use is one run of TensorBoard, by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from logged_scalars import scalars

from kd_runner.files import atomic
from kd_runner.tracking.logger import RunLogger
from kd_runner.tracking.shared_networks import SharedNetwork, claimed_folder, event_folder_of, write_curves

TEACHER = SharedNetwork("teacher", {"_target_": "kd_runner.models.resnet.ResNet", "depth": 56}, 3, "ab12")


def test_names_say_network_and_seed_and_are_numbered_where_they_are_the_same(tmp_path: Path) -> None:
    assert claimed_folder(tmp_path, TEACHER) == tmp_path / "teacher_ResNet-56_s3"
    other = replace(TEACHER, key="cd34")  # with other epochs, say
    assert claimed_folder(tmp_path, other) == tmp_path / "teacher_ResNet-56_s3_2"
    for network in (TEACHER, other):
        assert claimed_folder(tmp_path, network) == claimed_folder(tmp_path, replace(network))


def test_a_link_in_the_place_of_its_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / TEACHER.name).symlink_to(tmp_path / "elsewhere")
    assert claimed_folder(tmp_path / "events", TEACHER).name == "teacher_ResNet-56_s3_2"
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_curves_of_a_reused_network_stand_once_for_all_jobs(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "sweep.json", {"jobs": ["a", "b"], "folders": ["0", "1"], "names": ["0_at", "1_dkd"]})
    epochs = [{"val_loss": 0.5}, {"val_loss": 0.25}]
    for job in ("0", "1"):
        log = RunLogger(tmp_path / job)
        log.retell(TEACHER, epochs)
        log.log_test_metrics("teacher", {"test_accuracy": 0.75}, 2)
        log.log_test_metrics("student", {"test_accuracy": 0.5}, 1)
        log.experiment.close()
    root = tmp_path / "tensorboard"
    assert scalars(root / TEACHER.name) == {
        "teacher/val_loss": [(1, 0.5), (2, 0.25)],
        "teacher/test_accuracy": [(2, 0.75)],
    }
    for job in ("0_at", "1_dkd"):
        assert scalars(root / job) == {"student/test_accuracy": [(1, 0.5)]}


def test_the_curves_of_a_training_that_was_killed_are_completed_once(tmp_path: Path) -> None:
    epochs = [{"val_loss": 0.5, "val_accuracy": 0.1}, {"val_loss": 0.25, "val_accuracy": 0.2}, {"val_loss": 0.125}]
    killed = RunLogger(tmp_path, tmp_path / "network")
    killed.log_metrics({"teacher/val_loss": 0.5, "teacher/val_accuracy": 0.1}, 1)
    killed.log_metrics({"teacher/val_loss": 0.25}, 2)
    killed.experiment.close()
    for more in ({}, {"never": 1.0}):
        write_curves(tmp_path / "network", "teacher", [{**epoch, **more} for epoch in epochs])
    assert scalars(tmp_path / "network") == {
        "teacher/val_loss": [(1, 0.5), (2, 0.25), (3, 0.125)],
        "teacher/val_accuracy": [(1, pytest.approx(0.1)), (2, pytest.approx(0.2))],
    }


def test_a_network_that_trains_for_several_jobs_has_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "networks" / "teacher_ab12"
    assert event_folder_of(folder, TEACHER) == folder / "tensorboard"
    atomic.write_json(tmp_path / "sweep.json", {"jobs": ["a"], "folders": ["0"], "names": ["0_at"]})
    assert event_folder_of(folder, TEACHER) == tmp_path / "tensorboard" / TEACHER.name
    (tmp_path / "tensorboard" / "teacher_ab12").mkdir()  # of an earlier version, that goes on
    assert event_folder_of(folder, TEACHER) == tmp_path / "tensorboard" / "teacher_ab12"
