from __future__ import annotations

import pytest
import torch

from kd_runner.deploy.evaluation_metrics import measure
from kd_runner.evaluation.metrics import classification_metrics, pair_metrics


def test_the_metrics_are_those_of_a_run() -> None:
    torch.manual_seed(0)
    logits = {name: torch.randn(30, 4) for name in ("teacher", "student")}
    labels = torch.arange(30) % 3  # the last class has no image
    content = measure(logits, labels, ["a", "b", "c", "d"])
    student = content["networks"]["student"]
    expected = classification_metrics(logits["student"], labels) | pair_metrics(logits["student"], logits["teacher"])
    assert {name: student[name] for name in expected} == expected
    assert "agreement" not in content["networks"]["teacher"]
    assert content["images_of_class"] == [10, 10, 10, 0]
    predicted = logits["student"].argmax(1)
    for number in range(4):
        of_class = predicted[labels == number]
        row = [int((of_class == other).sum()) for other in range(4)]
        assert student["confusion"][number] == row
        accuracy = None if number == 3 else pytest.approx(row[number] / 10)
        assert student["class_accuracy"][number] == accuracy
        row[number] = 0
        taken = student["most_taken_for"][number]
        assert taken == ({"class": row.index(max(row)), "images": max(row)} if max(row) else None)
    assert student["class_precision"][0] == pytest.approx(float((labels[predicted == 0] == 0).double().mean()))
    assert student["calibration"]["ece"] == student["ece"]
