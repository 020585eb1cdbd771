"""From names, and from columns of 0 and 1, to labels of images that may have several."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kd_runner.datasets.inspection.survey import class_counts, labels_per_image, line
from kd_runner.datasets.labels.multi_label import label_matrix, labels_of_array, names_in_cell
from kd_runner.datasets.splits import Split, Splits, cut, share_of_each_class


def test_names_of_a_cell_are_between_bars_or_semicolons() -> None:
    assert names_in_cell("cat|dog; a bird |") == ["cat", "dog", "a bird"]
    assert names_in_cell(" ") == []


def test_names_become_a_column_for_each_label() -> None:
    rows = [["dog", "cat", "dog"], [], ["eel"]]
    labels, names = label_matrix(rows)
    assert names == ["cat", "dog", "eel"]
    assert labels.dtype == torch.uint8
    assert labels.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    labels, names = label_matrix(rows, ["eel", "dog", "cat", "fox"])
    assert names == ["eel", "dog", "cat", "fox"]
    assert labels.tolist() == [[0, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    with pytest.raises(ValueError, match="labels must be among cat, dog, image 3 has 'eel'"):
        label_matrix(rows, ["cat", "dog"])


def test_columns_of_an_array_are_labels() -> None:
    one = labels_of_array(np.array([[2], [0]], np.uint8))
    assert (one.dtype, one.tolist()) == (torch.int64, [2, 0])
    several = labels_of_array(np.array([[1, 0], [1, 1]], np.int64))
    assert (several.dtype, several.tolist()) == (torch.uint8, [[1, 0], [1, 1]])
    with pytest.raises(ValueError, match=r"labels \[N, 2\] must be 0 or 1 for each image and label, got 3"):
        labels_of_array(np.array([[1, 0], [3, 1]]))
    with pytest.raises(ValueError, match=r"labels must be an array \[N\] or \[N, K\], got \[1, 1, 1\]"):
        labels_of_array(np.ones((1, 1, 1)))


def split(labels: list[list[int]]) -> Split:
    return Split(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), torch.tensor(labels, dtype=torch.uint8))


def test_splits_hold_a_column_for_each_class() -> None:
    some = split([[1, 1], [0, 0], [0, 1]])
    splits = Splits(some, some, some, ["a", "b"])
    assert splits.several_labels
    assert class_counts(some.labels, 2) == [1, 2]
    assert labels_per_image(splits) == 1
    assert line(splits) == "3 training, 3 validation, 3 test images of 1x2x2, 2 labels, 1.0 an image"
    with pytest.raises(ValueError, match="a column for each of the 3 classes, the training split has 2"):
        Splits(some, some, some, ["a", "b", "c"])
    one_label = Split(some.images, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"labels must have one shape: the training split has \[3, 2\], the test"):
        Splits(some, some, one_label, ["a", "b"])
    with pytest.raises(ValueError, match="must be 0 or 1, got 2"):
        split([[2, 0]])
    with pytest.raises(ValueError, match=r"must be uint8 \[3, K\], got torch.int64 \[3, 2\]"):
        Split(some.images, some.labels.long())


def test_images_of_several_labels_are_drawn_from_all() -> None:
    many = split([[number % 2, 1] for number in range(40)])
    remaining, chosen = cut(many, 0.25, 3, "val_fraction")
    assert (len(remaining), len(chosen)) == (30, 10)
    assert len(share_of_each_class(many.labels, 0.1, 0)) == 4
