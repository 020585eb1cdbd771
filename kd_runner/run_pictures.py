"""The pictures of a run's report, from its analysis.json: what is drawn, and where, as in `kd_runner.pictures`.

TensorBoard's figures of the same data are pictures of a fixed size (kd_runner.figures). Here they follow the width and
the colours of the page, and cost a run's end a hundredth of a second instead of a second.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kd_runner.pictures import lines, path

NUMBERED = 12  # classes up to which a confusion matrix is a table of numbers
MOST_CLASSES = 30  # whose change is shown
BLUE, ORANGE = (37, 99, 160), (196, 84, 38)  # of confusion matrices that are pictures
CLOSENESS = (("val_agreement", 100.0, "agreement with the teacher, %"), ("val_kl_to_teacher", 1.0, "KL to it, nats"))


def run_pictures(analysis: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the page shows of an analysis; empty without one."""
    if not analysis:
        return {}
    epochs = analysis.get("epochs", {})
    accuracies = {stage: [100 * each["val_accuracy"] for each in found] for stage, found in epochs.items()}
    closeness = [
        (title, lines({"student": [scale * each[key] for each in epochs.get("student", []) if key in each]}))
        for key, scale, title in CLOSENESS
    ]
    return {
        "confusion": confusion(analysis),
        "change": class_change(analysis),
        "reliability": reliability(analysis),
        "accuracy": lines(accuracies),
        "closeness": [(title, drawn) for title, drawn in closeness if drawn],
        "disagreements": analysis["disagreements"],
        "soft_targets": analysis["soft_targets"],
        "classes": analysis["classes"],
    }


def confusion(analysis: Mapping[str, Any]) -> dict[str, Any]:
    """Teacher, student, and student less teacher, in percent of each label's images: tables, or pictures of many."""
    shown = analysis["confusion_classes"]
    totals = np.array(analysis["test_images"], float)[shown, None]
    teacher, student = (
        100 * np.array(analysis["networks"][role]["confusion"], float) / np.maximum(totals, 1)
        for role in ("teacher", "student")
    )
    difference = student - teacher
    most = max(1.0, float(np.abs(difference).max()))
    panels: list[dict[str, Any]] = []
    for title, values, full, form in (
        ("teacher", teacher, 100.0, "{:.0f}"),
        ("student", student, 100.0, "{:.0f}"),
        ("student − teacher, points", difference, most, "{:+.0f}"),
    ):
        if len(shown) > NUMBERED:
            panels.append({"title": title, "rows": [], "image": as_png(values / full)})
            continue
        rows = [
            [(form.format(value) if abs(value) >= 0.5 else "", round(abs(value) / full, 2), value < 0) for value in row]
            for row in values
        ]
        panels.append({"title": title, "rows": rows, "image": None})
    names = [analysis["classes"][each] for each in shown]
    return {"panels": panels, "names": names, "numbered": len(shown) <= NUMBERED, "of": len(analysis["classes"])}


def as_png(shares: np.ndarray) -> str:
    """A picture of shares in [-1, 1], a pixel each, orange below 0 and the fainter the nearer to it: PNG in base64."""
    from PIL import Image

    pixels = np.zeros((*shares.shape, 4), np.uint8)
    pixels[..., :3] = np.where(shares[..., None] < 0, ORANGE, BLUE)
    pixels[..., 3] = np.clip(255 * np.abs(shares), 0, 255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def most_changed(analysis: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Points that the student gained over the baseline, and the classes with the largest changes, the best first.

    The first is [K], NaN where a class has no test image.
    """
    baseline, student = (
        np.array(analysis["networks"][role]["class_accuracy"], float) for role in ("baseline", "student")
    )
    change = 100 * (student - baseline)
    tested = np.flatnonzero(~np.isnan(change))
    chosen = tested[np.argsort(-np.abs(change[tested]), kind="stable")[:MOST_CLASSES]]
    return change, chosen[np.argsort(-change[chosen], kind="stable")]


def class_change(analysis: Mapping[str, Any]) -> dict[str, Any] | None:
    """The student's accuracy less the baseline's, by class, the largest changes if there are many."""
    if "baseline" not in analysis["networks"]:
        return None
    change, chosen = most_changed(analysis)
    if not len(chosen):
        return None
    low, high = min(0.0, float(change[chosen].min())), max(0.0, float(change[chosen].max()))
    width = (high - low) or 1.0
    rows = [
        {
            "name": analysis["classes"][each],
            "images": analysis["test_images"][each],
            "text": f"{change[each]:+.1f}",
            "left": round(100 * (min(change[each], 0.0) - low) / width, 2),
            "width": round(100 * abs(change[each]) / width, 2),
            "lost": bool(change[each] < 0),
        }
        for each in chosen.tolist()
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
        states = [(state, network[state]) for state in ("before", "after") if network[state] is not None]
        counts = np.array(network["before"]["counts"], float)
        bars = [
            (round(100 * number / len(counts), 2), round(100 * share, 2))
            for number, share in enumerate(counts / max(1.0, counts.max()))
            if share > 0
        ]
        panels.append(
            {
                "role": role,
                "temperature": network["temperature"],
                "bars": bars,
                "bin": round(100 / len(counts), 2),
                "states": [(state, _by_confidence(found), found["ece"], found["nll"]) for state, found in states],
            }
        )
    return panels


def _by_confidence(found: Mapping[str, Sequence[float | None]]) -> str:
    pairs = zip(found["confidences"], found["accuracies"], strict=True)
    return path((100 * x, 100 - 100 * y) for x, y in pairs if x is not None and y is not None)
