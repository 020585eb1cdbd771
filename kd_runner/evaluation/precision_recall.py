"""Precision and recall of each class against the other classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

FEW_CLASSES = 10  # more classes have no precision and recall by threshold
THRESHOLDS = 101


def precision_recall(logits: Tensor, labels: Tensor) -> dict[str, Any] | None:
    """Average precision of each class against the others, and the counts behind its precision and recall.

    Thresholds are 0, 0.01, …, 1. `predicted` [K][101] counts the images whose probability of the class is at least
    the threshold, `hits` [K][101] those of them that are of the class. None where there are more than ten classes.

    Args:
        logits: [N, K].
        labels: int64 [N].
    """
    classes = logits.shape[1]
    if classes > FEW_CLASSES:
        return None
    thresholds = torch.linspace(0, 1, THRESHOLDS, device=logits.device, dtype=torch.float64)
    predicted: list[list[int]] = []
    hits: list[list[int]] = []
    averages = []
    for number, probability in enumerate(logits.double().softmax(1).T.contiguous()):
        passed = torch.bucketize(probability, thresholds, right=True) - 1  # the highest threshold that an image passes
        of_class = labels == number
        predicted.append(_images_by_threshold(passed))
        hits.append(_images_by_threshold(passed[of_class]))
        averages.append(average_precision(probability, of_class))
    return {"average": averages, "predicted": predicted, "hits": hits}


def _images_by_threshold(passed: Tensor) -> list[int]:
    """The number of images that pass each threshold, from the highest one that each image passes."""
    return passed.bincount(minlength=THRESHOLDS).flip(0).cumsum(0).flip(0).tolist()


def average_precision(scores: Tensor, positive: Tensor) -> float | None:
    """The mean of the precision at each positive image, by falling score; images of equal scores count as one step.

    None where no image is positive, or a score is no number. scikit-learn's average_precision_score gives the same
    bits, but takes 0.9 s to import, with what it imports of scipy.

    Args:
        scores: [N], higher for what is more likely positive.
        positive: bool [N].
    """
    if not bool(positive.any()) or bool(scores.isnan().any()):
        return None
    order = np.argsort(-scores.cpu().numpy(), kind="stable")
    falling, is_positive = scores.cpu().numpy()[order], positive.cpu().numpy()[order]
    ends = np.flatnonzero(np.append(np.diff(falling) != 0, True))  # the last image of each score
    hits = is_positive.cumsum()[ends]
    precision, recall = hits / (ends + 1), hits / hits[-1]
    steps = np.diff(recall, prepend=0.0)
    return float(np.sum(steps[::-1] * precision[::-1]))
