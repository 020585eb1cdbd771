"""Images without labels, and the images that a student is taught on where some of them have none."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, cast

import torch
from torch import Tensor

from kd_runner.datasets.decoding.conversions import note_conversions
from kd_runner.datasets.decoding.files import ImageFiles, PixelSettings
from kd_runner.datasets.decoding.image_cache import count_conversions, decode_all
from kd_runner.datasets.decoding.image_file import MAX_PIXELS, SUFFIXES
from kd_runner.datasets.folders.archives import SUFFIXES as ARCHIVES
from kd_runner.datasets.folders.tree import contents_of
from kd_runner.datasets.inspection.survey import note_left_out
from kd_runner.datasets.inspection.unreadable import (
    leave_out_unreadable,
    note_unreadable,
    number_unreadable,
    refuse_unreadable,
)
from kd_runner.datasets.labels.beside_labels import UNLABELLED, joined_beside_labels
from kd_runner.datasets.packed.packed_images import PackedImages
from kd_runner.datasets.splits import Images, Split

COLORS = {1: "gray", 3: "rgb"}


@dataclass(frozen=True)
class TransferSet:
    """The images that a student is taught on, some of them without labels (the name is that of arXiv:1503.02531).

    Args:
        images: The images, whose labels are UNLABELLED where they have none.
        numbers: Their own numbers, int64 [N], ascending; they decide order and augmentation.
        of: The number of all images that the numbers count.
        is_made: True where all images were made from a network, and none is a training image.
    """

    is_blank: ClassVar[bool] = False  # True where the images are yet to be made, so that nobody may learn from them
    images: Images
    numbers: Tensor
    of: int
    is_made: bool = False

    @property
    def unlabelled_count(self) -> int:
        """The number of images without labels."""
        return int((self.images.labels == UNLABELLED).sum())

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the images, of the labels that they have, and of their numbers."""
        return hashlib.sha256(repr((self.images.fingerprint(), self.numbers.tolist(), self.of)).encode()).hexdigest()


def transfer_set(train: Images, labelled: Tensor | None, unlabelled: Tensor, more: Images | None) -> TransferSet:
    """The training images with and without labels, and after them more images, which have none.

    Args:
        train: The training images. The labels of those in `unlabelled` are not looked at.
        labelled: The numbers of those that keep their labels, int64; None: all.
        unlabelled: The numbers of those that lose them, int64.
        more: Images of a kind with `train`: in memory or in files.
    """
    numbers = torch.arange(len(train)) if labelled is None else torch.cat([labelled, unlabelled]).sort().values
    keeps = torch.ones(len(numbers), dtype=torch.bool) if labelled is None else torch.isin(numbers, labelled)
    labels = torch.full((len(numbers),), UNLABELLED)
    labels[keeps] = train.labels[numbers[keeps]]
    images = with_labels(train.subset(numbers), labels)
    if more is None:
        return TransferSet(images, numbers, len(train))
    more_numbers = len(train) + torch.arange(len(more))
    return TransferSet(join_images(images, more), torch.cat([numbers, more_numbers]), len(train) + len(more))


def with_labels(images: Images, labels: Tensor) -> Images:
    """The images with other labels, int64 [N]."""
    assert isinstance(images, (Split, ImageFiles))
    return replace(images, labels=labels)


def join_images(first: Images, second: Images) -> Images:
    """The images of both, in memory or in files as both are."""
    labels = torch.cat([first.labels, second.labels])
    if isinstance(first, ImageFiles):
        files = cast("ImageFiles", second)
        if isinstance(first, PackedImages):  # whose own paths are no files; absolute ones are
            absolute_paths = [str((files.folder / path).absolute()) for path in files.paths]
            beside = joined_beside_labels(first, files)
            return replace(first, paths=[*first.paths, *absolute_paths], labels=labels, **beside)
        paths = [str((part.folder / path).absolute()) for part in (first, files) for path in part.paths]
        return replace(first, folder=Path("/"), paths=paths, labels=labels, **joined_beside_labels(first, files))
    assert isinstance(first, Split)
    assert isinstance(second, Split)
    return Split(torch.cat([first.images, second.images]), labels, **joined_beside_labels(first, second))


def unlabelled_folder(
    root: Path,
    image_shape: Sequence[int],
    pixels: PixelSettings | None,
    in_memory: bool,
    cache: Path | None = None,
    skip_unreadable: bool = False,
    name: Path | None = None,
) -> Images:
    """The images in a folder and all folders below it, without labels, in the shape of the training images.

    Notes say what is left out and what is converted, as they do for the data set `image_folder`.

    Args:
        image_shape: Channels, height and width of the training images.
        pixels: The settings by which files became the training images; None where these came as arrays.
        in_memory: True to decode the images now; False to leave them in their files.
        cache: The folder that keeps decoded images for the next run; None for none.
        skip_unreadable: True to leave out images that cannot be read, and name them.
        name: The folder as notes name it, such as the archive that was unpacked there; None: as it is.

    Raises:
        ValueError: no such folder, no image in it, an image that cannot be read, or no picture has such a shape.
    """
    channels, height, width = image_shape
    shown = root if name is None else name
    if not root.is_dir():
        raise ValueError(
            f"must be a folder of images, or an archive ({', '.join(ARCHIVES)}), got {root}, which is none"
        )
    if channels not in COLORS:
        raise ValueError(f"must be null for images of {channels} channels, which no picture has, got {shown}")
    contents = contents_of(root)
    note_left_out(shown, contents)
    if not contents.images:
        raise ValueError(f"must be a folder of images ({', '.join(sorted(SUFFIXES))}), got {shown}, which has none")
    color = "gray" if channels == 1 else "rgb"
    settings = pixels or PixelSettings(height, color, max_pixels=MAX_PIXELS, image_width=width)  # type: ignore[arg-type]
    files = ImageFiles(root, contents.images, torch.full((len(contents.images),), UNLABELLED), settings)
    files = _readable(files, skip_unreadable, not in_memory, cache, shown)
    try:
        images, counts = decode_all(files, cache) if in_memory else (files, None)
    except ValueError as error:
        raise ValueError(f"{error}{number_unreadable(str(error), [files])}") from error
    counts = counts or count_conversions(files, cache)
    note_conversions(counts, len(files), settings.ground, settings.white, shown)
    return images


def _readable(files: ImageFiles, skip: bool, streams: bool, cache: Path | None, shown: Path) -> ImageFiles:
    """The images that can be read.

    Args:
        skip: True to leave out the others.
        streams: True where images stay in their files: one that cannot be read would end the run when its teacher
            has been trained.
        shown: The folder as notes name it.

    Raises:
        ValueError: an image that cannot be read where none is left out, or no image that can be.
    """
    if skip:
        readable, unreadable = leave_out_unreadable({"unlabelled": files}, files.folder, cache)
        note_unreadable(unreadable.paths, len(files), shown)
        if not len(readable["unlabelled"]):
            raise ValueError(f"no image under {shown} can be read, as {files.paths[0]}: {unreadable.reasons[0]}")
        return readable["unlabelled"]
    if streams:
        refuse_unreadable(files, cache)
    return files
