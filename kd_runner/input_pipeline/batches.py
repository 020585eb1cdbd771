"""From a split to the batches a network sees: order, augmentation and normalisation, many images at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from kd_runner.input_pipeline.augmentation import STRONG, Batch
from kd_runner.input_pipeline.sources import Source
from kd_runner.input_pipeline.view import View
from kd_runner.randomness import derived_seed

CHUNK_BYTES = 2**22  # of images that are gathered and augmented at once
CACHED_FLOATS = 2**17  # that are normalised at once
LONGEST_CHUNK = 64  # batches; a progress bar moves once a chunk


class TrainingBatches:
    """One epoch after another of shuffled, augmented batches, in chunks.

    Iterating gives the chunks of the current epoch; iterating a chunk gives its batches. Chunks exist because a
    training framework costs the same for a step of one batch as for a step of many. They decide no numbers.
    A last batch of a single image is left out: batch norm and relational losses need two.
    """

    def __init__(
        self, source: Source, view: View, batch_size: int, seed: int, chunk: int | None = None, strong: bool = False
    ) -> None:
        self.source, self.view, self.batch_size, self.seed = source, view, batch_size, seed
        self.strong = strong  # whether batches have a second view, through RandAugment
        self.chunk = chunk or max(1, min(LONGEST_CHUNK, CHUNK_BYTES // (batch_size * math.prod(source.image_shape))))
        self._together = batch_size * max(1, CACHED_FLOATS // (batch_size * math.prod(source.image_shape)))
        self.epoch = 0
        rest = len(source) % batch_size
        self.count = len(source) // batch_size + (rest > 1)
        self._used = len(source) - (rest == 1)

    def __len__(self) -> int:
        return -(-self.count // self.chunk)

    def __iter__(self) -> Iterator[Iterator[Batch]]:
        batches = self.batches()
        for _ in range(len(self)):
            yield itertools.islice(batches, self.chunk)

    def order(self) -> Tensor:
        """int64, the indices of the current epoch, in its order."""
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", self.epoch))
        return torch.randperm(len(self.source), generator=generator)[: self._used]

    def batches(self) -> Iterator[Batch]:
        """The batches of the current epoch."""
        augmentation = self.view.augmentation
        seed = derived_seed(self.seed, "augmentation", self.epoch)
        for indices, images, labels in self.source.read_chunks(self.order(), self.chunk * self.batch_size):
            views = [augmentation.of_bytes(images, indices, seed)]
            if self.strong:
                views.append(STRONG.of_bytes(views[0], indices, derived_seed(seed, "strong")))
            # Bytes come a chunk at a time, floats as many batches at a time as stay in a processor's cache.
            for chosen, *some in zip(*(each.split(self._together) for each in (indices, *views)), strict=True):
                floats = [augmentation.of_floats(self.view.normalise(view), chosen, seed) for view in some]
                classes, labels = labels[: len(chosen)], labels[len(chosen) :]
                parts = (each.split(self.batch_size) for each in (floats[0], classes, chosen, *floats[1:]))
                for own, theirs, which, *second in zip(*parts, strict=True):
                    batch = Batch(own, theirs, which, strong=second[0] if second else None)
                    yield augmentation.mix(batch, seed)


class PlainBatches:
    """The split in its own order, normalised and not augmented, as often as it is iterated."""

    def __init__(self, source: Source, view: View, batch_size: int) -> None:
        self.source, self.view, self.batch_size = source, view, batch_size

    def __len__(self) -> int:
        return -(-len(self.source) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for indices, images, labels in self.source.read_chunks(torch.arange(len(self.source)), self.batch_size):
            yield Batch(self.view.normalise(images), labels, indices)
