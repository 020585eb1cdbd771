"""An image file: what its header says, and its pixels as a viewer shows them."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError, features

from kd_runner.datasets.pixels import WHITE, Color, Ground, flat, negative, turned

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

GRAY_MODES = ("1", "L", "LA", "La", "I", "F")
ORIENTATION = 0x0112  # EXIF's and TIFF's tag
SAMPLE_FORMAT = 339  # TIFF's tag
SIGNED = 2
SIXTEEN_BITS = re.compile(r"^(I|L|LA|RGB|RGBA|RGBa|RGBX|CMYK);16")  # and not BMP's BGR;16, which is 5 bits a channel
FACTOR_OF_GRAY = {"L;2": 85, "L;4": 17}

# Our own limit is checked before anything is decoded, and its message names the file and the setting.
Image.MAX_IMAGE_PIXELS = None
# What matters of them ends in an error; the rest is about further frames and EXIF.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class ImageFacts:
    """What the header of an image file says.

    Args:
        width: Pixels from left to right as the picture is shown, turned as its orientation says.
        height: Pixels from top to bottom as the picture is shown.
        mode: Pillow's name of the kind of pixels.
        channels: Whether the pixels have colours; a palette counts as colour.
        bits: Bits of a channel in the file.
        alpha: Whether pixels can be transparent.
        orientation: EXIF's, 1 (upright) to 8.
        frames: Pictures in the file. The further pictures of an MPO file are previews and gain maps, and not counted.
    """

    width: int
    height: int
    mode: str
    channels: Literal["gray", "color"]
    bits: int
    alpha: bool
    orientation: int
    frames: int


def facts(path: Path) -> ImageFacts:
    """What the header of the image file `path` says, without decoding the pixels.

    Raises:
        ValueError: naming the file that cannot be read.
    """
    with _opened(path) as image:
        header = _header(image)
        return replace(header, frames=_frames(image))


def decode(
    path: Path, color: Color, ground: Ground = WHITE, max_pixels: int = MAX_PIXELS
) -> tuple[Image.Image, ImageFacts]:
    """The picture in the file `path` as a viewer shows it, in Pillow's mode RGB or L, and what its header says.

    Pixels of more than 8 bits are scaled to 8, those of a colour with 16 bits by their higher byte, as Pillow has it.

    Raises:
        ValueError: naming the file that cannot be read, or is larger than `max_pixels`.
    """
    with _opened(path) as image:
        if image.width * image.height > max_pixels:
            raise ValueError(
                f"{image.width} x {image.height} pixels are more than {max_pixels} in all (dataset.max_pixels)"
            )
        header, rawmode, white = _header(image), _rawmode(image), _white(image)
        image.load()
        _mend_transparency(image, rawmode)
        picture = flat(_meant(image), color, ground, white)
        if not _turned_already(image):
            picture = turned(picture, header.orientation)
        return picture, replace(header, frames=_frames(image))


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
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


def _header(image: ImageFile.ImageFile) -> ImageFacts:
    """What is known before the pixels are decoded, but for the number of frames."""
    orientation = _orientation(image)
    width, height = _stored_size(image)
    if orientation >= 5:
        width, height = height, width
    rawmode = _rawmode(image)
    gray = image.mode in GRAY_MODES or image.mode.startswith("I;16") or rawmode.startswith("LA;")
    return ImageFacts(
        width=width,
        height=height,
        mode=image.mode,
        channels="gray" if gray else "color",
        bits=_bits(image, rawmode),
        alpha=image.has_transparency_data,
        orientation=orientation,
        frames=1,
    )


def _rawmode(image: ImageFile.ImageFile) -> str:
    """Pillow's name of how pixels lie in the file, empty where it has none."""
    arguments: Any = image.tile[0][3] if image.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _bits(image: ImageFile.ImageFile, rawmode: str) -> int:
    if image.mode == "1":
        return 1
    if rawmode == "I;12":
        return 12
    if image.format == "PPM" and image.mode != "F":
        return 16 if _largest_of_ppm(image) > 255 else 8
    if SIXTEEN_BITS.match(rawmode) or image.mode.startswith("I;16"):
        return 16
    return 32 if image.mode in ("I", "F") else 8


