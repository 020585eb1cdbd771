"""Confusion matrices: which class a network predicts for the test images of each label."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from kd_runner.charts.figure import Figure, isolate
from kd_runner.charts.svg import (
    NORMAL,
    SMALL,
    TINY,
    Chart,
    Element,
    add,
    add_image,
    add_text,
    chart,
    fit_text,
    text_width,
)
from kd_runner.evaluation.analysis import class_names

NUMBERED = 12  # classes up to which the numbers are written in the cells
NAMED = 30  # classes up to which they have their names at the sides
BLUE, ORANGE = (37, 99, 160), (196, 84, 38)  # colours of matrices that are pixels, on light and on dark pages
SIDE, LARGEST_CELL, SMALLEST_NAMED_CELL = 264.0, 48.0, 12.0
LONGEST_NAME = 82.0  # pixels
TITLE = 24.0  # pixels above a matrix
STRONG = 0.55  # share of the darkest colour, above which a number is written in the colour of the page
SMALLEST_NUMBER = 0.5  # a smaller one would be written 0


@dataclass(frozen=True)
class Matrix:
    """Numbers for each pair of classes.

    Args:
        values: Float [n, n]; those below 0 are orange, those above it blue.
        darkest: The value of the darkest colour.
        form: The format of the numbers, as in Python's format strings.
    """

    title: str
    values: np.ndarray
    darkest: float
    form: str = ".0f"


def confusion(analysis: Mapping[str, Any]) -> Figure | None:
    """Teacher, student, and student less teacher, in percent of the test images of each row's label.

    None for a teacher without logits.

    Raises:
        ValueError: a matrix is not of those classes, or has more images than there are.
    """
    if "teacher" not in analysis["networks"]:
        return None
    shown = analysis["confusion_classes"]
    totals = np.array(analysis["test_images"], float)[shown, None]
    teacher, student = (shares_of_labels(analysis, role, totals) for role in ("teacher", "student"))
    difference = student - teacher
    largest = max(1.0, float(np.abs(difference).max()))
    all_names = class_names(analysis)
    names = [all_names[number] for number in shown]
    draw = matrix_of_numbers if len(shown) <= NUMBERED else matrix_of_pixels
    matrices = [
        Matrix("teacher", teacher, 100.0),
        Matrix("student", student, 100.0),
        Matrix("student − teacher, points", difference, largest, "+.0f"),
    ]
    return Figure(
        [draw(matrix, names) for matrix in matrices], _caption(names, len(all_names), int((totals == 0).sum()))
    )


def _caption(names: Sequence[Mapping[str, str]], classes: int, untested: int) -> str:
    sentences = [
        "Test images in percent of each label's (rows), by predicted class (columns); on the right, where the student "
        "predicts a class more (blue) or less (orange) often than the teacher."
    ]
    if len(names) > NUMBERED:
        which = f"The {len(names)} most confused of {classes} classes" if len(names) < classes else f"{classes} classes"
        first, last = (isolate(names[index]["full"]) for index in (0, -1))
        sentences.append(f"{which}, from {first} to {last}, in the order of their names.")
    if untested:
        sentences.append(f"A class without test images has an empty row: here {untested} of them.")
    return " ".join(sentences)


def shares_of_labels(analysis: Mapping[str, Any], role: str, totals: np.ndarray) -> np.ndarray:
    """A network's confusion matrix in percent of the test images of each row's label, `totals` [n, 1].

    Raises:
        ValueError: the matrix is not of those classes, or has more images than there are.
    """
    counts = np.array(analysis["networks"][role]["confusion"], float)
    if counts.shape != (len(totals), len(totals)) or (counts.sum(1, keepdims=True) > totals).any():
        raise ValueError("a confusion matrix must be [classes, classes] and count each test image once")
    return 100 * counts / np.maximum(totals, 1)


def matrix_of_numbers(matrix: Matrix, names: Sequence[Mapping[str, str]]) -> Chart:
    """A matrix with its numbers in the cells, which a screen reader reads as a table."""
    cell = min(LARGEST_CELL, SIDE / len(names))
    margin, top = name_margins(names, cell)
    figure = chart(
        margin + cell * len(names), top + cell * len(names), f"confusion matrix: {matrix.title}", role="table"
    )
    _write_title(figure.root, matrix.title, margin)
    header = add(figure.root, "g", role="row")
    _write_corner(add(header, "g", role="cell"), margin, top)
    _write_columns(header, names, cell, margin, top)
    for row, numbers in enumerate(matrix.values.tolist()):
        middle = top + (row + 0.5) * cell
        group = add(figure.root, "g", role="row")
        _write_row_name(group, names[row], margin, middle, SMALL)
        for column, number in enumerate(numbers):
            _draw_cell(group, matrix, number, margin + column * cell, middle - cell / 2, cell)
    return figure


def _draw_cell(row: Element, matrix: Matrix, value: float, x: float, y: float, side: float) -> None:
    share, sign = min(1.0, abs(value) / matrix.darkest), "more" if value >= 0 else "less"
    cell = add(row, "g", role="cell")
    if round(share, 2):
        add(cell, "rect", x=x, y=y, width=side - 1, height=side - 1, class_=sign, fill_opacity=0.9 * share)
    if abs(value) >= SMALLEST_NUMBER:
        size = "small" if side > 26 else "tiny"
        style = f"{size} middle inverse" if share > STRONG else f"{size} middle"
        add_text(cell, x + (side - 1) / 2, y + side / 2, f"{value:{matrix.form}}", style)


def matrix_of_pixels(matrix: Matrix, names: Sequence[Mapping[str, str]]) -> Chart:
    """A matrix as a picture with a pixel for each cell, with the names of its classes where they have room."""
    label = f"confusion matrix: {matrix.title}"
    if len(names) > NAMED:
        margin, top, side = 0.0, TITLE, SIDE + LONGEST_NAME
    else:
        margin, top = name_margins(names, SMALLEST_NAMED_CELL)
        side = max(SIDE, SMALLEST_NAMED_CELL * len(names))
    figure = chart(margin + side, top + side, label)
    _write_title(figure.root, matrix.title, margin)
    if len(names) <= NAMED:
        cell = side / len(names)
        _write_corner(figure.root, margin, top)
        _write_columns(figure.root, names, cell, margin, top)
        for row, name in enumerate(names):
            _write_row_name(figure.root, name, margin, top + (row + 0.5) * cell, TINY)
    add_image(figure.root, as_png(matrix.values / matrix.darkest), margin, top, side, side)
    add(figure.root, "rect", x=margin + 0.5, y=top + 0.5, width=side - 1, height=side - 1, class_="edge")
    return figure


def as_png(shares: np.ndarray) -> str:
    """A picture of shares in [-1, 1], a pixel each, orange below 0 and the fainter the nearer to it: PNG in base64."""
    pixels = np.zeros((*shares.shape, 4), np.uint8)
    pixels[..., :3] = np.where(shares[..., None] < 0, ORANGE, BLUE)
    pixels[..., 3] = np.clip(255 * np.abs(shares), 0, 255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def name_margins(names: Sequence[Mapping[str, str]], cell: float) -> tuple[float, float]:
    """The width and the height beside and above a matrix, with room for the names of its classes and its title."""
    longest = min(LONGEST_NAME, max(text_width(name["short"], SMALL) for name in names))
    return max(longest, text_width("predicted →", TINY)) + 8, TITLE + (NORMAL + 6 if longest <= cell else longest + 8)


def _write_title(root: Element, title: str, margin: float) -> None:
    add_text(root, margin, TITLE / 2, title, "soft")


def _write_corner(parent: Element, margin: float, top: float) -> None:
    """Write what the columns and the rows are."""
    add_text(parent, margin - 6, top - 16, "predicted →", "tiny soft end")
    add_text(parent, margin - 6, top - 5, "label ↓", "tiny soft end")


def _write_columns(parent: Element, names: Sequence[Mapping[str, str]], cell: float, margin: float, top: float) -> None:
    """Write the names of the classes above the columns: across where all of them fit, else upwards."""
    style = "small soft" if cell > 13 else "tiny soft"
    across = max(text_width(name["short"], SMALL) for name in names) <= cell
    for column, name in enumerate(names):
        x = margin + (column + 0.5) * cell
        if across:
            add_text(
                parent, x, top - NORMAL / 2 - 3, name["short"], f"{style} middle", name["full"], role="columnheader"
            )
            continue
        text = fit_text(name["short"], LONGEST_NAME, SMALL)
        turn = f"rotate(-90 {x:.6g} {top - 5:.6g})"
        add_text(parent, x, top - 5, text, style, name["full"], role="columnheader", transform=turn)


def _write_row_name(parent: Element, name: Mapping[str, str], margin: float, middle: float, size: float) -> None:
    style = "small soft end" if size >= SMALL else "tiny soft end"
    add_text(
        parent, margin - 6, middle, fit_text(name["short"], LONGEST_NAME, size), style, name["full"], role="rowheader"
    )
