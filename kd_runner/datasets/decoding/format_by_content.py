"""The format of an image file by its content, for files whose names do not say that they are images."""

from __future__ import annotations

from PIL import Image

from kd_runner.datasets.decoding.image_file import PictureFile, open_image, readable_formats

FIRST_BYTES = 16  # as many as Pillow looks at
JPEGS = {"MPO": "JPEG"}  # a JPEG of many phones, with a preview behind it


def image_format(path: PictureFile) -> str | None:
    """Pillow's name of the format of an image that we can read; None for any other file.

    The first bytes tell. Where they are those of an image, its header is read as well: a text may begin as a BMP does.
    """
    try:
        with path.open("rb") as file:
            start = file.read(FIRST_BYTES)
        if not any(_begins_as(name, start) for name in readable_formats()):
            return None
        with open_image(path) as image:
            return JPEGS.get(image.format or "", image.format)
    except (OSError, ValueError):
        return None


def _begins_as(name: str, start: bytes) -> bool:
    """True where these first bytes may be those of the format. Pillow's answer is a text where it cannot read it."""
    accepts = Image.OPEN[name][1]
    return bool(start) and accepts is not None and accepts(start) is True
