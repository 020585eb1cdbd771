"""What can be seen in the predictions of a run's networks, as plain data: what figures and reports are drawn from."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from kd_runner.datasets.splits import Images
from kd_runner.evaluation.metrics import Reliability, confusion_matrix
from kd_runner.evaluation.predictions import Predictions

MOST_CLASSES = 30  # whose change is shown
NAME_LENGTHS = {"short": 16, "middle": 32, "full": 80}  # letters of a class's name


def class_names(analysis: Mapping[str, Any]) -> list[dict[str, str]]:
    """The names of the classes in several lengths; a class without a visible name has its number."""
    lines_of_text = [" ".join(name.split()) or f"class {number}" for number, name in enumerate(analysis["classes"])]
    return [{size: shorten(name, length) for size, length in NAME_LENGTHS.items()} for name in lines_of_text]


def shorten(name: str, length: int) -> str:
    """The name, with an ellipsis in its middle where it is longer than that."""
    tail = length // 3
    return name if len(name) <= length else f"{name[: length - 1 - tail]}…{name[-tail:]}"


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


ROLES = ("teacher", "baseline", "student")
ALL_CLASSES, CONFUSED = (
    100,
    30,
)  # up to so many classes all are in the confusion matrix; else so many, the most confused
FEW_CLASSES = 10  # up to so many have precision and recall by threshold
THRESHOLDS = 101
DISAGREEMENTS, EXAMPLES, TOP = 16, 8, 5
LONGEST_SIDE = 96  # of a thumbnail, in pixels
LOWEST, HIGHEST = 0.01, 100.0  # temperatures between which one is looked for


def analysis(
    test: Predictions, validation: Predictions, images: Images, classes: Sequence[str], taught: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that is seen, for JSON.

    Args:
        test, validation: Logits by role; 'baseline' may be missing.
        images: Those of the test split, in its order.
        classes: Their names.
        taught: What `soft_targets` gives.
    """
    roles = [role for role in ROLES if role in test.logits]
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
                "class_accuracy": _ratio(confusion[role].diagonal(), confusion[role].sum(1)),
                **calibrations(test.logits[role], test.labels, validation.logits[role], validation.labels),
                "precision_recall": precision_recall(test.logits[role], test.labels),
            }
            for role in roles
        },
        "disagreements": disagreements(test, images),
        "soft_targets": dict(taught),
    }


def most_confused(matrices: Sequence[Tensor]) -> Tensor:
    """int64, ascending: the classes of a confusion matrix to show, by their mistakes in all of `matrices` [K, K]."""
    if len(matrices[0]) <= ALL_CLASSES:
        return torch.arange(len(matrices[0]), device=matrices[0].device)
    mistakes = sum(matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal() for matrix in matrices)
    assert isinstance(mistakes, Tensor)
    return mistakes.argsort(descending=True, stable=True)[:CONFUSED].sort().values


def calibrations(
    logits: Tensor, labels: Tensor, validation_logits: Tensor, validation_labels: Tensor
) -> dict[str, Any]:
    """Reliability before and after temperature scaling with one temperature, fitted on the validation images.

    Guo et al. 2017, section 4.2, arXiv:1706.04599. Where no validation image is wrong there is no best temperature,
    and `temperature` and `after` are None.
    """
    temperature = best_temperature(validation_logits, validation_labels)
    return {
        "temperature": temperature,
        "before": calibration(logits, labels),
        "after": None if temperature is None else calibration(logits.double() / temperature, labels),
    }


def best_temperature(logits: Tensor, labels: Tensor) -> float | None:
    """The temperature at which `logits` [N, K] have the smallest negative log-likelihood, within 0.01 and 100.

    None where all predictions are right: the colder, the better then, without end.
    """
    if bool((logits.argmax(1) == labels).all()):
        return None
    logits = logits.double()
    given = logits.gather(1, labels.unsqueeze(1)).squeeze(1).mean()
    # The likelihood is concave in the inverse of the temperature, so its slope has one zero.
    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(30):
        middle = (low + high) / 2
        expected = ((logits / math.exp(middle)).softmax(1) * logits).sum(1).mean()
        low, high = (low, middle) if expected < given else (middle, high)
    return math.exp((low + high) / 2)


