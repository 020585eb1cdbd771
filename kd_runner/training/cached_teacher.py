"""The logits of a teacher for training images, computed once and read from then on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from kd_runner.errors import RunFailed
from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.input_pipeline.device_copy import sent
from kd_runner.outputs import Outputs
from kd_runner.training.recipe import Recipe
from kd_runner.training.teacher_outputs import OnlineTeacher, images_of

# The largest difference between an image's logits in two batches, as a share of the largest logit. Rounding stays far
# below it in every precision; a network that looks at the whole batch does not.
TOLERANCE = 0.02


class TeacherPass:
    """A pass of a teacher over all views of all training images, in their own order.

    Args:
        batches: The batches of the training, with the views that it replays.
        running: A function that gives the teacher on its device, ready to run.
    """

    def __init__(self, batches: TrainingBatches, running: Callable[[], OnlineTeacher]) -> None:
        self.batches, self._running = batches, running
        self.views, self.images = batches.views or 1, len(batches.source)
        self._largest = torch.zeros(())
        with at_epoch(batches, 0):  # whose first and last batch are compared
            order = batches.order()
        self._ends = [order[: batches.batch_size], order[(batches.count - 1) * batches.batch_size :]]
        self._kept: dict[int, Tensor] = {}  # the logits of these images in the first view

    def blocks(self) -> Iterator[Tensor]:
        """The logits, view by view and image by image, in blocks [N, K] of up to a batch; float32, on the CPU."""
        teacher = self._running()
        chosen = torch.zeros(self.images, dtype=torch.bool)
        chosen[torch.cat(self._ends)] = True
        for view in range(self.views):
            with at_epoch(self.batches, view):
                for batch in self.batches.batches(torch.arange(self.images)):
                    logits = teacher.logits_of(batch.images).cpu()
                    if view == 0:
                        self._largest = torch.maximum(self._largest, logits.abs().nan_to_num().max())
                        rows = chosen[batch.indices].nonzero().flatten()
                        self._kept |= zip(batch.indices[rows].tolist(), logits[rows].unbind(), strict=True)
                    yield logits

    def difference(self) -> float:
        """The largest difference between these logits and those of the batches of training, as a share of the largest.

        The first and the last batch of the first epoch are compared, after the last block.

        Raises:
            RunFailed: the logits of an image depend on the batch that it is in.
        """
        teacher, differences = self._running(), []
        with at_epoch(self.batches, 0):
            for order in self._ends:
                for batch in self.batches.batches(order):
                    cached = torch.stack([self._kept[index] for index in batch.indices.tolist()])
                    differences.append((teacher.of_batch(batch).logits.cpu() - cached).abs().nan_to_num().max())
        share = float(torch.stack(differences).max() / self._largest.clamp_min(1e-12))
        if share > TOLERANCE:
            raise RunFailed(
                "teacher_outputs: must be online for this teacher: its logits for an image differ from batch to batch, "
                f"or from pass to pass, by {share:.1%} of the largest"
            )
        return share


class CachedTeacher:
    """Gives the logits of a teacher from where they are kept. The teacher itself runs for validation images alone.

    Args:
        online: The teacher as it runs.
        load: A function that gives the logits [views, images, K], on the CPU, for the recipe of the student: those that
            are kept, or those of the pass that it is handed.
        describe: A function that says, as plain data, where the logits came from that `load` gave.
    """

    def __init__(
        self,
        online: OnlineTeacher,
        load: Callable[[TeacherPass, Recipe], Tensor],
        describe: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.online, self.load, self._describe = online, load, describe
        self.origin: dict[str, Any] | None = None  # of the logits that the student has learned from
        self._logits: Tensor | None = None
        self._device = torch.device("cpu")
        self._begin_online: Callable[[], None] | None = None  # until the teacher must run

    def begin(self, batches: TrainingBatches, recipe: Recipe, device: torch.device, is_asked: bool) -> None:
        """Load the logits, or compute them, unless that was done before."""
        if self._logits is not None:
            return

        def begin_online() -> None:
            with at_epoch(batches, 0):
                self.online.begin(batches, recipe, device, is_asked)

        self._device, self._begin_online = device, begin_online
        self._logits = self.load(TeacherPass(batches, self._running), recipe)
        self.origin = self._describe()

    def with_logits(self, batch: Batch) -> Batch:
        """The batch with the logits for its images, float32 on its device: a tensor that a CUDA graph can be fed."""
        assert self._logits is not None
        logits = self._logits[batch.view].index_select(0, batch.indices).float()
        return replace(batch, teacher_logits=sent(logits, self._device))

    def of_batch(self, batch: Batch) -> Outputs:
        """The logits for a batch, float32 on its device."""
        logits = self.with_logits(batch).teacher_logits if batch.teacher_logits is None else batch.teacher_logits
        assert logits is not None
        return Outputs(logits)

    def of_validation(self, batch: Batch) -> Tensor:
        """The logits [N, K] for a batch of validation images, from the teacher itself, which sees each batch once."""
        known = self.online.validation_logits.get(images_of(batch))
        return self._running().of_validation(batch) if known is None else known

    def _running(self) -> OnlineTeacher:
        """The teacher on its device, ready to run."""
        if self._begin_online is not None:
            self._begin_online()
            self._begin_online = None
        return self.online


@contextmanager
def at_epoch(batches: TrainingBatches, epoch: int) -> Iterator[None]:
    """The block is at this epoch of the batches."""
    before, batches.epoch = batches.epoch, epoch
    try:
        yield
    finally:
        batches.epoch = before
