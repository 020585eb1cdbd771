"""Splits and stratified cuts."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch

from kd_runner.datasets.splits import Split, Splits, cut, stratified_indices, unused_cuts


def split(labels: list[int], side: int = 4) -> Split:
    return Split(torch.zeros(len(labels), 1, side, side, dtype=torch.uint8), torch.tensor(labels, dtype=torch.int64))


def test_a_cut_is_stratified_and_disjoint() -> None:
    labels = torch.tensor([0] * 100 + [1] * 20 + [2] * 2)
    rest, taken = stratified_indices(labels, 0.1, seed=3)
    assert torch.bincount(labels[taken]).tolist() == [10, 2, 1]
    assert sorted(rest.tolist() + taken.tolist()) == list(range(122))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_a_cut_refuses_all_or_nothing(fraction: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        stratified_indices(torch.tensor([0, 0, 1, 1]), fraction, seed=0)


def test_splits_refuse_what_cannot_be_trained_on() -> None:
    good, classes = split([0, 1]), ["a", "b"]
    with pytest.raises(ValueError, match=r"at least two classes, got \['a'\]"):
        Splits(split([0, 0]), split([0]), split([0]), ["a"])
    with pytest.raises(ValueError, match="the training split must have at least two images, got 1"):
        Splits(split([0]), good, good, classes)
    with pytest.raises(ValueError, match="the validation split is empty"):
        Splits(good, split([]), good, classes)
    with pytest.raises(ValueError, match="labels must be 0 to 1, the test split has 0 to 2"):
        Splits(good, good, split([0, 2]), classes)
    with pytest.raises(ValueError, match=r"the training split has \[1, 4, 4\], the test split \[1, 5, 5\]"):
        Splits(good, good, split([0], side=5), classes)
    with pytest.raises(ValueError, match=r"images must be uint8 \[N, C, H, W\], got torch.float32"):
        Split(torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"labels must be int64 \[2\], got torch.int64 \[3\]"):
        Split(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))


def test_a_cut_keeps_images_and_labels_together() -> None:
    whole = Split(torch.arange(40, dtype=torch.uint8).view(40, 1, 1, 1), torch.arange(40) % 4)
    remaining, chosen = cut(whole, 0.3, seed=1, setting="val_fraction")
    assert (len(remaining), len(chosen)) == (28, 12)
    for part in (remaining, chosen):
        assert torch.equal(part.images.flatten() % 4, part.labels)
    with pytest.raises(ValueError, match=r"^val_fraction must be between 0 and 1, got 1$"):
        cut(whole, 1.0, seed=1, setting="val_fraction")


def test_arguments_without_a_cut_are_named() -> None:
    assert unused_cuts(["train"]) == {}
    assert unused_cuts(["train", "val"]) == {"val_fraction": "the data has val images of its own"}
    assert list(unused_cuts(["train", "val", "test"])) == ["val_fraction", "test_fraction", "seed"]


@pytest.mark.parametrize(("several", "weighted", "classes_weighted"), [(8, 0, 0), (12, 0, 1), (4, 1, 0), (8, 1, 1)])
def test_labels_of_the_same_bytes_and_another_shape_are_other_data(
    several: int, weighted: int, classes_weighted: int
) -> None:
    images, zeros = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1), torch.zeros(6)
    matrix = Split(images, torch.zeros(6, several, dtype=torch.uint8), zeros if weighted else None)
    classes = Split(images, torch.zeros(6, dtype=torch.int64), zeros if classes_weighted else None)
    assert matrix.fingerprint() != classes.fingerprint()
    assert matrix.fingerprint() == replace(matrix, groups=torch.arange(6)).fingerprint()


@pytest.mark.parametrize("several", [None, 10])
def test_other_data_sets_have_the_fingerprint_of_earlier_versions(several: int | None) -> None:
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
    labels = torch.tensor([0, 1] * 3) if several is None else torch.ones(6, several, dtype=torch.uint8)
    content = b"(6, 1, 1, 1)" + images.numpy().tobytes() + labels.numpy().tobytes()
    assert Split(images, labels).fingerprint() == hashlib.sha256(content).hexdigest()


def test_classes_of_two_images_cannot_be_cut_twice() -> None:
    rest, _ = stratified_indices(torch.tensor([0, 0, 1, 1]), 0.5, seed=0)
    with pytest.raises(
        ValueError, match=r"no class has two images left.* both validation and test images are cut needs three"
    ):
        stratified_indices(torch.tensor([0, 0, 1, 1])[rest], 0.5, seed=0)
