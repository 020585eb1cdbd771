"""The batches that a network sees, made from a split: order, augmentation and normalisation, many images at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import WeightedRandomSampler

from kd_runner.input_pipeline.augmentation import STRONG, Batch
from kd_runner.input_pipeline.budget_in_steps import StepBudget
from kd_runner.input_pipeline.device_copy import sent
from kd_runner.input_pipeline.random_resized_crop import Windows
from kd_runner.input_pipeline.sources import Source
from kd_runner.input_pipeline.step_plan import StepPlan, batches_per_epoch, images_per_epoch
from kd_runner.input_pipeline.view import View
from kd_runner.process_group import SINGLE_PROCESS, ProcessGroup, Rows
from kd_runner.randomness import derived_seed

CHUNK_BYTES = 2**22  # bytes of images that are gathered and augmented at once
CACHED_FLOATS = 2**17  # floats that are normalised at once: they stay in a processor's cache
LONGEST_CHUNK = 64  # batches; a progress bar moves once a chunk


def evaluation_batch(height: int, width: int) -> int:
    """The number of images in a batch that is not trained on: a thousand small ones, or fewer large ones."""
    return max(1, min(1000, 2**20 // (height * width)))


@dataclass(frozen=True)
class Part:
    """A part of a split's images. Order and augmentation of an image do not change with the part that it is in.

    Args:
        numbers: The images' own numbers in the split, int64 [N], ascending.
        of: The number of all images of the split.
    """

    numbers: Tensor
    of: int


class TrainingBatches:
    """One epoch after another of shuffled, augmented batches, in chunks.

    Iterating gives the chunks of the current epoch; iterating a chunk gives its batches. Chunks exist because a
    training framework costs the same for a step of one batch as for a step of many. They change no number.
    A last batch of a single image is left out: batch norm and relational losses need two.
    Where several processes share a run, each batch has this process's rows of it.

    Args:
        source: The training images.
        view: Augmentation and normalisation.
        chunk: Batches of a chunk; None: as many as suit the size of the images.
        strong: True for batches with a second view, through RandAugment.
        part: The part of a split that the images are; None: the whole of it.
        views: The number of views of each image, which the epochs replay in turn; view 0 is that of the first epoch.
            None: every epoch draws a new one.
        process_group: The processes that share each batch.
        budget: The steps of the whole training in parts, each of which is an epoch; None: an epoch is a pass.
        balanced: True where an epoch draws as many images as there are, with replacement, all classes equally often.
        lacks_labels: True where some of the images may have no labels.
        view_seed: Seed of the augmentation, where others see the same images in the same order otherwise; None: `seed`.
    """

    def __init__(
        self,
        source: Source,
        view: View,
        batch_size: int,
        seed: int,
        chunk: int | None = None,
        strong: bool = False,
        part: Part | None = None,
        views: int | None = None,
        process_group: ProcessGroup = SINGLE_PROCESS,
        budget: StepBudget | None = None,
        balanced: bool = False,
        lacks_labels: bool = False,
        view_seed: int | None = None,
    ) -> None:
        self.view_seed = seed if view_seed is None else view_seed
        self.budget, self.lacks_labels = budget, lacks_labels
        self.source, self.view, self.batch_size, self.seed = source, view, batch_size, seed
        self.strong, self.part, self.views, self.process_group = strong, part, views, process_group
        self.balanced = balanced
        batch_values = batch_size * math.prod(source.image_shape)
        self.chunk = chunk or max(1, min(LONGEST_CHUNK, CHUNK_BYTES // batch_values))
        self._block = batch_size * max(1, CACHED_FLOATS // batch_values)  # images that are normalised at once
        self.epoch = 0
        self.count = batches_per_epoch(len(source), batch_size)
        self._images_per_epoch = images_per_epoch(len(source), batch_size)

    def __len__(self) -> int:
        longest = self.count if self.budget is None else self.budget.longest
        return -(-longest // self.chunk)

    def __iter__(self) -> Iterator[Iterator[Batch]]:
        batches = self.batches()
        for _ in range(len(self)):
            yield itertools.islice(batches, self.chunk)

    def steps_before(self, epoch: int) -> int:
        """The number of steps before an epoch, counted from 0."""
        return epoch * self.count if self.budget is None else self.budget.before(epoch)

    @property
    def steps_of_epoch(self) -> int:
        """The number of steps of the current epoch."""
        return self.steps_before(self.epoch + 1) - self.steps_before(self.epoch)

    def order(self, number: int | None = None) -> Tensor:
        """The indices of a pass over the images, in its order; int64 [images of a pass].

        Args:
            number: The number of the pass; None: that of the current epoch, where each epoch is a pass.
        """
        number = self.epoch if number is None else number
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", number))
        if self.balanced:
            return balanced_draw(self.labels.cpu(), generator)[: self._images_per_epoch]
        if self.part is None:
            return torch.randperm(len(self.source), generator=generator)[: self._images_per_epoch]
        positions = torch.full((self.part.of,), -1)
        positions[self.part.numbers] = torch.arange(len(self.part.numbers))
        order = positions[torch.randperm(self.part.of, generator=generator)]
        return order[order >= 0][: self._images_per_epoch]

    def plan(self, accumulate: int) -> StepPlan:
        """The plan by which `accumulate` batches of an epoch make a step together."""
        return StepPlan(self.count, self._images_per_epoch, self.batch_size, accumulate)

    @property
    def labels(self) -> Tensor:
        """The labels of all images, on the device: int64 [N], or uint8 [N, K] where an image may have several."""
        return self.source.labels

    @property
    def largest(self) -> int:
        """The number of images, or of this process's rows, in all batches but the last, which may be smaller."""
        return max(1, self.process_group.rows(min(self.batch_size, self._images_per_epoch)).count)

    def batches(self, order: Tensor | None = None) -> Iterator[Batch]:
        """The batches of the current epoch; of each, the rows of this process.

        Args:
            order: The indices of the images, int64 [N], in place of the epoch's; their views are those of the pass
                with the number of the epoch.
        """
        if order is not None or self.budget is None:
            order = self.order() if order is None else order
            yield from self._batches_of_rows(order, self._keys(order), self.epoch)
            return
        step, end = self.steps_before(self.epoch), self.steps_before(self.epoch + 1)
        while step < end:
            number, first = divmod(step, self.count)
            last = min(first + end - step, self.count)
            part, order = slice(first * self.batch_size, last * self.batch_size), self.order(number)
            yield from self._batches_of_rows(order[part], self._keys(order)[part], number)
            step += last - first

    def _batches_of_rows(self, order: Tensor, keys: Tensor, number: int) -> Iterator[Batch]:
        """The batches of the images at the indices `order`, of each the rows of this process.

        Args:
            keys: The numbers that decide the images' augmentation, as `_keys` gives them for the whole pass.
            number: The number of the pass, which decides the views of the images.
        """
        size = self.batch_size
        if not self.process_group.are_several:
            yield from self._batches_of(order, keys, size, number)
            return
        rows = [self.process_group.rows(len(indices)) for indices in order.split(size)]
        if self.view.augmentation.mixes:  # which needs the neighbours of an image: all of a batch is made and mixed
            for batch, its_rows in zip(self._batches_of(order, keys, size, number), rows, strict=True):
                yield _part_of(batch, its_rows)
            return
        own_order, own_keys = (
            [numbers[_rows_to_compute(its_rows)] for numbers, its_rows in zip(values.split(size), rows, strict=True)]
            for values in (order, keys)
        )
        batches = self._batches_of(torch.cat(own_order), torch.cat(own_keys), len(own_order[0]), number)
        for batch, its_rows in zip(batches, rows, strict=True):
            yield replace(batch, rows=its_rows)

    def _keys(self, order: Tensor) -> Tensor:
        """The numbers that decide the augmentation of the images of a pass, int64 [N]: those of the images.

        An image that is drawn several times in a pass looks different each time, unless its views are kept.
        """
        numbers = order if self.part is None else self.part.numbers[order]
        if not self.balanced or self.views is not None:
            return numbers
        return numbers + occurrences(order) * (len(self.source) if self.part is None else self.part.of)

    def _batches_of(self, order: Tensor, keys: Tensor, size: int, number: int) -> Iterator[Batch]:
        """The batches of up to `size` images at the indices `order`, in the views of a pass, which `keys` decide."""
        augmentation, block_size = self.view.augmentation, self._block // self.batch_size * size
        drawn = number if self.views is None else number % self.views
        seed = derived_seed(self.view_seed, "augmentation", drawn)
        replayed = 0 if self.views is None else drawn
        windows, least = None, augmentation.random_resized_crop
        if least:
            windows = Windows(keys, derived_seed(seed, "random_resized_crop"), least)
        chunks = self.source.read_chunks(order, self.chunk * size, windows)
        for (indices, images, labels), numbers in zip(chunks, keys.split(self.chunk * size), strict=True):
            views = [augmentation.augment_bytes(images, numbers, seed)]
            if self.strong:
                views.append(STRONG.augment_bytes(views[0], numbers, derived_seed(seed, "strong")))
            for block in _split_alike([indices, numbers, labels, *views], block_size):
                block_indices, block_numbers, block_labels, *block_views = block
                floats = [
                    augmentation.augment_floats(self.view.normalise(view), block_numbers, seed) for view in block_views
                ]
                for pieces in _split_alike([block_indices, block_numbers, block_labels, *floats], size):
                    batch_indices, batch_numbers, batch_labels, batch_images, *second_view = pieces
                    strong = second_view[0] if second_view else None
                    weights = self.source.weights
                    if weights is not None:
                        weights = sent(weights.index_select(0, batch_indices), batch_images.device)
                    batch = Batch(
                        batch_images, batch_labels, batch_indices, strong=strong, view=replayed, weights=weights
                    )
                    yield augmentation.mix(batch, seed, batch_numbers)


