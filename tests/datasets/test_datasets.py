"""Readers on small files of the real formats, stratified cuts, and the messages for data that cannot be used."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from kd_runner.datasets.digits import digits
from kd_runner.datasets.files import ImageFiles
from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.splits import Split, Splits, stratified_indices
from kd_runner.datasets.torchvision_set import torchvision_set
from kd_runner.errors import RunFailed
from kd_runner.input_pipeline.augmentation import Augmentation
from kd_runner.input_pipeline.batches import PlainBatches, TrainingBatches
from kd_runner.input_pipeline.sources import source_of
from kd_runner.input_pipeline.view import View
from kd_runner.notes import collected_notes


def test_digits_are_real_and_cut_by_their_seed() -> None:
    first, again, other = digits(seed=0), digits(seed=0), digits(seed=1)
    assert [len(split) for split in (first.train, first.val, first.test)] == [1132, 126, 539]
    assert first.num_classes == 10
    assert first.image_shape == (1, 8, 8)
    assert int(first.train.images.max()) == 255
    assert torch.equal(first.test.images, again.test.images)
    assert not torch.equal(first.test.labels, other.test.labels)
    assert first.training_fingerprint == again.training_fingerprint != other.training_fingerprint


def test_a_cut_is_stratified_and_disjoint() -> None:
    labels = torch.tensor([0] * 100 + [1] * 20 + [2] * 2)
    rest, taken = stratified_indices(labels, 0.1, seed=3)
    assert torch.bincount(labels[taken]).tolist() == [10, 2, 1]
    assert sorted(rest.tolist() + taken.tolist()) == list(range(122))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_a_cut_refuses_all_or_nothing(fraction: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        stratified_indices(torch.tensor([0, 0, 1, 1]), fraction, seed=0)


def split(labels: list[int], side: int = 4) -> Split:
    return Split(torch.zeros(len(labels), 1, side, side, dtype=torch.uint8), torch.tensor(labels, dtype=torch.int64))


def test_splits_refuse_what_cannot_be_trained_on() -> None:
    good, classes = split([0, 1]), ["a", "b"]
    with pytest.raises(ValueError, match=r"at least two classes, got \['a'\]"):
        Splits(split([0, 0]), split([0]), split([0]), ["a"])
    with pytest.raises(ValueError, match="the training split must have at least two images, got 1"):
        Splits(split([0]), good, good, classes)
    with pytest.raises(ValueError, match="the validation split is empty"):
        Splits(good, split([]), good, classes)
    with pytest.raises(ValueError, match="labels must be 0 to 1, the test split has 0 to 2"):
        Splits(good, good, split([0, 2]), classes)
    with pytest.raises(ValueError, match=r"the training split has \[1, 4, 4\], the test split \[1, 5, 5\]"):
        Splits(good, good, split([0], side=5), classes)
    with pytest.raises(ValueError, match=r"images must be uint8 \[N, C, H, W\], got torch.float32"):
        Split(torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"labels must be int64 \[2\], got torch.int64 \[3\]"):
        Split(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_the_mnist_format(tmp_path: Path, name: str) -> None:
    raw = tmp_path / name / "raw"
    raw.mkdir(parents=True)
    images = np.arange(40 * 28 * 28).reshape(40, 28, 28) % 251
    for prefix, count in (("train", 40), ("t10k", 10)):
        write_idx(raw / f"{prefix}-images-idx3-ubyte", images[:count])
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10)
    splits = torchvision_set(name, str(tmp_path), seed=0, download=False, val_fraction=0.25)
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [30, 10, 10]
    assert splits.image_shape == (1, 28, 28)
    assert np.array_equal(splits.test.images[3, 0].numpy(), images[3])
    assert splits.test.labels.tolist() == list(range(10))


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (raw / f"{prefix}-{kind}-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x09broken")
    with pytest.raises(ValueError, match=r"MNIST under .* cannot be read"):
        torchvision_set("MNIST", str(tmp_path), seed=0)


@pytest.mark.parametrize(("name", "classes"), [("CIFAR10", 10), ("CIFAR100", 100)])
def test_the_cifar_format(tmp_path: Path, name: str, classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = getattr(datasets, name)
    monkeypatch.setattr(reader, "_check_integrity", lambda self: True)  # our small files have other checksums
    monkeypatch.setattr(reader, "_load_meta", lambda self: setattr(self, "classes", [f"c{i}" for i in range(classes)]))
    folder = tmp_path / reader.base_folder
    folder.mkdir()
    key = "labels" if classes == 10 else "fine_labels"
    pixels = np.arange(200 * 3072, dtype=np.int64).reshape(200, 3072) % 253
    for file, _ in reader.train_list + reader.test_list:
        content = {"data": pixels.astype(np.uint8), key: [i % classes for i in range(200)]}
        (folder / file).write_bytes(pickle.dumps(content))
    splits = torchvision_set(name, str(tmp_path), seed=0, download=False, val_fraction=0.5)
    assert splits.num_classes == classes
    assert splits.image_shape == (3, 32, 32)
    assert np.array_equal(splits.test.images[7].numpy(), pixels[7].reshape(3, 32, 32))
    assert len(splits.test) == 200


def test_a_missing_data_set_says_where_it_looked_and_what_to_put_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no MNIST under .*nowhere, and dataset.download is false: put MNIST"):
        torchvision_set("MNIST", str(tmp_path / "nowhere"), seed=0, download=False)


def test_a_failed_download_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(self) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nTried https://…")

    monkeypatch.setattr(datasets.MNIST, "download", no_network)
    with pytest.raises(FileNotFoundError, match=r"downloading it failed \(Error downloading train-images"):
        torchvision_set("MNIST", str(tmp_path), seed=0)


def test_a_data_set_that_is_not_as_published_is_said_to_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    (batches / "data_batch_1").write_bytes(b"half of it")
    with pytest.raises(FileNotFoundError, match=r"CIFAR10 under \S+ is incomplete, or not as it was published"):
        torchvision_set("CIFAR10", str(tmp_path), seed=0, download=False)

    def download(self) -> None:
        monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
        monkeypatch.setattr(datasets.CIFAR10, "_load_meta", lambda self: setattr(self, "classes", list("abcdefghij")))
        for file, _ in self.train_list + self.test_list:
            content = {"data": np.zeros((20, 3072), np.uint8), "labels": [i % 10 for i in range(20)]}
            (batches / file).write_bytes(pickle.dumps(content))

    monkeypatch.setattr(datasets.CIFAR10, "download", download)
    with collected_notes() as notes:
        splits = torchvision_set("CIFAR10", str(tmp_path), seed=0)
    assert len(splits.test) == 20
    assert len(notes) == 1
    assert "is incomplete, or not as it was published: it was completed by a download" in notes[0]


def test_images_and_labels_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix in ("train", "t10k"):
        write_idx(raw / f"{prefix}-images-idx3-ubyte", np.zeros((20, 28, 28)))
        write_idx(raw / f"{prefix}-labels-idx1-ubyte", np.zeros(19))
    with pytest.raises(ValueError, match=r"MNIST under \S+: labels must be int64 \[20\], got torch.int64 \[19\]"):
        torchvision_set("MNIST", str(tmp_path), seed=0)


def write_images(folder: Path, classes: dict[str, int], shade: int = 10) -> None:
    for number, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.full((6, 8, 3), shade * (number + 1), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


def test_an_image_folder_with_train_and_test(tmp_path: Path) -> None:
    write_images(tmp_path / "train", {"cat": 10, "dog": 10})
    write_images(tmp_path / "test", {"cat": 3, "dog": 2})
    (tmp_path / "train" / "cat" / ".hidden.png").write_bytes(b"not an image")
    (tmp_path / "train" / "cat" / "notes.txt").write_text("nor is this")
    splits = image_folder(str(tmp_path), seed=0, image_size=4, val_fraction=0.2)
    assert splits.classes == ["cat", "dog"]
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [16, 4, 5]
    assert splits.image_shape == (3, 4, 4)
    assert splits.test.labels.tolist() == [0, 0, 0, 1, 1]
    assert splits.test.images[:, 0, 0, 0].tolist() == [10, 10, 10, 20, 20]
    write_images(tmp_path / "val", {"cat": 1, "dog": 1})
    assert len(image_folder(str(tmp_path), seed=0, image_size=4).val) == 2


def test_an_image_folder_without_splits(tmp_path: Path) -> None:
    write_images(tmp_path, {"a": 20, "b": 20})
    splits = image_folder(str(tmp_path), seed=0, image_size=5, color="gray", val_fraction=0.25, test_fraction=0.2)
    assert [len(split) for split in (splits.train, splits.val, splits.test)] == [24, 8, 8]
    assert torch.bincount(splits.test.labels).tolist() == [4, 4]
    assert splits.image_shape == (1, 5, 5)


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere: it must hold train/CLASS"):
        image_folder(str(tmp_path / "nowhere"), seed=0)
    with pytest.raises(FileNotFoundError, match="no class folders in"):
        image_folder(str(tmp_path), seed=0)
    write_images(tmp_path / "train", {"a": 2, "b": 2})
    write_images(tmp_path / "test", {"a": 2, "b": 2, "c": 2})
    with pytest.raises(ValueError, match=r"test must have the class folders of .*train; only test has \['c'\]"):
        image_folder(str(tmp_path), seed=0)
    write_images(tmp_path / "other" / "test", {"a": 2})
    with pytest.raises(ValueError, match="has a folder test and none called train"):
        image_folder(str(tmp_path / "other"), seed=0)
    (tmp_path / "train" / "c").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no images under .*train/c: a class needs images to learn from"):
        image_folder(str(tmp_path), seed=0)
    (tmp_path / "train" / "c" / "x.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"x\.png cannot be read as an image"):
        image_folder(str(tmp_path), seed=0)


def test_a_wide_image_is_cropped_to_its_middle(tmp_path: Path) -> None:
    pixels = np.zeros((4, 12, 3), dtype=np.uint8)
    pixels[:, 4:8] = 200
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(4):
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    splits = image_folder(str(tmp_path), seed=0, image_size=4, test_fraction=0.25, val_fraction=0.3)
    assert splits.train.images.unique().tolist() == [200]


def noisy_folder(folder: Path, count: int = 12, side: int = 10) -> None:
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = generator.integers(0, 256, (side, side + 2, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


def test_decoded_images_are_kept_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy_folder(tmp_path / "images")
    opened: list[Path] = []
    really = Image.open

    def watched(path: Path, **options: Any):
        opened.append(path)
        return really(path, **options)

    monkeypatch.setattr(Image, "open", watched)

    def read(**options: object) -> Splits:
        opened.clear()
        return image_folder(str(tmp_path / "images"), seed=0, image_size=8, cache=str(tmp_path / "cache"), **options)

    first = read()
    assert len(opened) == 24
    again = read()
    assert not opened
    assert first.fingerprint == again.fingerprint
    read(color="gray")
    assert len(opened) == 24
    Image.fromarray(np.zeros((20, 20, 3), dtype=np.uint8)).save(tmp_path / "images" / "a" / "3.png")
    assert read().fingerprint != first.fingerprint
    assert len(opened) == 24
    assert not [each for each in (tmp_path / "cache").iterdir() if each.name.startswith(".")]


def test_a_cut_off_cache_is_made_anew(tmp_path: Path) -> None:
    noisy_folder(tmp_path / "images")
    wanted = image_folder(str(tmp_path / "images"), seed=0, image_size=8)
    (cache := tmp_path / "cache").mkdir()
    image_folder(str(tmp_path / "images"), seed=0, image_size=8, cache=str(cache))
    (file,) = cache.glob("*.npy")
    for content in (file.read_bytes()[:-100], b"", b"nonsense"):
        file.write_bytes(content)
        again = image_folder(str(tmp_path / "images"), seed=0, image_size=8, cache=str(cache))
        assert again.fingerprint == wanted.fingerprint


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noisy_folder(tmp_path / "images")
    (tmp_path / "cache").write_text("a file")
    with caplog.at_level("INFO"):
        image_folder(str(tmp_path / "images"), seed=0, image_size=8, cache=str(tmp_path / "cache"))
    assert "decoded images cannot be kept in" in caplog.text


DECODE = """
import sys
from pathlib import Path
from PIL import Image
from kd_runner.datasets.image_folder import image_folder
opened, really = [], Image.open
Image.open = lambda path, **options: (opened.append(path), really(path, **options))[1]
splits = image_folder(sys.argv[1], seed=0, image_size=8, cache=sys.argv[2])
print(len(opened), splits.fingerprint)
"""


def test_jobs_that_start_together_decode_once(tmp_path: Path) -> None:
    noisy_folder(tmp_path / "images", count=60)
    command = [sys.executable, "-c", DECODE, str(tmp_path / "images"), str(tmp_path / "cache")]
    jobs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [job.communicate()[0].split() for job in jobs]
    assert sorted(int(count) for count, _ in answers) == [0, 0, 120]
    assert len({fingerprint for _, fingerprint in answers}) == 1


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


def test_more_images_than_memory_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy_folder(tmp_path / "images")
    assert isinstance(image_folder(str(tmp_path / "images"), seed=0, image_size=8).train, Split)
    pages = {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 1000}  # 10 kB, of which the 24 images of 192 bytes take half
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert isinstance(image_folder(str(tmp_path / "images"), seed=0, image_size=8).train, ImageFiles)


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


def test_folders_that_differ_in_their_pixels_alone_are_not_confused(tmp_path: Path) -> None:
    """Uncompressed images of equal size and time, as an archive with fixed times leaves them."""
    for shade, name in ((10, "train"), (90, "test")):
        for label in ("a", "b"):
            (tmp_path / name / label).mkdir(parents=True)
            for index in range(4):
                file = tmp_path / name / label / f"{index}.bmp"
                Image.fromarray(np.full((8, 8, 3), shade, dtype=np.uint8)).save(file)
                os.utime(file, (1, 1))
    splits = image_folder(str(tmp_path), seed=0, image_size=8, val_fraction=0.25, cache=str(tmp_path / "cache"))
    assert splits.train.sample(9).unique().tolist() == [10]
    assert splits.test.sample(9).unique().tolist() == [90]
    streamed = image_folder(str(tmp_path), seed=0, image_size=8, val_fraction=0.25, residency="stream")
    assert streamed.test.sample(9).unique().tolist() == [90]


def test_a_full_disk_costs_the_cache_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    noisy_folder(tmp_path / "images")
    monkeypatch.setattr(np.lib.format, "write_array_header_2_0", full)
    with caplog.at_level("INFO"):
        splits = image_folder(str(tmp_path / "images"), seed=0, image_size=8, cache=str(tmp_path / "cache"))
    assert len(splits.train) == 18
    assert "No space left on device" in caplog.text
    assert [each.suffix for each in (tmp_path / "cache").iterdir()] in ([], [".lock"])


@pytest.mark.parametrize("workers", [0, 1])
def test_reading_files_leaves_the_global_generator_alone(tmp_path: Path, workers: int) -> None:
    noisy_folder(tmp_path / "images")
    splits = image_folder(str(tmp_path / "images"), seed=0, image_size=8, residency="stream")
    source = source_of(splits.train, torch.device("cpu"), "auto", workers)
    before = torch.get_rng_state()
    for _ in range(2):
        list(source.read_chunks(torch.arange(8), 4))
    assert torch.equal(torch.get_rng_state(), before)
