"""A split whose images stay in their files: an image is decoded when it is asked for."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kd_runner.datasets.decoding.image_file import MAX_PIXELS, ImageFacts, PictureFile, open_picture
from kd_runner.datasets.decoding.pixels import WHITE, Color, Ground, middle_of
from kd_runner.datasets.labels.beside_labels import beside_labels_at

DECODER = 2  # raise by one when the same file becomes other bytes: caches made before are then no longer used


@dataclass(frozen=True)
class PixelSettings:
    """The settings by which an image file becomes pixels.

    Args:
        image_size: Height in pixels that an image becomes, 1 or more, and width where that is None. The image is
            resized so that it just covers both, and the middle is cut out.
        color: `gray` makes one channel, `rgb` three.
        ground: The colour that images with transparency are laid on.
        max_pixels: The most pixels, width times height, that a file may have, 1 or more.
        white: The value that is white in images with more than 8 bits, above 0; None: the value of the file's format.
        image_width: Width in pixels that an image becomes; None: that of a square.
        resize_size: The pixels that the shorter side is resized to before the middle is cut out, at least the larger
            of height and width; None: just as many as cover both.

    Raises:
        ValueError: a number outside its range.
    """

    image_size: int
    color: Color
    ground: Ground = WHITE
    max_pixels: int = MAX_PIXELS
    white: float | None = None
    image_width: int | None = None
    resize_size: int | None = None

    def __post_init__(self) -> None:
        if self.image_size < 1:
            raise ValueError(f"image_size must be 1 or more, got {self.image_size}")
        longer = max(self.image_shape[1:])
        if self.resize_size is not None and self.resize_size < longer:
            raise ValueError(f"resize_size must be image_size ({longer}) or more, or null, got {self.resize_size}")
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels must be 1 or more, got {self.max_pixels}")
        if self.white is not None and not 0 < self.white < math.inf:
            raise ValueError(f"white must be above 0, or null, got {self.white}")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return (3 if self.color == "rgb" else 1), self.image_size, self.image_width or self.image_size

    def read(self, path: PictureFile) -> tuple[Tensor, ImageFacts]:
        """The picture in the file `path`, uint8 [C, H, W], and the facts of its header.

        Training, evaluation and prediction read pictures by this function.

        Raises:
            ValueError: the file cannot be read; the message names it.
        """
        with open_picture(path, self.color, self.ground, self.max_pixels, self.white) as (picture, header):
            return self.cut(picture), header

    def cut(self, picture: Image.Image) -> Tensor:
        """The middle of a picture of Pillow's mode RGB or L, in the size of the settings; uint8 [C, H, W]."""
        _, height, width = self.image_shape
        channels_last = np.array(middle_of(picture, width, height, self.resize_size)).reshape(height, width, -1)
        return torch.from_numpy(channels_last).permute(2, 0, 1).contiguous()


@dataclass(frozen=True)
class ImageFiles:
    """A split whose images stay in their files; `files[index]` decodes one of them.

    Args:
        folder: The folder that the paths are relative to.
        paths: The image files, in the order of the split.
        labels: int64 [N].
        pixels: The settings of decoding.
        weights, groups: The fields of `Split` with these names.
    """

    folder: Path
    paths: Sequence[str]
    labels: Tensor
    pixels: PixelSettings
    weights: Tensor | None = None
    groups: Tensor | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """One image, uint8 [C, H, W].

        Raises:
            ValueError: the file cannot be read; the message names it.
        """
        return self.decode(index)[0]

    def decode(self, index: int) -> tuple[Tensor, ImageFacts]:
        """One image, uint8 [C, H, W], and the facts of its header. Raises as `files[index]` does."""
        return self.pixels.read(self.file(index))

    def file(self, index: int) -> PictureFile:
        """The file of one image."""
        return self.folder / self.paths[index]

    @contextmanager
    def picture(self, index: int) -> Iterator[Image.Image]:
        """The whole picture of one image, in Pillow's mode RGB or L, while the block runs. Raises as `files[index]`."""
        pixels, file = self.pixels, self.file(index)
        with open_picture(file, pixels.color, pixels.ground, pixels.max_pixels, pixels.white) as (picture, _):
            yield picture

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.pixels.image_shape

    @property
    def decoded_bytes(self) -> int:
        """The memory that all images take once they are decoded."""
        return len(self) * math.prod(self.image_shape)

    def subset(self, indices: Tensor) -> ImageFiles:
        """The images at `indices`, int64 [M], in that order."""
        paths = [self.paths[index] for index in indices.tolist()]
        part = replace(self, paths=paths, labels=self.labels[indices], **beside_labels_at(self, indices))
        if "stamps" in self.__dict__:
            part.__dict__["stamps"] = self.stamps[indices.numpy()]
        return part

    def sample(self, count: int) -> Tensor:
        """About `count` images from all over the split, uint8 [M, C, H, W]."""
        return torch.stack([self[index] for index in range(0, len(self), max(1, len(self) // count))])

    @functools.cached_property
    def stamps(self) -> np.ndarray:
        """Size and time of change of each file, int64 [N, 2]. They are asked for once: a million files take seconds."""
        statuses = ((self.folder / path).stat() for path in self.paths)
        numbers = [number for status in statuses for number in (status.st_size, status.st_mtime_ns)]
        return np.array(numbers, dtype=np.int64).reshape(-1, 2)

    def fingerprint(self) -> str:
        """SHA-256 of the folder, the files' names, sizes and times of change, the labels and the settings.

        The folder belongs to it: uncompressed images of equal size unpacked from one archive differ in nothing else.
        """
        return self._digest

    @functools.cached_property
    def _digest(self) -> str:
        pixels = self.pixels
        settings: tuple[object, ...] = (pixels.image_size, pixels.color, pixels.ground, pixels.max_pixels, DECODER)
        if pixels.white is not None:  # without it, the digest is the same as before this setting existed
            settings = (*settings, float(pixels.white))
        if pixels.resize_size is not None:
            settings = (*settings, f"resized to {pixels.resize_size}")
        if self.weights is not None:
            settings = (*settings, self.weights.tolist())
        digest = hashlib.sha256(repr((str(self.folder.resolve()), settings, self.labels.tolist())).encode())
        for path, (size, changed) in zip(self.paths, self.stamps.tolist(), strict=True):
            digest.update(repr((path, size, changed)).encode())
        return digest.hexdigest()
