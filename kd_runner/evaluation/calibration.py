"""Calibration: how sure a network is of its predictions, beside how often it is right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

BINS = 15  # bins of confidence for the calibration error, of equal width
LOWEST, HIGHEST = 0.01, 100.0  # the range in which the best temperature is looked for


@dataclass(frozen=True)
class Reliability:
    """A network's confidence and accuracy, by bins of confidence.

    Args:
        nll: Negative log-likelihood of the labels in nats, mean over the images.
        counts: int64 [15], the number of images in each bin of confidence. A bin has its upper edge and not its lower
            one, so that a confidence of 1 belongs to the last bin.
        hits, confidences: float64 [15], sums over the images of each bin.
    """

    nll: float
    counts: Tensor
    hits: Tensor
    confidences: Tensor

    @staticmethod
    def of(logits: Tensor, labels: Tensor) -> Reliability:
        """The reliability of `logits` [N, K] against `labels` [N], in float64.

        In float32, a calibration error of 0.06 over 200,000 images would be 1 % off.
        """
        log_probabilities = logits.double().log_softmax(1)
        # On the CPU: a GPU adds in any order, so that two runs would differ in the last bits.
        confidence, right = log_probabilities.amax(1).exp().cpu(), (logits.argmax(1) == labels).double().cpu()
        bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
        return Reliability(
            F.nll_loss(log_probabilities, labels).item(),
            bins.bincount(minlength=BINS),
            bins.bincount(right, BINS),
            bins.bincount(confidence, BINS),
        )

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean of |accuracy − confidence| over the bins, weighted by their images.

        Guo et al. 2017, section 2, arXiv:1706.04599.
        """
        return ((self.hits - self.confidences).abs().sum() / self.counts.sum()).item()


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


def calibrated_metrics(
    logits: Tensor, labels: Tensor, validation_logits: Tensor, validation_labels: Tensor
) -> dict[str, float | None]:
    """The temperature of `calibrations`, and NLL in nats and ECE of the logits divided by it.

    The predicted classes stay as they are, and with them the accuracy. All are None where there is no best temperature.
    """
    temperature = best_temperature(validation_logits, validation_labels)
    if temperature is None:
        return {"temperature": None, "nll": None, "ece": None}
    reliability = Reliability.of(logits.double() / temperature, labels)
    return {"temperature": temperature, "nll": reliability.nll, "ece": reliability.ece}


def best_temperature(logits: Tensor, labels: Tensor) -> float | None:
    """The temperature at which `logits` [N, K] have the smallest negative log-likelihood, within 0.01 and 100.

    None where all predictions are right: every lower temperature is better then.
    """
    if bool((logits.argmax(1) == labels).all()):
        return None
    logits = logits.double()
    label_mean = logits.gather(1, labels.unsqueeze(1)).squeeze(1).mean()
    # The log-likelihood is concave in the inverse of the temperature, so its slope has one zero: bisection finds it.
    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(30):
        middle = (low + high) / 2
        expected = ((logits / math.exp(middle)).softmax(1) * logits).sum(1).mean()
        low, high = (low, middle) if expected < label_mean else (middle, high)
    return math.exp((low + high) / 2)


def calibration(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """NLL in nats, ECE, and for each of 15 bins by confidence its images, mean confidence and accuracy, in [0, 1]."""
    reliability = Reliability.of(logits, labels)
    return {
        "nll": reliability.nll,
        "ece": reliability.ece,
        "counts": reliability.counts.tolist(),
        "confidences": ratios(reliability.confidences, reliability.counts),
        "accuracies": ratios(reliability.hits, reliability.counts),
    }


def ratios(numerators: Tensor, denominators: Tensor) -> list[float | None]:
    """The quotients of [N] and [N], None where both are 0."""
    pairs = zip(numerators.tolist(), denominators.tolist(), strict=True)
    return [numerator / denominator if denominator else None for numerator, denominator in pairs]