def balanced_draw(labels: Tensor, generator: torch.Generator) -> Tensor:
    """A draw of N images with replacement, in which each class that occurs is drawn equally often.

    PyTorch's WeightedRandomSampler with the weight 1 / (number of images of its class) for each image.

    Args:
        labels: int64 [N].

    Returns:
        The indices of the images, int64 [N].
    """
    weights = 1 / torch.bincount(labels).double()[labels]
    return torch.tensor(list(WeightedRandomSampler(weights, len(labels), True, generator)))  # type: ignore[arg-type]


def occurrences(order: Tensor) -> Tensor:
    """The number of earlier occurrences of each image in an order, int64 [N]."""
    positions = torch.argsort(order, stable=True)
    ordered = order[positions]
    first = torch.searchsorted(ordered, ordered)
    counted = torch.empty_like(order)
    counted[positions] = torch.arange(len(order)) - first
    return counted


def _split_alike(tensors: Sequence[Tensor], size: int) -> Iterator[tuple[Tensor, ...]]:
    """The tensors, cut along their first dimension into pieces of up to `size`: one piece of each at a time."""
    return zip(*(tensor.split(size) for tensor in tensors), strict=True)


def _rows_to_compute(rows: Rows) -> slice:
    """The rows that a process computes: its own, or the first one where it has none."""
    return slice(rows.start, rows.end) if rows.count else slice(0, 1)


def _part_of(batch: Batch, rows: Rows) -> Batch:
    """The rows of a batch that a process computes."""
    taken = _rows_to_compute(rows)
    return replace(
        batch,
        images=batch.images[taken],
        labels=batch.labels[taken],
        indices=batch.indices[taken],
        partners=None if batch.partners is None else batch.partners[taken],
        weights=None if batch.weights is None else batch.weights[taken],
        partner_weights=None if batch.partner_weights is None else batch.partner_weights[taken],
        strong=None if batch.strong is None else batch.strong[taken],
        rows=rows,
    )


class PlainBatches:
    """The split in its own order, normalised and not augmented, as often as it is iterated.

    Where several processes share it, each has a part of the images, of which there must be one for each process.
    """

    def __init__(
        self, source: Source, view: View, batch_size: int, process_group: ProcessGroup = SINGLE_PROCESS
    ) -> None:
        self.source, self.view, self.batch_size = source, view, batch_size
        self.rows = process_group.rows(len(source))

    def __len__(self) -> int:
        return -(-self.rows.count // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = torch.arange(self.rows.start, self.rows.end)
        for indices, images, labels in self.source.read_chunks(order, self.batch_size):
            yield Batch(self.view.normalise(images), labels, indices)
