"""The facts in the header of an image file, as Pillow has them before any pixel is decoded."""

from __future__ import annotations

import re
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, Literal

from PIL import Image, ImageFile, TiffImagePlugin

from kd_runner.datasets.decoding.tiff_directory import MOST_PAGES, has_sound_tags

GRAY_MODES = ("1", "L", "LA", "La", "I", "F")
ORIENTATION = 0x0112  # EXIF's and TIFF's tag
SAMPLE_FORMAT = 339  # TIFF's tag
SIGNED = 2
SIXTEEN_BITS = re.compile(r"^(I|L|LA|RGB|RGBA|RGBa|RGBX|CMYK);16")  # and not BMP's BGR;16, which is 5 bits a channel


@dataclass(frozen=True)
class ImageFacts:
    """The facts in the header of an image file.

    Args:
        width: Pixels from left to right as the picture is shown, turned as its orientation says.
        height: Pixels from top to bottom as the picture is shown.
        mode: Pillow's name of the kind of pixels.
        channels: `color` or `gray`; a palette counts as colour.
        bits: Bits of a channel in the file.
        alpha: True where pixels can be transparent.
        orientation: EXIF's number, 1 (upright) to 8.
        frames: Pictures in the file. An MPO file counts as one: its other pictures are previews and gain maps.
        brightest: The largest value of decoded pixels with more than 8 bits; None for all others.
        white: The value that is white in the file's format beside `brightest`, 0 where it does not say.
    """

    width: int
    height: int
    mode: str
    channels: Literal["gray", "color"]
    bits: int
    alpha: bool
    orientation: int
    frames: int
    brightest: float | None = field(default=None, compare=False)
    white: int = field(default=0, compare=False)


def header_facts(image: ImageFile.ImageFile) -> ImageFacts:
    """The facts that are known before the pixels are decoded, without the number of frames."""
    orientation = _orientation(image)
    width, height = _stored_size(image)
    if orientation >= 5:
        width, height = height, width
    layout = rawmode(image)
    gray = image.mode in GRAY_MODES or image.mode.startswith("I;16") or layout.startswith("LA;")
    return ImageFacts(
        width=width,
        height=height,
        mode=image.mode,
        channels="gray" if gray else "color",
        bits=_bits(image, layout),
        alpha=image.has_transparency_data,
        orientation=orientation,
        frames=1,
    )


def rawmode(image: ImageFile.ImageFile) -> str:
    """Pillow's name of the order of pixels in the file, empty where it has none."""
    arguments: Any = image.tile[0][3] if image.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _bits(image: ImageFile.ImageFile, layout: str) -> int:
    if image.mode == "1":
        return 1
    if layout == "I;12":
        return 12
    if image.format == "PPM" and image.mode != "F":
        return 16 if _largest_of_ppm(image) > 255 else 8
    if SIXTEEN_BITS.match(layout) or image.mode.startswith("I;16"):
        return 16
    return 32 if image.mode in ("I", "F") else 8


def _largest_of_ppm(image: ImageFile.ImageFile) -> int:
    """The value that a PPM file's header calls white."""
    arguments: Any = image.tile[0][3]
    if image.mode == "I" and isinstance(arguments, str):
        return 65535
    return int(arguments[1]) if isinstance(arguments, tuple) else 255


def scale_of_values(image: ImageFile.ImageFile) -> float:
    """The factor by which Pillow's values are larger than those in the file."""
    return 65535 / _largest_of_ppm(image) if image.format == "PPM" and image.mode == "I" else 1


def white_value(image: ImageFile.ImageFile) -> int | None:
    """The value that is white in pixels of more than 8 bits; None where the format does not say.

    Pillow reads gray of 16 bits as I;16 or, in older versions, as I, and scales that of a PPM to 65535.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile) and SIGNED in image.tag_v2.get(SAMPLE_FORMAT, ()):
        return None
    if image.mode.startswith("I;16"):
        return 4095 if rawmode(image) == "I;12" else 65535
    return 65535 if image.mode == "I" and image.format in ("PNG", "PPM", "JPEG2000") else None


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF's orientation; 1 where there is none or it is nonsense: viewers do not turn such pictures."""
    value: Any = 1
    with suppress(Exception):
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            value = image.tag_v2.get(ORIENTATION, 1)
        elif image.format == "PNG" and image.fp is not None:
            # A PNG's own getexif would decode the picture to see whether EXIF data follows it.
            early = Image.Image.getexif(image).get(ORIENTATION) if _has_sound_exif(image) else None
            value = early or _orientation_behind_pixels(image.fp)
        elif _has_sound_exif(image):
            value = image.getexif().get(ORIENTATION, 1)
    return int(value) if value in range(1, 9) else 1


def orientation_in_memory(image: Image.Image) -> int:
    """EXIF's orientation of an image that Pillow has decoded; 1 where there is none or it is nonsense."""
    value: Any = 1
    with suppress(Exception):
        if _has_sound_exif(image):
            value = image.getexif().get(ORIENTATION, 1)
    return int(value) if value in range(1, 9) else 1


def _has_sound_exif(image: Image.Image) -> bool:
    exif = image.info.get("exif")
    return not isinstance(exif, bytes) or has_sound_tags(exif)


def _orientation_behind_pixels(file: IO[bytes]) -> int:
    """The orientation in a PNG's eXIf chunk, wherever it is; the position in `file` is restored."""
    start = file.tell()
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            if name == b"eXIf":
                content = file.read(length)
                exif = Image.Exif()
                if has_sound_tags(content):
                    exif.load(b"Exif\0\0" + content)
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


def count_frames(image: ImageFile.ImageFile) -> int:
    """The number of pictures in the file; afterwards another one of them may be the current picture of `image`.

    Of a TIFF, whose pages take long to count, no more than MOST_PAGES are.
    """
    if image.format == "MPO":
        return 1
    if image.format != "TIFF":
        with suppress(Exception):  # the first frame can be read even if the second is broken
            return int(getattr(image, "n_frames", 1))
        return 1
    pages = 1
    with suppress(Exception):
        while pages < MOST_PAGES:
            image.seek(pages)
            pages += 1
    return pages
