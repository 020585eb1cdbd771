"""Image files that cannot be read are left out and named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from image_folders import read, sizes, write_classes, write_image, write_plain_classes

from kd_runner.datasets.decoding.files import ImageFiles, PixelSettings
from kd_runner.datasets.inspection import survey
from kd_runner.datasets.inspection.unreadable import (
    check_training_classes,
    leave_out_unreadable,
    number_unreadable,
    unreadable_indices,
    way_around,
)


def test_unreadable_images_are_left_out_with_their_paths(tmp_path: Path) -> None:
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test", start=100)
    for name in ("train/a/3.png", "test/b/101.png"):
        (tmp_path / name).write_bytes(b"broken")
    splits, notes = read(tmp_path, on_bad_image="skip")
    assert sizes(splits) == [26, 3, 29]
    assert notes == [
        f"2 of 60 images under {tmp_path} cannot be read and are left out (dataset.on_bad_image): "
        "train/a/3.png, test/b/101.png"
    ]
    assert survey.record(splits)["left_out"]["unreadable"] == 2


def test_unreadable_files_have_reasons_and_readable_ones_keep_their_order(tmp_path: Path) -> None:
    for number in range(4):
        write_image(tmp_path / f"{number}.png", number)
    (tmp_path / "0.png").write_bytes(b"")
    (tmp_path / "2.png").write_bytes(b"%PDF-1.7")
    paths = [f"{number}.png" for number in range(4)]
    files = ImageFiles(tmp_path, paths, torch.tensor([0, 0, 1, 1]), PixelSettings(4, "rgb"))
    readable, unreadable = leave_out_unreadable({"train": files}, tmp_path.parent, None)
    assert readable["train"].paths == ["1.png", "3.png"]
    assert readable["train"].labels.tolist() == [0, 1]
    assert unreadable.paths == [f"{tmp_path.name}/0.png", f"{tmp_path.name}/2.png"]
    assert unreadable.reasons == ["it is empty", "it is PDF"]


def test_a_class_without_a_readable_image_is_refused_with_a_reason(tmp_path: Path) -> None:
    write_image(tmp_path / "a" / "0.png", 0)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "0.png").write_bytes(b"")
    files = ImageFiles(tmp_path, ["a/0.png", "b/0.png"], torch.tensor([0, 1]), PixelSettings(4, "rgb"))
    check_training_classes(files, files, ["a", "b"])
    with pytest.raises(ValueError, match=rf"^no image under {tmp_path}/b can be read, as b/0\.png: it is empty$"):
        check_training_classes(files, files.subset(torch.tensor([0])), ["a", "b"])


def broken_error(files: ImageFiles) -> str:
    with pytest.raises(ValueError, match="cannot be read as an image") as error:
        list(map(files.__getitem__, range(len(files))))
    return str(error.value)


def test_an_error_says_how_many_images_cannot_be_read(tmp_path: Path) -> None:
    paths = [f"{split}/{number}.png" for split in ("train", "test") for number in range(4)]
    for number, path in enumerate(paths):
        write_image(tmp_path / path, number)
    parts = [
        ImageFiles(tmp_path / split, [f"{number}.png" for number in range(4)], torch.zeros(4), PixelSettings(4, "rgb"))
        for split in ("train", "test")
    ]
    (tmp_path / "train/1.png").write_bytes(b"broken")
    error = broken_error(parts[0])
    assert number_unreadable(error, parts) == "; the other 7 images can be read"
    (tmp_path / "test/3.png").write_bytes(b"")
    assert number_unreadable(error, parts) == "; 2 of 8 images cannot be read (train/1.png, test/3.png)"
    for path in paths:
        (tmp_path / path).write_bytes(b"")
    everything = f"{error}{number_unreadable(error, parts)}"
    assert everything.endswith("; none of 8 images can be read")
    node = {"on_bad_image": "error"}
    assert way_around(everything, node) == ""
    assert way_around(error, node) == "; dataset.on_bad_image=skip leaves such images out"
    assert number_unreadable("root must be a folder", parts) == ""


def test_not_all_of_very_many_images_are_read_to_count_the_broken_ones(tmp_path: Path) -> None:
    files = ImageFiles(tmp_path, [f"{number}.png" for number in range(10**6)], torch.zeros(1), PixelSettings(4, "rgb"))
    for number in range(192):
        (tmp_path / f"{number}.png").write_bytes(b"")
    names = "0.png, 1.png, 2.png and 125 more"
    line = f"; at least 128 of 1,000,000 images cannot be read, as a look at 128 shows ({names})"
    assert number_unreadable(broken_error(files), [files]) == line
    for number in range(192):
        write_image(tmp_path / f"{number}.png", number)
    (tmp_path / "0.png").write_bytes(b"")
    (tmp_path / "63.png").write_bytes(b"")
    line = "; at least 2 of 1,000,000 images cannot be read, as a look at 64 shows (0.png, 63.png)"
    assert number_unreadable(broken_error(files), [files], seconds=0) == line


def test_what_cannot_be_read_is_found_once_for_a_cache(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"broken")
    files = ImageFiles(tmp_path, ["0.png"], torch.tensor([0]), PixelSettings(4, "rgb"))
    assert unreadable_indices(files, tmp_path / "cache") == [0]
    write_image(tmp_path / "0.png", 1)
    assert unreadable_indices(files, tmp_path / "cache") == [0]  # the same fingerprint, computed before
    assert unreadable_indices(files, None) == []


def test_a_class_of_which_nothing_can_be_read_has_a_reason(tmp_path: Path) -> None:
    root = write_plain_classes(tmp_path, "a", "b")
    for path in (root / "b").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"no image under \S+/b can be read, as b/0\.png: it is empty$"):
        read(root, on_bad_image="skip")
