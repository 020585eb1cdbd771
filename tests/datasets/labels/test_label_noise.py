"""Wrong labels on purpose."""

from __future__ import annotations

import torch

from kd_runner.datasets.labels.label_noise import noisy_labels


def test_the_share_of_labels_changes_and_each_to_another_class() -> None:
    labels = torch.arange(1000) % 10
    noisy = noisy_labels(labels, 0.3, 10, seed=1)
    changed = noisy != labels
    assert int(changed.sum()) == 300
    assert noisy.unique().tolist() == list(range(10))
    counts = ((noisy - labels)[changed] % 10).bincount(minlength=10)
    assert counts[0] == 0
    assert counts[1:].min() > 15  # each other class about 33 times
    assert torch.equal(labels, torch.arange(1000) % 10)


def test_a_seed_decides_and_a_smaller_share_is_a_part_of_a_larger() -> None:
    labels = torch.zeros(500, dtype=torch.int64)
    small, large = (noisy_labels(labels, share, 4, seed=7) for share in (0.1, 0.4))
    assert torch.equal(small[small != 0], large[small != 0])
    assert torch.equal(large, noisy_labels(labels, 0.4, 4, seed=7))
    assert not torch.equal(large, noisy_labels(labels, 0.4, 4, seed=8))


def test_none_and_all() -> None:
    labels = torch.arange(60) % 3
    assert torch.equal(noisy_labels(labels, 0.0, 3, seed=0), labels)
    assert bool((noisy_labels(labels, 1.0, 3, seed=0) != labels).all())
