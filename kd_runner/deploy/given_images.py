"""Images as a person gives them for a prediction: paths, Pillow's images, arrays and batches; as bytes of one shape."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kd_runner.datasets.decoding.files import PixelSettings
from kd_runner.datasets.decoding.image_file import picture_in_memory
from kd_runner.datasets.decoding.image_input import ImageInput
from kd_runner.files.home import with_home

GivenImage: TypeAlias = "str | os.PathLike[str] | Image.Image | np.ndarray | Tensor"
GivenImages: TypeAlias = "GivenImage | Sequence[GivenImage]"
COLORS = (3, 4)  # channels of a picture in colour: RGB, RGB with transparency
CHANNELS = (1, *COLORS)  # of an array that Pillow can take


@dataclass(frozen=True)
class ReadImage:
    """An image in the network's own shape.

    Args:
        pixels: uint8 [C, H, W].
        resized: True where the image had another size before.
    """

    pixels: Tensor
    resized: bool


def read_images(images: GivenImages, image_input: ImageInput, max_pixels: int) -> Iterator[ReadImage]:
    """Each of the given images as bytes in the network's shape.

    Args:
        images: A path, an image of Pillow, an array or tensor uint8 ([H, W], [H, W, C], [C, H, W], or a batch
            [N, H, W, C] or [N, C, H, W]), or a list of these without batches.

    Raises:
        ValueError: an image that cannot be read; the message names it.
    """
    if isinstance(images, (list, tuple)):
        for number, image in enumerate(images):
            if isinstance(image, (list, tuple)) or getattr(image, "ndim", 0) > 3:
                raise ValueError(
                    f"image {number}: must be a path, a picture or an array of one image, got {_kind(image)}"
                )
            yield _read(image, image_input, max_pixels)
    elif isinstance(images, (np.ndarray, Tensor)) and images.ndim == 4:
        for image in _channels_last(images, image_input):
            yield _of_array(image, image_input, max_pixels)
    else:
        _refuse_doubtful_batch(images, image_input)
        yield _read(images, image_input, max_pixels)


def _refuse_doubtful_batch(array: Any, image_input: ImageInput) -> None:
    """Raise ValueError for an array that may be 3 or 4 images of a network of gray ones, or one picture in colour."""
    channels, height, width = image_input.image_shape
    shape = list(getattr(array, "shape", ()))
    if channels == 1 and len(shape) == 3 and shape[0] in COLORS and shape[1:] == [height, width]:
        raise ValueError(
            f"an array {shape} may be {shape[0]} gray images or one picture in colour: give images as "
            f"{[*shape, 1]} or in a list, and one picture as {[height, width, shape[0]]}"
        )


def read_file(path: Path, image_input: ImageInput, max_pixels: int) -> ReadImage:
    """The picture in the file `path`, read as the images of training are.

    Raises:
        ValueError: it cannot be read; the message names the file.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the paths of its pictures, or use kd-predict")
    pixels, header = image_input.pixel_settings(max_pixels).read(path)
    return ReadImage(pixels, (header.height, header.width) != (image_input.height, image_input.width))


def _read(image: Any, image_input: ImageInput, max_pixels: int) -> ReadImage:
    if isinstance(image, (str, os.PathLike)):
        return read_file(with_home(image), image_input, max_pixels)
    if isinstance(image, Image.Image):
        settings = image_input.pixel_settings(max_pixels)
        ground, white = settings.ground, settings.white
        return _cut(picture_in_memory(image, settings.color, ground, max_pixels, white), settings)
    if isinstance(image, (np.ndarray, Tensor)):
        return _of_array(_channels_last(image, image_input), image_input, max_pixels)
    raise ValueError(f"an image must be a path, an image of Pillow, or an array or tensor of uint8, got {_kind(image)}")


def _cut(picture: Image.Image, settings: PixelSettings) -> ReadImage:
    _, height, width = settings.image_shape
    return ReadImage(settings.cut(picture), picture.size != (width, height))


def _of_array(image: np.ndarray, image_input: ImageInput, max_pixels: int) -> ReadImage:
    """One image uint8 [H, W, C]; of the network's own shape, its bytes are taken as they are."""
    channels, height, width = image_input.image_shape
    if image.shape == (height, width, channels):
        return ReadImage(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), False)
    settings = image_input.pixel_settings(max_pixels)
    picture = Image.fromarray(np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 1 else image))
    return _cut(picture_in_memory(picture, settings.color, settings.ground, max_pixels), settings)


def _channels_last(images: np.ndarray | Tensor, image_input: ImageInput) -> np.ndarray:
    """An array of one image [H, W, C], or of a batch [N, H, W, C], from one in that or the other order."""
    array = images.detach().cpu().numpy() if isinstance(images, Tensor) else images
    if array.dtype != np.uint8:
        raise ValueError(
            f"an array of images must be uint8, 0 to 255, got {array.dtype} {list(array.shape)}; what is normalised "
            "already goes to the network itself"
        )
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise ValueError(
            f"an array must be one image [H, W], [H, W, C] or [C, H, W], or a batch of [N, H, W, C] or [N, C, H, W], "
            f"got {list(array.shape)}"
        )
    return array if _has_channels_last(array.shape[-3:], image_input.image_shape) else np.moveaxis(array, -3, -1)


def _has_channels_last(shape: Sequence[int], wanted: tuple[int, int, int]) -> bool:
    """True for an image [H, W, C], False for [C, H, W]; the network's own shape `wanted` [C, H, W] decides in doubt.

    Raises:
        ValueError: it may be both, or is neither.
    """
    channels, height, width = wanted
    for counts in ({channels}, CHANNELS):
        exact = counts == {channels}
        is_last = shape[2] in counts and (not exact or tuple(shape[:2]) == (height, width))
        is_first = shape[0] in counts and (not exact or tuple(shape[1:]) == (height, width))
        if is_last != is_first:
            return is_last
    raise ValueError(
        f"an array must have its channels (1, 3 or 4) first or last, and not both, got {list(shape)}: give it as an "
        "image of Pillow"
    )


def _kind(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} {list(shape)}"
