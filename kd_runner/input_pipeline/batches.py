"""From a split to the batches a network sees: order, augmentation and normalisation, many images at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kd_runner.input_pipeline.augmentation import STRONG, Batch
from kd_runner.input_pipeline.sources import Source
from kd_runner.input_pipeline.view import View
from kd_runner.randomness import derived_seed

CHUNK_BYTES = 2**22  # bytes of images that are gathered and augmented at once
CACHED_FLOATS = 2**17  # floats that are normalised at once: they stay in a processor's cache
LONGEST_CHUNK = 64  # batches; a progress bar moves once a chunk


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

    Args:
        source: The training images.
        view: Augmentation and normalisation.
        chunk: Batches of a chunk; None: as many as suit the size of the images.
        strong: True for batches with a second view, through RandAugment.
        part: The part of a split that the images are; None: the whole of it.
        views: The number of views of each image, which the epochs replay in turn; view 0 is that of the first epoch.
            None: every epoch draws a new one.
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
    ) -> None:
        self.source, self.view, self.batch_size, self.seed = source, view, batch_size, seed
        self.strong, self.part, self.views = strong, part, views
        batch_values = batch_size * math.prod(source.image_shape)
        self.chunk = chunk or max(1, min(LONGEST_CHUNK, CHUNK_BYTES // batch_values))
        self._block = batch_size * max(1, CACHED_FLOATS // batch_values)  # images that are normalised at once
        self.epoch = 0
        remainder = len(source) % batch_size
        self.count = len(source) // batch_size + (remainder > 1)
        self._images_per_epoch = len(source) - (remainder == 1)

    def __len__(self) -> int:
        return -(-self.count // self.chunk)

    def __iter__(self) -> Iterator[Iterator[Batch]]:
        batches = self.batches()
        for _ in range(len(self)):
            yield itertools.islice(batches, self.chunk)

    def order(self) -> Tensor:
        """The indices of the current epoch, in its order; int64 [images of an epoch]."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", self.epoch))
        if self.part is None:
            return torch.randperm(len(self.source), generator=generator)[: self._images_per_epoch]
        positions = torch.full((self.part.of,), -1)
        positions[self.part.numbers] = torch.arange(len(self.part.numbers))
        order = positions[torch.randperm(self.part.of, generator=generator)]
        return order[order >= 0][: self._images_per_epoch]

    @property
    def largest(self) -> int:
        """The number of images in all batches of an epoch but the last, which may be smaller."""
        return min(self.batch_size, self._images_per_epoch)

    def batches(self, order: Tensor | None = None) -> Iterator[Batch]:
        """The batches of the current epoch.

        Args:
            order: The indices of the images, int64 [N], in place of the epoch's; their views are those of the epoch.
        """
        augmentation = self.view.augmentation
        order = self.order() if order is None else order
        drawn = self.epoch if self.views is None else self.epoch % self.views
        seed = derived_seed(self.seed, "augmentation", drawn)
        replayed = 0 if self.views is None else drawn
        for indices, images, labels in self.source.read_chunks(order, self.chunk * self.batch_size):
            numbers = indices if self.part is None else self.part.numbers[indices]
            views = [augmentation.augment_bytes(images, numbers, seed)]
            if self.strong:
                views.append(STRONG.augment_bytes(views[0], numbers, derived_seed(seed, "strong")))
            for block in _split_alike([indices, numbers, labels, *views], self._block):
                block_indices, block_numbers, block_labels, *block_views = block
                floats = [
                    augmentation.augment_floats(self.view.normalise(view), block_numbers, seed) for view in block_views
                ]
                for pieces in _split_alike([block_indices, block_numbers, block_labels, *floats], self.batch_size):
                    batch_indices, batch_numbers, batch_labels, batch_images, *second_view = pieces
                    strong = second_view[0] if second_view else None
                    batch = Batch(batch_images, batch_labels, batch_indices, strong=strong, view=replayed)
                    yield augmentation.mix(batch, seed, batch_numbers)


def _split_alike(tensors: Sequence[Tensor], size: int) -> Iterator[tuple[Tensor, ...]]:
    """The tensors, cut along their first dimension into pieces of up to `size`: one piece of each at a time."""
    return zip(*(tensor.split(size) for tensor in tensors), strict=True)


class PlainBatches:
    """The split in its own order, normalised and not augmented, as often as it is iterated."""

    def __init__(self, source: Source, view: View, batch_size: int) -> None:
        self.source, self.view, self.batch_size = source, view, batch_size

    def __len__(self) -> int:
        return -(-len(self.source) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for indices, images, labels in self.source.read_chunks(torch.arange(len(self.source)), self.batch_size):
            yield Batch(self.view.normalise(images), labels, indices)
