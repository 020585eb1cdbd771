"""An image file: the facts of its header, and its pixels as a viewer shows them."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import IO, Literal, Protocol

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError, features

from kd_runner.datasets.decoding.headers import (
    ORIENTATION,
    SAMPLE_FORMAT,
    SIGNED,
    ImageFacts,
    count_frames,
    header_facts,
    orientation_in_memory,
    rawmode,
    scale_of_values,
    white_value,
)
from kd_runner.datasets.decoding.memory import bytes_to_decode, memory
from kd_runner.datasets.decoding.pixels import WHITE, Color, Ground, has_numbers, negative, to_rgb_or_gray, turn_upright
from kd_runner.datasets.decoding.tiff_directory import check_tags

MAX_PIXELS = 100_000_000  # limit for one file: up to 2.2 GB for a moment, and then no other file is decoded beside it

# The content of a file decides its format, not its name. Formats for which Pillow starts a program (PostScript:
# Ghostscript), calls the system (WMF), or opens what is registered elsewhere (BUFR, GRIB, HDF5) are not read.
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
# A warning that matters ends in an error; the others are about later frames and EXIF.
warnings.filterwarnings("ignore", module=r"PIL\.")


class PictureFile(Protocol):
    """A file with a picture: a `Path`, or a `PackedFile` inside another file. As a text it is its name."""

    @property
    def suffix(self) -> str: ...

    def open(self, mode: Literal["rb"]) -> IO[bytes]: ...


def facts(path: PictureFile) -> ImageFacts:
    """The facts in the header of the image file `path`; pixels are not decoded.

    Raises:
        ValueError: the file cannot be read; the message names it.
    """
    with open_image(path) as image:
        header = header_facts(image)
        return replace(header, frames=count_frames(image))


def decode(
    path: PictureFile, color: Color, ground: Ground = WHITE, max_pixels: int = MAX_PIXELS, white: float | None = None
) -> tuple[Image.Image, ImageFacts]:
    """The picture that `open_picture` gives, and the facts of its header."""
    with open_picture(path, color, ground, max_pixels, white) as result:
        return result


@contextmanager
def open_picture(
    path: PictureFile, color: Color, ground: Ground = WHITE, max_pixels: int = MAX_PIXELS, white: float | None = None
) -> Iterator[tuple[Image.Image, ImageFacts]]:
    """The picture in the file `path` as a viewer shows it, in Pillow's mode RGB or L, and the facts of its header.

    During the block its memory counts in what threads share: others wait where it is too much.

    Pixels with more than 8 bits are scaled to 8. Of colours with 16 bits the higher byte is taken, as Pillow does.

    Args:
        ground: The colour that images with transparency are laid on.
        max_pixels: The most pixels, width times height, that the file may have.
        white: The value that is white in pixels with more than 8 bits; None: the value of the file's format.
            Values above it are white as well.

    Raises:
        ValueError: the file cannot be read, or has more than `max_pixels`; the message names it.
    """
    with open_image(path) as image:
        _refuse_large(image, max_pixels)
        with memory.reserve(bytes_to_decode(image)):
            yield _decode_opened(image, color, ground, white)


def picture_in_memory(
    image: Image.Image, color: Color, ground: Ground = WHITE, max_pixels: int = MAX_PIXELS, white: float | None = None
) -> Image.Image:
    """The picture `image` that a person opened or made with Pillow, as `decode` gives that of a file.

    Args:
        image: The picture; of several frames the current one is taken.
        ground, max_pixels, white: The arguments of `open_picture` with these names.

    Raises:
        ValueError: the picture cannot be decoded, is too large, or does not say which values are black and white.
    """
    try:
        if isinstance(image, ImageFile.ImageFile) and image.tile:  # whose pixels are still in its file
            _refuse_large(image, max_pixels)
            with _without_memory_map(image):
                return _picture_of_opened(image, color, ground, white)[0]
        format_white = 65535.0 if image.mode.startswith("I;16") else None
        picture = to_rgb_or_gray(image, color, ground, white or format_white, white_of_fractions=white is not None)
        return turn_upright(picture, orientation_in_memory(image))
    except Exception as error:  # on broken files Pillow's readers raise nearly every kind of error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"a picture of {image.width} x {image.height} pixels cannot be read: {reason}") from error


@contextmanager
def _without_memory_map(image: ImageFile.ImageFile) -> Iterator[None]:
    """Have Pillow read the file, not map it into memory, in this block: it maps a TIFF on its side wrongly."""
    path = image.filename
    image.filename = ""
    try:
        yield
    finally:
        image.filename = path


def _refuse_large(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise ValueError(
            f"{image.width} x {image.height} pixels are more than {max_pixels} in all (dataset.max_pixels)"
        )


def _decode_opened(
    image: ImageFile.ImageFile, color: Color, ground: Ground, white: float | None
) -> tuple[Image.Image, ImageFacts]:
    """The picture in an opened file, and the facts of its header, as `decode` returns them."""
    picture, header = _picture_of_opened(image, color, ground, white)
    return picture, replace(header, frames=count_frames(image))


def _picture_of_opened(
    image: ImageFile.ImageFile, color: Color, ground: Ground, white: float | None
) -> tuple[Image.Image, ImageFacts]:
    """The picture in an opened file, and the facts of its header without the number of frames."""
    header, layout, format_white = header_facts(image), rawmode(image), white_value(image)
    scale = scale_of_values(image)
    image.load()
    if header.bits > 8:
        if white is not None and not has_numbers(image):
            raise ValueError("its colours have 16 bits, of which 8 are read: dataset.white must be null for them")
        brightest, limit = _brightness(image, format_white)
        header = replace(header, brightest=brightest / scale, white=round(limit / scale))
    _mend_transparency(image, layout)
    named_white = None if white is None else white * scale
    values = _mend_tiff_values(image, named_white)
    value_of_white = format_white if named_white is None else named_white
    picture = to_rgb_or_gray(values, color, ground, value_of_white, white_of_fractions=named_white is not None)
    if not _is_upright_already(image):
        picture = turn_upright(picture, header.orientation)
    return picture, header


@contextmanager
def open_image(path: PictureFile) -> Iterator[ImageFile.ImageFile]:
    """Pillow's image of `path`, the one way to a file of others; any error inside becomes one that names the file."""
    suffix = path.suffix.lower()
    formats = [*readable_formats(), FORMATS_BY_SUFFIX[suffix]] if suffix in FORMATS_BY_SUFFIX else readable_formats()
    try:
        # Of a path Pillow would map the file, which it does wrongly with a TIFF that lies on its side.
        with path.open("rb") as file:
            check_tags(file)
            with Image.open(file, formats=formats) as image:
                yield image
    except UnidentifiedImageError:
        raise ValueError(f"{path} cannot be read as an image: {_reason_unknown(path)}") from None
    except Exception as error:  # on broken files Pillow's readers raise nearly every kind of error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} cannot be read as an image: {reason}") from error


