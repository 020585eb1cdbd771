"""Accuracy, calibration error and agreement from sums over batches: logits of 75 test sets would take much memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kd_runner.evaluation.calibration import Reliability
from kd_runner.evaluation.corruptions.published import NAMES, SEVERITIES


class Tally:
    """The sums of one network on one set of images, batch after batch."""

    def __init__(self) -> None:
        self.images, self.right = 0, 0
        self.agreed: int | None = None  # with the teacher, where there is one
        self._reliability: Reliability | None = None

    def add(self, logits: Tensor, labels: Tensor, teacher_classes: Tensor | None) -> None:
        """Add a batch.

        Args:
            logits: [N, K].
            labels, teacher_classes: int64 [N], the true classes and those that the teacher predicts, if there is one.
        """
        classes, batch, before = logits.argmax(1), Reliability.of(logits, labels), self._reliability
        self.right += int((classes == labels).sum())
        if teacher_classes is not None:
            self.agreed = (self.agreed or 0) + int((classes == teacher_classes).sum())
        images = self.images + len(labels)
        if before is not None:
            nll = (before.nll * self.images + batch.nll * len(labels)) / images
            batch = Reliability(
                nll,
                before.counts + batch.counts,
                before.hits + batch.hits,
                before.confidences + batch.confidences,
            )
        self.images, self._reliability = images, batch

    def metrics(self) -> dict[str, float]:
        """Accuracy, negative log-likelihood in nats, calibration error, and agreement with the teacher."""
        assert self._reliability is not None
        return {
            "accuracy": self.right / self.images,
            "nll": self._reliability.nll,
            "ece": self._reliability.ece,
            **({} if self.agreed is None else {"agreement": self.agreed / self.images}),
        }


def summary(
    by_corruption: Mapping[str, Mapping[str, list[float]]], baseline: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The metrics of one network as `result.json` has them: under each corruption, and their means.

    error_beside_baseline: the error summed over severities, divided by the baseline's; the mean of these quotients over
    the corruptions is the mean corruption error (Hendrycks and Dietterich 2019, section 4.1), which has AlexNet in the
    baseline's place. A corruption under which the baseline makes no error has none, and is not in the mean.

    Args:
        by_corruption: The values of each metric at each severity, by corruption and metric.
        baseline: These values of the baseline; None where there is none.
    """
    mean_of = {
        metric: _mean([value for name in NAMES for value in by_corruption[name][metric]])
        for metric in by_corruption[NAMES[0]]
    }
    content: dict[str, dict[str, Any]] = {name: dict(by_corruption[name]) for name in NAMES}
    quotients = []
    for name in NAMES if baseline is not None else ():
        error, reference = (SEVERITIES - sum(of[name]["accuracy"]) for of in (by_corruption, baseline))  # type: ignore[index]
        quotient = error / reference if reference > 0 else None
        content[name]["error_beside_baseline"] = quotient
        quotients += [] if quotient is None else [quotient]
    beside = {"error_beside_baseline": _mean(quotients) if quotients else None}
    return {**mean_of, **beside, "by_corruption": content}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
