"""Image files that cannot be read are left out and named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from image_folders import read, sizes, write_classes, write_image, write_plain_classes

from kd_runner.datasets.decoding.files import ImageFiles, PixelSettings
from kd_runner.datasets.inspection import survey
from kd_runner.datasets.inspection.unreadable import check_training_classes, leave_out_unreadable, unreadable_indices


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
