"""Pictures of up to four digits: what is in them is what their labels say."""

from __future__ import annotations

import pytest
import torch

from kd_runner.datasets.digit_tiles import digit_tiles
from kd_runner.datasets.digits import digits


def test_the_labels_are_the_digits_in_the_picture() -> None:
    made, whole = digit_tiles(5, 50, 20, 30), digits(5)
    assert [len(part) for part in (made.train, made.val, made.test)] == [50, 20, 30]
    assert made.image_shape == (1, 16, 16)
    for name in ("train", "val", "test"):  # a digit of a split is in pictures of this split alone
        part, source = getattr(made, name), getattr(whole, name)
        label_of = {
            image.numpy().tobytes(): int(label) for image, label in zip(source.images, source.labels, strict=True)
        }
        for image, labels in zip(part.images, part.labels, strict=True):
            cells = [image[0, y : y + 8, x : x + 8].contiguous() for y in (0, 8) for x in (0, 8)]
            found = {label_of[cell.numpy().tobytes()] for cell in cells if bool(cell.any())}
            assert found == set(torch.nonzero(labels).flatten().tolist()) != set()


def test_a_seed_decides_and_settings_are_checked() -> None:
    assert (
        digit_tiles(1, 9, 2, 2).fingerprint
        == digit_tiles(1, 9, 2, 2).fingerprint
        != digit_tiles(2, 9, 2, 2).fingerprint
    )
    with pytest.raises(ValueError, match="empty must be 0 or more and below 1, got 1"):
        digit_tiles(0, empty=1.0)
    with pytest.raises(ValueError, match="val_images must be 2 or more, got 1"):
        digit_tiles(0, val_images=1)
