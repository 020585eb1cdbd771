"""A few images of each class."""

from __future__ import annotations

import pytest
import torch

from kd_runner.datasets.splits import share_of_each_class
from kd_runner.datasets.subsets.few_images import shots_of_each_class

LABELS = torch.tensor([0] * 40 + [2] * 25 + [5] * 3).flip(0)


def test_each_class_gives_its_number_and_fewer_are_among_more() -> None:
    few, more, other = (shots_of_each_class(LABELS, *how) for how in ((2, 3), (3, 3), (2, 4)))
    assert LABELS[few].bincount().tolist() == [2, 0, 2, 0, 0, 2]
    assert torch.equal(few, few.unique())
    assert set(few.tolist()) < set(more.tolist())
    assert set(few.tolist()) != set(other.tolist())
    assert set(few.tolist()) < set(share_of_each_class(LABELS, 1, 3).tolist())
    ten, quarter = shots_of_each_class(LABELS, 10, 3, leave_out=[5]), share_of_each_class(LABELS, 0.25, 3)
    assert torch.equal(ten[LABELS[ten] == 0], quarter[LABELS[quarter] == 0])


def test_a_class_with_fewer_is_named() -> None:
    message = 'must be at most 3, the training images of class "five", got 4'
    with pytest.raises(ValueError, match=message):
        shots_of_each_class(LABELS, 4, 0, names=["zero", "one", "two", "three", "four", "five"])
    assert len(shots_of_each_class(LABELS, 4, 0, leave_out=[5])) == 8


def test_a_class_that_is_left_out_gives_no_image_under_another_label_either() -> None:
    shown = LABELS.clone()
    shown[(LABELS == 0).nonzero().flatten()[:30]] = 5
    chosen = shots_of_each_class(LABELS, 10, 0, leave_out=[5], classes_shown=shown)
    assert LABELS[chosen].bincount().tolist() == [10, 0, 10]
    assert 5 not in shown[chosen]
