"""From a split to normalised batches: order, augmentation and normalisation, a whole batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_runner.datasets.splits import Split
from kd_runner.randomness import derived_seed, keyed_uniform


class Batch(NamedTuple):
    """images: float32 [N, C, H, W], normalised. labels: int64 [N]. indices: int64 [N], positions in the split."""

    images: Tensor
    labels: Tensor
    indices: Tensor


@dataclass(frozen=True)
class View:
    """How bytes become what a network sees.

    Args:
        mean, std: Per channel, of pixels scaled to [0, 1].
        crop_padding: In training, pad by this many black pixels on each side and crop at a random place.
        flip: In training, mirror every second image left to right.
        memory_format: Of the batches: channels_last suits convolutions, whose shape stays [N, C, H, W].
    """

    mean: Tensor
    std: Tensor
    crop_padding: int = 0
    flip: bool = False
    memory_format: torch.memory_format = torch.contiguous_format

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 [N, C, H, W] to float32 of mean 0 and standard deviation 1."""
        scale = 1 / (255 * self.std)
        scaled = images * scale.view(-1, 1, 1) - (self.mean / self.std).view(-1, 1, 1)
        return scaled.contiguous(memory_format=self.memory_format)

    def augmented(self, images: Tensor, indices: Tensor, seed: int) -> Tensor:
        """uint8 [N, C, H, W], cropped and flipped by numbers that depend on `seed` and each image's index."""
        if not self.crop_padding and not self.flip:
            return images
        down, right, mirror = keyed_uniform(indices, seed, draws=3)
        _, _, height, width = images.shape
        rows = torch.arange(height, device=images.device).expand(len(images), -1)
        columns = torch.arange(width, device=images.device).expand(len(images), -1)
        if self.flip:
            columns = torch.where((mirror < 0.5).unsqueeze(1), width - 1 - columns, columns)
        if self.crop_padding:
            images = F.pad(images, (self.crop_padding,) * 4)
            places = 2 * self.crop_padding + 1
            rows = rows + (down * places).long().unsqueeze(1)
            columns = columns + (right * places).long().unsqueeze(1)
        everyone = torch.arange(len(images), device=images.device).view(-1, 1, 1)
        return images[everyone, :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)


class TrainingBatches:
    """One epoch after another of shuffled, augmented batches, in chunks.

    Iterating gives the chunks of the current epoch; a chunk gives batches. Chunks exist because a training
    framework costs the same for a step of one batch as for a step of many.
    A last batch of a single image is left out: batch norm and relational losses need two.
    """

    def __init__(
        self, split: Split, view: View, batch_size: int, seed: int, device: torch.device, chunk: int = 16
    ) -> None:
        self.split, self.view, self.batch_size, self.seed, self.device = split, view, batch_size, seed, device
        self.chunk = chunk
        self.epoch = 0
        rest = len(split) % batch_size
        self.count = len(split) // batch_size + (rest > 1)

    def __len__(self) -> int:
        return -(-self.count // self.chunk)

    def __iter__(self) -> Iterator[list[Tensor]]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", self.epoch))
        order = torch.randperm(len(self.split), generator=generator)
        batches = order.split(self.batch_size)[: self.count]
        for start in range(0, self.count, self.chunk):
            yield list(batches[start : start + self.chunk])

    def batch(self, indices: Tensor) -> Batch:
        """The images at `indices`, augmented for the current epoch."""
        images = self.view.augmented(
            self.split.images[indices], indices, derived_seed(self.seed, "augmentation", self.epoch)
        )
        images = self.view.normalised(images.to(self.device))
        return Batch(images, self.split.labels[indices].to(self.device), indices)


class PlainBatches:
    """The split in its own order, normalised and not augmented, as often as it is iterated."""

    def __init__(self, split: Split, view: View, batch_size: int, device: torch.device) -> None:
        self.split, self.view, self.batch_size, self.device = split, view, batch_size, device

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for indices in torch.arange(len(self.split)).split(self.batch_size):
            images = self.view.normalised(self.split.images[indices].to(self.device))
            yield Batch(images, self.split.labels[indices].to(self.device), indices)
