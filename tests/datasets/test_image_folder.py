"""Folders of images from the root to splits and to a run: settings, messages, odd images."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_cases import exif
from image_folders import (
    mixed_folder,
    noisy_folder,
    read,
    read_images,
    refused,
    sizes,
    write_classes,
    write_image,
    write_plain_classes,
)
from PIL import Image
from sklearn.linear_model import LogisticRegression

from kd_runner.config.build import build
from kd_runner.datasets.decoding.files import ImageFiles
from kd_runner.datasets.image_folder import image_folder
from kd_runner.datasets.inspection import survey
from kd_runner.datasets.splits import Split
from kd_runner.errors import SettingsError
from kd_runner.notes import collected_notes


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
    with pytest.raises(FileNotFoundError, match=r"no archive .*nowhere\.zip: it must hold train/CLASS"):
        image_folder(str(tmp_path / "nowhere.zip"), seed=0)
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


def test_more_images_than_memory_are_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy_folder(tmp_path / "images")
    assert isinstance(image_folder(str(tmp_path / "images"), seed=0, image_size=8).train, Split)
    pages = {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 1000}  # 10 kB, of which the 24 images of 192 bytes take half
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert isinstance(image_folder(str(tmp_path / "images"), seed=0, image_size=8).train, ImageFiles)


def test_habits_of_naming_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "meine Bilder 動物"
    write_classes(root, ["é è", "日本"])
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = read(root)[0]
    for name in (f"{root}/", f"~/{root.name}", root.name, "link", f"./{root.name}/../link/", "link/."):
        splits, _ = read(name)
        assert splits.classes == ["é è", "日本"]
        assert splits.fingerprint == expected.fingerprint
    (tmp_path / "file.png").write_bytes(b"x")
    assert refused("file.png").startswith("root must be a folder or an archive (.zip, ")
    assert refused("nowhere").startswith(f"no folder {tmp_path / 'nowhere'}: it must hold train/CLASS/*")
    (tmp_path / "none").mkdir()
    assert refused("none").startswith(f"no class folders in {tmp_path / 'none'}")


def test_a_root_that_begins_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_plain_classes(tmp_path / "~bilder", "a", "b")
    assert read_images(Path("~bilder"), cache="~cache")[0].classes == ["a", "b"]
    assert (tmp_path / "~cache").is_dir()


def test_a_thousand_classes(tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"n{number:04d}").mkdir()
        for index in range(3):
            image = Image.new("L", (2, 2))
            image.putdata([number % 256, number // 256, index, 7])
            image.save(tmp_path / f"n{number:04d}" / f"{index}.bmp")
    with collected_notes() as notes:
        splits = image_folder(str(tmp_path), seed=0, image_size=2, color="gray")
        survey.write_notes(splits, splits.copies)
    assert sizes(splits) == [1000, 1000, 1000]
    assert notes == []


def test_a_run_keeps_what_was_read_and_scores_the_classes_that_are_there(tmp_path: Path, result_of: Any) -> None:
    root = tmp_path / "images"
    write_classes(root / "train", count=20)
    write_classes(root / "test", "ab", start=100)
    write_image(root / "test" / "a" / "copy.png", 3)
    (root / "labels.csv").write_text("x")
    (root / ".hidden").write_text("x")
    words = ["dataset=image_folder", f"dataset.root={root}", "dataset.image_size=8", "dataset.cache=null"]
    result = result_of(*words, "baseline=false")
    share = {"class": "a", "images": 11, "share": 11 / 21}
    assert result["data"] == {
        "classes": 3,
        "train": 54,
        "student": 54,
        "val": 6,
        "test": 21,
        "largest_class": {
            "train": {"class": "a", "images": 18, "share": 1 / 3},
            "val": {"class": "a", "images": 2, "share": 1 / 3},
            "test": share,
        },
        "missing_classes": {"train": [], "val": [], "test": ["c"]},
        "left_out": {"files": 1, "kinds": {".csv": 1}, "places": {".": 1}, "hidden": 1, "unreadable": 0},
        "duplicates": result["data"]["duplicates"],
        "fingerprints": result["data"]["fingerprints"],
    }
    assert sum(result["data"]["duplicates"].values()) == 1  # the copy's original is in train, or was cut for validation
    assert any("1 of 3 classes has no test images (c)" in note for note in result["notes"])
    folder = Path(result["student"]["checkpoint"]).parent
    assert (folder / "report.html").exists()
    analysis = json.loads((folder / "analysis.json").read_text())
    assert analysis["test_images"] == [11, 10, 0]
    assert analysis["networks"]["student"]["class_accuracy"][2] is None


def test_what_is_too_large_or_has_no_white_can_be_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mixed_folder(tmp_path)
    Image.new("RGB", (100, 100)).save(tmp_path / "train" / "a" / "large.png")
    Image.fromarray(np.full((8, 8), 700, dtype=np.int32)).save(tmp_path / "train" / "a" / "whole.tif")
    splits, _ = read(tmp_path, max_pixels=9999, on_bad_image="skip")
    assert len(splits.train) + len(splits.val) == 32
    assert "2 of 66 images under" in caplog.text
    assert "train/a/large.png, train/a/whole.tif" in caplog.text


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"background": "grey"}, r"dataset.background must be white, black, .*, got 'grey'"),
        ({"background": None}, r"dataset.background: must be a valid string, got None"),
        ({"background": 256}, r"dataset.background must be .* from 0 to 255 .*, got 256"),
        ({"max_pixels": 0}, r"dataset.max_pixels must be 1 or more, got 0"),
    ],
)
def test_wrong_settings_are_refused_at_once(setting: dict[str, Any], message: str) -> None:
    node = {"_target_": "kd_runner.datasets.image_folder.image_folder", "root": "/nowhere", **setting}
    with pytest.raises(SettingsError, match=f"^{message}$"):
        build(node, "dataset", seed=0)


def stripes(kind: int, rng: np.random.Generator) -> np.ndarray:
    rows, columns = np.mgrid[:16, :16]
    return (rows, columns, rows + columns)[kind] // 2 % 2 + rng.uniform(-0.2, 0.2, (16, 16))


def save_deep(path: Path, kind: int, rng: np.random.Generator) -> None:
    """Stripes whose values of 16 bits are all above 255, which a cut-off at 255 would make white."""
    Image.fromarray((20000 + 25000 * stripes(kind, rng)).astype(np.uint16)).save(
        path.with_suffix((".png", ".tif")[kind % 2])
    )


def save_silhouette(path: Path, kind: int, rng: np.random.Generator) -> None:
    """Black stripes on a transparent ground, which without their transparency are black."""
    opaque = np.where(stripes(kind, rng) > 0.5, 255, 0).astype(np.uint8)
    Image.merge("LA", [Image.new("L", (16, 16)), Image.fromarray(opaque)]).save(path.with_suffix(".png"))


def save_upside_down(path: Path, kind: int, rng: np.random.Generator) -> None:
    """A bright part at the top, middle or bottom; the picture of the test folder was taken upside down."""
    values = rng.uniform(0, 100, (24, 24))
    values[8 * kind : 8 * kind + 8] += 150
    turned = "test" in path.parts
    image = Image.fromarray((values[::-1, ::-1] if turned else values).astype(np.uint8))
    image.save(path.with_suffix(".jpg"), exif=exif(3 if turned else 1), quality=95)


def folder_of(root: Path, save: Callable[[Path, int, np.random.Generator], None], train: int, test: int) -> None:
    rng = np.random.default_rng(0)
    for place, count in (("train", train), ("test", test)):
        for kind, name in enumerate("abc"):
            (root / place / name).mkdir(parents=True)
            for number in range(count):
                save(root / place / name / str(number), kind, rng)


SAVES = (save_deep, save_silhouette, save_upside_down)


@pytest.mark.parametrize("save", SAVES, ids=lambda save: save.__name__)
def test_the_classes_can_be_told_apart(tmp_path: Path, save: Callable[..., None]) -> None:
    folder_of(tmp_path, save, train=30, test=10)
    splits, _ = read(tmp_path, color="gray")
    assert isinstance(splits.train, Split)
    assert isinstance(splits.test, Split)
    model = LogisticRegression().fit(splits.train.images.flatten(1) / 255, splits.train.labels)
    assert model.score(splits.test.images.flatten(1) / 255, splits.test.labels) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("save", SAVES, ids=lambda save: save.__name__)
def test_a_run_learns_the_classes(tmp_path: Path, save: Callable[..., None], result_of: Callable[..., Any]) -> None:
    folder_of(tmp_path / "images", save, train=60, test=20)
    result = result_of(
        "dataset=image_folder",
        f"dataset.root={tmp_path / 'images'}",
        "dataset.cache=null",
        "dataset.image_size=16",
        "dataset.crop_padding=0",
        "dataset.flip=false",
        "teacher.epochs=6",
        "student.epochs=6",
    )
    assert result["student"]["accuracy"] > 0.9
    conversions = ("scaled to 8", "laid on", "turned as")
    assert len([text for text in result["notes"] if any(words in text for words in conversions)]) == 1


def test_the_real_share_of_a_split_is_said_where_classes_are_small(tmp_path: Path) -> None:
    text = survey.line(read_images(write_plain_classes(tmp_path / "small", "a", "b"))[0])
    test = "test (test_fraction=0.2: 33 %, at least one of each class)"
    assert text.endswith(
        f"; validation (val_fraction=0.1: 50 %, at least one of each class) and {test} are cut from the training images"
    )
    text = survey.line(read_images(write_plain_classes(tmp_path / "large", "a", "b", count=25))[0])
    assert "; validation (val_fraction=0.1) and test (test_fraction=0.2) are cut" in text


def test_little_is_given_in_megabytes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        read_images(write_plain_classes(tmp_path, "a", "b"), residency="stream", image_size=400)
    assert "2.9 MB of images are read from their files while training" in caplog.text
