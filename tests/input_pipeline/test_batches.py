"""Batches of an epoch: order, chunks, indices; random numbers keyed by seed, epoch and image."""

from __future__ import annotations

import pytest
import torch
from batch_cases import CPU, channels_last, source, split, view
from torch.utils.data import WeightedRandomSampler

from kd_runner.datasets.splits import Split
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.input_pipeline.sources import MemorySource, source_of
from kd_runner.process_group import ProcessGroup
from kd_runner.randomness import derived_seed, keyed_uniform, seeded_generator


@pytest.mark.parametrize("batch_size", [3, 8, 50])
def test_chunks_decide_no_numbers(batch_size: int) -> None:
    everything = Augmentation(crop_padding=2, flip=True, rand_augment=1, random_erasing=0.5, cutmix=1.0)
    runs = []
    for chunk in (1, 4, None):
        batches = TrainingBatches(source(50), view(everything), batch_size, seed=3, chunk=chunk)
        batches.epoch = 2
        runs.append([batch for each in batches for batch in each])
    for one, other, another in zip(*runs, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.images, another.images)
        assert torch.equal(one.labels, another.labels)
        assert one.share == other.share == another.share


def test_an_epoch_has_every_image_once_in_an_order_of_its_own() -> None:
    batches = TrainingBatches(source(50), view(), batch_size=8, seed=3, chunk=4)
    orders = []
    for epoch in (0, 1, 0):
        batches.epoch = epoch
        chunks = [list(chunk) for chunk in batches]
        assert [len(chunk) for chunk in chunks] == [4, 3]
        assert len(batches) == 2
        orders.append(torch.cat([batch.indices for chunk in chunks for batch in chunk]).tolist())
    assert sorted(orders[0]) == list(range(50))
    assert orders[0] == orders[2] != orders[1]


def test_epochs_replay_views_in_orders_of_their_own() -> None:
    changes = Augmentation(crop_padding=2, flip=True, rand_augment=1, cutout=3)
    shown = {}
    for views in (None, 2):
        batches = TrainingBatches(source(20), view(changes), batch_size=8, seed=3, views=views)
        for epoch in range(4):
            batches.epoch = epoch
            epoch_batches = list(batches.batches())
            indices = torch.cat([batch.indices for batch in epoch_batches])
            shown[views, epoch] = indices, torch.cat([batch.images for batch in epoch_batches])[indices.argsort()]
            assert {batch.view for batch in epoch_batches} == {epoch % 2 if views else 0}
    for epoch in range(4):
        assert torch.equal(shown[2, epoch][0], shown[None, epoch][0])  # the order
        assert torch.equal(shown[2, epoch][1], shown[None, epoch % 2][1])  # the images
    assert not torch.equal(shown[2, 0][1], shown[2, 1][1])


def test_batches_in_another_order_have_the_views_of_the_epoch() -> None:
    batches = TrainingBatches(source(17), view(Augmentation(crop_padding=2, flip=True)), batch_size=8, seed=3)
    batches.epoch = 2
    in_order = list(batches.batches(torch.arange(17)))
    assert torch.cat([batch.indices for batch in in_order]).tolist() == list(range(17))
    images = torch.cat([batch.images for batch in in_order])
    assert all(torch.equal(images[batch.indices], batch.images) for batch in batches.batches())


@pytest.mark.parametrize(("count", "largest"), [(40, 8), (17, 8), (5, 5), (9, 8)])
def test_the_size_of_all_batches_but_the_last(count: int, largest: int) -> None:
    batches = TrainingBatches(source(count), view(), batch_size=8, seed=3)
    assert max(len(batch.labels) for batch in batches.batches()) == batches.largest == largest


def test_a_last_batch_of_one_is_left_out() -> None:
    batches = TrainingBatches(source(17), view(), batch_size=8, seed=3)
    assert batches.count == 2
    assert [len(batch.labels) for batch in batches.batches()] == [8, 8]


def test_a_batch_carries_its_indices() -> None:
    data = split(30)
    for batch in TrainingBatches(MemorySource(data, CPU, CPU), view(), batch_size=8, seed=3).batches():
        assert torch.equal(batch.labels, data.labels[batch.indices])
        torch.testing.assert_close(batch.images, view().normalise(channels_last(data.images[batch.indices])))


def test_plain_batches_keep_the_order() -> None:
    plain = PlainBatches(source(10), view(Augmentation(crop_padding=2, flip=True)), batch_size=4)
    assert len(plain) == len(list(plain)) == 3
    assert torch.cat([batch.indices for batch in plain]).tolist() == list(range(10))
    assert torch.equal(torch.cat([batch.labels for batch in plain]), split(10).labels)
    wanted = view().normalise(channels_last(split(10).images))
    torch.testing.assert_close(torch.cat([batch.images for batch in plain]), wanted)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("residency", ["device", "host"])
