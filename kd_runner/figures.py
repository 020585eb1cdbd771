"""Figures of what `kd_runner.analysis` found, each a function of it; None where there is nothing to show."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

Analysis = dict[str, Any]

matplotlib.rcParams |= {
    "svg.fonttype": "none",
    "svg.hashsalt": "kd_runner",
    "font.family": "sans-serif",
    "font.size": 9,
}
BLUE, ORANGE, GRAY = "#2f6690", "#d1603d", "#8a8f98"
COLORS = {"teacher": GRAY, "baseline": ORANGE, "student": BLUE}
NUMBERED = 12  # classes up to which a confusion matrix has its numbers written in
NAMED = 30  # and the names of its classes
MOST_CLASSES = 30  # whose change is shown
SMALL = 8


def confusion(analysis: Analysis) -> Figure:
    """Teacher, student, and student less teacher, in percent of the images of each row's class."""
    shown = analysis["confusion_classes"]
    totals = np.array(analysis["test_images"], float)[shown, None]
    teacher, student = (
        100 * np.array(analysis["networks"][role]["confusion"]) / np.maximum(totals, 1)
        for role in ("teacher", "student")
    )
    names = [shortened(analysis["classes"][each], 14) for each in shown] if len(shown) <= NAMED else []
    longest = max(map(len, names), default=0)
    side = 3.4 if len(shown) <= NUMBERED else 4.2
    left, bottom = 0.45 + 0.07 * longest, 0.45 + 0.07 * longest
    width, height = left + 3 * side + 0.5, bottom + side + 0.35
    figure = Figure(figsize=(width, height))
    difference = student - teacher
    most = max(1.0, float(np.abs(difference).max()))
    panels = (
        ("teacher", teacher, "Blues", 0.0, 100.0, "{:.0f}"),
        ("student", student, "Blues", 0.0, 100.0, "{:.0f}"),
        ("student − teacher, points", difference, "RdBu_r", -most, most, "{:+.0f}"),
    )
    for column, (title, values, colors, low, high, form) in enumerate(panels):
        axes = figure.add_axes(((left + column * (side + 0.2)) / width, bottom / height, side / width, side / height))
        axes.imshow(values, cmap=colors, vmin=low, vmax=high, aspect="auto")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("predicted", fontsize=SMALL)
        axes.tick_params(length=0, labelsize=SMALL)
        axes.set_xticks(range(len(names)), names, rotation=90 if longest > 2 else 0)
        axes.set_yticks([], [])
        if column == 0:
            axes.set_yticks(range(len(names)), names)
            axes.set_ylabel("label", fontsize=SMALL)
        if len(shown) <= NUMBERED:
            _write_numbers(axes, values, form, high)
    return figure


def _write_numbers(axes: Axes, values: np.ndarray, form: str, darkest: float) -> None:
    for (row, column), value in np.ndenumerate(values):
        if abs(value) >= 0.5:
            color = "white" if abs(value) > 0.6 * darkest else "black"
            axes.text(column, row, form.format(value), ha="center", va="center", color=color, fontsize=SMALL - 1)


