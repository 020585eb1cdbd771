"""An exported file that resizes pictures, beside Pillow's resizing: whole pictures against those that it cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kd_runner.datasets.decoding.files import ImageFiles, PixelSettings
from kd_runner.datasets.decoding.image_input import ImageInput
from kd_runner.deploy.export.export_formats import Runtime
from kd_runner.deploy.export.preprocessing import Layout, in_pictures
from kd_runner.deploy.run_images import RunImages
from kd_runner.evaluation.agreement import agreement_of
from kd_runner.formats import percent

PICTURES = 100  # of the test, from all over it
MAX_PIXELS = 25_000_000  # of one of them; larger ones are passed over, as a pass of them takes seconds
APART = 1  # pictures that may be judged otherwise: one whose two first classes are as good as equal
# Heights and widths, as multiples of the network's, that images which came as arrays are brought to.
FACTORS = ((1.0, 1.0), (2.0, 2.0), (1.4, 2.3), (3.1, 1.2), (0.6, 0.9), (1.0, 5.0))


@dataclass(frozen=True)
class ResizingCheck:
    """The outputs of a file for whole pictures, beside those for the same pictures resized and cut by Pillow.

    Args:
        pictures: The number of pictures.
        origin: `files`, the test pictures in their own sizes, or `arrays`, images that were brought to other sizes.
        largest_difference: The largest difference between two logits.
        agreement: The share of pictures for which both are of the same class.
    """

    pictures: int
    origin: str
    largest_difference: float
    agreement: float

    def record(self) -> dict[str, Any]:
        """The check as plain data."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """The outcome in a line."""
        kind = "test pictures of their own sizes" if self.origin == "files" else "images at other sizes"
        return (
            f"resizing in the file, beside Pillow's, on {self.pictures:,} {kind}: agreement {percent(self.agreement)}, "
            f"largest difference of logits {self.largest_difference:.2g}"
        )

    @property
    def refusal(self) -> str:
        """The reason why the file must not be used; empty where it may be."""
        if round((1 - self.agreement) * self.pictures) <= APART:
            return ""
        return f"its resizing is not that of training ({self.sentence}): --fixed-size leaves it out"


def check_resizing(
    runtime: Runtime, image_input: ImageInput, layout: Layout, images: RunImages | None
) -> ResizingCheck:
    """Give the file pictures of many sizes, and the same pictures cut by Pillow to the network's size.

    Args:
        images: The images of the run; None: noise.
    """
    settings = image_input.pixel_settings(MAX_PIXELS)
    pairs = [
        [runtime.run(in_layout(pixels, layout)) for pixels in (whole_picture(picture), cut_picture(picture, settings))]
        for picture in pictures(settings, images)
    ]
    uncut, cut = (torch.from_numpy(np.concatenate(parts)).float() for parts in zip(*pairs, strict=True))
    agreement = agreement_of(uncut, cut, image_input.several_labels)
    has_files = images is not None and images.files is not None
    return ResizingCheck(len(uncut), "files" if has_files else "arrays", (uncut - cut).abs().max().item(), agreement)


def pictures(settings: PixelSettings, images: RunImages | None) -> Iterator[Image.Image]:
    """Pictures of Pillow's mode RGB or L in many sizes."""
    if images is not None and images.files is not None:
        yield from pictures_in_files(images.files)
        return
    channels, height, width = settings.image_shape
    if images is None:
        generator = torch.Generator().manual_seed(1)
        arrays = torch.randint(0, 256, (PICTURES, height, width, channels), dtype=torch.uint8, generator=generator)
    else:
        order = torch.linspace(0, len(images.test) - 1, min(PICTURES, len(images.test))).long()
        arrays = torch.cat([chunk for _, chunk, _ in images.test.read_chunks(order, len(order))]).cpu()
    for number, array in enumerate(arrays):
        factors = FACTORS[number % len(FACTORS)]
        size = [max(1, round(side * factor)) for side, factor in zip((width, height), reversed(factors), strict=True)]
        picture = Image.fromarray(array.numpy() if channels == 3 else array[:, :, 0].numpy())
        yield picture.resize((size[0], size[1]), Image.Resampling.BICUBIC)


def pictures_in_files(files: ImageFiles) -> Iterator[Image.Image]:
    """Some of the test pictures as they are in their files, read as training reads them, but for the cutting."""
    numbers = torch.linspace(0, len(files) - 1, min(PICTURES, len(files))).long().unique().tolist()
    for number in numbers:
        with files.picture(number) as picture:
            if picture.width * picture.height <= MAX_PIXELS or number == numbers[0]:
                yield picture


def whole_picture(picture: Image.Image) -> Tensor:
    """The bytes of a picture, uint8 [C, H, W]."""
    return torch.from_numpy(np.array(picture).reshape(picture.height, picture.width, -1)).permute(2, 0, 1)


def cut_picture(picture: Image.Image, settings: PixelSettings) -> Tensor:
    """The bytes of a picture that Pillow resized and cut, uint8 [C, H, W], in a picture that the file leaves so."""
    cut = settings.cut(picture).permute(1, 2, 0)
    return in_pictures(cut[None], settings.resize_size)[0].permute(2, 0, 1)


def in_layout(pixels: Tensor, layout: Layout) -> np.ndarray:
    """One image uint8 [C, H, W] as the file takes it."""
    return (pixels if layout == "nchw" else pixels.permute(1, 2, 0))[None].contiguous().numpy()