def calibration(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """NLL in nats, ECE, and 15 bins by confidence: how many images, their mean confidence and their accuracy."""
    reliability = Reliability.of(logits, labels)
    return {
        "nll": reliability.nll,
        "ece": reliability.ece,
        "counts": reliability.counts.tolist(),
        "confidences": _ratio(reliability.confidences, reliability.counts),
        "accuracies": _ratio(reliability.hits, reliability.counts),
    }


def precision_recall(logits: Tensor, labels: Tensor) -> dict[str, Any] | None:
    """Of each class against the others: average precision, and what thresholds of 0, 0.01, …, 1 let through.

    `predicted` [K][101] counts the images whose probability of the class is at least the threshold, `hits` those of
    them that are of the class. None where there are more than ten classes.
    """
    classes = logits.shape[1]
    if classes > FEW_CLASSES:
        return None
    thresholds = torch.linspace(0, 1, THRESHOLDS, device=logits.device, dtype=torch.float64)
    predicted: list[list[int]] = []
    hits: list[list[int]] = []
    averages = []
    for number, probability in enumerate(logits.double().softmax(1).T.contiguous()):
        passed = torch.bucketize(probability, thresholds, right=True) - 1  # the highest threshold that each passes
        of_class = labels == number
        for kept, mask in ((predicted, slice(None)), (hits, of_class)):
            kept.append(passed[mask].bincount(minlength=THRESHOLDS).flip(0).cumsum(0).flip(0).tolist())
        averages.append(average_precision(probability, of_class))
    return {"average": averages, "predicted": predicted, "hits": hits}


def average_precision(scores: Tensor, positive: Tensor) -> float | None:
    """The mean of the precision at each positive image, by falling score; images of equal scores count as one step."""
    if not bool(positive.any()):
        return None
    order = scores.argsort(descending=True)
    scores, hits = scores[order], positive[order].double().cumsum(0)
    last = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    last[:-1] = scores[1:] != scores[:-1]
    found, seen = hits[last], torch.arange(1, len(scores) + 1, device=scores.device)[last]
    gained = found.diff(prepend=found.new_zeros(1))
    return ((gained * found / seen).sum() / hits[-1]).item()


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
    """What the teacher's `logits` [N, K] say of the training images at `indices` at that temperature."""
    examples = [
        {"index": index, "label": label, "image": picture, "top": top_classes(row.softmax(0), TOP)}
        for index, label, picture, row in zip(
            indices.tolist(), labels.tolist(), thumbnails(images, indices), logits / temperature, strict=True
        )
    ]
    return {"temperature": temperature, "examples": examples}


def spread(count: int, most: int) -> Tensor:
    """int64: up to `most` indices below `count`, evenly spaced."""
    return torch.arange(min(count, most)) * count // min(count, most)


def top_classes(probabilities: Tensor, count: int) -> list[dict[str, Any]]:
    """The most probable classes of one image, [K], and how probable they are."""
    values, classes = probabilities.topk(min(count, len(probabilities)))
    return [
        {"class": number, "probability": value} for number, value in zip(classes.tolist(), values.tolist(), strict=True)
    ]


def thumbnails(images: Images, indices: Tensor) -> list[str]:
    """The images at `indices`, int64 [N], as PNG files in base64; none of them larger than 96 pixels."""
    chosen: Tensor = images.subset(indices).sample(len(indices))
    return [_png(image) for image in chosen]


def _png(image: Tensor) -> str:
    """Of uint8 [C, H, W]; of other than three channels the first is shown."""
    pixels = (
        image.permute(1, 2, 0).contiguous().cpu().numpy() if len(image) == 3 else image[0].contiguous().cpu().numpy()
    )
    picture = Image.fromarray(pixels)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _ratio(part: Tensor, whole: Tensor) -> list[float | None]:
    """part / whole, None where that is 0 / 0."""
    return [p / w if w else None for p, w in zip(part.tolist(), whole.tolist(), strict=True)]
