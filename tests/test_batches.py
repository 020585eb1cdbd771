"""Order, augmentation and normalisation; randomness keyed by seed, epoch and image."""

from __future__ import annotations

import torch
import torchvision.transforms.v2.functional as reference

from kd_runner.batches import PlainBatches, TrainingBatches, View
from kd_runner.datasets.splits import Split
from kd_runner.randomness import derived_seed, keyed_uniform, seeded

CPU = torch.device("cpu")


def images(count: int, channels: int = 3, side: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (count, channels, side, side), dtype=torch.uint8, generator=generator)


def view(crop_padding: int = 0, flip: bool = False, channels: int = 3) -> View:
    return View(torch.full((channels,), 0.5), torch.full((channels,), 0.25), crop_padding, flip)


def split(count: int) -> Split:
    return Split(images(count), torch.arange(count) % 4)


def test_normalisation_is_torchvisions() -> None:
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    ours = View(torch.tensor(mean), torch.tensor(std)).normalised(images(5))
    wanted = reference.normalize(reference.to_dtype(images(5), torch.float32, scale=True), mean, std)
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)


def test_a_crop_is_a_window_of_the_padded_image_and_a_flip_mirrors_it() -> None:
    pictures, indices = images(200), torch.arange(200)
    out = view(crop_padding=2, flip=True).augmented(pictures, indices, seed=5)
    padded = reference.pad(pictures, [2, 2, 2, 2])
    places = []
    for original, result in zip(padded, out, strict=True):
        found = [
            (top, left, mirrored)
            for top in range(5)
            for left in range(5)
            for mirrored in (False, True)
            if torch.equal(
                (lambda crop, mirrored: reference.horizontal_flip(crop) if mirrored else crop)(
                    reference.crop(original, top, left, 8, 8), mirrored
                ),
                result,
            )
        ]
        assert len(found) == 1
        places += found
    tops, lefts, mirrors = zip(*places, strict=True)
    assert set(tops) == set(lefts) == set(range(5))
    assert 70 < sum(mirrors) < 130


def test_augmentation_depends_on_seed_and_image_and_not_on_the_batch() -> None:
    pictures, indices, twisted = images(20), torch.arange(20), view(crop_padding=2, flip=True)
    whole = twisted.augmented(pictures, indices, seed=1)
    some = torch.tensor([7, 3, 11])
    assert torch.equal(twisted.augmented(pictures[some], some, seed=1), whole[some])
    assert not torch.equal(twisted.augmented(pictures, indices, seed=2), whole)


def test_an_epoch_has_every_image_once_in_an_order_of_its_own() -> None:
    batches = TrainingBatches(split(50), view(), batch_size=8, seed=3, device=CPU, chunk=4)
    orders = []
    for epoch in (0, 1, 0):
        batches.epoch = epoch
        chunks = list(batches)
        assert [len(chunk) for chunk in chunks] == [4, 3]
        orders.append(torch.cat([indices for chunk in chunks for indices in chunk]).tolist())
    assert sorted(orders[0]) == list(range(50))
    assert orders[0] == orders[2] != orders[1]


def test_a_last_batch_of_one_is_left_out() -> None:
    batches = TrainingBatches(split(17), view(), batch_size=8, seed=3, device=CPU)
    assert batches.count == 2
    assert [len(indices) for chunk in batches for indices in chunk] == [8, 8]


def test_a_batch_carries_its_indices() -> None:
    data = split(30)
    batch = TrainingBatches(data, view(), batch_size=8, seed=3, device=CPU).batch(torch.tensor([4, 9]))
    assert batch.indices.tolist() == [4, 9]
    assert batch.labels.tolist() == data.labels[[4, 9]].tolist()
    torch.testing.assert_close(batch.images, view().normalised(data.images[[4, 9]]))


def test_plain_batches_keep_the_order() -> None:
    data = split(10)
    plain = PlainBatches(data, view(), batch_size=4, device=CPU)
    assert len(plain) == len(list(plain)) == 3
    assert torch.cat([batch.indices for batch in plain]).tolist() == list(range(10))
    assert torch.equal(torch.cat([batch.labels for batch in plain]), data.labels)


def test_keyed_numbers_are_uniform_and_independent_between_rows() -> None:
    rows = keyed_uniform(torch.arange(100_000), seed=derived_seed(0), draws=2)
    assert rows.min() >= 0
    assert rows.max() < 1
    for row in rows:
        counts = torch.histc(row, bins=20, min=0, max=1)
        assert ((counts - 5000) ** 2 / 5000).sum() < 50  # chi-squared, 19 degrees of freedom: 1 in 10,000
    correlation = torch.corrcoef(torch.stack([rows[0], rows[1], rows[0].roll(1)]))
    assert correlation.fill_diagonal_(0).abs().max() < 0.015


def test_seeded_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    with seeded(0, "somewhere"):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), wanted)
    with seeded(0, "somewhere"):
        assert torch.equal(torch.rand(3), inside)
