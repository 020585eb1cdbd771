"""Augmentation depends on the seed, the epoch and the image alone."""

from __future__ import annotations

import pytest
import torch
from batch_cases import channels_last, images, view
from torch import Tensor

from kd_runner.input_pipeline.augmentation import Augmentation, Batch


def test_windows_depend_on_seed_and_index_alone() -> None:
    windows = Augmentation(resized_crop=0.1, flip=True)
    pictures = channels_last(images(20))
    together = windows.augment_bytes(pictures, torch.arange(20), 7)
    alone = torch.cat([windows.augment_bytes(pictures[i : i + 1], torch.tensor([i]), 7) for i in range(20)])
    assert torch.equal(together, alone)
    assert not torch.equal(together, windows.augment_bytes(pictures, torch.arange(20), 8))
    assert together.shape == pictures.shape
    assert together.dtype == torch.uint8


def test_every_place_and_both_sides_are_drawn() -> None:
    everything = Augmentation(crop_padding=2, flip=True)
    marked = torch.zeros(400, 8, 8, 1, dtype=torch.uint8)
    marked[:, 4, 3] = 1
    where = everything.augment_bytes(marked, torch.arange(400), seed=5).squeeze(3).nonzero()
    assert where[:, 1].unique().tolist() == [2, 3, 4, 5, 6]
    assert where[:, 2].unique().tolist() == [1, 2, 3, 4, 5, 6]  # 3 ± 2, and mirrored 4 ± 2
    shares = torch.bincount(where[:, 2], minlength=8) / 400
    assert shares[1] == pytest.approx(0.1, abs=0.05)
    assert shares[4] == pytest.approx(0.2, abs=0.06)


def test_a_mixed_batch_knows_its_partners() -> None:
    batch = Batch(torch.rand(5, 1, 4, 4), torch.arange(5), torch.tensor([7, 1, 2, 3, 4]))
    mixed = Augmentation(mixup=1.0).mix(batch, seed=3)
    assert mixed.partners is not None
    assert mixed.partners.tolist() == [4, 0, 1, 2, 3]
    wanted = mixed.share * batch.images + (1 - mixed.share) * batch.images.roll(1, 0)
    torch.testing.assert_close(mixed.images, wanted)
    assert Augmentation(mixup=1.0).mix(batch, seed=3).share == mixed.share
    both = [Augmentation(mixup=1.0, cutmix=1.0).mix(batch, seed) for seed in range(40)]
    pasted = [bool(torch.isin(each.images, batch.images).all()) for each in both]
    assert 8 < sum(pasted) < 32


def test_augmentation_depends_on_seed_and_image_and_not_on_the_batch() -> None:
    everything = Augmentation(crop_padding=2, flip=True, rand_augment=2, cutout=3, random_erasing=0.5)
    pictures, indices = channels_last(images(20)), torch.arange(20)

    def through(chosen: Tensor, seed: int) -> Tensor:
        augmented = everything.augment_bytes(pictures[chosen], indices[chosen], seed)
        return everything.augment_floats(view().normalise(augmented), indices[chosen], seed)

    whole = through(indices, 1)
    some = torch.tensor([7, 3, 11])
    assert torch.equal(through(some, 1), whole[some])
    assert not torch.equal(through(indices, 2), whole)
