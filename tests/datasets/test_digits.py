"""scikit-learn's digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from kd_runner.datasets import digits as module
from kd_runner.datasets.digits import digits


def test_the_images_are_those_that_scikit_learn_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    bunch = load_digits()
    read_table = module._table.__wrapped__  # type: ignore[attr-defined]  # conftest.py has it read once
    table = read_table()
    assert np.array_equal(table, np.column_stack([bunch.data, bunch.target]))
    monkeypatch.setattr(Path, "exists", lambda path: False)  # where scikit-learn keeps them in another file
    assert np.array_equal(table, read_table())


def test_digits_are_real_and_cut_by_their_seed() -> None:
    first, again, other = digits(seed=0), digits(seed=0), digits(seed=1)
    assert [len(split) for split in (first.train, first.val, first.test)] == [1132, 126, 539]
    assert first.num_classes == 10
    assert first.image_shape == (1, 8, 8)
    assert int(first.train.images.max()) == 255
    assert torch.equal(first.test.images, again.test.images)
    assert not torch.equal(first.test.labels, other.test.labels)
    assert first.training_fingerprint == again.training_fingerprint != other.training_fingerprint
