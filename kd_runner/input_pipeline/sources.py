"""The sources of a split's images: memory, or files while training."""

from __future__ import annotations

import math
import multiprocessing
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from kd_runner.child_python import settle_module_search
from kd_runner.config.field_types import Residency
from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.inspection.unreadable import number_unreadable
from kd_runner.datasets.labels.beside_labels import weights_with_mean_one
from kd_runner.datasets.splits import Images, Split
from kd_runner.errors import RunFailed
from kd_runner.input_pipeline.device_copy import sent
from kd_runner.input_pipeline.random_resized_crop import Window, WindowedFiles, Windows
from kd_runner.notes import note
from kd_runner.socket_folder import settle_socket_folder

SHARED = "/dev/shm"  # through which worker processes hand over images, on Linux
CHUNKS_OF_A_WORKER, SPARE = 2, 2  # chunks that a worker has there at most, and the share that is left to others
SIGNS_OF_SHARED_MEMORY = ("shared memory", "shm_open", "Bus error", "torch_shm_manager", "exited unexpectedly")
SHARE_OF_DEVICE = 0.25  # of the free memory of the device, for the images of one split


class Source(Protocol):
    """The interface of a source of images: `MemorySource` or `FileSource`."""

    image_shape: tuple[int, int, int]  # channels, height, width
    labels: Tensor  # on the device: int64 [N], or uint8 [N, K] where an image may have several
    weights: Tensor | None  # float32 [N], on the CPU, with a mean of 1 over the images with labels; None: all alike

    def __len__(self) -> int: ...

    def read_chunks(
        self, order: Tensor, count: int, windows: Windows | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The images at the indices `order`, up to `count` at a time.

        Each is a tuple of indices, int64 [M], images, uint8 [M, H, W, C], and labels, int64 [M] or
        uint8 [M, K].

        Args:
            windows: Random windows of the whole pictures, for images that stay in their files; None: images as they
                are evaluated.
        """


class MemorySource:
    """A split whose images lie in memory, on `home`, and are used on `device`."""

    def __init__(self, split: Split, device: torch.device, home: torch.device) -> None:
        self.device, self.home, self.image_shape = device, home, split.image_shape
        self.pixels = split.images.permute(0, 2, 3, 1).contiguous().to(home)
        self.labels = split.labels.to(device)
        self.weights = weights_with_mean_one(split)

    def __len__(self) -> int:
        return len(self.labels)

    def read_chunks(
        self, order: Tensor, count: int, windows: Windows | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        assert windows is None, "images in memory are no whole pictures"
        for indices in order.split(count):
            # index_select copies whole images and is many times faster than indexing.
            indices_there = sent(indices, self.device)
            at_home = indices_there if self.home == self.device else indices
            images = sent(self.pixels.index_select(0, at_home), self.device)
            yield indices, images, self.labels.index_select(0, indices_there)


class FileSource:
    """A split whose images stay in files: worker processes decode them, and bytes are copied to `device`."""

    def __init__(
        self, files: ImageFiles, device: torch.device, workers: int, remedy: Callable[[str], str] | None = None
    ) -> None:
        self.files, self.device, self.workers, self.image_shape = files, device, workers, files.image_shape
        self._remedy = remedy or (lambda _: "")
        self.labels = files.labels.to(device)
        self.weights = weights_with_mean_one(files)
        self._idle: dict[int, list[Loader]] = {}  # by the number of images of a chunk

    def __len__(self) -> int:
        return len(self.files)

    def read_chunks(
        self, order: Tensor, count: int, windows: Windows | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        # A loader is used again in the next epoch, and its workers with it; who reads beside others has one alone.
        idle = self._idle.setdefault(count, [])
        loader = idle.pop() if idle else self._new_loader(count)
        loader.order.items = order.tolist() if windows is None else list(windows.items(order))
        try:
            for indices, images in zip(order.split(count), loader.chunks, strict=True):
                pixels = sent(images, self.device).permute(0, 2, 3, 1).contiguous()
                yield indices, pixels, self.labels.index_select(0, sent(indices, self.device))
        except ValueError as error:  # raised in a worker: its message ends with the one of `decode`
            message = str(error).strip().splitlines()[-1].removeprefix("ValueError: ")
            message += number_unreadable(message, [self.files])
            raise RunFailed(f"{message}{self._remedy(message)}") from error
        except RuntimeError as error:
            if not any(sign in str(error) for sign in SIGNS_OF_SHARED_MEMORY):
                raise
            raise RunFailed(
                f"the processes that decode images were ended, mostly for want of shared memory ({SHARED}): "
                f"dataset.workers=0 needs none, got {self.workers}"
            ) from error
        finally:  # at the end, and where the reader stops before it
            idle.append(loader)

    def _new_loader(self, count: int) -> Loader:
        """A loader of chunks of `count` images, with workers of its own."""
        settle_module_search()
        order, workers = Order(), workers_with_room(self.workers, count * math.prod(self.image_shape))
        chunks = DataLoader(
            WindowedFiles(self.files),
            batch_size=count,
            sampler=order,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # the global one belongs to dropout
        )
        return Loader(chunks, order)


def workers_with_room(workers: int, chunk_bytes: int) -> int:
    """The number of worker processes, of at most `workers`, that shared memory has room for; 0 where it has none.

    A worker has up to two chunks in shared memory, and another process may need as much.
    """
    if not workers or sys.platform != "linux":
        return workers
    try:
        settle_socket_folder()
        multiprocessing.get_context().Lock()  # which takes a file there
        room = shutil.disk_usage(SHARED).free // (SPARE * CHUNKS_OF_A_WORKER * chunk_bytes)
    except OSError as error:
        room, reason = 0, str(error.strerror or error)
    else:
        reason = f"{shutil.disk_usage(SHARED).free / 1e6:,.0f} MB are free"
    if room < workers:
        note("data", f"dataset.workers: {room} in place of {workers}, as {SHARED} has no room for more ({reason})")
    return min(workers, room)


class Order(Sampler[Any]):
    """Indices, or windows of images, that change from epoch to epoch under a DataLoader that stays."""

    def __init__(self) -> None:
        self.items: Sequence[int] | Sequence[Window] = []

    def __iter__(self) -> Iterator[int | Window]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class Loader:
    """A DataLoader, which one reader at a time can read from, and the order of its images."""

    chunks: DataLoader[Tensor]
    order: Order


def source_of(
    split: Images,
    device: torch.device,
    residency: Residency,
    workers: int = 0,
    remedy: Callable[[str], str] | None = None,
) -> Source:
    """The source of a split's images: the memory of the device where there is room, that of the host, or files.

    Args:
        device: Device on which batches are used.
        residency: The setting; `device` and `host` decide where images in memory lie, `auto` looks for room.
        workers: Processes that decode where the images stay in files.
        remedy: Gives the end of a message about an image that cannot be read there, which names a setting.
    """
    if isinstance(split, ImageFiles):
        return FileSource(split, device, workers, remedy)
    assert isinstance(split, Split)
    home = torch.device("cpu")
    if residency == "device" or (residency == "auto" and _has_room(device, split)):
        home = device
    return MemorySource(split, device, home)


def _has_room(device: torch.device, split: Split) -> bool:
    """True for a GPU of whose free memory the images would take but a share."""
    return device.type == "cuda" and split.images.numel() < SHARE_OF_DEVICE * torch.cuda.mem_get_info(device)[0]
