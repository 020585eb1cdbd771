"""Images that a table names: they become the splits that a folder of them becomes, and faults are said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from image_folders import mixed_folder, read_images
from manifests import labelled_images, read, refused, write_manifest

from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.labels.unlabelled import UNLABELLED
from kd_runner.datasets.splits import Images, Split, Splits
from kd_runner.datasets.subsets.held_out_groups import without_held_out_groups
from kd_runner.notes import collected_notes

SPLITS = ("train", "val", "test")


def names_of(splits: Splits, split: str) -> list[str]:
    assert splits.survey is not None
    return list(splits.survey.files[split].paths)


def pixels(images: Images) -> torch.Tensor:
    return images.images if isinstance(images, Split) else images.sample(len(images))


@pytest.mark.parametrize("residency", ["auto", "stream"])
def test_the_same_files_become_the_same_images_and_notes_as_those_of_a_folder(tmp_path: Path, residency: str) -> None:
    mixed_folder(tmp_path / "data", count=2)
    rows = [
        (path.relative_to(tmp_path).as_posix(), path.parent.name, path.parent.parent.name)
        for path in sorted((tmp_path / "data").rglob("*.*"))
    ]
    file = write_manifest(tmp_path / "images.csv", rows, ("path", "label", "split"))
    options = {"image_size": 16, "residency": residency, "cache": str(tmp_path / "cache")}
    folder, folder_notes = read_images(tmp_path / "data", **options)
    named, notes = read(file, **options)
    assert notes == folder_notes
    assert len(notes) >= 5  # alpha, 16 bits, EXIF, CMYK, frames
    assert named.classes == folder.classes
    for split in SPLITS:
        of_folder, of_manifest = getattr(folder, split), getattr(named, split)
        assert sorted(of_manifest.labels.tolist()) == sorted(of_folder.labels.tolist())
        # A folder's images are in the order of classes, those of a manifest in its own.
        assert {bytes(image.numpy()) for image in pixels(of_manifest)} == {
            bytes(image.numpy()) for image in pixels(of_folder)
        }
        assert isinstance(of_manifest, ImageFiles if residency == "stream" else Split)


def test_labels_splits_weights_and_groups_are_those_of_the_rows(tmp_path: Path) -> None:
    rows = [
        (path, label, ("train", "Validation", "TEST")[number % 3 if number > 5 else 0], 1 + number % 2, f"p{number}")
        for number, (path, label) in enumerate(labelled_images(tmp_path))
    ]
    splits, notes = read(write_manifest(tmp_path / "m.csv", rows, ("path", "label", "split", "weight", "group")))
    assert notes == []
    for split, name in zip(SPLITS, ("train", "Validation", "TEST"), strict=True):
        wanted = [row for row in rows if row[2] == name]
        assert names_of(splits, split) == [row[0] for row in wanted]
        assert getattr(splits, split).labels.tolist() == ["ab".index(row[1]) for row in wanted]
    train = splits.train
    assert isinstance(train, Split)
    assert train.weights is not None
    assert train.weights.tolist() == [row[3] for row in rows if row[2] == "train"]
    assert splits.unused["group"] == "no group has two images"
    even, _ = read(write_manifest(tmp_path / "even.csv", [row[:3] for row in rows], ("path", "label", "split")))
    assert (even.train.weights, even.test_fingerprint) == (None, splits.test_fingerprint)
    assert even.training_fingerprint != splits.training_fingerprint


def test_splits_that_it_has_not_are_cut_and_separate_no_group(tmp_path: Path) -> None:
    rows = [(path, label, f"patient {number // 3}") for number, (path, label) in enumerate(labelled_images(tmp_path))]
    file = write_manifest(tmp_path / "m.csv", rows, ("path", "label", "patient"))
    splits, notes = read(file, group="patient", test_fraction=0.25, val_fraction=0.2)
    patient_of = {path: patient for path, _, patient in rows}
    patients = [{patient_of[name] for name in names_of(splits, split)} for split in SPLITS]
    assert sum(map(len, patients)) == 8 == len(set.union(*patients))
    assert [len(names_of(splits, split)) for split in SPLITS] == [15, 3, 6]
    assert notes == []
    assert "patient" in read(file)[1][0]  # without its name, the column is one that is not read


def test_images_without_a_label_are_apart_with_their_groups(tmp_path: Path) -> None:
    rows = [
        (path, "" if number % 4 == 0 else label, ("train", "val", "test")[number % 3], f"p{number % 3}")
        for number, (path, label) in enumerate(labelled_images(tmp_path))
    ]
    rows = [(path, label, "" if not label else split, group) for path, label, split, group in rows]
    file = write_manifest(tmp_path / "m.csv", rows, ("path", "label", "split", "group"))
    splits, _ = read(file)
    assert splits.unlabelled is not None
    assert splits.unlabelled.labels.tolist() == [UNLABELLED] * 6
    with collected_notes() as notes:
        rest = without_held_out_groups(splits).unlabelled
    assert torch.equal(rest.images, splits.unlabelled.images[[0, 3]])  # those of p0, which is for training
    assert notes == ["4 images without a label left out, as validation or test images are of the same groups"]
    skipped, notes = read(file, on_empty_label="skip")
    assert skipped.unlabelled is None
    assert any("6 images of" in line and "(dataset.on_empty_label): img/0.png (line 2)" in line for line in notes)
    assert "there is none for img/0.png (line 2), img/4.png (line 6)" in refused(file, on_empty_label="error")


def test_a_cache_holds_for_other_labels_and_each_file_is_asked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = labelled_images(tmp_path)
    cache = str(tmp_path / "cache")
    first, _ = read(write_manifest(tmp_path / "m.csv", rows), cache=cache)
    monkeypatch.setattr(ImageFiles, "decode", None)  # nothing is decoded again
    monkeypatch.setattr(ImageFiles.__dict__["stamps"], "func", None)  # nor a file asked again for its time of change
    other, _ = read(write_manifest(tmp_path / "m.csv", [(path, f"class {label}") for path, label in rows]), cache=cache)
    assert torch.equal(pixels(first.train), pixels(other.train))
    assert other.classes == ["class a", "class b"]


def test_what_is_missing_or_broken_ends_the_run_or_is_left_out_by_name(tmp_path: Path) -> None:
    rows = labelled_images(tmp_path)
    (tmp_path / "img/3.png").unlink()
    (tmp_path / "img/4.png").write_bytes(b"no picture")
    (tmp_path / "img/7.png").rename(tmp_path / "img/7.PNG")
    file = write_manifest(tmp_path / "m.csv", rows)
    assert refused(file) == (
        "path must lead to an image, but 2 of 24 lead to none from FOLDER: img/3.png (line 5), img/7.png (line 9): it "
        "is not there; dataset.on_bad_image=skip leaves them out"
    )
    splits, notes = read(file, on_bad_image="skip")
    assert sum(len(getattr(splits, split)) for split in SPLITS) == 21
    assert notes == [
        f"3 of 24 images of {file} cannot be read and are left out (dataset.on_bad_image): img/3.png, img/7.png, "
        "img/4.png"
    ]
    assert splits.survey is not None
    assert splits.survey.left_out.reasons[:2] == ["it is not there", "it is not there"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "img").rename(tmp_path / "elsewhere" / "img")
    assert refused(file).endswith(
        "there is no folder img in it; dataset.image_root=FOLDER names another folder that they start from"
    )
    assert len(read(file, image_root=str(tmp_path / "elsewhere"), on_bad_image="skip")[0].train) == len(splits.train)
