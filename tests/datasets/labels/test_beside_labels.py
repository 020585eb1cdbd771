"""Weights and groups go with their images, and weights have a mean of 1 over the images with labels."""

from __future__ import annotations

from dataclasses import replace

import torch
from batch_cases import split

from kd_runner.datasets.labels.beside_labels import UNLABELLED, weights_with_mean_one, without_weights
from kd_runner.datasets.labels.unlabelled import join_images
from kd_runner.datasets.splits import cut


def test_a_part_has_the_weights_and_groups_of_its_images() -> None:
    images = replace(split(8), weights=torch.arange(8.0), groups=torch.arange(8) // 2)
    part = images.subset(torch.tensor([5, 2]))
    assert (part.weights.tolist(), part.groups.tolist()) == ([5, 2], [2, 1])
    remaining, cut_off = cut(images, 0.25, 0, "val_fraction")
    assert set(cut_off.groups.tolist()).isdisjoint(remaining.groups.tolist())
    both = join_images(part, split(2))
    assert (both.weights.tolist(), both.groups) == ([5, 2, 1, 1], None)
    assert join_images(part, part).groups.tolist() == [2, 1, 2, 1]


def test_weights_change_the_fingerprint_of_what_is_learned_and_not_of_what_is_tested() -> None:
    plain, weighted = split(8), replace(split(8), weights=torch.arange(8.0))
    assert (
        plain.fingerprint()
        == replace(plain, groups=torch.arange(8)).fingerprint()
        == without_weights(weighted).fingerprint()
    )
    assert weighted.fingerprint() != plain.fingerprint()
    assert without_weights(plain) is plain


def test_weights_have_a_mean_of_one_over_the_images_with_labels() -> None:
    images = replace(split(4), weights=torch.tensor([1.0, 3.0, 2.0, 9.0]), labels=torch.tensor([0, 1, 0, UNLABELLED]))
    assert weights_with_mean_one(images).tolist() == [0.5, 1.5, 1.0, 4.5]
    several = torch.tensor([[1, 1], [0, 1], [1, 0], [0, 0]], dtype=torch.uint8)  # the last image has none of them
    images = replace(images, weights=torch.tensor([1.0, 3.0, 2.0, 2.0]), labels=several)
    assert weights_with_mean_one(images).tolist() == [0.5, 1.5, 1.0, 1.0]
    assert weights_with_mean_one(split(4)) is None
    assert weights_with_mean_one(replace(split(4), weights=torch.zeros(4))).tolist() == [0, 0, 0, 0]
