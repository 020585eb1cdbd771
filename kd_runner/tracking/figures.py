"""Figures of what `kd_runner.evaluation.analysis` found, each a function of it; None where there is nothing to show."""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from kd_runner.evaluation.analysis import class_names as names_in_lengths
from kd_runner.evaluation.analysis import most_changed
from kd_runner.terminal import nats

Analysis = dict[str, Any]

BLUE, ORANGE, GRAY, RED = "#2f6690", "#d1603d", "#8a8f98", "#b03a2e"
LIGHT = "#d5d9df"
COLORS = {"teacher": GRAY, "baseline": ORANGE, "student": BLUE}
FAINT = {"teacher": "#e6e7ea", "baseline": "#f6e0d9", "student": "#dbe4eb"}
NUMBERED = 12  # classes up to which a confusion matrix has its numbers written in
NAMED = 30  # and the names of its classes


def confusion(analysis: Analysis) -> Image.Image:
    """Teacher, student, and student less teacher, in percent of the images of each row's class."""
    shown = analysis["confusion_classes"]
    totals = np.array(analysis["test_images"], float)[shown, None]
    teacher, student = (
        100 * np.array(analysis["networks"][role]["confusion"]) / np.maximum(totals, 1)
        for role in ("teacher", "student")
    )
    difference = student - teacher
    most = max(1.0, float(np.abs(difference).max()))
    named = class_names(analysis)
    names = [shorten(named[number], 14) for number in shown] if len(shown) <= NAMED else []
    longest = 0.075 * max(map(len, names), default=0)
    side, top = (3.4 if len(shown) <= NUMBERED else 4.2), 0.3
    left, cell = 0.4 + longest, side / len(shown)
    canvas = Canvas(left + 3 * side + 0.5, top + side + 0.4 + longest)
    panels = (
        ("teacher", teacher, 100.0, "{:.0f}"),
        ("student", student, 100.0, "{:.0f}"),
        ("student − teacher, points", difference, most, "{:+.0f}"),
    )
    for panel, (title, values, darkest, form) in enumerate(panels):
        start = left + panel * (side + 0.2)
        canvas.paste(shades(values / darkest), start, top, side, side)
        canvas.frame(start, top, side, side)
        canvas.text(start + side / 2, 0.15, title, size=10)
        canvas.text(start + side / 2, top + side + 0.25 + longest, "predicted")
        for number, name in enumerate(names):
            upright = longest > 0.15
            canvas.text(
                start + (number + 0.5) * cell, top + side + 0.05, name, "mt" if upright else "ma", upright=upright
            )
        if len(shown) <= NUMBERED:
            for row, column in zip(*np.nonzero(np.abs(values) >= 0.5), strict=True):
                value = float(values[row, column])
                place = start + (column + 0.5) * cell, top + (row + 0.5) * cell
                color = "white" if abs(value) > 0.6 * darkest else "black"
                canvas.text(*place, form.format(value), size=7, color=color)
    for number, name in enumerate(names):
        canvas.text(left - 0.06, top + (number + 0.5) * cell, name, "rm")
    canvas.text(0.15, top + side / 2, "label", upright=True)
    return canvas.picture


