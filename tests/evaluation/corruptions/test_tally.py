"""Sums over batches give the metrics of all images at once, and errors beside the baseline's."""

from __future__ import annotations

import pytest
import torch
from analysis_cases import some_logits

from kd_runner.evaluation.corruptions.published import NAMES
from kd_runner.evaluation.corruptions.tally import Tally, summary
from kd_runner.evaluation.metrics import classification_metrics, pair_metrics


def test_batches_give_what_all_images_give() -> None:
    logits, labels = some_logits(300, 7)
    teacher, _ = some_logits(300, 7)
    teacher = teacher.flip(0)
    tally = Tally()
    for part in (slice(0, 128), slice(128, 256), slice(256, 300)):
        tally.add(logits[part], labels[part], teacher[part].argmax(1))
    wanted = classification_metrics(logits, labels) | {"agreement": pair_metrics(logits, teacher)["agreement"]}
    assert tally.metrics() == pytest.approx({name: wanted[name] for name in tally.metrics()}, rel=1e-12)


def test_errors_are_summed_over_severities_and_divided_by_the_baseline_s() -> None:
    def of(accuracy: float) -> dict[str, dict[str, list[float]]]:
        return {name: {metric: [accuracy] * 5 for metric in ("accuracy", "nll", "ece", "agreement")} for name in NAMES}

    student, baseline = of(0.9), of(0.8)
    student["fog"]["accuracy"] = [1.0, 0.9, 0.8, 0.7, 0.6]  # an error of 1 in 5, as the baseline's
    baseline["jpeg"]["accuracy"] = [1.0] * 5  # no error: no quotient
    found = summary(student, baseline)
    assert found["by_corruption"]["fog"]["error_beside_baseline"] == pytest.approx(1.0)
    assert found["by_corruption"]["snow"]["error_beside_baseline"] == pytest.approx(0.5)
    assert found["by_corruption"]["jpeg"]["error_beside_baseline"] is None
    assert found["error_beside_baseline"] == pytest.approx((13 * 0.5 + 1) / 14)
    assert found["accuracy"] == pytest.approx((14 * 0.9 + 0.8) / 15)
    assert summary(student, None)["error_beside_baseline"] is None
    assert torch.tensor(found["by_corruption"]["fog"]["accuracy"]).tolist() == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.6])
