"""A sheet to draw on, in inches: figures with hundreds of texts take about a tenth of the time of matplotlib."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

DENSITY = 90  # pixels an inch
FINER = 2  # drawn so many times larger, then averaged: slanted lines become smooth
Color = str


@functools.cache
def _font(points: float) -> ImageFont.FreeTypeFont:
    # matplotlib brings a font with far more signs than Pillow's own, which class names may need.
    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(file, points / 72 * DENSITY * FINER)


class Canvas:
    """A white sheet; places are from its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        size = round(width * DENSITY) * FINER, round(height * DENSITY) * FINER
        self._image = Image.new("RGB", size, "white")
        self._draw = ImageDraw.Draw(self._image)

    @property
    def picture(self) -> Image.Image:
        """What was drawn."""
        return self._image.reduce(FINER)

    def text(
        self, x: float, y: float, text: str, anchor: str = "mm", size: float = 8, color: Color = "black",
        upright: bool = False,
    ) -> None:  # fmt: skip
        """Write at that place.

        Args:
            anchor: Which part of the text is there, as in Pillow: l, m, r and a, m, s (left, middle, right; top,
                middle, baseline).
            size: In points.
            upright: From below to above, around the place.
        """
        place = _pixels(x), _pixels(y)
        if not upright:
            self._draw.text(place, text, color, _font(size), anchor, align="center")
            return
        left, top, right, bottom = (round(each) for each in self._draw.textbbox((0, 0), text, _font(size)))
        beside = Image.new("RGB", (right - left, bottom - top), "white")
        ImageDraw.Draw(beside).text((-left, -top), text, color, _font(size))
        turned = beside.rotate(90, expand=True)
        down = {"t": 0, "m": turned.height // 2}[anchor[1]]
        self._image.paste(turned, (round(place[0]) - turned.width // 2, round(place[1]) - down))

    def line(self, points: Sequence[tuple[float, float]], color: Color, width: float = 1.0) -> None:
        """A line through the points; its width is in points."""
        places = [(_pixels(x), _pixels(y)) for x, y in points]
        self._draw.line(places, color, max(1, round(width / 72 * DENSITY * FINER)), joint="curve")

    def dot(self, x: float, y: float, color: Color) -> None:
        self._draw.circle((_pixels(x), _pixels(y)), 2 / 72 * DENSITY * FINER, color)

    def box(self, left: float, top: float, width: float, height: float, color: Color) -> None:
        """A filled rectangle."""
        corners = (_pixels(left), _pixels(top)), (_pixels(left + width), _pixels(top + height))
        self._draw.rectangle(corners, color)

    def frame(self, left: float, top: float, width: float, height: float) -> None:
        right, bottom = left + width, top + height
        self.line([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], "#8a8f98")

    def paste(self, pixels: np.ndarray | Image.Image, left: float, top: float, width: float, height: float) -> None:
        """An image, stretched to that size without smoothing."""
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        size = round(_pixels(width)), round(_pixels(height))
        self._image.paste(image.resize(size, Image.Resampling.NEAREST), (round(_pixels(left)), round(_pixels(top))))


def _pixels(inches: float) -> float:
    return inches * DENSITY * FINER
