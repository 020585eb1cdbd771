"""Sources of images: files and memory give the same, and nothing is drawn from the global generator."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from image_folders import noisy_folder

from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.splits import Split
from kd_runner.errors import RunFailed
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.input_pipeline.sources import FileSource, source_of
from kd_runner.input_pipeline.view import View


def test_streamed_images_are_those_in_memory(tmp_path: Path) -> None:
    noisy_folder(tmp_path / "images")
    everything = Augmentation(crop_padding=2, flip=True, random_erasing=0.5)
    view = View(torch.full((3,), 0.5), torch.full((3,), 0.25), everything)
    runs = []
    for residency in ("host", "stream"):
        splits = image_folder(str(tmp_path / "images"), seed=0, image_size=8, residency=residency)
        batches = TrainingBatches(source_of(splits.train, torch.device("cpu"), "auto", workers=1), view, 4, seed=1)
        images = []
        for epoch in (0, 1):
            batches.epoch = epoch
            next(batches.batches())  # begun and left: the next pass starts over
            images += [(batch.images, batch.labels) for batch in batches.batches()]
        plain = PlainBatches(source_of(splits.test, torch.device("cpu"), "auto", workers=1), view, 3)
        runs.append([*images, *((batch.images, batch.labels) for batch in plain)])
    assert isinstance(splits.train, ImageFiles)
    for (memory, labels), (streamed, same) in zip(*runs, strict=True):
        assert torch.equal(memory, streamed)
        assert torch.equal(labels, same)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_streamed_image_that_cannot_be_read_is_named(tmp_path: Path, workers: int) -> None:
    noisy_folder(tmp_path / "images")
    (tmp_path / "images" / "a" / "3.png").write_bytes(b"broken")
    splits = image_folder(str(tmp_path / "images"), seed=0, image_size=8, residency="stream")
    view = View(torch.zeros(3), torch.ones(3))
    found = [each for each in (splits.train, splits.val, splits.test) if "a/3.png" in each.paths]  # type: ignore[attr-defined]
    batches = PlainBatches(source_of(found[0], torch.device("cpu"), "auto", workers), view, 4)
    with pytest.raises(RunFailed, match=r"^\S+3\.png cannot be read as an image: it is broken at its start"):
        list(batches)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_reading_files_leaves_the_global_generator_alone(tmp_path: Path, workers: int) -> None:
    noisy_folder(tmp_path / "images")
    splits = image_folder(str(tmp_path / "images"), seed=0, image_size=8, residency="stream")
    source = source_of(splits.train, torch.device("cpu"), "auto", workers)
    before = torch.get_rng_state()
    for _ in range(2):
        list(source.read_chunks(torch.arange(8), 4))
    assert torch.equal(torch.get_rng_state(), before)


def test_chunks_of_a_split_in_memory() -> None:
    split = Split(torch.arange(12, dtype=torch.uint8).view(3, 2, 1, 2), torch.tensor([5, 6, 7]))
    source = source_of(split, torch.device("cpu"), "auto")
    chunks = list(source.read_chunks(torch.tensor([2, 0, 1]), 2))
    assert [indices.tolist() for indices, _, _ in chunks] == [[2, 0], [1]]
    assert [labels.tolist() for _, _, labels in chunks] == [[7, 5], [6]]
    assert chunks[1][1].tolist() == [[[[4, 6], [5, 7]]]]  # channels last
    assert len(source) == 3
    assert source.image_shape == (2, 1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_readers_side_by_side_have_their_own_images_and_their_loaders_stay(tmp_path: Path, workers: int) -> None:
    noisy_folder(tmp_path / "images")
    splits = image_folder(str(tmp_path / "images"), seed=0, image_size=8, residency="stream")
    source = source_of(splits.train, torch.device("cpu"), "auto", workers)
    assert isinstance(source, FileSource)
    whole = torch.stack([splits.train[index] for index in range(len(source))])  # type: ignore[index]
    forwards, backwards = torch.arange(len(source)), torch.arange(len(source)).flip(0)
    loaders = set()
    for _ in range(2):
        readers = [source.read_chunks(order, 4) for order in (forwards, backwards)]
        for of_first, of_second in zip(*readers, strict=True):
            for indices, images, labels in (of_first, of_second):
                assert torch.equal(images.permute(0, 3, 1, 2), whole[indices])
                assert torch.equal(labels, splits.train.labels[indices])
            assert not torch.equal(of_first[0], of_second[0])
        loaders.add(frozenset(map(id, source._idle[4])))
    assert [len(of_epoch) for of_epoch in loaders] == [2]
