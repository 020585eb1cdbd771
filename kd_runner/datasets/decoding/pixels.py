"""Pixels of every kind that Pillow has, made bytes as a viewer shows them: scaled, laid on a ground, turned, cropped.

ICC colour profiles are ignored, as torchvision ignores them.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
from PIL import Image

Color = Literal["rgb", "gray"]
Ground = tuple[int, int, int]
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
BILINEAR = Image.Resampling.BILINEAR
LONGEST = 16  # sides: a longer picture is a sliver, of which only the middle is computed
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def parse_background(background: Any) -> Ground:
    """Red, green and blue of the setting `background`.

    Raises:
        ValueError: `background` is none of 'white', 'black', '#rrggbb' and 0 to 255.
    """
    if background in ("white", "black"):
        return WHITE if background == "white" else BLACK
    if isinstance(background, int) and not isinstance(background, bool) and 0 <= background <= 255:
        return background, background, background
    if isinstance(background, str) and re.fullmatch("#[0-9a-fA-F]{6}", background):
        red, green, blue = bytes.fromhex(background[1:])
        return red, green, blue
    raise ValueError(
        f"background must be white, black, a whole number from 0 to 255 or '#rrggbb' (in quotes), got {background!r}"
    )


def name_of_ground(ground: Ground) -> str:
    """The name of a colour: 'white', 'black' or '#rrggbb'."""
    return {WHITE: "white", BLACK: "black"}.get(ground, "#" + bytes(ground).hex())


def has_numbers(image: Image.Image) -> bool:
    """True for pixels that are numbers of more than 8 bits, which Pillow does not scale by itself."""
    return image.mode.startswith("I") or image.mode == "F"


def to_rgb_or_gray(
    image: Image.Image, color: Color, ground: Ground, white: float | None = None, white_of_fractions: bool = False
) -> Image.Image:
    """The pixels of `image` as RGB or L: scaled to bytes, and what is transparent laid on `ground`.

    Args:
        white: The value that is white in pixels that are whole numbers of more than 8 bits.
        white_of_fractions: True where `white` holds for pixels that are fractions, too; else 1 is white in these.

    Raises:
        ValueError: no rule says which values of `image` are black and white.
    """
    picture = image
    if has_numbers(picture):
        picture = _scale_numbers(picture, white, white_of_fractions)
    if picture.has_transparency_data:
        picture = _lay_on(picture, ground)
    elif picture.mode not in ("1", "L", "RGB"):
        picture = picture.convert("RGB")  # LAB cannot become gray at once, and a palette would warn
    return picture.convert("RGB" if color == "rgb" else "L")


def _lay_on(image: Image.Image, ground: Ground) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    picture = Image.new("RGB", image.size, ground)
    layer = image.convert("RGBA")
    picture.paste(layer, mask=layer)
    return picture


def _scale_numbers(image: Image.Image, white: float | None, white_of_fractions: bool) -> Image.Image:
    """An image of mode L, or LA where one value is transparent, of pixels that are numbers."""
    values = np.asarray(image)
    if image.mode == "F" and not (white and white_of_fractions):
        gray = _bytes_of_fractions(values)
    elif white is None:
        raise ValueError(
            f"its pixels are whole numbers (Pillow's mode {image.mode}) from {values.min()} to {values.max()}, and no "
            "rule says which of them is white: save it with 8 bits, or with 16 bits without a sign, or name it "
            "with dataset.white"
        )
    elif not values.min() >= 0:  # false of NaN
        raise ValueError(f"its pixels are from {values.min():g} to {values.max():g}: dataset.white needs 0 as black")
    elif image.mode == "F" or white % 1:
        gray = np.rint(values.clip(max=white) * (255 / white)).astype(np.uint8)
    else:
        levels = values.clip(max=int(white)).astype(np.int64) * 255
        gray = ((levels + int(white) // 2) // int(white)).astype(np.uint8)
    picture = Image.fromarray(gray)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        picture.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return picture


def _bytes_of_fractions(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # false of NaN
        raise ValueError(
            f"its pixels are fractions (Pillow's mode F) from {low:g} to {high:g}, and only 0 to 1 says which of them "
            "is white: save it scaled to 0 to 1, or with 8 or 16 bits, or name it with dataset.white"
        )
    return np.rint(values * np.float32(255)).astype(np.uint8)


def negative(image: Image.Image, white: float | None = None) -> Image.Image:
    """The negative of `image`, of 16 bits or fractions: black and white are exchanged."""
    values = np.asarray(image)
    if image.mode == "F":
        return Image.fromarray(1 - values if white is None else np.float32(white) - values.clip(max=white))
    black = 65535 if white is None else min(int(white), 65535)
    return Image.fromarray((black - values.clip(max=black)).astype(np.uint16))


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """`image` upright, as its EXIF orientation, 1 to 8, says."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def middle_of(image: Image.Image, width: int, height: int, shorter: int | None = None) -> Image.Image:
    """The middle of `image`, resized so that it just covers `width` and `height`, as torchvision resizes and crops.

    Only the pixels that are kept are computed: a sliver would become a picture of gigabytes.

    Args:
        shorter: The pixels of the shorter side of the resized image, at least width and height; None: just as many as
            cover them. Such a picture is resized as a whole, to the byte as torchvision does it, unless it is a sliver.
    """
    if image.size == (width, height) and shorter is None:
        return image
    stored_width, stored_height = image.size
    if shorter is not None:
        columns = shorter * stored_width // min(image.size)
        rows = shorter * stored_height // min(image.size)
    elif stored_width * height <= stored_height * width:
        columns, rows = width, width * stored_height // stored_width
    else:
        columns, rows = height * stored_width // stored_height, height
    if shorter is not None and max(columns, rows) <= LONGEST * shorter:
        left, top = round((columns - width) / 2), round((rows - height) / 2)
        return image.resize((columns, rows), BILINEAR).crop((left, top, left + width, top + height))
    box = (*_middle(columns, width, stored_width), *_middle(rows, height, stored_height))
    return image.resize((width, height), BILINEAR, box=(box[0], box[2], box[1], box[3]))


def _middle(resized: int, size: int, stored: int) -> tuple[float, float]:
    """Start and end of the middle `size` of `resized` pixels, in pixels of the `stored` image."""
    start = round((resized - size) / 2)
    return start * stored / resized, min(stored, (start + size) * stored / resized)
