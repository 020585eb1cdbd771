"""From a split to the batches a network sees: order, augmentation and normalisation, many images at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from kd_runner import augment
from kd_runner.config import Residency, RunFailed
from kd_runner.datasets.files import ImageFiles
from kd_runner.datasets.splits import Images, Split
from kd_runner.randomness import derived_seed, keyed_uniform

CHUNK_BYTES = 2**22  # of images that are gathered and augmented at once
CACHED_FLOATS = 2**17  # that are normalised at once
SHARE_OF_DEVICE = 0.25  # of its free memory, for the images of one split
LONGEST_CHUNK = 64  # batches; a progress bar moves once a chunk


@dataclass(frozen=True)
class Batch:
    """What a step trains on.

    Args:
        images: float32 [N, C, H, W], normalised.
        labels: int64 [N].
        indices: int64 [N], on the CPU: positions in the split.
        partners: int64 [N]: the labels of what was mixed into the images; None where nothing was.
        share: How much of each image is its own, 0 to 1.
        strong: The same images through RandAugment as well, for modes that ask for a second view.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    partners: Tensor | None = None
    share: float = 1.0
    strong: Tensor | None = None


class Source(Protocol):
    """Where bytes come from: memory, or files."""

    image_shape: tuple[int, int, int]  # channels, height, width

    def __len__(self) -> int: ...

    def read(self, order: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(indices [count], images uint8 [count, H, W, C], labels [count]) for `order`, `count` at a time."""


class Resident:
    """A split whose images lie in memory, on `home`, and are used on `device`."""

    def __init__(self, split: Split, device: torch.device, home: torch.device) -> None:
        self.device, self.home, self.image_shape = device, home, split.image_shape
        self.pixels = split.images.permute(0, 2, 3, 1).contiguous().to(home)
        self.labels = split.labels.to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, order: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for indices in order.split(count):
            # index_select copies whole images and is many times faster than indexing.
            images = self.pixels.index_select(0, indices.to(self.home))
            if self.home != self.device:
                images = images.pin_memory().to(self.device, non_blocking=True)
            yield indices, images, self.labels.index_select(0, indices.to(self.device, non_blocking=True))


class Streamed:
    """A split whose images stay in files: worker processes decode, bytes travel to `device`."""

    def __init__(self, files: ImageFiles, device: torch.device, workers: int) -> None:
        self.files, self.device, self.workers, self.image_shape = files, device, workers, files.image_shape
        self.labels = files.labels.to(device)
        self._order = Order()
        self._loaders: dict[int, DataLoader[Tensor]] = {}

    def __len__(self) -> int:
        return len(self.files)

    def read(self, order: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        self._order.indices = order.tolist()
        if count not in self._loaders:  # kept, and its workers with it
            self._loaders[count] = DataLoader(
                cast("Dataset[Tensor]", self.files),
                batch_size=count,
                sampler=self._order,
                num_workers=self.workers,
                persistent_workers=self.workers > 0,
                pin_memory=self.device.type == "cuda",
                generator=torch.Generator(),  # its own: the global one is dropout's
            )
        try:
            for indices, images in zip(order.split(count), self._loaders[count], strict=True):
                there = images.to(self.device, non_blocking=True)
                yield indices, there.permute(0, 2, 3, 1).contiguous(), self.labels[indices.to(self.device)]
        except ValueError as error:  # a worker's, whose message ends with ours
            raise RunFailed(str(error).strip().splitlines()[-1].removeprefix("ValueError: ")) from error


class Order(Sampler[int]):
    """Indices that change from epoch to epoch under a DataLoader that stays."""

    def __init__(self) -> None:
        self.indices: list[int] = []

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def source_of(split: Images, device: torch.device, residency: Residency, workers: int = 0) -> Source:
    """A split's images: in the memory of the device where there is room (`auto`), of the host, or in files.

    Args:
        workers: Processes that decode where the images stay in files.
    """
    if isinstance(split, ImageFiles):
        return Streamed(split, device, workers)
    assert isinstance(split, Split)
    home = torch.device("cpu")
    if device.type == "cuda" and residency != "host":
        free, _ = torch.cuda.mem_get_info(device)
        if residency == "device" or split.images.numel() < SHARE_OF_DEVICE * free:
            home = device
    return Resident(split, device, home)


@dataclass(frozen=True)
class Augmentation:
    """What training images go through; every random number is a function of (seed, epoch, index) alone.

    The index is the image's; where a batch draws together (mixup, cutmix), that of its first image.

    Args:
        crop_padding: Pad by this many black pixels on each side and crop at a random place.
        flip: Mirror every second image left to right.
        resized_crop: The smallest share of an image's area that a random window takes, which is then enlarged to the
            image's size; 0 for no such window.
        rand_augment: How many of RandAugment's operations an image goes through.
        rand_augment_magnitude: How strong they are, 0 to 30.
        cutout: Side in pixels of a square that is set to the mean.
        random_erasing: Share of the images that lose a random rectangle to the mean.
        mixup, cutmix: Concentration of the Beta distribution that a batch's share is drawn from, 0 for none.
            With both, every batch draws one of them.
    """

    crop_padding: int = 0
    flip: bool = False
    resized_crop: float = 0.0
    rand_augment: int = 0
    rand_augment_magnitude: int = 9
    cutout: int = 0
    random_erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def of_bytes(self, images: Tensor, indices: Tensor, seed: int) -> Tensor:
        """uint8 [N, H, W, C]: cropped, flipped, and through RandAugment."""
        if self.resized_crop:
            draws = 2 + 2 * augment.ATTEMPTS
            numbers = keyed_uniform(indices, derived_seed(seed, "resized_crop"), draws)
            boxes = augment.crop_boxes(numbers, self.resized_crop, *images.shape[1:3])
            images = augment.resized_crop(images, *boxes)
        if self.crop_padding or self.flip:
            down, right, mirror = keyed_uniform(indices, seed, draws=3)
            places = 2 * self.crop_padding + 1
            images = augment.crop_and_flip(
                images,
                self.crop_padding,
                (down * places).long(),
                (right * places).long(),
                mirror < 0.5 if self.flip else None,
            )
        if self.rand_augment:
            numbers = keyed_uniform(indices, derived_seed(seed, "rand_augment"), draws=2 * self.rand_augment)
            images = augment.rand_augment(images, numbers.view(self.rand_augment, 2, -1), self.rand_augment_magnitude)
        return images

    def of_floats(self, images: Tensor, indices: Tensor, seed: int) -> Tensor:
        """float32 [N, C, H, W], normalised: with squares and rectangles taken out."""
        height, width = images.shape[2:]
        if self.cutout:
            numbers = keyed_uniform(indices, derived_seed(seed, "cutout"), draws=2)
            images = augment.erase(images, *augment.cutout_boxes(numbers, self.cutout, height, width))
        if self.random_erasing:
            draws = 3 + 2 * augment.ATTEMPTS
            numbers = keyed_uniform(indices, derived_seed(seed, "random_erasing"), draws)
            images = augment.erase(images, *augment.erasing_boxes(numbers, self.random_erasing, height, width))
        return images

    def mixed(self, batch: Batch, seed: int) -> Batch:
        """The batch with each image mixed with the one before it; drawn for the batch by its first index."""
        if not self.mixup and not self.cutmix:
            return batch
        which, across, down = keyed_uniform(batch.indices[:1], derived_seed(seed, "mix"), draws=3).flatten().tolist()
        key = derived_seed(seed, "share", int(batch.indices[0]))
        views = [batch.images] if batch.strong is None else [batch.images, batch.strong]
        if self.mixup and (not self.cutmix or which < 0.5):
            share = augment.mixing_share(self.mixup, key)
            images = [augment.mixup(view, share) for view in views]
        else:
            drawn = augment.mixing_share(self.cutmix, key)
            pasted = [augment.cutmix(view, drawn, across, down) for view in views]
            images, share = [view for view, _ in pasted], pasted[0][1]
        return replace(
            batch,
            images=images[0],
            strong=images[1] if len(images) > 1 else None,
            partners=batch.labels.roll(1, 0),
            share=share,
        )


STRONG = Augmentation(rand_augment=2, rand_augment_magnitude=10)  # what the second view goes through as well


@dataclass(frozen=True)
class View:
    """How bytes become what a network sees.

    Args:
        mean, std: Per channel, of pixels scaled to [0, 1].
        augmentation: In training.
        memory_format: Of the batches: channels_last suits convolutions, whose shape stays [N, C, H, W].
    """

    mean: Tensor
    std: Tensor
    augmentation: Augmentation = Augmentation()
    memory_format: torch.memory_format = torch.contiguous_format
    _whole: dict[object, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 [N, H, W, C] to float32 [N, C, H, W] of mean 0 and standard deviation 1."""
        key = (images.shape[1:], images.device)
        if key not in self._whole:
            # As large as an image: numbers that change along the innermost dimension, the channels, would be slow.
            self._whole[key] = (
                (1 / (255 * self.std)).to(images.device).expand(images.shape[1:]).contiguous(),
                (self.mean / self.std).to(images.device).expand(images.shape[1:]).contiguous(),
            )
        scale, shift = self._whole[key]
        floats = images.to(torch.float32, memory_format=torch.contiguous_format).mul_(scale).sub_(shift)
        return floats.permute(0, 3, 1, 2).contiguous(memory_format=self.memory_format)


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
        for indices, images, labels in self.source.read(self.order(), self.chunk * self.batch_size):
            views = [augmentation.of_bytes(images, indices, seed)]
            if self.strong:
                views.append(STRONG.of_bytes(views[0], indices, derived_seed(seed, "strong")))
            # Bytes come a chunk at a time, floats as many batches at a time as stay in a processor's cache.
            for chosen, *some in zip(*(each.split(self._together) for each in (indices, *views)), strict=True):
                floats = [augmentation.of_floats(self.view.normalised(view), chosen, seed) for view in some]
                classes, labels = labels[: len(chosen)], labels[len(chosen) :]
                parts = (each.split(self.batch_size) for each in (floats[0], classes, chosen, *floats[1:]))
                for own, theirs, which, *second in zip(*parts, strict=True):
                    batch = Batch(own, theirs, which, strong=second[0] if second else None)
                    yield augmentation.mixed(batch, seed)


class PlainBatches:
    """The split in its own order, normalised and not augmented, as often as it is iterated."""

    def __init__(self, source: Source, view: View, batch_size: int) -> None:
        self.source, self.view, self.batch_size = source, view, batch_size

    def __len__(self) -> int:
        return -(-len(self.source) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for indices, images, labels in self.source.read(torch.arange(len(self.source)), self.batch_size):
            yield Batch(self.view.normalised(images), labels, indices)
