"""Figures of what `kd_runner.analysis` found, each a function of it; None where there is nothing to show."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from kd_runner import run_pictures
from kd_runner.canvas import Canvas
from kd_runner.report import nats
from kd_runner.run_pictures import most_changed

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
    names = [shortened(named[number], 14) for number in shown] if len(shown) <= NAMED else []
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
        name = f"{shortened(names[each], 18)} ({analysis['test_images'][each]})"
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
        canvas.text(left, top + 1.36, f"L: {shortened(names[each['label']], 15)}", "lm")
        for line, role in enumerate(("teacher", "student"), 1):
            said = each[role]
            text = f"{role[0].upper()}: {shortened(names[said['class']], 10)}, {100 * said['probability']:.0f} %"
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
            text = f"{shortened(names[guess['class']], 14)}, {100 * guess['probability']:.0f} %"
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
    return [name["full"] for name in run_pictures.class_names(analysis)]


def shortened(name: str, length: int) -> str:
    """The name, with an ellipsis where it is longer than that."""
    return name if len(name) <= length else f"{name[: length - 1]}…"