def test_a_gpu_gives_the_same_batches(residency: str) -> None:
    everything = Augmentation(crop_padding=2, flip=True, rand_augment=2, cutout=3, random_erasing=0.5, mixup=1.0)
    there = source_of(split(50), torch.device("cuda"), residency)
    for ours, theirs in zip(
        TrainingBatches(source(50), view(everything), 8, seed=3).batches(),
        TrainingBatches(there, view(everything), 8, seed=3).batches(),
        strict=True,
    ):
        assert theirs.images.is_cuda
        torch.testing.assert_close(theirs.images.cpu(), ours.images, atol=0.05, rtol=0)
        assert torch.equal(theirs.labels.cpu(), ours.labels)


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
    with seeded_generator(0, "somewhere"):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), wanted)
    with seeded_generator(0, "somewhere"):
        assert torch.equal(torch.rand(3), inside)


@pytest.mark.parametrize("augmentation", [Augmentation(crop_padding=2, flip=True, cutout=3), Augmentation(mixup=0.4)])
@pytest.mark.parametrize(("images", "processes"), [(50, 3), (18, 3), (8, 2)])
def test_the_rows_of_several_processes_are_the_batch(augmentation: Augmentation, images: int, processes: int) -> None:
    """18 images in batches of 8 leave 2 for the last batch, of which one of three processes has none."""
    wholes = list(TrainingBatches(source(images), view(augmentation), 8, seed=3, strong=True).batches())
    shares = [
        list(
            TrainingBatches(
                source(images), view(augmentation), 8, seed=3, strong=True, process_group=ProcessGroup(rank, processes)
            ).batches()
        )
        for rank in range(processes)
    ]
    assert {len(share) for share in shares} == {len(wholes)}
    groups = [ProcessGroup(rank, processes) for rank in range(processes)]
    everything = [TrainingBatches(source(images), view(), 8, 3, process_group=group) for group in groups]
    assert [batches.largest for batches in everything] == [len(share[0].labels) for share in shares]
    for whole, parts in zip(wholes, zip(*shares, strict=True), strict=True):
        rows = [part.rows for part in parts if part.rows is not None]
        assert [row.of for row in rows] == [len(whole.labels)] * processes
        assert all(len(part.labels) == max(1, row.count) for part, row in zip(parts, rows, strict=True))
        for name in ("images", "labels", "indices", "strong", *(("partners",) if augmentation.mixes else ())):
            own = [getattr(part, name)[: row.count] for part, row in zip(parts, rows, strict=True)]
            assert torch.equal(torch.cat(own), getattr(whole, name))
        assert {part.share for part in parts} == {whole.share}


def test_several_processes_share_plain_batches() -> None:
    parts = [PlainBatches(source(11), view(), 4, ProcessGroup(rank, 3)) for rank in range(3)]
    assert [len(part) for part in parts] == [1, 1, 1]
    assert torch.cat([batch.indices for part in parts for batch in part]).tolist() == list(range(11))


def test_a_balanced_epoch_draws_all_classes_equally_often_and_each_image_anew() -> None:
    images = torch.randint(0, 256, (600, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.where(torch.arange(600) < 540, 0, 1 + torch.arange(600) % 2)  # 540, 30 and 30 images
    memory = MemorySource(Split(images, labels), CPU, CPU)
    batches = TrainingBatches(memory, view(Augmentation(crop_padding=2)), 64, seed=3, balanced=True)
    order = batches.order()
    # Restated: PyTorch's sampler, with the generator of the epoch's order.
    generator = torch.Generator().manual_seed(derived_seed(3, "order", 0))
    weights = 1 / torch.tensor([540.0, 30.0, 30.0], dtype=torch.float64)[labels]
    assert order.tolist() == list(WeightedRandomSampler(weights.tolist(), 600, generator=generator))
    counts = torch.bincount(labels[order])
    assert bool((counts - 200).abs().max() < 50)  # of a binomial distribution with a deviation of 12
    seen = {}
    for batch in batches.batches():
        for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
            seen.setdefault(index, []).append(image)
    several = [shown for shown in seen.values() if len(shown) > 3]
    assert several
    assert all(any(not torch.equal(shown[0], image) for image in shown[1:]) for shown in several)
    shares = [
        TrainingBatches(memory, batches.view, 64, seed=3, balanced=True, process_group=ProcessGroup(rank, 2)).batches()
        for rank in range(2)
    ]
    for batch, first, second in zip(batches.batches(), *shares, strict=True):  # however many processes share it
        assert torch.equal(batch.images, torch.cat([first.images, second.images]))
    batches.epoch = 1
    assert not torch.equal(order, batches.order())
    replayed = TrainingBatches(memory, view(Augmentation(crop_padding=2)), 64, seed=3, balanced=True, views=2)
    for batch in replayed.batches():  # kept logits are those of a view: each time, an image looks the same
        for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
            assert torch.equal(seen[index][0], image)
