"""A number of steps over equal parts, whatever the number of images."""

from __future__ import annotations

from pathlib import Path

import torch
from batch_cases import CPU, source, split, view
from small_training import classifier, fitted

from kd_runner.datasets.splits import Split
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.input_pipeline.budget_in_steps import StepBudget, images_of_steps
from kd_runner.input_pipeline.sources import MemorySource

CHANGES = Augmentation(crop_padding=2, flip=True, cutmix=1.0)


def made(count: int, budget: StepBudget | None, epochs: int, chunk: int | None = None) -> list[list[torch.Tensor]]:
    """The images of the batches of each epoch."""
    batches = TrainingBatches(source(count), view(CHANGES), 8, seed=3, chunk=chunk, budget=budget)
    epochs_of_batches = []
    for epoch in range(epochs):
        batches.epoch = epoch
        chunks = [[batch.images for batch in part] for part in batches]
        assert len(chunks) == len(batches)
        epochs_of_batches.append([images for part in chunks for images in part])
        assert len(epochs_of_batches[-1]) == batches.steps_of_epoch
    return epochs_of_batches


def test_parts_are_equal_up_to_a_step_and_go_on_through_the_passes() -> None:
    """20 images make three batches of a pass: 4 parts of 10 steps are those of the passes in their order."""
    passes = [images for epoch in made(20, None, 4) for images in epoch]
    for chunk in (1, 2, None):
        parts = made(20, StepBudget(10, 4), 4, chunk)
        assert [len(part) for part in parts] == [2, 3, 2, 3]
        flat = [images for part in parts for images in part]
        assert all(torch.equal(one, other) for one, other in zip(flat, passes[:10], strict=True))


def test_an_image_that_a_pass_draws_again_in_another_part_looks_as_in_a_whole_pass() -> None:
    """Of 40 images of four classes, one has a single image, which each pass draws about ten times, in most batches."""
    labels = torch.where(torch.arange(40) == 0, 3, torch.arange(40) % 3)
    shown: list[list[tuple[torch.Tensor, torch.Tensor]]] = []
    for budget in (StepBudget(10, 1), StepBudget(10, 4)):
        images = MemorySource(Split(split(40).images, labels), CPU, CPU)
        batches = TrainingBatches(
            images, view(Augmentation(crop_padding=2, flip=True)), 8, seed=3, budget=budget, balanced=True
        )
        shown.append([])
        for batches.epoch in range(budget.parts):
            shown[-1] += [(batch.indices, batch.images) for batch in batches.batches()]
    assert len(shown[0]) == len(shown[1]) == 10
    for (indices, whole), (same_indices, cut) in zip(*shown, strict=True):
        assert torch.equal(indices, same_indices)
        assert torch.equal(whole, cut)


def test_as_many_steps_as_the_passes_have_give_the_same_bits(tmp_path: Path) -> None:
    """40 images are 5 batches of a pass."""
    by_passes, by_steps = classifier(2), classifier(2)
    by_steps.batches.budget = StepBudget(10, 2)
    cut = classifier(2)
    cut.batches.budget = StepBudget(9, 2)
    cut.steps = 9
    weights = [
        fitted(module, tmp_path / str(number)).state_dict() for number, module in enumerate((by_passes, by_steps, cut))
    ]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert [module.step for module in (by_passes, by_steps, cut)] == [10, 10, 9]
    assert cut.batches.steps_before(1) == 4


def test_images_of_steps() -> None:
    assert [images_of_steps(steps, 20, 8) for steps in (0, 1, 2, 3, 4, 7)] == [0, 8, 16, 20, 28, 48]
    assert [images_of_steps(steps, 17, 8) for steps in (2, 3)] == [16, 24]  # a last batch of one is left out
    assert images_of_steps(3, 5, 8) == 15
