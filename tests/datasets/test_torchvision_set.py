"""torchvision's data sets on small files of the real formats, and the messages for files that cannot be used."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from kd_runner.datasets.torchvision_set import torchvision_set
from kd_runner.notes import collected_notes


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