def reliability(analysis: Analysis) -> Figure:
    """Accuracy by confidence, as trained and after temperature scaling, a column for each network."""
    networks = analysis["networks"]
    width = 0.75 + 2.5 * len(networks)
    figure = Figure(figsize=(width, 5.4))
    grid = figure.subplots(2, len(networks), sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(left=0.65 / width, right=0.98, top=0.92, bottom=0.09, hspace=0.24, wspace=0.1)
    for row, (state, said) in enumerate((("before", "as trained"), ("after", "scaled"))):
        for axes, (role, network) in zip(grid[row], networks.items(), strict=True):
            axes.plot((0, 1), (0, 1), color="#c2c7cf", linewidth=1)
            found = network[state]
            if found is None:
                axes.set_title(role, fontsize=9)
                axes.text(0.5, 0.5, "no validation image is wrong:\nnothing to fit", ha="center", fontsize=SMALL)
            else:
                _draw_bins(axes, found, COLORS[role])
                scaled = f" at temperature {network['temperature']:.2f}" if row else ""
                axes.set_title(f"{role}{scaled}\nECE {found['ece']:.4f}, NLL {found['nll']:.4f}", fontsize=9)
            axes.set(xlim=(0, 1), ylim=(0, 1))
            axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
            axes.tick_params(labelsize=SMALL)
        grid[row][0].set_ylabel(f"accuracy, {said}", fontsize=SMALL)
    for axes in grid[1]:
        axes.set_xlabel("confidence", fontsize=SMALL)
    return figure


def _draw_bins(axes: Axes, found: dict[str, Any], color: str) -> None:
    counts = np.array(found["counts"], float)
    filled = counts > 0
    middles = (np.arange(len(counts)) + 0.5) / len(counts)
    # How many images a bin has, as faint bars: a bin of three images says little.
    axes.bar(middles[filled], (counts / counts.max())[filled], width=0.9 / len(counts), color=color, alpha=0.18)
    confidences, accuracies = (np.array(found[each], float)[filled] for each in ("confidences", "accuracies"))
    axes.plot(confidences, accuracies, "o-", color=color, markersize=4, linewidth=1.5)


def class_change(analysis: Analysis) -> Figure | None:
    """The student's accuracy less the baseline's, by class, the largest changes if there are many."""
    if "baseline" not in analysis["networks"]:
        return None
    baseline, student = (
        np.array(analysis["networks"][role]["class_accuracy"], float) for role in ("baseline", "student")
    )
    change = 100 * (student - baseline)
    tested = np.flatnonzero(~np.isnan(change))
    chosen = tested[np.argsort(-np.abs(change[tested]), kind="stable")[:MOST_CLASSES]]
    chosen = chosen[np.argsort(-change[chosen], kind="stable")]
    height = 0.9 + 0.24 * len(chosen)
    figure = Figure(figsize=(6.4, height))
    axes = figure.add_axes((0.24, 0.55 / height, 0.73, (0.24 * len(chosen) + 0.1) / height))
    places = np.arange(len(chosen))
    axes.barh(places, change[chosen], color=[BLUE if value >= 0 else ORANGE for value in change[chosen]])
    axes.axvline(0, color="black", linewidth=0.8)
    names = [f"{shortened(analysis['classes'][each], 16)} ({analysis['test_images'][each]})" for each in chosen]
    axes.set_yticks(places, names)
    axes.set_ylim(len(chosen) - 0.4, -0.6)
    axes.tick_params(labelsize=SMALL, left=False)
    title = "student − baseline, points of accuracy, by class (test images)"
    axes.set_title(title, fontsize=10, loc="left", x=-0.3)
    _bare(axes)
    return figure


def disagreements(analysis: Analysis) -> Figure:
    """The images on which teacher and student differ most, with what each says."""
    found = analysis["disagreements"]
    columns = min(8, len(found))
    rows = -(-len(found) // columns)
    figure, axes = _canvas(1.3 * columns, 1.95 * rows, columns, 1.5 * rows)
    names = analysis["classes"]
    for number, each in enumerate(found):
        across, down = number % columns, 1.5 * (number // columns)
        _place(axes, each["image"], across + 0.08, down + 0.03, 0.84)
        lines = [("label", names[each["label"]], "")]
        for role in ("teacher", "student"):
            said = each[role]
            lines.append((role, names[said["class"]], f", {100 * said['probability']:.0f} %"))
        for line, (role, name, probability) in enumerate(lines):
            right = role == "label" or name == names[each["label"]]
            text = f"{role[0].upper()}: {shortened(name, 11)}{probability}"
            axes.text(
                across + 0.08, down + 0.98 + 0.15 * line, text, fontsize=SMALL, color="black" if right else "#b03a2e"
            )
    return figure


def soft_targets(analysis: Analysis) -> Figure:
    """Training images, and the classes that the teacher finds most probable at the temperature it teaches with."""
    found = analysis["soft_targets"]["examples"]
    names = analysis["classes"]
    columns = min(4, len(found))
    rows = -(-len(found) // columns)
    figure, axes = _canvas(2.75 * columns, 1.3 * rows, 2.3 * columns, 1.1 * rows)
    lefts, tops, widths, colors = [], [], [], []
    for number, each in enumerate(found):
        across, down = 2.3 * (number % columns), 1.1 * (number // columns)
        _place(axes, each["image"], across + 0.02, down + 0.12, 0.86)
        for place, guess in enumerate(each["top"]):
            lefts.append(across + 0.95)
            tops.append(down + 0.2 + 0.175 * place)
            widths.append(1.2 * guess["probability"])
            colors.append(BLUE if guess["class"] == each["label"] else "#c2c7cf")
            text = f"{shortened(names[guess['class']], 13)}, {100 * guess['probability']:.0f} %"
            axes.text(lefts[-1] + 0.04, tops[-1], text, va="center", fontsize=SMALL - 0.5)
    axes.barh(tops, widths, 0.15, lefts, color=colors, alpha=0.55)
    return figure


def precision_recall(analysis: Analysis) -> Figure | None:
    """A curve for each class, a panel for each network; None where there are too many classes."""
    networks = analysis["networks"]
    if any(network["precision_recall"] is None for network in networks.values()):
        return None
    figure = Figure(figsize=(0.6 + 3.0 * len(networks) + 1.1, 3.3))
    width = figure.get_figwidth()
    grid = figure.subplots(1, len(networks), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.6 / width, right=1 - 1.2 / width, top=0.91, bottom=0.14, wspace=0.06)
    for axes, (role, network) in zip(grid, networks.items(), strict=True):
        curves = network["precision_recall"]
        for number, name in enumerate(analysis["classes"]):
            if curves["average"][number] is None:
                continue
            predicted, hits = (np.array(curves[each][number], float) for each in ("predicted", "hits"))
            let = predicted > 0
            axes.plot(
                hits[let] / hits[0],
                hits[let] / predicted[let],
                color=f"C{number}",
                linewidth=1.2,
                label=shortened(name, 14),
            )
        mean = np.mean([value for value in curves["average"] if value is not None])
        axes.set_title(f"{role}: mean average precision {mean:.4f}", fontsize=9)
        axes.set_xlabel("recall", fontsize=SMALL)
        axes.tick_params(labelsize=SMALL)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
        axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))
        _bare(axes)
    grid[0].set_ylabel("precision", fontsize=SMALL)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="center right", fontsize=SMALL, frameon=False)
    return figure


def closeness(analysis: Analysis) -> Figure | None:
    """Agreement with the teacher and KL to it on the validation images, over the student's epochs."""
    epochs = analysis["epochs"].get("student", [])
    if len(epochs) < 2:
        return None
    figure = Figure(figsize=(7.6, 2.9))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.07, right=0.98, top=0.89, bottom=0.16, wspace=0.18)
    steps = np.arange(1, len(epochs) + 1)
    left.plot(steps, [100 * each["val_agreement"] for each in epochs], color=BLUE)
    left.set_title("agreement with the teacher, %", fontsize=9)
    right.plot(steps, [each["val_kl_to_teacher"] for each in epochs], color=BLUE)
    right.set_title("KL(teacher || student), nats", fontsize=9)
    for axes in (left, right):
        axes.set_xlabel("epoch of the student; validation images", fontsize=SMALL)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize=SMALL)
        _bare(axes)
    return figure


# Title, caption and function of each, in the order in which they are shown.
FIGURES: tuple[tuple[str, str, Callable[[Analysis], Figure | None]], ...] = (
    (
        "Confusion matrices",
        "Test images in percent of each label's: teacher, student, and where the student predicts a class more (red) "
        "or less (blue) often than the teacher.",
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
    (
        "Precision and recall",
        "Each class against the others, on the test images.",
        precision_recall,
    ),
    (
        "Closeness to the teacher",
        "On the validation images, over the student's training.",
        closeness,
    ),
)


def _canvas(width: float, height: float, across: float, down: float) -> tuple[Figure, Axes]:
    """One axes over the whole figure, whose coordinates run from the top left to `across`, `down`."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.set(xlim=(0, across), ylim=(down, 0), autoscale_on=False)
    return figure, axes


def _place(axes: Axes, image: str, left: float, top: float, side: float) -> None:
    """Draw a thumbnail, a PNG in base64."""
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image))))
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    axes.imshow(pixels, extent=(left, left + side, top + side, top), interpolation="nearest", aspect="auto")


def _bare(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def shortened(name: str, length: int) -> str:
    """The name, with an ellipsis where it is longer than that."""
    return name if len(name) <= length else f"{name[: length - 1]}…"