def shades(values: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of numbers in [-1, 1]: white is 0, blue is more, red is less."""
    ends = {sign: np.array([int(color[each : each + 2], 16) for each in (1, 3, 5)], float)
            for sign, color in ((1, "#1f5580"), (-1, RED))}  # fmt: skip
    end = np.where(values[..., None] >= 0, ends[1], ends[-1])
    share = np.minimum(np.abs(values), 1)[..., None]
    return np.rint(255 + share * (end - 255)).astype(np.uint8)


def reliability(analysis: Analysis) -> Image.Image:
    """Accuracy by confidence, as trained and after temperature scaling, a column for each network."""
    networks = analysis["networks"]
    side, left, top, gap = 2.2, 0.6, 0.5, 0.75
    canvas = Canvas(left + len(networks) * (side + 0.25), top + 2 * side + gap + 0.45)
    for column, (role, network) in enumerate(networks.items()):
        start = left + column * (side + 0.25)
        for row, state in enumerate(("before", "after")):
            floor = top + side + row * (side + gap)
            found = network[state]
            title = role
            if found is None:
                canvas.text(start + side / 2, floor - side / 2, "no validation image is wrong:\nnothing to fit")
            else:
                _draw_bins(canvas, found, role, start, floor, side)
                scaled = f" at temperature {network['temperature']:.2f}" if row else ""
                title = f"{role}{scaled}\nECE {found['ece']:.4f}, NLL {nats(found['nll'])}"
            canvas.frame(start, floor - side, side, side)
            canvas.text(start + side / 2, floor - side - 0.21, title, size=9)
            for share in (0, 0.5, 1):
                canvas.text(start + share * side, floor + 0.05, f"{share:g}", "ma")
                if column == 0:
                    canvas.text(start - 0.05, floor - share * side, f"{share:g}", "rm")
        canvas.text(start + side / 2, floor + 0.3, "confidence")
    for row, said in enumerate(("as trained", "scaled")):
        canvas.text(0.15, top + side / 2 + row * (side + gap), f"accuracy, {said}", upright=True)
    return canvas.picture


def _draw_bins(canvas: Canvas, found: dict[str, Any], role: str, left: float, floor: float, side: float) -> None:
    bins = list(zip(*(found[name] for name in ("counts", "confidences", "accuracies")), strict=True))
    width = side / len(bins)
    # How many images a bin has, as faint bars: a bin of three images says little.
    for number, (count, _, _) in enumerate(bins):
        height = side * count / max(found["counts"])
        if count:
            canvas.box(left + (number + 0.05) * width, floor - height, 0.9 * width, height, FAINT[role])
    canvas.line([(left, floor), (left + side, floor - side)], "#c2c7cf")
    points = [(left + side * confidence, floor - side * accuracy) for count, confidence, accuracy in bins if count]
    canvas.line(points, COLORS[role], 1.5)
    for point in points:
        canvas.dot(*point, COLORS[role])


def class_change(analysis: Analysis) -> Image.Image | None:
    """The student's accuracy less the baseline's, by class, the largest changes if there are many."""
    if "baseline" not in analysis["networks"]:
        return None
    change, chosen = most_changed(analysis)
    if not len(chosen):
        return None
    names = class_names(analysis)
    row, middle = 0.22, 4.2
    scale = 2.0 / max(1.0, float(np.abs(change[chosen]).max()))
    canvas = Canvas(7.0, 0.55 + row * len(chosen))
    canvas.text(0.1, 0.2, "student − baseline, points of accuracy, by class (test images)", "lm", size=10)
    for number, each in enumerate(chosen):
        place = 0.45 + (number + 0.5) * row
        name = f"{shorten(names[each], 18)} ({analysis['test_images'][each]})"
        canvas.text(1.6, place, name, "rm")
        value = float(change[each])
        length = abs(value) * scale
        canvas.box(middle - (length if value < 0 else 0), place - 0.08, length, 0.16, BLUE if value >= 0 else ORANGE)
        canvas.text(
            middle + (0.06 + length) * (1 if value >= 0 else -1), place, f"{value:+.1f}", "lm" if value >= 0 else "rm"
        )
    canvas.line([(middle, 0.42), (middle, 0.48 + row * len(chosen))], "black", 0.8)
    return canvas.picture


def disagreements(analysis: Analysis) -> Image.Image:
    """The images on which teacher and student differ most, with what each says."""
    found, names = analysis["disagreements"], class_names(analysis)
    columns = min(8, len(found))
    canvas = Canvas(1.4 * columns, 1.95 * -(-len(found) // columns))
    for number, each in enumerate(found):
        left, top = 1.4 * (number % columns) + 0.08, 1.95 * (number // columns) + 0.08
        canvas.paste(thumbnail(each["image"]), left, top, 1.24, 1.24)
        canvas.text(left, top + 1.36, f"L: {shorten(names[each['label']], 15)}", "lm")
        for line, role in enumerate(("teacher", "student"), 1):
            said = each[role]
            text = f"{role[0].upper()}: {shorten(names[said['class']], 10)}, {100 * said['probability']:.0f} %"
            color = "black" if said["class"] == each["label"] else RED
            canvas.text(left, top + 1.36 + 0.17 * line, text, "lm", color=color)
    return canvas.picture


def soft_targets(analysis: Analysis) -> Image.Image:
    """Training images, and the classes that the teacher finds most probable at the temperature it teaches with."""
    found, names = analysis["soft_targets"]["examples"], class_names(analysis)
    columns = min(4, len(found))
    canvas = Canvas(2.8 * columns, 1.3 * -(-len(found) // columns))
    for number, each in enumerate(found):
        left, top = 2.8 * (number % columns) + 0.08, 1.3 * (number // columns) + 0.1
        canvas.paste(thumbnail(each["image"]), left, top, 1.1, 1.1)
        for place, guess in enumerate(each["top"]):
            middle = top + 0.11 + 0.22 * place
            color = "#a9c1d3" if guess["class"] == each["label"] else LIGHT
            canvas.box(left + 1.18, middle - 0.09, 1.45 * guess["probability"], 0.18, color)
            text = f"{shorten(names[guess['class']], 14)}, {100 * guess['probability']:.0f} %"
            canvas.text(left + 1.22, middle, text, "lm")
    return canvas.picture


# Title, caption and function of each, in the order in which they are shown.
FIGURES: tuple[tuple[str, str, Callable[[Analysis], Image.Image | None]], ...] = (
    (
        "Confusion matrices",
        "Test images in percent of each label's: teacher, student, and where the student predicts a class more (blue) "
        "or less (red) often than the teacher.",
        confusion,
    ),
    (
        "Per-class change against the baseline",
        "Accuracy of the distilled student less that of the same network trained on labels alone, on the test images.",
        class_change,
    ),
    (
        "Reliability",
        "Accuracy by confidence on the test images, above as trained, below after temperature scaling with one "
        "temperature fitted on the validation images (Guo et al. 2017). On the diagonal, confidence can be trusted; "
        "bars show how many images a bin has.",
        reliability,
    ),
    (
        "Disagreements",
        "The test images on which teacher (T) and student (S) differ most, by total variation; L is the label, a "
        "prediction in red is wrong.",
        disagreements,
    ),
    (
        "Soft targets",
        "What the student is taught: the most probable classes of training images by the teacher, at the temperature "
        "of the last step; the label's bar is blue.",
        soft_targets,
    ),
)


def thumbnail(image: str) -> Image.Image:
    """From a PNG file in base64."""
    return Image.open(io.BytesIO(base64.b64decode(image))).convert("RGB")


def class_names(analysis: Analysis) -> list[str]:
    """The names of the classes, each in one line; a class without a visible name has its number."""
    return [name["full"] for name in names_in_lengths(analysis)]


def shorten(name: str, length: int) -> str:
    """The name, with an ellipsis where it is longer than that."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


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
