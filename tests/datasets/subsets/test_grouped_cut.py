"""A cut that separates no group meets the fraction of each class as nearly as the groups allow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kd_runner.datasets.subsets.grouped_cut import grouped_indices


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("kind", ["a class each", "all classes", "several labels"])
def test_no_group_is_separated_and_classes_and_sizes_are_alike(fraction: float, kind: str) -> None:
    random = np.random.default_rng(1)
    sizes = random.integers(1, 30, 80)
    groups = torch.tensor(np.repeat(np.arange(80), sizes))
    labels = torch.tensor(np.repeat(random.integers(0, 3, 80), sizes))
    if kind == "all classes":
        labels = torch.tensor(random.integers(0, 3, len(groups)))
    if kind == "several labels":
        labels = torch.tensor(random.integers(0, 2, (len(groups), 3)), dtype=torch.uint8)
    remaining, chosen = grouped_indices(labels, groups, fraction, seed=5)
    assert sorted([*remaining.tolist(), *chosen.tolist()]) == list(range(len(groups)))
    assert not set(groups[chosen].tolist()) & set(groups[remaining].tolist())
    has_label = labels.bool() if labels.dim() == 2 else torch.nn.functional.one_hot(labels).bool()
    shares = has_label[chosen].sum(0) / has_label.sum(0)
    assert torch.allclose(shares, torch.full((3,), fraction), atol=0.02)
    assert abs(sizes[groups[chosen].unique()].mean() - sizes.mean()) < 4  # not the largest groups alone
    again = grouped_indices(labels, groups, fraction, seed=5)[1]
    assert torch.equal(chosen, again)
    assert not torch.equal(chosen, grouped_indices(labels, groups, fraction, seed=6)[1])


def test_a_class_of_one_group_remains_and_one_of_two_is_on_either_side() -> None:
    groups = torch.tensor([0, 0, 1, 1, 2, 2, 2, 3])
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 2, 2])
    remaining, chosen = grouped_indices(labels, groups, 0.2, 0)
    assert chosen.tolist() == [7]
    assert remaining.tolist() == [0, 1, 2, 3, 4, 5, 6]
    with pytest.raises(ValueError, match=r"^group must leave several groups of a class to be cut"):
        grouped_indices(labels[:7], groups[:7], 0.2, 0)
