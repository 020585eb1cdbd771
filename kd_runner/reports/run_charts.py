"""The pictures of a run's report, from its analysis.json: what is drawn, and where, as in `kd_runner.reports.charts`.

TensorBoard's figures of the same data are pictures of a fixed size (kd_runner.tracking.figures). Here they follow the
width and the colours of the page, and cost a run's end a hundredth of a second instead of a second.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kd_runner.evaluation.analysis import class_names, most_changed
from kd_runner.reports.charts import lines, path
from kd_runner.terminal import nats

NUMBERED = 12  # classes up to which a confusion matrix is a table of numbers
BLUE, ORANGE = (37, 99, 160), (196, 84, 38)  # of confusion matrices that are pictures
CLOSENESS = (("val_agreement", 100.0, "agreement with the teacher, %"), ("val_kl_to_teacher", 1.0, "KL to it, nats"))


def run_pictures(analysis: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The pictures of an analysis by their keys, None where there is nothing to draw, and the titles of the failed.

    An analysis may be of another version, or edited: what does not fit together is not drawn.
    """
    drawn: dict[str, Any] = {}
    failed = []
    for key, (title, picture) in PICTURES.items():
        try:
            drawn[key] = picture(analysis)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            drawn[key] = None
            failed.append(title)
    return drawn, failed


def over_epochs(analysis: Mapping[str, Any]) -> dict[str, Any] | None:
    """Validation accuracy over the epochs, in percent, a line for each stage that was trained."""
    return lines(
        {
            stage: [100 * epoch["val_accuracy"] for epoch in epochs]
            for stage, epochs in analysis.get("epochs", {}).items()
        }
    )


