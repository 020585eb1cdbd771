"""What is measured of networks on images with several labels, and its table."""

from __future__ import annotations

import pytest
import torch

from kd_runner.deploy.multi_label_evaluation import SHOWN, labels_table, measure_labels

LABELS = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.uint8)
TEACHER = torch.tensor([[3.0, -3.0, -3.0], [3.0, 3.0, -3.0], [-3.0, 3.0, -3.0], [-3.0, -3.0, -3.0]])
STUDENT = torch.tensor([[3.0, -3.0, -3.0], [3.0, -3.0, -3.0], [-3.0, 3.0, -3.0], [-3.0, -1.0, -3.0]])


def test_the_metrics_of_networks_and_of_each_label() -> None:
    content = measure_labels({"teacher": TEACHER, "student": STUDENT}, LABELS, ["cat", "dog", "owl"])
    teacher, student = content["networks"]["teacher"], content["networks"]["student"]
    assert (content["metric"], content["images"], content["images_of_class"]) == ("map", 4, [2, 2, 0])
    assert teacher["map"] == 1.0
    assert "agreement" not in teacher
    assert student["label_accuracy"] == pytest.approx(11 / 12)
    assert student["exact_match"] == 0.75
    assert student["agreement"] == pytest.approx(11 / 12)
    # The images with a dog are the first and, with two that are alike, the third or fourth of the order: 1/1 and 2/4.
    assert student["label_average_precision"][:2] == pytest.approx([1.0, 0.75])
    assert student["map"] == pytest.approx(0.875)  # no image has the third label


def test_the_tables_leave_out_labels_that_no_image_has() -> None:
    content = measure_labels({"teacher": TEACHER, "student": STUDENT}, LABELS, ["cat", "dog", "owl"])
    text = labels_table(content | {"data": "pictures", "described": "student"}, 120)
    assert "On 4 images with any of 3 labels (pictures):" in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["dog"][1:] == ["2", "100.00", "%", "75.00", "%"]
    assert "owl" not in rows
    assert rows["student"][1:3] == ["87.50", "%"]


def test_of_many_labels_the_least_precise_are_shown() -> None:
    many = SHOWN + 2
    labels = torch.ones(2, many, dtype=torch.uint8)
    labels[1, :2] = 0  # the two whose order of images may be wrong
    logits = torch.zeros(2, many)
    logits[1, :2] = 1.0
    content = measure_labels({"student": logits}, labels, [f"label{number}" for number in range(many)])
    text = labels_table(content | {"data": "pictures", "described": "student"}, 120)
    assert f"These are the {SHOWN} labels with the lowest precision; --format json has all." in text
    assert {"label0", "label1"} < set(text.split())
    assert f"label{many - 1}" not in text.split()
