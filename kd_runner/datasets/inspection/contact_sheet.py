"""A contact sheet: one picture with a few training images of each class, at the size that a network sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from kd_runner.datasets.splits import Images, has_several_labels

CLASSES, EXAMPLES = 20, 8
SMALLEST, LARGEST = 64, 160  # longer side in pixels of an image on the sheet
LABELS, GAP, LINE = 150, 4, 14  # width of the names, space between images, height of a line of text
LETTERS = 22  # letters of a name in one line


def contact_sheet(images: Images, classes: Sequence[str]) -> Image.Image:
    """A row for each class with its name, the number of its images, and some of them from all over the split.

    Images are shown before normalisation and augmentation. Small ones are enlarged by a whole number, so that each
    pixel is a square; large ones are reduced. Of many classes, some from all over the list are shown.
    """
    chosen = evenly(len(classes), CLASSES)
    side = shown_side(images.image_shape)
    height = max(side, 2 * LINE) + GAP
    sheet = Image.new("RGB", (LABELS + EXAMPLES * (side + GAP) + GAP, GAP + height * len(chosen)), "white")
    draw = ImageDraw.Draw(sheet)
    labels = images.labels.cpu()
    for row, label in enumerate(chosen):
        members = torch.nonzero(labels[:, label] if has_several_labels(labels) else labels == label).flatten()
        top = GAP + row * height
        write(draw, (GAP, top), shorten(str(classes[label])))
        write(draw, (GAP, top + LINE), f"{len(members):,} image{'' if len(members) == 1 else 's'}")
        few = members[evenly(len(members), EXAMPLES)]
        for column, picture in enumerate(pixels_of(images, few)):
            sheet.paste(thumbnail(picture, side), corner_of(row, column, side))
    return sheet


def corner_of(row: int, column: int, side: int) -> tuple[int, int]:
    """The upper left corner of an image on the sheet: pixels from the left, pixels from the top."""
    return LABELS + column * (side + GAP), GAP + row * (max(side, 2 * LINE) + GAP)


def shown_side(shape: tuple[int, int, int]) -> int:
    """The longer side of an image as it is shown."""
    longest = max(shape[1:])
    return longest * max(1, -(-SMALLEST // longest)) if longest <= LARGEST else LARGEST


def thumbnail(picture: Tensor, side: int) -> Image.Image:
    """A picture whose longer side has `side` pixels, of uint8 [C, H, W]; the first three of more channels."""
    pixels = picture[:3] if len(picture) >= 3 else picture[:1].expand(3, -1, -1)
    image = Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))
    factor = side / max(image.size)
    resample = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS
    return image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), resample)


def pixels_of(images: Images, indices: Tensor) -> Tensor:
    """The images at `indices`, uint8 [M, C, H, W]."""
    few = images.subset(indices)
    return few.sample(len(few)) if len(few) else torch.zeros(0, *images.image_shape, dtype=torch.uint8)


def evenly(total: int, count: int) -> list[int]:
    """Up to `count` numbers below `total`, in their order and evenly spread."""
    if total <= count:
        return list(range(total))
    return [number * total // count for number in range(count)]


def shorten(name: str) -> str:
    """The name, with an ellipsis where it does not fit."""
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 3]}..."


def write(draw: ImageDraw.ImageDraw, position: tuple[int, int], text: str) -> None:
    """Write a line in Pillow's own font, which without FreeType knows Western letters alone."""
    font = ImageFont.load_default()
    if not isinstance(font, ImageFont.FreeTypeFont):
        text = text.encode("latin-1", "replace").decode("latin-1")
    draw.text(position, text, fill="black", font=font)
