"""A teacher whose weights come from a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from kd_runner.errors import SettingsError

RunIt = Callable[..., dict[str, Any]]


def test_a_given_teacher_is_used_and_not_trained(result_of: RunIt, tmp_path: Path) -> None:
    trained = result_of("baseline=false")
    path = tmp_path / "run0" / "teacher.safetensors"
    given = result_of("baseline=false", f"teacher.checkpoint={path}")
    assert given["teacher"]["nll"] == trained["teacher"]["nll"]
    assert given["student"]["nll"] == trained["student"]["nll"]
    torch.save({"state_dict": load_file(path)}, tmp_path / "teacher.pth")
    again = result_of("baseline=false", f"teacher.checkpoint={tmp_path / 'teacher.pth'}")
    assert again["teacher"]["nll"] == trained["teacher"]["nll"]
    with pytest.raises(SettingsError, match=r"teacher\.checkpoint: .* does not fit the network: .*is missing"):
        result_of("teacher=resnet", f"teacher.checkpoint={path}")


def test_a_file_that_is_not_there_is_told_before_images_are_read(result_of: RunIt, tmp_path: Path) -> None:
    unread = ("dataset=image_folder", f"dataset.root={tmp_path / 'no_images'}")
    missing = tmp_path / "none.pth"
    with pytest.raises(SettingsError, match=f"^teacher.checkpoint: no file {re.escape(str(missing))}$"):
        result_of(*unread, f"teacher.checkpoint={missing}")
    with pytest.raises(SettingsError, match=r"^teacher\.checkpoint: .* it is a folder$"):
        result_of(*unread, f"teacher.checkpoint={tmp_path}")


def test_a_teacher_of_other_images_is_refused(result_of: RunIt, tmp_path: Path) -> None:
    result_of("baseline=false")
    given = f"teacher.checkpoint={tmp_path / 'run0' / 'teacher.safetensors'}"
    with pytest.raises(SettingsError, match=r"was trained with dataset\.mean=\[0\.3\d+\], this run has \[0\.0\]"):
        result_of(given, "dataset.mean=[0.0]", "dataset.std=[0.02]")


def test_another_number_of_classes_is_refused(result_of: RunIt, tmp_path: Path) -> None:
    state = {"1.weight": torch.zeros(4, 64), "1.bias": torch.zeros(4), "3.weight": torch.zeros(7, 4)}
    torch.save(state | {"3.bias": torch.zeros(7)}, tmp_path / "seven.pth")
    rule = r"seven\.pth has 7 classes, the data set has 10: they must be equal, unless head=probe fits "
    with pytest.raises(SettingsError, match=rule):
        result_of("teacher=mlp", "teacher.hidden=[4]", f"teacher.checkpoint={tmp_path / 'seven.pth'}")


def test_a_teacher_with_its_own_input_answers_the_same_in_a_run_with_another_normalisation(
    result_of: RunIt, tmp_path: Path
) -> None:
    words = ("baseline=false", "student=tiny_mlp", "teacher=mlp", "teacher.hidden=[4]", "teacher.input.size=6")
    trained = result_of(*words, "dataset.mean=[0.3]", "dataset.std=[0.4]")
    given = f"teacher.checkpoint={tmp_path / 'run0' / 'teacher.safetensors'}"
    other = ("dataset.mean=[0.0]", "dataset.std=[1.0]", given)
    with pytest.raises(SettingsError, match=r"this run has \[0\.0\] \(teacher\.input\.mean gives it its own\)$"):
        result_of(*words, *other)
    with pytest.raises(SettingsError, match=r"with image_shape \[1, 6, 6\], this run shows it \[1, 8, 8\] \(teacher"):
        result_of(*words[:-1], *other)
    again = result_of(*words, *other, "teacher.input.mean=[0.3]", "teacher.input.std=[0.4]")
    assert again["teacher"]["nll"] == pytest.approx(trained["teacher"]["nll"], rel=1e-4)
    assert again["student"]["nll"] != trained["student"]["nll"]  # which sees the run's normalisation
