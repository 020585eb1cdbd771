"""An image file: what its header says, and its pixels as a viewer shows them."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError, features

from kd_runner.datasets.headers import (
    ORIENTATION,
    SAMPLE_FORMAT,
    SIGNED,
    ImageFacts,
    count_frames,
    header_facts,
    rawmode,
    scale_of_values,
    white_value,
)
from kd_runner.datasets.pixels import WHITE, Color, Ground, flat, has_numbers, negative, turn_upright

MAX_PIXELS = 100_000_000  # of one file: 300 MB of RGB for a moment, in every thread that decodes

# A file is read as what it is, not as its name says. Not as PostScript, which would start Ghostscript, or documents.
FORMATS = (
    *("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG"),
    *("PPM", "QOI", "SGI", "SUN", "TIFF", "WEBP"),
)
FORMATS_BY_SUFFIX = {".dib": "DIB", ".pcx": "PCX", ".tga": "TGA"}  # anything could begin as these do

HAS_HEIF = importlib.util.find_spec("pillow_heif") is not None
SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".qoi", ".sgi", ".ras", ".tga", ".pcx"),
    *([".jp2", ".j2k", ".jpx", ".jpf"] if features.check("jpg_2000") else []),
    *([".avif"] if "avif" in features.modules and features.check("avif") else []),
    *([".heic", ".heif"] if HAS_HEIF else []),
}

LOOKS_LIKE = {
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"<?xml": "XML or SVG",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "a pointer of Git LFS, whose file was not fetched",
    b"PK\x03\x04": "a .zip archive",
    b"8BPS": "a Photoshop document",
}

FACTOR_OF_GRAY = {"L;2": 85, "L;4": 17}

# Our own limit is checked before anything is decoded, and its message names the file and the setting.
Image.MAX_IMAGE_PIXELS = None
# What matters of them ends in an error; the rest is about further frames and EXIF.
warnings.filterwarnings("ignore", module=r"PIL\.")


def facts(path: Path) -> ImageFacts:
    """What the header of the image file `path` says, without decoding the pixels.

    Raises:
        ValueError: naming the file that cannot be read.
    """
    with _open_image(path) as image:
        header = header_facts(image)
        return replace(header, frames=count_frames(image))


def decode(
    path: Path, color: Color, ground: Ground = WHITE, max_pixels: int = MAX_PIXELS, white: float | None = None
) -> tuple[Image.Image, ImageFacts]:
    """The picture in the file `path` as a viewer shows it, in Pillow's mode RGB or L, and what its header says.

    Pixels of more than 8 bits are scaled to 8, those of a colour with 16 bits by their higher byte, as Pillow has it.

    Args:
        white: The value that is white in pixels of more than 8 bits; None: the format's. Values above it are white.

    Raises:
        ValueError: naming the file that cannot be read, or is larger than `max_pixels`.
    """
    with _open_image(path) as image:
        if image.width * image.height > max_pixels:
            raise ValueError(
                f"{image.width} x {image.height} pixels are more than {max_pixels} in all (dataset.max_pixels)"
            )
        header, layout, of_format = header_facts(image), rawmode(image), white_value(image)
        scale = scale_of_values(image)
        image.load()
        if header.bits > 8:
            if white is not None and not has_numbers(image):
                raise ValueError("its colours have 16 bits, of which 8 are read: dataset.white must be null for them")
            brightest, highest = _brightness(image, of_format)
            header = replace(header, brightest=brightest / scale, white=round(highest / scale))
        _mend_transparency(image, layout)
        white = None if white is None else white * scale
        picture = flat(_meant(image, white), color, ground, of_format if white is None else white, white is not None)
        if not _turned_already(image):
            picture = turn_upright(picture, header.orientation)
        return picture, replace(header, frames=count_frames(image))


@contextmanager
def _open_image(path: Path) -> Iterator[ImageFile.ImageFile]:
    """Pillow's image of `path`; any error inside becomes one that names the file."""
    suffix = path.suffix.lower()
    formats = [*_formats(), FORMATS_BY_SUFFIX[suffix]] if suffix in FORMATS_BY_SUFFIX else _formats()
    try:
        # Of a path Pillow would map the file, which it does wrongly with a TIFF that lies on its side.
        with path.open("rb") as file, Image.open(file, formats=formats) as image:
            yield image
    except UnidentifiedImageError:
        raise ValueError(f"{path} cannot be read as an image: {_what_else(path)}") from None
    except Exception as error:  # on broken files Pillow's readers raise nearly everything that there is
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read as an image: {reason}") from error


@functools.cache
def _formats() -> list[str]:
    Image.init()
    if HAS_HEIF:
        with suppress(ImportError):
            importlib.import_module("pillow_heif").register_heif_opener()
    return [name for name in FORMATS if name in Image.OPEN]


def _what_else(path: Path) -> str:
    """Why Pillow knows no image in `path`."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        return "it is empty"
    if start[4:8] == b"ftyp" and start[8:11] in (b"hei", b"hev", b"mif", b"msf"):
        return "it is HEIF, which needs the package pillow-heif"
    if start[4:8] == b"ftyp" and start[8:11] == b"avi":
        return "it is AVIF, which needs Pillow 11.3 or later"
    for beginning, name in LOOKS_LIKE.items():
        if start.lstrip().lower().startswith(beginning.lower()):
            return f"it is {name}"
    return f"it is broken at its start, or none of {', '.join(_formats())}"


def _brightness(image: Image.Image, white: int | None) -> tuple[float, int]:
    """The largest value of pixels with more than 8 bits, and what is white beside it."""
    if not has_numbers(image):  # the higher bytes of 16 bits
        channels = [channel for band, channel in zip(image.getbands(), image.split(), strict=True) if band not in "aA"]
        return max(int(np.asarray(channel).max()) for channel in channels) * 257, 65535
    return np.asarray(image).max().item(), 1 if image.mode == "F" else white or 0


def _meant(image: ImageFile.ImageFile, white: float | None) -> Image.Image:
    """The values of a TIFF that has a sign, or calls 0 white, where Pillow gives the bits as they are."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return image
    if image.mode == "L" and SIGNED in image.tag_v2.get(SAMPLE_FORMAT, ()):
        return Image.fromarray(np.asarray(image).view(np.int8).astype(np.int32))
    zero_is_white = image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    return negative(image, white) if zero_is_white and (image.mode.startswith("I;16") or image.mode == "F") else image


def _mend_transparency(image: Image.Image, layout: str) -> None:
    """Pillow gives the transparent colour of a PNG in the file's bits, and the pixels in 8."""
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and image.mode == "1":  # only later versions of Pillow scale this one
        image.info["transparency"] = 255 if transparent else 0
    elif isinstance(transparent, int) and layout in FACTOR_OF_GRAY:
        image.info["transparency"] = min(transparent * FACTOR_OF_GRAY[layout], 255)
    elif isinstance(transparent, tuple) and layout.startswith("RGB;16"):
        image.info["transparency"] = tuple(value >> 8 for value in transparent)


def _turned_already(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow turned the picture while it loaded, as its later versions do with a TIFF."""
    return isinstance(image, TiffImagePlugin.TiffImageFile) and ORIENTATION not in image.tag_v2
