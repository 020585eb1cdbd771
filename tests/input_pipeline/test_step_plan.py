"""Which batches make a step together, and what share of its images each of them has."""

from __future__ import annotations

import pytest

from kd_runner.input_pipeline.step_plan import WHOLE, StepPlan, batches_per_epoch, images_per_epoch


@pytest.mark.parametrize(
    ("images", "batch_size", "seen", "batches"),
    [(64, 32, 64, 2), (65, 32, 64, 2), (66, 32, 66, 3), (20, 32, 20, 1), (5, 1, 5, 5), (1, 32, 0, 0)],
)
def test_a_last_batch_of_one_image_is_left_out(images: int, batch_size: int, seen: int, batches: int) -> None:
    assert images_per_epoch(images, batch_size) == seen
    assert batches_per_epoch(images, batch_size) == batches


def test_the_last_step_of_an_epoch_has_the_batches_that_are_left() -> None:
    plan = StepPlan(count=5, images=36, batch_size=8, accumulate=2)  # batches of 8, 8, 8, 8 and 4
    assert plan.steps_per_epoch == 3
    assert [plan.step_of(batch) for batch in range(10)] == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5]
    parts = [plan.part(batch) for batch in range(5)]
    assert [part.weight for part in parts] == [0.5, 0.5, 0.5, 0.5, 1.0]
    assert [part.is_first for part in parts] == [True, False, True, False, True]
    assert [part.is_last for part in parts] == [False, True, False, True, True]
    assert plan.part(9) == parts[4]


def test_a_smaller_last_batch_counts_by_its_images() -> None:
    parts = [StepPlan(2, 12, 8, 4).part(batch) for batch in range(2)]
    assert [part.weight for part in parts] == [8 / 12, 4 / 12]
    assert parts[1].is_last
    assert StepPlan(5, 36, 8).part(3) is WHOLE
