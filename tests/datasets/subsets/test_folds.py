"""Cross-validation: every image is once in a test, folds depend on images and seed alone, and no group is separated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import read_images, write_classes
from manifests import labelled_images, write_manifest
from manifests import read as read_manifest
from packed_cases import shards_of_folder

from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.digits import digits
from kd_runner.datasets.packed.packed_images import PackedImages
from kd_runner.datasets.splits import Images, Split, Splits
from kd_runner.datasets.subsets.folds import fold_of, indices_of_folds
from kd_runner.datasets.webdataset import webdataset
from kd_runner.notes import collected_notes

FOLDS = 5


def folds_of(splits: Splits, seed: int = 0, folds: int = FOLDS) -> list[Splits]:
    return [fold_of(splits, folds, fold, seed, 0, 0.1) for fold in range(folds)]


def images_of(images: Images) -> list[bytes]:
    tensors = images.images if isinstance(images, Split) else [images[index] for index in range(len(images))]
    return [bytes(image.contiguous().numpy()) for image in tensors]


def test_each_digit_is_in_one_test_and_all_folds_are_alike() -> None:
    whole = digits(0)
    folds = folds_of(whole, folds=3)
    everything = sorted(image for part in (whole.train, whole.val, whole.test) for image in images_of(part))
    assert sorted(image for fold in folds for image in images_of(fold.test)) == everything
    for fold in folds:
        assert sorted(images_of(fold.train) + images_of(fold.val) + images_of(fold.test)) == everything
        counts = torch.bincount(fold.test.labels)
        total = sum(torch.bincount(part.labels) for part in (whole.train, whole.val, whole.test))
        assert (counts - total / 3).abs().max() < 1
        assert abs(len(fold.val) - 0.1 * (1797 - len(fold.test))) < 5
    cut_otherwise = fold_of(digits(3, val_fraction=0.3, test_fraction=0.2), 3, 2, 0, 0, 0.1)
    assert cut_otherwise.fingerprint == folds[2].fingerprint
    assert fold_of(whole, 3, 2, 1, 0, 0.1).test_fingerprint != folds[2].test_fingerprint
    assert "test_fraction" in folds[0].unused


@pytest.mark.parametrize(("layout", "residency"), [("classes", "auto"), ("splits", "stream")])
def test_images_in_files_are_dealt_by_their_names(tmp_path: Path, layout: str, residency: str) -> None:
    places = {"classes": [("", 0, 10)], "splits": [("train", 0, 7), ("test", 7, 3)]}[layout]
    for place, start, count in places:
        write_classes(tmp_path / place, "abc", count, start)
    whole, _ = read_images(tmp_path, image_size=6, residency=residency)
    folds = folds_of(whole)
    assert [len(fold.test) for fold in folds] == [6] * FOLDS
    assert len({image for fold in folds for image in images_of(fold.test)}) == 30
    for fold in folds:
        assert isinstance(fold.train, ImageFiles if residency == "stream" else Split)
        assert torch.bincount(fold.test.labels).tolist() == [2, 2, 2]
        assert fold.survey is not None
        for split in ("train", "val", "test"):  # the names of the images are those of their files
            assert images_of(fold.survey.files[split]) == images_of(getattr(fold, split))
    recut, _ = read_images(tmp_path, image_size=6, residency=residency, seed=5, val_fraction=0.2)
    assert fold_of(recut, FOLDS, 1, 0, 0, 0.1).fingerprint == folds[1].fingerprint


@pytest.mark.parametrize("residency", ["auto", "stream"])
def test_images_in_shards_are_dealt_where_they_lie(tmp_path: Path, residency: str) -> None:
    for place, start, count in (("train", 0, 7), ("test", 7, 3)):
        write_classes(tmp_path / "images" / place, "abc", count, start)
    shards_of_folder(tmp_path / "images", tmp_path / "shards")
    whole = webdataset(str(tmp_path / "shards"), seed=0, image_size=6, residency=residency)
    folds = folds_of(whole)
    assert [torch.bincount(fold.test.labels).tolist() for fold in folds] == [[2, 2, 2]] * FOLDS
    assert len({image for fold in folds for image in images_of(fold.test)}) == 30
    for fold in folds:
        assert isinstance(fold.train, PackedImages if residency == "stream" else Split)
        assert fold.survey is not None
        assert images_of(fold.survey.files["train"]) == images_of(fold.train)


def test_groups_weights_and_images_without_labels_of_a_manifest(tmp_path: Path) -> None:
    rows = [
        (path, "" if number == 0 else label, 1 + number, f"p{number // 2}", "train")
        for number, (path, label) in enumerate(labelled_images(tmp_path, 40))
    ]
    rows[20:30] = [(*row[:4], "test") for row in rows[20:30]]
    file = write_manifest(tmp_path / "m.csv", rows, ("path", "label", "weight", "group", "split"))
    folds = folds_of(read_manifest(file)[0], folds=4)
    row_of = {row[0]: row for row in rows}
    patients = []
    for fold in folds:
        files = fold.survey.files
        names = {split: [row_of[path] for path in files[split].paths] for split in ("train", "val", "test")}
        patients.append({row[3] for row in names["test"]})
        assert patients[-1].isdisjoint({row[3] for split in ("train", "val") for row in names[split]})
        assert {row[3] for row in names["train"]}.isdisjoint({row[3] for row in names["val"]})
        assert fold.train.weights.tolist() == [row[2] for row in names["train"]]
        assert (fold.val.weights, fold.test.weights) == (None, None)
        assert len(fold.unlabelled) == 1  # a run leaves it out where its group is held out
    assert sum(map(len, patients)) == 20 == len(set.union(*patients))


def test_groups_of_some_splits_are_groups_of_all_folds() -> None:
    content = torch.arange(36, dtype=torch.uint8).view(36, 1, 1, 1)
    parts = [Split(content[start : start + 12], torch.arange(12) % 2) for start in (0, 12, 24)]
    parts[0] = replace(parts[0], groups=torch.arange(12) // 4)
    for fold in folds_of(Splits(*parts, ["a", "b"]), folds=3):
        sides = [set((split.images[split.images < 12] // 4).tolist()) for split in (fold.train, fold.val, fold.test)]
        assert sum(map(len, sides)) == 3 == len(set.union(*sides))


@pytest.mark.parametrize("residency", ["auto", "stream"])
def test_several_labels_of_a_manifest_stay_with_their_images(tmp_path: Path, residency: str) -> None:
    cells = ("dog|cat", "", "cat", "dog; eel")
    rows = [(path, cells[number % 4], f"p{number // 2}") for number, (path, _) in enumerate(labelled_images(tmp_path))]
    file = write_manifest(tmp_path / "m.csv", rows, ("path", "labels", "group"))
    cell_of = {row[0]: row[1] for row in rows}
    tested = []
    for fold in folds_of(read_manifest(file, residency=residency)[0], folds=3):
        for split in ("train", "val", "test"):
            wanted = [[name in cell_of[path] for name in fold.classes] for path in fold.survey.files[split].paths]
            assert getattr(fold, split).labels.tolist() == wanted
        tested += fold.survey.files["test"].paths
    assert sorted(tested) == sorted(cell_of)


def test_small_classes_and_too_many_folds_are_said() -> None:
    labels = torch.tensor([0] * 20 + [1] * 20 + [2] * 3)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (43, 1, 4, 4), dtype=np.uint8))
    parts = [Split(images[start::3], labels[start::3]) for start in range(3)]
    with collected_notes() as notes:
        fold = fold_of(Splits(*parts, ["a", "b", "rare"]), FOLDS, 0, 0, 0, 0.2)
    assert len(fold.test) in (8, 9)
    assert notes == ["1 class with fewer images than folds=5: rare (3); the test of some folds has none of them"]
    with pytest.raises(ValueError, match=r"^folds must be at most 20, the images of the largest class, got 21$"):
        fold_of(Splits(*parts, ["a", "b", "rare"]), 21, 0, 0, 0, 0.2)
    several = torch.nn.functional.one_hot(labels).to(torch.uint8)
    dealt = indices_of_folds(several, None, FOLDS, 0)
    assert sorted(index for test in dealt for index in test.tolist()) == list(range(43))
