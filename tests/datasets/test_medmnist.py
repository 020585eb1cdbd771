"""An .npz of the form of MedMNIST: gray and colour, 28 to 224 pixels, from the file to a run, and what is refused."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kd_runner.datasets.medmnist import medmnist
from kd_runner.datasets.splits import Split
from kd_runner.notes import collected_notes
from kd_runner.reports.class_table import class_table

SIZES = {"train": 20, "val": 6, "test": 8}


def arrays(side: int = 28, channels: int | None = None, classes: int = 2, **sizes: int) -> dict[str, np.ndarray]:
    """Images whose brightness tells their class."""
    rng = np.random.default_rng(side)
    content = {}
    for split, count in {**SIZES, **sizes}.items():
        labels = np.arange(count, dtype=np.uint8)[:, None] % classes
        shape = (count, side, side) if channels is None else (count, side, side, channels)
        shades = (labels * (200 // classes)).reshape(-1, *[1] * (len(shape) - 1))
        content[f"{split}_images"] = (shades + rng.integers(0, 50, shape)).astype(np.uint8)
        content[f"{split}_labels"] = labels
    return content


def save(path: Path, content: dict[str, Any]) -> str:
    np.savez_compressed(path, **content)
    return str(path)


@pytest.mark.parametrize(("side", "channels"), [(28, None), (28, 3), (64, 3), (128, 1), (224, 3)])
def test_images_and_labels_are_those_of_the_file(tmp_path: Path, side: int, channels: int | None) -> None:
    content = arrays(side, channels, classes=4, train=8, val=4, test=4)
    splits = medmnist(save(tmp_path / "x.npz", content), seed=0)
    assert splits.classes == ["0", "1", "2", "3"]
    assert splits.image_shape == (channels or 1, side, side)
    for split in SIZES:
        part = getattr(splits, split)
        assert isinstance(part, Split)
        expected = content[f"{split}_images"].reshape(len(part), side, side, channels or 1).transpose(0, 3, 1, 2)
        assert torch.equal(part.images, torch.tensor(expected))
        assert part.labels.tolist() == content[f"{split}_labels"][:, 0].tolist()
    assert set(splits.unused) == {"val_fraction", "test_fraction", "seed"}


def test_splits_that_are_missing_are_cut_and_classes_have_names(tmp_path: Path) -> None:
    content = {name: values for name, values in arrays().items() if name.startswith("train")}
    content["train_labels"] = content["train_labels"][:, 0].astype(np.int32)
    with collected_notes() as notes:
        splits = medmnist(save(tmp_path / "x.npz", {**content, "more": np.zeros(3)}), 0, ["normal", "pneumonia"])
    assert splits.classes == ["normal", "pneumonia"]
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [14, 2, 4]
    assert notes == [f"more in {tmp_path / 'x.npz'} left out: images and labels of train, val and test are read"]


def test_the_largest_number_is_the_label_that_it_is(tmp_path: Path) -> None:
    content = arrays()
    for split in SIZES:
        labels = content[f"{split}_labels"].astype(np.uint64)
        content[f"{split}_labels"] = np.where(labels == 1, np.uint64(2**64 - 1), labels)
    splits = medmnist(save(tmp_path / "x.npz", content), seed=0)
    assert splits.classes == ["0", str(2**64 - 1)]
    assert splits.test.labels.tolist() == [0, 1] * 4


def test_a_name_more_than_there_are_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="class_names must have a name for each of the 2 classes, got 3"):
        medmnist(save(tmp_path / "x.npz", arrays()), 0, ["normal", "pneumonia", "other"])


def test_an_array_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.npz", arrays())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train_images", archive.read("train_images.npy"))
    with pytest.raises(ValueError, match="must have each array once"):
        medmnist(path, 0)


def test_columns_are_labels_that_an_image_may_have(tmp_path: Path) -> None:
    content = arrays()
    for split, count in SIZES.items():
        content[f"{split}_labels"] = np.random.default_rng(count).integers(0, 2, (count, 14), np.uint8)
    path = save(tmp_path / "chest.npz", content)
    splits = medmnist(path, seed=0)
    assert splits.classes == [str(number) for number in range(14)]
    assert splits.several_labels
    for split in SIZES:
        assert getattr(splits, split).labels.tolist() == content[f"{split}_labels"].tolist()
    with pytest.raises(ValueError, match="class_names must have a name for each of the 14 labels, got 2"):
        medmnist(path, 0, ["a", "b"])
    content["val_labels"][3, 5] = 7
    with pytest.raises(ValueError, match=r"val_labels \[N, 14\] must be 0 or 1 for each image and label, got 7"):
        medmnist(save(tmp_path / "odd.npz", content), seed=0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train_labels": np.zeros((20, 14), np.uint8)}, r"val_labels must be \[6, 14\], got \[6, 1\]"),
        ({"train_labels": np.zeros((19, 14), np.uint8)}, r"train_labels must be \[20, 14\], got \[19, 14\]"),
        (
            {"train_images": np.zeros((20, 28, 28, 28), np.uint8)},
            r"got \[20, 28, 28, 28\]: volumes of three dimensions",
        ),
        ({"train_images": np.zeros((20, 28, 28), np.float32)}, r"train_images must be bytes \(uint8\), got float32"),
        ({"train_labels": np.zeros(20, np.float32)}, "train_labels must be whole numbers"),
        ({"train_labels": np.arange(19) % 2}, "must have a label for each of 20 images, got 19"),
        (
            {"test_labels": np.full((8, 1), 9)},
            "labels of the test split must be those that the training images have; 9 is",
        ),
        ({"val_labels": None}, "must have val_images and val_labels, it has train_images"),
        ({"train_images": None, "train_labels": None}, "must have train_images and train_labels, it has val_images"),
        ({"train_labels": np.array([print] * 20)}, "cannot be read: Object arrays cannot be loaded"),
        ({"train_images": np.zeros((20, 64, 64), np.uint8)}, "images must have one shape"),
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    content = {name: values for name, values in {**arrays(), **changes}.items() if values is not None}
    with pytest.raises(ValueError, match=says) as error:
        medmnist(save(tmp_path / "x.npz", content), seed=0)
    assert "\n" not in str(error.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.npz: it must be an \.npz with train_images"):
        medmnist(str(tmp_path / "none.npz"), seed=0)
    save(tmp_path / "x.npz", arrays())
    with pytest.raises(ValueError, match=r"root must be a file, .*, such as .*x\.npz, got the folder"):
        medmnist(str(tmp_path), seed=0)
    for content in (b"", b"PK\x03\x04 broken", pickle.dumps([1])):
        (tmp_path / "y.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"y\.npz cannot be read: .*; it must be an \.npz"):
            medmnist(str(tmp_path / "y.npz"), seed=0)


def test_arrays_that_do_not_fit_into_memory_are_refused_by_their_header(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays().items():
            header = {"descr": "|u1", "fortran_order": False, "shape": (10**9, 28, 28)}
            with archive.open(f"{name}.npy", "w") as member:
                if name == "train_images":
                    np.lib.format.write_array_header_1_0(member, header)
                else:
                    np.lib.format.write_array(member, values)
    with pytest.raises(ValueError, match=r"x\.npz has 784\.0 GB of arrays, more than half of this machine's memory"):
        medmnist(str(tmp_path / "x.npz"), seed=0)


def test_a_run_on_gray_images_of_two_classes(tmp_path: Path, result_of: Any) -> None:
    file = save(tmp_path / "pneumoniamnist.npz", arrays(train=64, val=16, test=16))
    result = result_of("dataset=medmnist", f"dataset.root={file}", "teacher=mlp", "student=mlp", "baseline=false")
    assert {split: result["data"][split] for split in SIZES} == {"train": 64, "val": 16, "test": 16}
    assert result["teacher"]["accuracy"] > 0.9
    assert result["teacher"]["auroc"] > 0.9
    assert 0 <= result["student"]["brier"] <= 1
    analysis = json.loads((tmp_path / "run0" / "analysis.json").read_text())
    table = class_table(analysis)
    assert table is not None
    assert [(name, texts[0]) for name, texts in table["rows"]] == [("0", "8"), ("1", "8")]


@pytest.mark.slow
@pytest.mark.parametrize(("side", "channels"), [(28, 3), (64, None), (224, 3)])
def test_a_run_on_images_of_other_sizes(tmp_path: Path, result_of: Any, side: int, channels: int | None) -> None:
    file = save(tmp_path / f"pathmnist_{side}.npz", arrays(side, channels, classes=3, train=24, val=6, test=6))
    result = result_of("dataset=medmnist", f"dataset.root={file}", "batch_size=8")
    assert result["data"]["classes"] == 3
    assert 0 <= result["student"]["accuracy"] <= 1