@functools.cache
def readable_formats() -> list[str]:
    """Pillow's names of the formats that are known by the content of a file, and can be read here."""
    Image.init()
    if HAS_HEIF:
        with suppress(ImportError):
            importlib.import_module("pillow_heif").register_heif_opener()
    return [name for name in FORMATS if name in Image.OPEN]


def _reason_unknown(path: PictureFile) -> str:
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
    return f"it is broken at its start, or none of {', '.join(readable_formats())}"


def _brightness(image: Image.Image, white: int | None) -> tuple[float, int]:
    """The largest value of pixels with more than 8 bits, and the value that is white beside it, 0 if unknown."""
    if not has_numbers(image):  # the higher bytes of 16 bits
        channels = [channel for band, channel in zip(image.getbands(), image.split(), strict=True) if band not in "aA"]
        return max(int(np.asarray(channel).max()) for channel in channels) * 257, 65535
    return np.asarray(image).max().item(), 1 if image.mode == "F" else white or 0


def _mend_tiff_values(image: ImageFile.ImageFile, white: float | None) -> Image.Image:
    """The right values of a TIFF with signed pixels, or in which 0 is white: Pillow gives their bits as they are."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return image
    if image.mode == "L" and SIGNED in image.tag_v2.get(SAMPLE_FORMAT, ()):
        return Image.fromarray(np.asarray(image).view(np.int8).astype(np.int32))
    zero_is_white = image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    return negative(image, white) if zero_is_white and (image.mode.startswith("I;16") or image.mode == "F") else image


def _mend_transparency(image: Image.Image, layout: str) -> None:
    """Scale the transparent colour of a PNG to 8 bits: Pillow scales the pixels and not this colour."""
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and image.mode == "1":  # only later versions of Pillow scale this one
        image.info["transparency"] = 255 if transparent else 0
    elif isinstance(transparent, int) and layout in FACTOR_OF_GRAY:
        image.info["transparency"] = min(transparent * FACTOR_OF_GRAY[layout], 255)
    elif isinstance(transparent, tuple) and layout.startswith("RGB;16"):
        image.info["transparency"] = tuple(value >> 8 for value in transparent)


def _is_upright_already(image: ImageFile.ImageFile) -> bool:
    """True where Pillow turned the picture while it loaded, as its later versions do with a TIFF."""
    return isinstance(image, TiffImagePlugin.TiffImageFile) and ORIENTATION not in image.tag_v2