def closeness(analysis: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """How close the student is to its teacher over its epochs: a title and a picture for each measure."""
    student = analysis.get("epochs", {}).get("student", [])
    pictures = [
        (title, lines({"student": [scale * epoch[key] for epoch in student if key in epoch]}))
        for key, scale, title in CLOSENESS
    ]
    return [(title, picture) for title, picture in pictures if picture]


def disagreements(analysis: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The images on which teacher and student differ most, with what each of them says."""
    names = class_names(analysis)
    return [
        {
            "image": as_thumbnail(example["image"]),
            "index": example["index"],
            "label": names[example["label"]],
            "guesses": [
                (role, names[guess["class"]], in_percent(guess["probability"]), guess["class"] != example["label"])
                for role, guess in ((role, example[role]) for role in ("teacher", "student"))
            ],
        }
        for example in analysis["disagreements"]
    ]


def soft_targets(analysis: Mapping[str, Any]) -> dict[str, Any]:
    """What the teacher says of some training images at the temperature that it teaches with."""
    names, taught = class_names(analysis), analysis["soft_targets"]
    examples = [
        {
            "image": as_thumbnail(example["image"]),
            "index": example["index"],
            "top": [
                (
                    names[guess["class"]],
                    guess["probability"],
                    in_percent(guess["probability"]),
                    guess["class"] == example["label"],
                )
                for guess in example["top"]
            ],
        }
        for example in taught["examples"]
    ]
    return {"temperature": f"{taught['temperature']:.3g}", "examples": examples}


def in_percent(share: float) -> str:
    """The share in percent, of a small one its first digit."""
    percent = 100 * share
    if percent >= 1 or not percent:
        return f"{percent:.0f}\u00a0%"
    return f"{percent:.1g}\u00a0%" if percent >= 0.01 else "<0.01\u00a0%"


def as_thumbnail(image: str) -> str:
    """The image, base64 of a PNG file.

    Raises:
        ValueError: it is none.
    """
    if not base64.b64decode(image, validate=True).startswith(b"\x89PNG"):
        raise ValueError("an image must be a PNG file in base64")
    return image


def confusion(analysis: Mapping[str, Any]) -> dict[str, Any]:
    """Teacher, student, and student less teacher, in percent of each label's images: tables, or pictures of many."""
    shown = analysis["confusion_classes"]
    totals = np.array(analysis["test_images"], float)[shown, None]
    teacher, student = (shares_of_labels(analysis, role, totals) for role in ("teacher", "student"))
    difference = student - teacher
    most = max(1.0, float(np.abs(difference).max()))
    panels: list[dict[str, Any]] = []
    for title, values, full, form in (
        ("teacher", teacher, 100.0, "{:.0f}"),
        ("student", student, 100.0, "{:.0f}"),
        ("student − teacher, points", difference, most, "{:.0f}"),
    ):
        if len(shown) > NUMBERED:
            panels.append({"title": title, "rows": [], "image": as_png(values / full)})
            continue
        rows = [
            [(form.format(value) if abs(value) >= 0.5 else "", round(abs(value) / full, 2), value < 0) for value in row]
            for row in values
        ]
        panels.append({"title": title, "rows": rows, "image": None})
    names = class_names(analysis)
    return {
        "panels": panels,
        "names": [names[number] for number in shown],
        "numbered": len(shown) <= NUMBERED,
        "of": len(names),
        "untested": int((totals == 0).sum()),
    }


def shares_of_labels(analysis: Mapping[str, Any], role: str, totals: np.ndarray) -> np.ndarray:
    """A network's confusion matrix in percent of the test images of each row's label, `totals` [n, 1].

    Raises:
        ValueError: the matrix is not of those classes, or has more images than there are.
    """
    counts = np.array(analysis["networks"][role]["confusion"], float)
    if counts.shape != (len(totals), len(totals)) or (counts.sum(1, keepdims=True) > totals).any():
        raise ValueError("a confusion matrix must be [classes, classes] and count each test image once")
    return 100 * counts / np.maximum(totals, 1)


def as_png(shares: np.ndarray) -> str:
    """A picture of shares in [-1, 1], a pixel each, orange below 0 and the fainter the nearer to it: PNG in base64."""
    from PIL import Image

    pixels = np.zeros((*shares.shape, 4), np.uint8)
    pixels[..., :3] = np.where(shares[..., None] < 0, ORANGE, BLUE)
    pixels[..., 3] = np.clip(255 * np.abs(shares), 0, 255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def class_change(analysis: Mapping[str, Any]) -> dict[str, Any] | None:
    """The student's accuracy less the baseline's, by class, the largest changes if there are many."""
    if "baseline" not in analysis["networks"]:
        return None
    change, chosen = most_changed(analysis)
    if len(change) != len(analysis["classes"]):
        raise ValueError("there must be an accuracy for each class")
    if not len(chosen):
        return None
    low, high = min(0.0, float(change[chosen].min())), max(0.0, float(change[chosen].max()))
    width, names = (high - low) or 1.0, class_names(analysis)
    rows = [
        {
            "name": names[number],
            "images": analysis["test_images"][number],
            "text": f"{change[number]:+.1f}",
            "left": round(100 * (min(change[number], 0.0) - low) / width, 2),
            "width": round(100 * abs(change[number]) / width, 2),
            "lost": bool(change[number] < 0),
        }
        for number in chosen.tolist()
    ]
    return {
        "rows": rows,
        "zero": round(100 * -low / width, 2),
        "left_out": int((~np.isnan(change)).sum()) - len(chosen),
    }


def reliability(analysis: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Accuracy by confidence of each network, as trained and after temperature scaling."""
    panels = []
    for role, network in analysis["networks"].items():
        states = [(state, network[state]) for state in ("before", "after") if network.get(state) is not None]
        counts = np.array(network["before"]["counts"], float)
        bars = [
            (round(100 * number / len(counts), 2), round(100 * share, 2))
            for number, share in enumerate(counts / max(1.0, counts.max()))
            if share > 0
        ]
        panels.append(
            {
                "role": role,
                "bars": bars,
                "bin": round(100 / len(counts), 2),
                "states": [
                    (
                        state,
                        _by_confidence(bins),
                        "as trained" if state == "before" else f"scaled by {network['temperature']:.2f}",
                        f"ECE {bins['ece']:.4f}, NLL {nats(bins['nll'])}",
                    )
                    for state, bins in states
                ],
            }
        )
    return panels


def _by_confidence(bins: Mapping[str, Sequence[float | None]]) -> str:
    pairs = zip(bins["confidences"], bins["accuracies"], strict=True)
    points = [(100 * x, 100 - 100 * y) for x, y in pairs if x is not None and y is not None]
    if len(points) == 1:  # through which there is no line
        ((x, y),) = points
        points = [(x - 1, y), (x + 1, y)]
    return path(points)


# The title and function of each picture, by its key, in the order in which they are shown.
PICTURES: dict[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {
    "confusion": ("confusion matrices", confusion),
    "change": ("change by class", class_change),
    "reliability": ("reliability", reliability),
    "disagreements": ("disagreements", disagreements),
    "soft_targets": ("soft targets", soft_targets),
    "accuracy": ("accuracy over the epochs", over_epochs),
    "closeness": ("closeness to the teacher over the epochs", closeness),
}
