"""The outputs of the teacher for the batches that a student learns from: in one place, whoever computes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.networks.faster import compile_call, faster_frozen
from kd_runner.networks.observed import Observed
from kd_runner.outputs import Outputs
from kd_runner.training.precision import Mixed
from kd_runner.training.recipe import Recipe


class TeacherOutputs(Protocol):
    """Gives the outputs of a teacher for the batches of a student's training, in float32 and without gradient."""

    def begin(self, batches: TrainingBatches, recipe: Recipe, device: torch.device, is_asked: bool) -> None:
        """Get ready for a training on `device`.

        Args:
            batches: The batches of the training.
            recipe: The student's recipe, with the precision of the networks.
            is_asked: True where a mode may look at the teacher's outputs for training images.
        """

    def of_batch(self, batch: Batch) -> Outputs:
        """The outputs for a batch of training images; `strong` is set where the batch has a strong view."""

    def of_validation(self, batch: Batch) -> Tensor:
        """The logits [N, K] for a batch of validation images, which are the same whenever these images come again."""


# The logits [N, K] for batches of validation images: by the number of the first image, and the number of images. Runs
# that share logits may have batches of other sizes, whose last bits differ.
ValidationLogits = dict[tuple[int, int], Tensor]


class OnlineTeacher:
    """Runs the teacher for each batch. It is held by no module, so that no student saves or trains it.

    Args:
        teacher: The network, with hooks on the layers that modes look at.
        validation_logits: The logits for batches of validation images that other runs with the same teacher have
            computed, and to which this one adds its own.
    """

    def __init__(self, teacher: Observed, validation_logits: ValidationLogits | None = None) -> None:
        self.teacher = teacher
        self.validation_logits = {} if validation_logits is None else validation_logits
        self._mixed = Mixed("32", torch.device("cpu"))
        self._rows = 0  # images of a pass
        teacher.network.requires_grad_(False).eval()

    def begin(self, batches: TrainingBatches, recipe: Recipe, device: torch.device, is_asked: bool) -> None:
        """Move the network to the device, with its batch norms folded where no layers are looked at."""
        self._mixed = Mixed(recipe.precision, device)
        self._rows = batches.largest
        teacher = self.teacher
        teacher.network.to(device)
        if is_asked and not teacher.layers:
            images = next(batches.batches(batches.order())).images
            teacher.call = faster_frozen(teacher.network, images)
        if recipe.compile:
            teacher.call = compile_call(teacher.call)

    def of_batch(self, batch: Batch) -> Outputs:
        """The outputs for a batch; a strong view is a second pass."""
        outputs = self._run_in_full(batch.images)
        return outputs if batch.strong is None else replace(outputs, strong=self._run_in_full(batch.strong))

    def logits_of(self, images: Tensor) -> Tensor:
        """The logits [N, K] for up to a batch of images, with the bits that `of_batch` gives them in any batch."""
        return self._run_in_full(images).logits

    def logits_with_gradient(self, images: Tensor) -> Tensor:
        """The logits [N, K] of the network itself, through which a gradient flows back to the images."""
        with self._mixed.autocast():
            logits: Tensor = self.teacher.network(images)
        return logits.float()

    def of_validation(self, batch: Batch) -> Tensor:
        """The logits [N, K]; computed the first time, for a teacher does not change."""
        images = images_of(batch)
        if images not in self.validation_logits:
            self.validation_logits[images] = self._run(batch.images).logits
        return self.validation_logits[images]

    def _run_in_full(self, images: Tensor) -> Outputs:
        """The outputs for a batch, whose last, smaller one is filled up with its own images and cut again.

        The last bits of an image's logits depend on the size of the batch, so that cached logits could not equal them.
        """
        count = len(images)
        if count >= self._rows or self.teacher.layers:
            return self._run(images)
        full = torch.cat([images] * -(-self._rows // count))[: self._rows]
        return Outputs(self._run(full).logits[:count])

    def _run(self, images: Tensor) -> Outputs:
        teacher = self.teacher
        if teacher.layers:  # features are large: better made as ordinary tensors than copied into them
            with torch.no_grad(), self._mixed.autocast():
                return teacher(images).float()
        with torch.inference_mode(), self._mixed.autocast():
            outputs = teacher(images)
        # A clone made outside inference mode is an ordinary tensor, which a loss may keep for its backward pass.
        return Outputs(outputs.logits.clone()).float()


def images_of(batch: Batch) -> tuple[int, int]:
    """The number of the first image of a batch in the order of its split, and the number of images."""
    return int(batch.indices[0]), len(batch.indices)
