"""Metrics of probabilities, of two classes, and of each class."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_runner.evaluation.calibration import ratios
from kd_runner.evaluation.precision_recall import average_precision


def brier_score(logits: Tensor, labels: Tensor) -> float:
    """The mean over the images of the squared differences of probabilities and labels (Brier 1950), 0 for the best.

    They are summed over the classes, which gives 2 at most; of two classes half of that is taken, which gives 1 at
    most, as scikit-learn's `brier_score_loss` does.

    Args:
        logits: [N, K].
        labels: int64 [N].
    """
    differences = logits.double().softmax(1)
    differences[torch.arange(len(labels), device=labels.device), labels] -= 1
    of_images = differences.square().sum(1).cpu()  # whose mean a GPU would add in any order
    return (of_images.mean() / (2 if logits.shape[1] == 2 else 1)).item()


def two_class_metrics(logits: Tensor, labels: Tensor) -> dict[str, float | None]:
    """AUROC and average precision of the second of two classes; None where an image of each class is missing.

    AUROC is the chance that an image of the second class has a higher logit of it, beside that of the first, than an
    image of the first class; images that are equal count half.

    Args:
        logits: [N, 2].
        labels: int64 [N].
    """
    of_second = (labels == 1).cpu()
    scores = (logits[:, 1].double() - logits[:, 0].double()).cpu()
    has_both = bool(of_second.any()) and not bool(of_second.all())
    if not has_both or bool(scores.isnan().any()):
        return {"auroc": None, "average_precision": None}
    from torchmetrics.functional.classification import binary_auroc  # which Lightning has imported where a run is made

    # Ranks in [0, 1]: of larger scores torchmetrics takes the sigmoid, which is 1 for all above 37.
    ranks = scores.unique(return_inverse=True)[1].double() / len(scores)
    area = binary_auroc(ranks, of_second.long()).item()
    return {"auroc": area, "average_precision": average_precision(scores, of_second)}


def metrics_of_classes(confusion: Tensor) -> dict[str, list[float | None]]:
    """Precision and F1 of each class, [K] each; its recall is its accuracy.

    Precision is None for a class that no image is predicted to be of, and F1 for one that no image is of.

    Args:
        confusion: int64 [K, K]: the number of images of the row's class that were predicted to be of the column's.
    """
    hits, labelled, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    f1 = ratios(2 * hits, labelled + predicted)
    return {
        "class_precision": ratios(hits, predicted),
        "class_f1": [value if images else None for value, images in zip(f1, labelled.tolist(), strict=True)],
    }
