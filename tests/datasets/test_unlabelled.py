"""Training images with and without labels, and more that have none."""

from __future__ import annotations

import torch
from batch_cases import split

from kd_runner.datasets.unlabelled import UNLABELLED, transfer_set


def test_images_keep_their_numbers_and_lose_their_labels() -> None:
    train, more = split(10), split(3)
    made = transfer_set(train, torch.tensor([1, 6]), torch.tensor([0, 4]), more)
    assert made.numbers.tolist() == [0, 1, 4, 6, 10, 11, 12]
    assert made.of == 13
    assert made.images.labels.tolist() == [UNLABELLED, 1, UNLABELLED, 2, 0, 1, 2]  # `more` brings labels of its own
    assert torch.equal(made.images.subset(torch.arange(4)).images, train.images[[0, 1, 4, 6]])
    assert made.unlabelled == 2
    assert made.digest != transfer_set(train, torch.tensor([1, 4]), torch.tensor([0, 6]), more).digest


def test_all_images_keep_their_labels_where_none_is_left_out() -> None:
    made = transfer_set(split(4), None, torch.empty(0, dtype=torch.int64), None)
    assert made.images.labels.tolist() == [0, 1, 2, 3]
    assert made.unlabelled == 0
