"""The analysis of a run's predictions, as plain data: charts and reports are drawn from it."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kd_runner.datasets.splits import Images
from kd_runner.evaluation.calibration import calibrations, ratios
from kd_runner.evaluation.class_metrics import metrics_of_classes
from kd_runner.evaluation.metrics import confusion_matrix
from kd_runner.evaluation.precision_recall import precision_recall
from kd_runner.evaluation.predictions import Predictions
from kd_runner.files.stages import STAGES
from kd_runner.formats import cut_middle

MOST_CLASSES = 30  # classes in the chart of changes
NAME_LENGTHS = {"short": 16, "middle": 32, "full": 80}  # letters of a class's name
ALL_CLASSES = 100  # the most classes that a confusion matrix shows in full
CONFUSED = 30  # classes that it shows where there are more: the most confused ones
DISAGREEMENTS = 16  # images on which teacher and student differ most
EXAMPLES, TOP = 8, 5  # training images with the teacher's soft targets, and classes of each
LONGEST_SIDE = 96  # of a thumbnail, in pixels


def class_names(analysis: Mapping[str, Any]) -> list[dict[str, str]]:
    """The names of the classes in several lengths; a class without a visible name has its number."""
    names = [" ".join(name.split()) or f"class {number}" for number, name in enumerate(analysis["classes"])]
    return [{size: cut_middle(name, length) for size, length in NAME_LENGTHS.items()} for name in names]


def most_changed(analysis: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The student's gain over the baseline in every class, and the classes with the largest changes.

    The gain is [K], in percentage points, NaN where a class has no test image. Of the classes the most improved is
    first.
    """
    baseline, student = (
        np.array(analysis["networks"][role]["class_accuracy"], float) for role in ("baseline", "student")
    )
    change = 100 * (student - baseline)
    tested = np.flatnonzero(~np.isnan(change))
    chosen = tested[np.argsort(-np.abs(change[tested]), kind="stable")[:MOST_CLASSES]]
    return change, chosen[np.argsort(-change[chosen], kind="stable")]


def analysis(
    test: Predictions,
    validation: Predictions,
    images: Images,
    classes: Sequence[str],
    teacher_examples: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of analysis.json, except for the epochs.

    Args:
        test, validation: Logits by role; 'baseline' may be missing.
        images: The images of the test split, in its order.
        classes: The names of the classes.
        teacher_examples: The result of `soft_targets`.
    """
    roles = [role for role in STAGES if role in test.logits]
    predicted = {role: test.logits[role].argmax(1) for role in roles}
    confusion = {role: confusion_matrix(predicted[role], test.labels, len(classes)) for role in roles}
    shown = most_confused(list(confusion.values()))
    return {
        "classes": list(classes),
        "test_images": test.labels.bincount(minlength=len(classes)).tolist(),
        "confusion_classes": shown.tolist(),
        "networks": {
            role: {
                "confusion": confusion[role][shown][:, shown].tolist(),
                "class_accuracy": ratios(confusion[role].diagonal(), confusion[role].sum(1)),
                **metrics_of_classes(confusion[role]),
                **calibrations(test.logits[role], test.labels, validation.logits[role], validation.labels),
                "precision_recall": precision_recall(test.logits[role], test.labels),
            }
            for role in roles
        },
        "disagreements": disagreements(test, images) if "teacher" in test.logits else [],
        "soft_targets": dict(teacher_examples) if teacher_examples else None,
    }


def most_confused(matrices: Sequence[Tensor]) -> Tensor:
    """The classes with the most mistakes in all of `matrices` [K, K], int64, ascending; all where they are few."""
    if len(matrices[0]) <= ALL_CLASSES:
        return torch.arange(len(matrices[0]), device=matrices[0].device)
    mistakes = sum(matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal() for matrix in matrices)
    assert isinstance(mistakes, Tensor)
    return mistakes.argsort(descending=True, stable=True)[:CONFUSED].sort().values


def disagreements(test: Predictions, images: Images) -> list[dict[str, Any]]:
    """The images on which teacher and student differ most in total variation, half the sum of |differences|."""
    teacher, student = (test.logits[role].softmax(1) for role in ("teacher", "student"))
    distances = (teacher - student).abs().sum(1) / 2
    chosen = distances.argsort(descending=True, stable=True)[:DISAGREEMENTS].cpu()
    pictures = thumbnails(images, chosen)
    return [
        {
            "index": index,
            "label": int(test.labels[index]),
            "image": picture,
            "distance": float(distances[index]),
            "teacher": top_classes(teacher[index], 1)[0],
            "student": top_classes(student[index], 1)[0],
        }
        for index, picture in zip(chosen.tolist(), pictures, strict=True)
    ]


def soft_targets(logits: Tensor, labels: Tensor, indices: Tensor, images: Images, temperature: float) -> dict[str, Any]:
    """The teacher's most probable classes for a few training images, from its `logits` [N, K] at the temperature."""
    examples = [
        {
            "index": index,
            "label": label if label >= 0 else None,
            "image": picture,
            "top": top_classes(row.softmax(0), TOP),
        }
        for index, label, picture, row in zip(
            indices.tolist(), labels.tolist(), thumbnails(images, indices), logits / temperature, strict=True
        )
    ]
    return {"temperature": temperature, "examples": examples}


def spread(count: int, most: int) -> Tensor:
    """Evenly spaced indices, int64: `most` below `count`, or all where there are fewer."""
    return torch.arange(min(count, most)) * count // min(count, most)


def top_classes(probabilities: Tensor, count: int) -> list[dict[str, Any]]:
    """The most probable classes of one image, from its `probabilities` [K], each with its probability."""
    values, classes = probabilities.topk(min(count, len(probabilities)))
    return [
        {"class": number, "probability": value} for number, value in zip(classes.tolist(), values.tolist(), strict=True)
    ]


def thumbnails(images: Images, indices: Tensor) -> list[str]:
    """The images at `indices`, int64 [N], as PNG files in base64; no side is longer than LONGEST_SIDE pixels."""
    chosen: Tensor = images.subset(indices).sample(len(indices))
    return [_png(image) for image in chosen]


def _png(image: Tensor) -> str:
    """The image, uint8 [C, H, W], as PNG in base64: in colour with three channels, else the first channel in grey."""
    pixels = (
        image.permute(1, 2, 0).contiguous().cpu().numpy() if len(image) == 3 else image[0].contiguous().cpu().numpy()
    )
    picture = Image.fromarray(pixels)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
