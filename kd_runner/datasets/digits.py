"""scikit-learn's digits: 1,797 handwritten digits of 8x8 pixels, real, and inside the package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

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
    table = _table()
    pixels, labels = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1]
    images = torch.from_numpy(np.rint(pixels * (255 / 16)).astype(np.uint8))
    everything = Split(images, torch.from_numpy(labels.astype(np.int64)))
    remaining, test = cut(everything, test_fraction, seed, "test_fraction")
    train, val = cut(remaining, val_fraction, seed, "val_fraction")
    return Splits(train, val, test, [str(digit) for digit in range(10)])


def _table() -> np.ndarray:
    """The images, a row each: 64 pixels from 0 to 16, and the label."""
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if file.exists():  # sklearn.datasets reads it, too, but takes 0.9 s to import
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.column_stack([bunch.data, bunch.target])