def _largest_of_ppm(image: ImageFile.ImageFile) -> int:
    """The value that a PPM file's header calls white."""
    arguments: Any = image.tile[0][3]
    if image.mode == "I" and isinstance(arguments, str):
        return 65535
    return int(arguments[1]) if isinstance(arguments, tuple) else 255


def _white(image: ImageFile.ImageFile) -> int | None:
    """The value of white of pixels of more than 8 bits; None where the format does not say.

    Pillow reads gray of 16 bits as I;16 or, in older versions, as I, and scales that of a PPM to 65535.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile) and SIGNED in image.tag_v2.get(SAMPLE_FORMAT, ()):
        return None
    if image.mode.startswith("I;16"):
        return 4095 if _rawmode(image) == "I;12" else 65535
    return 65535 if image.mode == "I" and image.format in ("PNG", "PPM", "JPEG2000") else None


def _meant(image: ImageFile.ImageFile) -> Image.Image:
    """The values of a TIFF that has a sign, or calls 0 white, where Pillow gives the bits as they are."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return image
    if image.mode == "L" and SIGNED in image.tag_v2.get(SAMPLE_FORMAT, ()):
        return Image.fromarray(np.asarray(image).view(np.int8).astype(np.int32))
    zero_is_white = image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    return negative(image) if zero_is_white and (image.mode.startswith("I;16") or image.mode == "F") else image


def _mend_transparency(image: Image.Image, rawmode: str) -> None:
    """Pillow gives the transparent colour of a PNG in the file's bits, and the pixels in 8."""
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and rawmode in FACTOR_OF_GRAY:
        image.info["transparency"] = min(transparent * FACTOR_OF_GRAY[rawmode], 255)
    elif isinstance(transparent, tuple) and rawmode.startswith("RGB;16"):
        image.info["transparency"] = tuple(value >> 8 for value in transparent)


def _turned_already(image: ImageFile.ImageFile) -> bool:
    """Whether Pillow turned the picture while it loaded, as its later versions do with a TIFF."""
    return isinstance(image, TiffImagePlugin.TiffImageFile) and ORIENTATION not in image.tag_v2


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF's orientation, 1 where there is none or it is nonsense: viewers show such pictures as they lie."""
    value: Any = 1
    with suppress(Exception):
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            value = image.tag_v2.get(ORIENTATION, 1)
        elif image.format == "PNG" and image.fp is not None:
            # A PNG's own getexif would decode the picture to see whether something stands behind it.
            value = Image.Image.getexif(image).get(ORIENTATION) or _orientation_behind_pixels(image.fp)
        else:
            value = image.getexif().get(ORIENTATION, 1)
    return int(value) if value in range(1, 9) else 1


def _orientation_behind_pixels(file: IO[bytes]) -> int:
    """The orientation in a PNG's eXIf chunk, wherever it is; the place in `file` stays."""
    start = file.tell()
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"eXIf":
                exif = Image.Exif()
                exif.load(b"Exif\0\0" + file.read(length))
                return int(exif.get(ORIENTATION, 1))
            file.seek(length + 4, 1)
    finally:
        file.seek(start)
    return 1


def _stored_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """Width and height as the pixels lie in the file; of a TIFF, Pillow's versions give one or the other."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(image.tag_v2[TiffImagePlugin.IMAGEWIDTH]), int(image.tag_v2[TiffImagePlugin.IMAGELENGTH])
    return image.size


def _frames(image: ImageFile.ImageFile) -> int:
    if image.format == "MPO":
        return 1
    with suppress(Exception):  # a broken second frame leaves the first one whole
        return int(getattr(image, "n_frames", 1))
    return 1
