"""Few labelled images, and a budget in steps: the same for baseline and student."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from kd_runner.config.settings import Settings
from kd_runner.errors import SettingsError
from kd_runner.runs.assembly import assemble
from kd_runner.runs.checks.rehearsal import rehearse
from kd_runner.runs.checks.unused_settings import unused_settings

Make = Callable[..., Settings]
FEW = ("student.shots_per_class=3", "batch_size=8", "student.steps=7", "student.epochs=3")


def test_a_run_of_few_images_has_its_steps_and_judges_after_equal_parts(
    result_of: Callable[..., dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    """30 images are 4 batches of a pass, so that 7 steps see 30 + 3 · 8 images."""
    caplog.set_level("INFO", "kd_runner")
    result = result_of(*FEW, "distillation.warmup=0.5")
    assert [result[stage]["images_seen"] for stage in ("teacher", "baseline", "student")] == [1132, 54, 54]
    assert [result["budget"][stage]["images"] for stage in ("baseline", "student")] == [54, 54]
    assert result["budget"]["student"]["student_validations"] == 3 * 126
    assert result["budget"]["student"]["teacher_forwards"] == 6 * 8  # in the first step the mode's weight is 0
    assert len(result["student"]["val_accuracies"]) == 3
    assert result["data"]["student"] == 30
    assert "the student learns from 30 of the 1,132 training images (student.shots_per_class)" in caplog.text
    assert "the student trains for 7 steps in all (student.steps)" in result["notes"]


def test_shots_take_the_place_of_the_default_share_and_not_of_one_that_was_asked_for(settings: Make) -> None:
    by_default = ("++dataset.default_fraction=0.1", "student.fraction=0.1")
    parts = assemble(settings("student.shots_per_class=12", *by_default))
    labels = parts.data.student_images.labels
    assert labels.bincount().tolist() == [12] * 10
    assert len(parts.data.images_of("teacher")) == 1132
    reasons = unused_settings(by_default, parts, rehearse(parts).temperature_modes)
    assert reasons["student.fraction"] == "student.shots_per_class chooses the images"
    with pytest.raises(SettingsError, match=r"^student\.fraction: must be 1 where student\.shots_per_class=12 .* 0\.2"):
        assemble(settings("student.shots_per_class=12", "student.fraction=0.2"))
    with pytest.raises(SettingsError, match=r"^student\.shots_per_class: must be at most 1\d\d, the .* class \"\d\""):
        assemble(settings("student.shots_per_class=500"))


def test_shots_and_steps_make_other_networks_and_the_seed_of_the_data_chooses(settings: Make) -> None:
    words = [(), FEW, (*FEW, "student.steps=8"), (*FEW, "data_seed=1"), (*FEW, "seed=5")]
    all_parts = [assemble(settings(*these)) for these in words]
    assert len({parts.fingerprint() for parts in all_parts}) == 5
    few, other, again = (all_parts[number].data.chosen for number in (1, 3, 4))
    assert few is not None
    assert other is not None
    assert again is not None
    assert torch.equal(few, again)
    assert not torch.equal(few, other)


def test_more_views_than_passes_are_refused(settings: Make) -> None:
    words = (*FEW, "dataset.crop_padding=1", "teacher_outputs=views:3")
    with pytest.raises(SettingsError, match=r"^teacher_outputs: must have at most a view for each of the 2 passes"):
        rehearse(assemble(settings(*words)))
