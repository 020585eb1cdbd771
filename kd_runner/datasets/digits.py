"""scikit-learn's digits: 1,797 handwritten digits of 8x8 pixels, real, and inside the package."""

from __future__ import annotations

import numpy as np
import torch

from kd_runner.datasets.splits import Split, Splits, cut


def digits(seed: int, val_fraction: float = 0.1, test_fraction: float = 0.3) -> Splits:
    """The digits, cut into stratified splits with `seed`.

    UCI's optical recognition of handwritten digits (Alpaydin and Kaynak 1998), as scikit-learn ships its test part.

    Args:
        test_fraction: Share of all images kept for the test split.
        val_fraction: Share of the remaining images kept for validation.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(np.rint(bunch.images * (255 / 16)).astype(np.uint8)).unsqueeze(1)
    everything = Split(images, torch.from_numpy(bunch.target.astype(np.int64)))
    remaining, test = cut(everything, test_fraction, seed, "test_fraction")
    train, val = cut(remaining, val_fraction, seed, "val_fraction")
    return Splits(train, val, test, [str(digit) for digit in range(10)])
