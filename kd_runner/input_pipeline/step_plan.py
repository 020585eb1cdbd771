"""The batches of an epoch, and those that make a step of the optimizer together."""

from __future__ import annotations

from dataclasses import dataclass


def images_per_epoch(images: int, batch_size: int) -> int:
    """The number of images that an epoch passes over: all but a last batch of one, as batch norm needs two images."""
    return images - (images % batch_size == 1)


def batches_per_epoch(images: int, batch_size: int) -> int:
    """The number of batches of an epoch; the last may be smaller."""
    return -(-images_per_epoch(images, batch_size) // batch_size)


@dataclass(frozen=True)
class PartOfStep:
    """A batch as a part of a step.

    Args:
        weight: The share of the step's images that are in the batch, above 0 and at most 1.
        is_first, is_last: True for the first, and for the last batch of the step.
    """

    weight: float = 1.0
    is_first: bool = True
    is_last: bool = True


WHOLE = PartOfStep()


@dataclass(frozen=True)
class StepPlan:
    """The batches of an epoch that make a step together: `accumulate` of them, and at its end those that are left.

    Args:
        count: The number of batches in an epoch.
        images: The number of images in an epoch.
        batch_size: The number of images in each batch but the last, which may be smaller.
        accumulate: The number of batches in a step.
    """

    count: int
    images: int
    batch_size: int
    accumulate: int = 1

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.count // self.accumulate)

    def step_of(self, batch: int) -> int:
        """The number of the step, from 0, that a batch belongs to; batches count over the epochs from 0."""
        epoch, number = divmod(batch, self.count)
        return epoch * self.steps_per_epoch + number // self.accumulate

    def part(self, batch: int) -> PartOfStep:
        """The batch of this number as a part of its step."""
        if self.accumulate == 1:
            return WHOLE
        number = batch % self.count
        first = number - number % self.accumulate
        last = min(first + self.accumulate, self.count) - 1
        images = min((last + 1) * self.batch_size, self.images) - first * self.batch_size
        images_of_batch = min((number + 1) * self.batch_size, self.images) - number * self.batch_size
        return PartOfStep(images_of_batch / images, number == first, number == last)
