"""A stage that ends after a number of steps, however many images it learns from."""

from __future__ import annotations

from dataclasses import dataclass

from kd_runner.input_pipeline.step_plan import batches_per_epoch, images_per_epoch


@dataclass(frozen=True)
class StepBudget:
    """The steps of a stage, in parts that take the place of its epochs and are equal up to one step.

    The batches go on from part to part: a part may be less than a pass over the images, or many passes.

    Args:
        steps: The number of steps, 1 or more.
        parts: The number of parts, 1 to `steps`.
    """

    steps: int
    parts: int

    def before(self, part: int) -> int:
        """The number of steps before a part, counted from 0."""
        return part * self.steps // self.parts

    @property
    def longest(self) -> int:
        """The number of steps of the longest part."""
        return -(-self.steps // self.parts)


def images_of_steps(steps: int, images: int, batch_size: int) -> int:
    """The number of images in the first steps of a training, each counted as often as it is seen.

    Args:
        steps: The number of steps, over as many passes as they take.
        images: The number of training images.
    """
    passes, more_steps = divmod(steps, batches_per_epoch(images, batch_size))
    return passes * images_per_epoch(images, batch_size) + more_steps * batch_size
