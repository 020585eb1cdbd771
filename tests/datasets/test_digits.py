"""scikit-learn's digits."""

from __future__ import annotations

import torch

from kd_runner.datasets.digits import digits


def test_digits_are_real_and_cut_by_their_seed() -> None:
    first, again, other = digits(seed=0), digits(seed=0), digits(seed=1)
    assert [len(split) for split in (first.train, first.val, first.test)] == [1132, 126, 539]
    assert first.num_classes == 10
    assert first.image_shape == (1, 8, 8)
    assert int(first.train.images.max()) == 255
    assert torch.equal(first.test.images, again.test.images)
    assert not torch.equal(first.test.labels, other.test.labels)
    assert first.training_fingerprint == again.training_fingerprint != other.training_fingerprint
