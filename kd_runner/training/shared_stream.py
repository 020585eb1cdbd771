"""Students that train side by side in one process: each batch is made once, and goes through the teacher once.

Every student keeps its own forward and backward pass, optimizer and random numbers. It gets the batches that it would
have made by itself, and the teacher's outputs that it would have computed, bit by bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from kd_runner.clock import leave_out
from kd_runner.errors import RunFailed
from kd_runner.input_pipeline.augmentation import Batch
from kd_runner.input_pipeline.batches import TrainingBatches
from kd_runner.networks.observed import Observed
from kd_runner.outputs import Outputs
from kd_runner.training.logits_board import LogitsBoard
from kd_runner.training.recipe import Recipe
from kd_runner.training.teacher_outputs import OnlineTeacher

CHANGED = "a mode or a network changes {} in place, which jobs side by side share: hydra.launcher.pack=off"
BLOCK_BYTES = 2**25  # of images and teacher's outputs that are kept until every student has seen them

# Waits until every run that reads a stream has come to a position (epoch, first batch), or is beyond it; returns how
# many runs are there.
Wait = Callable[[object, tuple[int, int]], int]


class SharedStream:
    """The batches of several students, in blocks that each student goes through before the next block is made.

    Args:
        batches: The batches that each of the students would make by itself.
        wait: Lets the other students come to the same position.
        board: The file through which other processes with the same batches share the teacher's logits; None for none.
    """

    def __init__(self, batches: TrainingBatches, wait: Wait, board: Path | None = None) -> None:
        self.batches, self._wait, self.board = batches, wait, board
        self.teachers: dict[object, SharedTeacher] = {}
        self.block: list[Batch] = []
        self.seconds = 0.0  # that the block and the teacher's outputs for it took, whoever made them
        self.students = 1  # the number of students that go through the block
        self._position = (-1, 0)
        self._versions: list[int] = []  # of the images of each batch of the block
        self._made: Iterator[Batch] = iter(())
        self._made_until: tuple[int, int] | None = None  # epoch and number of the batch that comes next
        self._batches_of_block, self._is_fitted = 1, False

    def block_at(self, epoch: int, start: int) -> list[Batch]:
        """The block of batches that begins with batch `start` of an epoch. Waits for the other students."""
        students = self._wait(self, (epoch, start))
        # Those who went through the last block share what it took. Whoever made it has left that out of its own time.
        leave_out(-self.seconds / self.students)
        if (epoch, start) != self._position:
            self._advance(epoch, start)
            self.students = students
        return self.block

    def _advance(self, epoch: int, start: int) -> None:
        for teacher in self.teachers.values():
            teacher.forget()
        self.seconds = 0.0
        with self.shared_work():
            made, made_until, self._made_until = self._made, self._made_until, None
            if made_until != (epoch, start):  # a new epoch, or a student failed while it made a block
                self.batches.epoch = epoch
                made = islice(self.batches.batches(), start, None)
            block = list(islice(made, self._batches_of_block))
        if not block:
            raise RuntimeError(f"there is no batch {start} in epoch {epoch + 1}")
        self.block, self._versions = block, [batch.images._version for batch in block]
        self._position = (epoch, start)
        self._made, self._made_until = made, (epoch, start + len(block))
        if not self._is_fitted:  # no student has asked for the teacher's outputs
            self._fit_size([block[0].images, block[0].strong], block[0])

    def check_images(self, number: int) -> None:
        """Raise RunFailed where a student has changed the images of a batch of the block."""
        if self.block[number].images._version != self._versions[number]:
            raise RunFailed(CHANGED.format("the images of a batch"))

    def numbered_images(self, strong: bool) -> dict[int, Tensor]:
        """The images of the block, or their strong views, by numbers that grow over the training, from 1."""
        epoch, start = self._position
        first = self.batches.steps_before(epoch) + start
        views = [batch.strong if strong else batch.images for batch in self.block]
        return {2 * (first + n) + 1 + strong: view for n, view in enumerate(views) if view is not None}

    def shared_work(self) -> SharedWork:
        """A block of work that all students of the stream share the time of."""
        return SharedWork(self)

    def fit_to(self, outputs: Outputs, batch: Batch) -> None:
        """Make later blocks as long as there is room for images and teacher's outputs such as these."""
        self._is_fitted = True
        self._fit_size([batch.images, batch.strong, *tensors_of(outputs)], batch)

    def _fit_size(self, tensors: Sequence[Tensor | None], batch: Batch) -> None:
        if len(batch.images) < self.batches.largest:  # the last of an epoch, which is smaller than others
            return
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)
        self._batches_of_block = max(1, BLOCK_BYTES // (size * max(1, len(self.teachers))))

    def teacher_for(self, teacher: Observed, recipe: Recipe, device: torch.device, is_asked: bool) -> SharedTeacher:
        """The teacher that all students share whose own teacher would give the same outputs to the bit.

        A teacher with layers that modes look at runs as it is, and one without with its batch norms folded. The first
        one is given hooks for the layers of all students.
        """
        is_folded = is_asked and not teacher.layers
        key = (is_folded, teacher.layers if recipe.compile else None)
        if key not in self.teachers:
            self.teachers[key] = SharedTeacher(teacher, self)
            self.teachers[key].begin(self.batches, recipe, device, is_asked)
        self.teachers[key].observe(teacher.layers)
        return self.teachers[key]


class SharedWork:
    """A context whose time is the stream's, and is left out of the time of the run that does the work."""

    def __init__(self, stream: SharedStream) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self.started
        self.stream.seconds += seconds
        leave_out(seconds)


class SharedTeacher(OnlineTeacher):
    """A teacher that several students share: it runs once for each batch of a block, the first time it is asked."""

    def __init__(self, teacher: Observed, stream: SharedStream) -> None:
        super().__init__(teacher)
        self.stream = stream
        # By the identity of the images, which the stream's block holds; with the versions of the tensors.
        self._outputs: dict[int, tuple[Outputs, list[int]]] = {}
        self._board: LogitsBoard | None = None

    def observe(self, layers: tuple[str, ...]) -> None:
        """Have the outputs hold the features of these layers, too."""
        if not set(layers) <= set(self.teacher.layers):
            self.teacher.release()
            self.teacher = Observed(self.teacher.network, (*self.teacher.layers, *layers))

    def forget(self) -> None:
        """Let go of the outputs of a block that all students have gone through."""
        self._outputs.clear()

    def of_batch(self, batch: Batch) -> Outputs:
        """The outputs for a batch of the stream's block."""
        outputs = self._once(batch.images, batch)
        return outputs if batch.strong is None else replace(outputs, strong=self._once(batch.strong, batch))

    def _once(self, images: Tensor, batch: Batch) -> Outputs:
        """The outputs for images of a batch; computed the first time."""
        if id(images) not in self._outputs:
            with self.stream.shared_work():
                if self._board is None:
                    self._remember(images, self._run_in_full(images))
                else:  # all of the block, in turns with other processes
                    views = self.stream.numbered_images(strong=images is batch.strong)
                    logits = self._board.logits(views, lambda view: self._run_in_full(view).logits)
                    for number, view in views.items():
                        self._remember(view, Outputs(logits[number]))
                outputs = self._outputs[id(images)][0]
                self.stream.fit_to(outputs, batch)
                self._open_board(outputs)
        outputs, versions = self._outputs[id(images)]
        if [tensor._version for tensor in tensors_of(outputs)] != versions:
            raise RunFailed(CHANGED.format("the teacher's outputs"))
        return outputs

    def _remember(self, images: Tensor, outputs: Outputs) -> None:
        self._outputs[id(images)] = outputs, [tensor._version for tensor in tensors_of(outputs)]

    def _open_board(self, outputs: Outputs) -> None:
        """Share logits with other processes from the next block on, where that can be done."""
        rows, classes = self.stream.batches.largest, outputs.logits.shape[1]
        is_possible = outputs.logits.device.type == "cpu" and not self.teacher.layers
        if self.stream.board is None or not is_possible or not LogitsBoard.is_worth_it(rows, classes):
            self._board = None
        elif self._board is None:
            self._board = LogitsBoard(self.stream.board, rows, classes)


class TeacherOfStream:
    """One student's view of the teacher of its stream."""

    def __init__(self, teacher: Observed, stream: SharedStream) -> None:
        self.teacher, self.stream = teacher, stream
        teacher.network.requires_grad_(False).eval()
        self.shared: SharedTeacher | None = None

    def begin(self, batches: TrainingBatches, recipe: Recipe, device: torch.device, is_asked: bool) -> None:
        """Find the teacher of the stream that gives the outputs which this student's own would give."""
        self.shared = self.stream.teacher_for(self.teacher, recipe, device, is_asked)

    def of_batch(self, batch: Batch) -> Outputs:
        """The outputs for a batch of the stream's block."""
        assert self.shared is not None
        return self.shared.of_batch(batch)

    def of_validation(self, batch: Batch) -> Tensor:
        """The logits [N, K] for a batch of validation images."""
        assert self.shared is not None
        return self.shared.of_validation(batch)


class BatchesOfStream(TrainingBatches):
    """One student's batches, which come from a stream that it shares with others.

    Args:
        alone: The batches that it would make by itself, with which the stream began or which equal those.
    """

    def __init__(self, alone: TrainingBatches, stream: SharedStream) -> None:
        sizes = alone.batch_size, alone.seed, alone.chunk
        super().__init__(
            alone.source,
            alone.view,
            *sizes,
            alone.strong,
            alone.part,
            alone.views,
            balanced=alone.balanced,
            budget=alone.budget,
            lacks_labels=alone.lacks_labels,
        )
        self.stream = stream
        if alone.strong and not stream.batches.strong:
            stream.batches.strong = True

    def batches(self, order: Tensor | None = None) -> Iterator[Batch]:
        """The batches of the current epoch, without the strong view of other students; alone where `order` is given."""
        if order is not None:
            yield from super().batches(order)
            return
        start = 0
        while start < self.steps_of_epoch:
            block = self.stream.block_at(self.epoch, start)
            for number, batch in enumerate(block):
                self.stream.check_images(number)
                yield batch if self.strong or batch.strong is None else replace(batch, strong=None)
            start += len(block)


def tensors_of(outputs: Outputs) -> list[Tensor]:
    """The logits and the features of outputs."""
    return [outputs.logits, *outputs.features.values()]
