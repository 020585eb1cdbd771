"""Where the images of a split are read from: memory, or files while training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from kd_runner.config.settings import Residency
from kd_runner.datasets.files import ImageFiles
from kd_runner.datasets.splits import Images, Split
from kd_runner.errors import RunFailed

SHARE_OF_DEVICE = 0.25  # of its free memory, for the images of one split


class Source(Protocol):
    """Where bytes come from: memory, or files."""

    image_shape: tuple[int, int, int]  # channels, height, width

    def __len__(self) -> int: ...

    def read_chunks(self, order: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(indices [count], images uint8 [count, H, W, C], labels [count]) for `order`, `count` at a time."""


class Resident:
    """A split whose images lie in memory, on `home`, and are used on `device`."""

    def __init__(self, split: Split, device: torch.device, home: torch.device) -> None:
        self.device, self.home, self.image_shape = device, home, split.image_shape
        self.pixels = split.images.permute(0, 2, 3, 1).contiguous().to(home)
        self.labels = split.labels.to(device)

    def __len__(self) -> int:
        return len(self.labels)

    def read_chunks(self, order: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
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

    def read_chunks(self, order: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
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
